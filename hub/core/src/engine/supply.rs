//! What devices need of images: asked of the shell once per image and kind of device, remembered here, and kept with
//! each Pod, so that a restarted hub makes the same assignments before anything is asked again.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::time::Duration;

use firmware_compat::v1::owned::{Artefacts, Severity};

use super::{Engine, Timer};
use crate::{
    api::Key,
    device::Device,
    effect::Effect,
    event::{Need, Shortage, Target},
    pod::{Revision, Supplied, Waiting},
    schedule::Refusal,
};

/// Time until a need that could not be met is asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Forms of images that are remembered: a thousand images for twenty kinds of devices. A device says itself of which
/// kind it is, so one that says something else every time must not grow this for ever.
const MOST: usize = 20_000;

/// Answers so far.
#[derive(Debug, Default)]
pub(super) struct Supply {
    known: BTreeMap<Need, Answer>,
}

#[derive(Debug)]
enum Answer {
    Asked,
    Ready(Artefacts),
    Short(Shortage),
}

impl Supply {
    /// Whether an image is ready for a kind of device.
    fn check(&self, revision: &Revision, target: &Target) -> Result<(), Refusal> {
        for (image, root) in &revision.roots {
            let Some(root) = root else {
                return Err(Refusal::Image(unknown_image(image).message));
            };
            self.check_image(image, *root, target)?;
        }
        Ok(())
    }

    fn check_image(
        &self,
        image: &str,
        root: firmware_compat::id::Hash,
        target: &Target,
    ) -> Result<(), Refusal> {
        match self.known.get(&Need { root, target: target.clone() }) {
            Some(Answer::Ready(_)) => Ok(()),
            Some(Answer::Short(shortage)) => Err(Refusal::Image(shortage.message.clone())),
            None if self.known.len() >= MOST => Err(Refusal::Image(alloc::format!(
                "the hub keeps {MOST} forms of images for its devices, the most that it can; remove workloads that nobody needs"
            ))),
            Some(Answer::Asked) | None => {
                Err(Refusal::Preparing(alloc::format!("{image} is being prepared for it")))
            }
        }
    }

    /// Whether a need is new and is asked for from now on. At the bound, what was asked for kinds of devices that are
    /// no more is forgotten first.
    fn admit(&mut self, need: &Need, kinds: impl FnOnce() -> BTreeSet<Target>) -> bool {
        if self.known.contains_key(need) {
            return false;
        }
        if self.known.len() >= MOST {
            let kinds = kinds();
            self.known.retain(|known, _| kinds.contains(&known.target));
        }
        let has_room = self.known.len() < MOST;
        if has_room {
            self.known.insert(need.clone(), Answer::Asked);
        }
        has_room
    }

    /// Of all images, or nothing.
    fn artefacts(&self, revision: &Revision, target: &Target) -> Option<Supplied> {
        let of_image = |(image, root): (&String, &Option<firmware_compat::id::Hash>)| match self
            .known
            .get(&Need { root: (*root)?, target: target.clone() })
        {
            Some(Answer::Ready(artefacts)) => Some((image.clone(), artefacts.clone())),
            Some(Answer::Asked | Answer::Short(_)) | None => None,
        };
        revision.roots.iter().map(of_image).collect()
    }
}

/// Why a Pod whose image's name means nothing waits.
pub(super) fn unknown_image(image: &str) -> Waiting {
    Waiting::new(
        "ImageNotFound",
        alloc::format!(
            "the hub has no image \"{image}\"; push it with: lichen image push FILE {image}"
        ),
    )
}

impl Engine {
    /// Asks for a revision's images in the form of every kind of device that might run it.
    pub(super) fn ask_supply(&mut self, revision: &Revision) {
        let Some(roots) = revision.digests() else { return };
        let mut targets: Vec<Target> = self
            .devices
            .values()
            .filter(|device| crate::schedule::matches(device, revision).is_ok())
            .filter_map(|device| device.target(revision.resolved.runtime_class).ok())
            .collect();
        targets.sort();
        targets.dedup();
        for target in targets {
            for root in &roots {
                self.ask(Need { root: *root, target: target.clone() });
            }
        }
    }

