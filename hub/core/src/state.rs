//! What the hub knows: objects, Pods, revisions, devices and images. Each part keeps its own indices true behind its
//! methods; nothing is decided here.

pub mod claims;
pub mod fleet;
pub mod images;
pub mod objects;
pub mod owned;
pub mod pods;
pub mod priority;
pub mod quota;
pub mod revisions;
pub mod tally;

use alloc::{collections::BTreeMap, string::String};

use firmware_compat::time::UnixMs;

use crate::{
    device::{Device, Form},
    pod::Revision,
    scheduler::{self, FilterReason, Load},
};

pub use self::{
    claims::Volumes,
    fleet::Fleet,
    images::Images,
    objects::{Objects, Progress, Stored},
    owned::{Class, Here, OfRevision, Owned},
    pods::{Hearing, OnDevice, Pods},
    priority::Priority,
    revisions::{Revisions, Saved, Shown},
    tally::Tally,
};

/// Everything that the hub knows.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What operators wrote.
    pub objects: Objects,
    /// Every Pod.
    pub pods: Pods,
    /// The templates of workloads, old ones too.
    pub revisions: Revisions,
    /// Every device.
    pub fleet: Fleet,
    /// Names of images, and their forms for devices.
    pub images: Images,
    /// Serial numbers of certificates of devices that were forgotten, in hex, and when they end.
    pub withdrawn: BTreeMap<String, UnixMs>,
}

impl State {
    /// What is taken of a device, as a Pod of a revision sees it.
    #[must_use]
    pub fn load(&self, device: &Device, revision: &Revision) -> Load {
        let on = self.pods.on(&device.name);
        Load {
            allocated: on.allocated(),
            pods: on.pods().len(),
            own: 0,
            taken_port: revision.host_ports().find(|port| on.takers(*port) > 0),
            full: on.too_large() > 0,
            claim: None,
        }
    }

    /// Whether a device can take one more Pod of a revision.
    ///
    /// # Errors
    /// Why not.
    pub fn takes(&self, device: &Device, revision: &Revision) -> Result<(), FilterReason> {
        let load = self.load(device, revision);
        scheduler::admits(device, &load, revision, &|form: &Form<'_>| {
            self.images.check(revision, form)
        })
    }

    /// Compares every index and count with what they are made from.
    ///
    /// # Errors
    /// Names the first that is not true.
    pub fn check(&self) -> Result<(), &'static str> {
        self.objects.check()?;
        self.pods.check()
    }
}
