//! What devices need of images: asked of the shell once per image and kind of device, and kept with each Pod, so that a
//! restarted hub makes the same assignments before anything is asked again.

use alloc::{borrow::ToOwned, collections::BTreeSet, sync::Arc, vec::Vec};
use core::time::Duration;

use firmware_compat::{
    id::Hash,
    v1::owned::{Artefacts, RuntimeClass, Severity},
};

use crate::{
    api::Key,
    controller::Scope,
    device::Device,
    effect::Effect,
    engine::{Engine, Timer},
    event::{ImageError, ImageRequest, Platform},
    pod::Revision,
    scheduler,
    state::images::Answer,
};

/// Time until an image that could not be had is asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

impl Engine {
    /// Asks for a revision's images in the form of every device looked at that might run it.
    pub(crate) fn provision(&mut self, revision: &Revision, scope: &Scope) {
        let Some(roots) = revision.digests() else { return };
        let form = |device: &Device| {
            scheduler::matches(device, revision).ok()?;
            device.target(revision.resolved.runtime_class).ok()
        };
        let targets: BTreeSet<Platform> = match scope {
            Scope::All => self.state.fleet.iter().filter_map(form).collect(),
            Scope::Devices(names) => {
                let devices = names.iter().filter_map(|name| self.state.fleet.get(name));
                devices.filter_map(form).collect()
            }
        };
        for target in targets {
            for root in &roots {
                self.ask_image(ImageRequest { root: *root, target: target.clone() });
            }
        }
    }

    fn ask_image(&mut self, need: ImageRequest) {
        let fleet = &self.state.fleet;
        if self.state.images.admit(&need, || kinds(fleet.iter())) {
            self.effects.push(Effect::Supply(need));
        }
    }

    pub(crate) fn on_supplied(
        &mut self,
        need: ImageRequest,
        result: Result<Artefacts, ImageError>,
    ) {
        let answer = match result {
            Ok(artefacts) => Answer::Ready(artefacts),
            Err(shortage) => {
                if shortage.retry {
                    self.timers.insert((self.now + RETRY_AFTER, Timer::Provision(need.clone())));
                }
                Answer::Short(shortage)
            }
        };
        let users: Vec<Key> = self.state.objects.of_root(need.root).cloned().collect();
        if let Answer::Short(shortage) = &answer {
            for key in &users {
                self.record(key, Severity::Warning, &shortage.reason, shortage.message.clone());
            }
        }
        self.state.images.answer(&need, answer);
        for key in users {
            self.dirty.workloads.insert(key, Scope::All);
        }
        let holds_other = |pod: &&crate::pod::Pod| {
            pod.supply.as_ref().is_some_and(|(target, _)| *target != need.target)
        };
        let devices: BTreeSet<_> = self
            .state
            .pods
            .using_root(need.root)
            .filter(holds_other)
            .filter_map(|pod| pod.device.clone())
            .collect();
        for device in devices {
            self.resupply(&device);
        }
    }

    pub(crate) fn retry_provisioning(&mut self, need: ImageRequest) {
        if self.state.images.ask_again(&need) {
            self.effects.push(Effect::Supply(need));
        }
    }

    /// Everything that could not be had of an image is asked for again: its bytes were just pushed.
    pub(crate) fn refresh_image(&mut self, root: Hash) {
        for need in self.state.images.take_short(root) {
            self.ask_image(need);
        }
    }

    /// After an upgrade of its agent a device needs other compiled code: Pods keep what they have until the new
    /// form is ready. A Pod that runs is not restarted by it.
    pub(crate) fn resupply(&mut self, name: &str) {
        let Some(device) = self.state.fleet.get(name) else { return };
        let mut asks = Vec::new();
        let mut ready = Vec::new();
        for pod in self.state.pods.pods_on(name) {
            let Some((held, _)) = &pod.supply else { continue };
            let Ok(target) = device.target(pod.revision.resolved.runtime_class) else { continue };
            if *held == target {
                continue;
            }
            match self.state.images.artefacts(&pod.revision, &target) {
                Some(artefacts) => ready.push((pod.id, target, artefacts)),
                None => {
                    let roots = pod.revision.digests().unwrap_or_default().into_iter();
                    asks.extend(roots.map(|root| ImageRequest { root, target: target.clone() }));
                }
            }
        }
        for (id, target, artefacts) in ready {
            self.change_pod(id, |pod| pod.supply = Some((target, artefacts)));
            self.dirty.pods.insert(id);
            self.touch_pod(id);
            self.dirty.assignments.insert(name.to_owned());
        }
        for need in asks {
            self.ask_image(need);
        }
    }

    /// Workloads whose image's name just got a meaning.
    pub(crate) fn adopt_image(&mut self, reference: &str, root: Hash) {
        let waits = |key: &&Key| {
            let stored = self.state.objects.get(key);
            stored.and_then(|stored| stored.revision.as_ref()).is_some_and(|revision| {
                revision.roots.iter().any(|(image, known)| {
                    known.is_none() && crate::resolve::tagged(image) == reference
                })
            })
        };
        let waiting: Vec<Key> =
            self.state.objects.naming_image(reference).filter(waits).cloned().collect();
        for key in waiting {
            let Some(stored) = self.state.objects.get(&key) else { continue };
            let (object, Some(revision)) = (stored.object.clone(), stored.revision.clone()) else {
                continue;
            };
            let roots = self.state.images.roots(&revision.template);
            let revision =
                Arc::new(Revision::new(&revision.template, revision.resolved.clone(), roots));
            self.state.objects.set_revision(&key, revision);
            self.save_object(&key, &object);
            self.record(
                &key,
                Severity::Normal,
                "ImageFound",
                alloc::format!("{reference} is now sha256:{root}"),
            );
            self.dirty.workloads.insert(key, Scope::All);
        }
    }
}

/// Every form that some device needs.
fn kinds<'a>(devices: impl Iterator<Item = &'a Device>) -> BTreeSet<Platform> {
    let of_one = |device: &Device| {
        [RuntimeClass::Container, RuntimeClass::Wasm].map(|class| device.target(class).ok())
    };
    devices.flat_map(of_one).flatten().collect()
}