    fn ask(&mut self, need: Need) {
        let devices = &self.devices;
        if self.supply.admit(&need, || kinds(devices.values())) {
            self.effects.push(Effect::Supply(need));
        }
    }

    pub(super) fn check_supply(&self, revision: &Revision, target: &Target) -> Result<(), Refusal> {
        self.supply.check(revision, target)
    }

    /// Artefacts of a revision for a device, if they are ready.
    pub(super) fn supply_for(
        &self,
        revision: &Revision,
        device: &Device,
    ) -> Option<(Target, Supplied)> {
        let target = device.target(revision.resolved.runtime_class).ok()?;
        let artefacts = self.supply.artefacts(revision, &target)?;
        Some((target, artefacts))
    }

    pub(super) fn on_supplied(&mut self, need: Need, result: Result<Artefacts, Shortage>) {
        let answer = match result {
            Ok(artefacts) => Answer::Ready(artefacts),
            Err(shortage) => {
                if shortage.retry {
                    self.timers.insert((self.now + RETRY_AFTER, Timer::Supply(need.clone())));
                }
                Answer::Short(shortage)
            }
        };
        let users: Vec<(Key, Arc<Revision>)> = self
            .objects
            .iter()
            .filter_map(|(key, stored)| Some((key.clone(), stored.revision.clone()?)))
            .filter(|(_, revision)| revision.runs(need.root))
            .collect();
        if let Answer::Short(shortage) = &answer {
            for (key, _) in &users {
                self.note(key, Severity::Warning, &shortage.reason, shortage.message.clone());
            }
        }
        // An answer to what was forgotten meanwhile is of no use to anyone.
        if let Some(known) = self.supply.known.get_mut(&need) {
            *known = answer;
        }
        self.dirty.workloads.extend(users.into_iter().map(|(key, _)| key));
        let devices: Vec<_> = self
            .devices
            .values()
            .filter(|device| serves(device, &need.target))
            .map(|device| device.name.clone())
            .collect();
        for device in devices {
            self.resupply(&device);
        }
    }

    pub(super) fn retry_supply(&mut self, need: Need) {
        if matches!(self.supply.known.get(&need), Some(Answer::Short(shortage)) if shortage.retry) {
            self.supply.known.insert(need.clone(), Answer::Asked);
            self.effects.push(Effect::Supply(need));
        }
    }

    /// Everything that could not be had of an image is asked for again: its bytes were just pushed.
    pub(super) fn refresh_supply(&mut self, root: firmware_compat::id::Hash) {
        let short: Vec<_> = self
            .supply
            .known
            .iter()
            .filter(|(need, answer)| need.root == root && matches!(answer, Answer::Short(_)))
            .map(|(need, _)| need.clone())
            .collect();
        for need in short {
            self.supply.known.remove(&need);
            self.ask(need);
        }
    }

    /// After an upgrade of its agent a device needs other compiled code: Pods keep what they have until the new
    /// form is ready. A Pod that runs is not restarted by it.
    pub(super) fn resupply(&mut self, name: &str) {
        let Some(device) = self.devices.get(name) else { return };
        let mut asks = Vec::new();
        let mut ready = Vec::new();
        for id in &device.pods {
            let Some(pod) = self.pods.get(id) else { continue };
            let Some((held, _)) = &pod.supply else { continue };
            let Ok(target) = device.target(pod.revision.resolved.runtime_class) else { continue };
            if *held == target {
                continue;
            }
            match self.supply.artefacts(&pod.revision, &target) {
                Some(artefacts) => ready.push((*id, target, artefacts)),
                None => {
                    let roots = pod.revision.digests().unwrap_or_default().into_iter();
                    asks.extend(roots.map(|root| Need { root, target: target.clone() }));
                }
            }
        }
        for (id, target, artefacts) in ready {
            if let Some(pod) = self.pods.get_mut(&id) {
                pod.supply = Some((target, artefacts));
                self.dirty.pods.insert(id);
                self.dirty.assignments.insert(name.to_owned());
            }
        }
        for need in asks {
            self.ask(need);
        }
    }

