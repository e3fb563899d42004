//! What one workload has: its Pods by revision and by how they do, by device, and how many of each. Kept true by
//! [`super::Pods`], which tells it of every change; nothing here is ever counted anew.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::String,
};

use firmware_compat::{id::PodId, time::Instant};

/// How a Pod does that is not on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It is on no device.
    Unplaced,
    /// Its device can't be given it, whatever becomes free there: it has no form of the image, or no runtime.
    Barred,
    /// It does not run, and its device can be heard.
    Unready,
    /// It runs, and its device can be heard.
    Ready,
    /// It did not run when its device was last heard, a moment ago.
    SilentUnready,
    /// It ran when its device was last heard, a moment ago.
    Silent,
    /// It did not run when its device was last heard, long ago.
    AwayUnready,
    /// It ran when its device was last heard, long ago.
    Away,
    /// It has ended for good.
    Finished,
}

impl Class {
    /// Every class, in the order of the type.
    pub const EVERY: [Self; 9] = [
        Self::Unplaced,
        Self::Barred,
        Self::Unready,
        Self::Ready,
        Self::SilentUnready,
        Self::Silent,
        Self::AwayUnready,
        Self::Away,
        Self::Finished,
    ];

    /// Whether nobody waits for the Pod's device.
    #[must_use]
    pub fn is_away(self) -> bool {
        matches!(self, Self::Away | Self::AwayUnready)
    }
}

/// A Pod's place in its class: since when its device is silent (0 while it is heard), its device, its id.
pub type Place = (Instant, String, PodId);

/// The Pods of one revision that are not on their way out, by class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfRevision {
    classes: [BTreeSet<Place>; Class::EVERY.len()],
    available: usize,
}

impl OfRevision {
    /// The Pods of a class: by time of silence, device and id.
    #[must_use]
    pub fn of(&self, class: Class) -> &BTreeSet<Place> {
        // Every class has its set.
        static NONE: BTreeSet<Place> = BTreeSet::new();
        self.classes.get(class as usize).unwrap_or(&NONE)
    }

    /// All of them.
    #[must_use]
    pub fn active(&self) -> usize {
        self.classes.iter().map(BTreeSet::len).sum()
    }

    /// Those that have been ready for long enough.
    #[must_use]
    pub fn available(&self) -> usize {
        self.available
    }

    /// The ids of a class.
    pub fn ids(&self, class: Class) -> impl Iterator<Item = PodId> {
        self.of(class).iter().map(|(_, _, id)| *id)
    }
}

/// A workload's Pods on one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Not on their way out.
    pub active: BTreeSet<PodId>,
    /// On their way out.
    pub leaving: BTreeSet<PodId>,
}

/// What one workload has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    all: BTreeSet<PodId>,
    revisions: BTreeMap<String, OfRevision>,
    devices: BTreeMap<String, Here>,
    crowded: BTreeSet<String>,
    too_large: BTreeSet<PodId>,
    settling: BTreeSet<(Instant, PodId)>,
    leaving: BTreeMap<String, usize>,
}

/// What the indices hold of one Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub revision: String,
    pub device: Option<String>,
    /// None for one that is on its way out.
    pub class: Option<Class>,
    pub silent_since: Instant,
    pub admitted: bool,
    pub too_large: bool,
    /// Whether it runs and is of use.
    pub runs: bool,
    /// How often its containers were started again.
    pub restarts: u32,
    /// Since when it runs without a start, as far as it was heard.
    pub ready_since: Option<Instant>,
    pub available: bool,
}

impl Mark {
    /// Whether it takes something of its device.
    pub(super) fn takes_room(&self) -> bool {
        self.class.is_some_and(|class| class != Class::Finished)
    }

    fn place(&self, id: PodId) -> Place {
        (self.silent_since, self.device.clone().unwrap_or_default(), id)
    }
}

impl Owned {
    /// Every Pod of the workload.
    #[must_use]
    pub fn all(&self) -> &BTreeSet<PodId> {
        &self.all
    }

    /// Pods that are not on their way out.
    #[must_use]
    pub fn active(&self) -> usize {
        self.all.len() - self.leaving()
    }

    /// The same, one by one: by revision, by class, and as those are ordered.
    pub fn active_ids(&self) -> impl Iterator<Item = PodId> {
        self.revisions.values().flat_map(|of| of.classes.iter().flatten()).map(|(.., id)| *id)
    }