    /// Workloads whose image's name just got a meaning.
    pub(super) fn adopt_image(&mut self, reference: &str, root: firmware_compat::id::Hash) {
        let waiting: Vec<Key> = self
            .objects
            .iter()
            .filter(|(_, stored)| {
                stored.revision.as_ref().is_some_and(|revision| {
                    revision.roots.iter().any(|(image, known)| {
                        known.is_none() && crate::resolve::tagged(image) == reference
                    })
                })
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in waiting {
            let Some(stored) = self.objects.get(&key) else { continue };
            let (object, Some(revision)) = (stored.object.clone(), stored.revision.clone()) else {
                continue;
            };
            let roots = self.resolve_roots(&revision.template);
            let revision =
                Arc::new(Revision::new(&revision.template, revision.resolved.clone(), roots));
            if let Some(stored) = self.objects.get_mut(&key) {
                stored.revision = Some(revision);
            }
            self.save_object(&key, &object);
            self.note(
                &key,
                Severity::Normal,
                "ImageFound",
                alloc::format!("{reference} is now sha256:{root}"),
            );
            self.dirty.workloads.insert(key);
        }
    }

    /// Digests of a template's images, as the catalogue has them now.
    pub(super) fn resolve_roots(
        &self,
        template: &crate::api::core::pod::PodTemplate,
    ) -> crate::resolve::Roots {
        let mut roots = crate::resolve::Roots::new();
        for container in template.spec.init_containers.iter().chain(&template.spec.containers) {
            let image = container.image.as_str();
            let root = crate::resolve::pinned(image)
                .or_else(|| self.images.get(&crate::resolve::tagged(image)).copied());
            roots.insert(image.to_string(), root);
        }
        roots
    }
}

/// Every form that some device needs.
fn kinds<'a>(devices: impl Iterator<Item = &'a Device>) -> BTreeSet<Target> {
    use firmware_compat::v1::owned::RuntimeClass;
    let of_one = |device: &Device| {
        [RuntimeClass::Container, RuntimeClass::Wasm].map(|engine| device.target(engine).ok())
    };
    devices.flat_map(of_one).flatten().collect()
}

fn serves(device: &Device, target: &Target) -> bool {
    use firmware_compat::v1::owned::RuntimeClass;
    let engine = match target {
        Target::Container { .. } => RuntimeClass::Container,
        Target::Wasm(_) => RuntimeClass::Wasm,
    };
    device.target(engine).as_ref() == Ok(target)
}

#[cfg(test)]
mod tests {
    use firmware_compat::id::Hash;

    use super::*;

    fn need(arch: usize) -> Need {
        Need { root: Hash([1; 32]), target: Target::Container { arch: alloc::format!("a{arch}") } }
    }

    #[test]
    fn kinds_of_devices_that_are_no_more_make_room_at_the_bound() {
        let mut supply = Supply::default();
        let present = || BTreeSet::from([need(0).target]);
        for arch in 0..MOST {
            assert!(supply.admit(&need(arch), present));
        }
        assert!(!supply.admit(&need(5), present), "known already");
        assert!(supply.admit(&need(MOST), present));
        assert_eq!(supply.known.len(), 2);
        assert!(!supply.admit(&need(0), present), "the device that is there keeps its image");
    }

    #[test]
    fn beyond_the_bound_nothing_is_asked() {
        let mut supply = Supply::default();
        let all = || (0..MOST).map(|arch| need(arch).target).collect();
        for arch in 0..MOST {
            assert!(supply.admit(&need(arch), all));
        }
        assert!(!supply.admit(&need(MOST), all));
        assert_eq!(supply.known.len(), MOST);
    }
}