    /// Pods on their way out.
    #[must_use]
    pub fn leaving(&self) -> usize {
        self.leaving.values().sum()
    }

    /// The same, of all revisions but one.
    #[must_use]
    pub fn leaving_but(&self, hash: &str) -> usize {
        self.leaving.iter().filter(|(other, _)| *other != hash).map(|(_, count)| count).sum()
    }

    /// The revisions of which there are Pods.
    pub fn revisions(&self) -> impl Iterator<Item = (&str, &OfRevision)> {
        self.revisions.iter().map(|(hash, of)| (hash.as_str(), of))
    }

    /// The Pods of a revision.
    #[must_use]
    pub fn revision(&self, hash: &str) -> Option<&OfRevision> {
        self.revisions.get(hash)
    }

    /// Pods of a class, of all revisions.
    #[must_use]
    pub fn count(&self, class: Class) -> usize {
        self.revisions.values().map(|of| of.of(class).len()).sum()
    }

    /// Pods that have been ready for long enough.
    #[must_use]
    pub fn available(&self) -> usize {
        self.revisions.values().map(OfRevision::available).sum()
    }

    /// Its Pods on a device.
    #[must_use]
    pub fn on(&self, device: &str) -> Option<&Here> {
        self.devices.get(device)
    }

    /// The devices that have some of its Pods.
    pub fn devices(&self) -> impl Iterator<Item = (&str, &Here)> {
        self.devices.iter().map(|(name, here)| (name.as_str(), here))
    }

    /// Devices with more than one of its Pods that are not on their way out.
    #[must_use]
    pub fn crowded(&self) -> &BTreeSet<String> {
        &self.crowded
    }

    /// Pods for which their device's assignment has no room.
    #[must_use]
    pub fn too_large(&self) -> &BTreeSet<PodId> {
        &self.too_large
    }

    /// Pods that are ready and not counted as available yet, with the time since when they are ready.
    #[must_use]
    pub fn settling(&self) -> &BTreeSet<(Instant, PodId)> {
        &self.settling
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn add(&mut self, id: PodId, mark: &Mark) {
        self.all.insert(id);
        if let Some(device) = &mark.device {
            let here = self.devices.entry(device.clone()).or_default();
            let set = if mark.class.is_some() { &mut here.active } else { &mut here.leaving };
            set.insert(id);
            if here.active.len() > 1 {
                self.crowded.insert(device.clone());
            }
        }
        let Some(class) = mark.class else {
            *self.leaving.entry(mark.revision.clone()).or_default() += 1;
            return;
        };
        if mark.too_large {
            self.too_large.insert(id);
        }
        let of = self.revisions.entry(mark.revision.clone()).or_default();
        if let Some(set) = of.classes.get_mut(class as usize) {
            set.insert(mark.place(id));
        }
        of.available += usize::from(mark.available);
        if let Some(since) = mark.ready_since.filter(|_| class == Class::Ready && !mark.available) {
            self.settling.insert((since, id));
        }
    }

    pub(super) fn remove(&mut self, id: PodId, mark: &Mark) {
        self.all.remove(&id);
        if let Some(device) = &mark.device
            && let Some(here) = self.devices.get_mut(device)
        {
            here.active.remove(&id);
            here.leaving.remove(&id);
            if here.active.len() < 2 {
                self.crowded.remove(device);
            }
            if here.active.is_empty() && here.leaving.is_empty() {
                self.devices.remove(device);
            }
        }
        let Some(class) = mark.class else {
            if let Some(count) = self.leaving.get_mut(&mark.revision) {
                *count -= 1;
                if *count == 0 {
                    self.leaving.remove(&mark.revision);
                }
            }
            return;
        };
        self.too_large.remove(&id);
        if let Some(since) = mark.ready_since {
            self.settling.remove(&(since, id));
        }
        let hash = mark.revision.to_owned();
        if let Some(of) = self.revisions.get_mut(&hash) {
            if let Some(set) = of.classes.get_mut(class as usize) {
                set.remove(&mark.place(id));
            }
            of.available -= usize::from(mark.available);
            if of.active() == 0 {
                self.revisions.remove(&hash);
            }
        }
    }
}
