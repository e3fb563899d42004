//! Names of images and what is known of their forms: which architecture or compiled code a device needs of an image is
//! asked of the shell once and remembered here.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{id::Hash, v1::owned::Artefacts};

use crate::{
    api::core::pod::PodTemplate,
    device::{Device, Form},
    event::{ImageError, ImageRequest, Platform},
    pod::{Revision, Supplied, Waiting},
    resolve::{self, Roots},
    scheduler::FilterReason,
};

/// Forms of images that are remembered: a thousand images for twenty kinds of devices. A device says itself of which
/// kind it is, so one that says something else every time must not grow this for ever.
pub const MOST: usize = 20_000;

/// Names and forms of images.
#[derive(Clone, Debug, Default)]
pub struct Images {
    names: BTreeMap<String, Hash>,
    forms: BTreeMap<ImageRequest, Answer>,
}

/// What is known of a form of an image.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It was asked for.
    Asked,
    /// It is there.
    Ready(Artefacts),
    /// It can't be had.
    Short(ImageError),
}

impl Images {
    /// Names and digests.
    #[must_use]
    pub fn names(&self) -> &BTreeMap<String, Hash> {
        &self.names
    }

    /// Gives a name a meaning. Whether it had another one.
    pub fn name(&mut self, reference: &str, root: Hash) -> bool {
        self.names.insert(reference.to_owned(), root) != Some(root)
    }

    /// Takes a name's meaning away.
    pub fn forget(&mut self, reference: &str) -> bool {
        self.names.remove(reference).is_some()
    }

    /// Digests of a template's images, as their names are understood now.
    #[must_use]
    pub fn roots(&self, template: &PodTemplate) -> Roots {
        let digest = |image: &str| {
            resolve::pinned(image).or_else(|| self.names.get(&resolve::tagged(image)).copied())
        };
        let spec = &template.spec;
        let containers = spec.init_containers.iter().chain(&spec.containers);
        containers.map(|c| (c.image.to_string(), digest(&c.image))).collect()
    }

    /// Whether a revision's images are ready for a kind of device.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, revision: &Revision, form: &Form<'_>) -> Result<(), FilterReason> {
        for (image, root) in &revision.roots {
            let Some(root) = root else {
                return Err(FilterReason::Image(unknown_image(image).message));
            };
            self.check_image(image, *root, form)?;
        }
        Ok(())
    }

    fn check_image(&self, image: &str, root: Hash, form: &Form<'_>) -> Result<(), FilterReason> {
        match self.forms.get(&ImageRequest { root, target: form.target() }) {
            Some(Answer::Ready(_)) => Ok(()),
            Some(Answer::Short(shortage)) => Err(FilterReason::Image(shortage.message.clone())),
            None if self.forms.len() >= MOST => Err(FilterReason::Image(alloc::format!(
                "the hub keeps {MOST} forms of images for its devices, the most that it can; remove workloads that nobody needs"
            ))),
            Some(Answer::Asked) | None => {
                Err(FilterReason::Preparing(alloc::format!("{image} is being prepared for it")))
            }
        }
    }

    /// Whether a form is new and is asked for from now on. At the bound, what was asked for kinds of devices that are
    /// no more is forgotten first.
    pub fn admit(
        &mut self,
        need: &ImageRequest,
        kinds: impl FnOnce() -> BTreeSet<Platform>,
    ) -> bool {
        if self.forms.contains_key(need) {
            return false;
        }
        if self.forms.len() >= MOST {
            let kinds = kinds();
            self.forms.retain(|known, _| kinds.contains(&known.target));
        }
        let has_room = self.forms.len() < MOST;
        if has_room {
            self.forms.insert(need.clone(), Answer::Asked);
        }
        has_room
    }

    /// What a device needs of a revision's images, if all are ready.
    #[must_use]
    pub fn supply(&self, revision: &Revision, device: &Device) -> Option<(Platform, Supplied)> {
        let target = device.target(revision.resolved.runtime_class).ok()?;
        let artefacts = self.artefacts(revision, &target)?;
        Some((target, artefacts))
    }

    /// What a kind of device needs of a revision's images, if all are ready.
    #[must_use]
    pub fn artefacts(&self, revision: &Revision, target: &Platform) -> Option<Supplied> {
        let of_image = |(image, root): (&String, &Option<Hash>)| {
            let need = ImageRequest { root: (*root)?, target: target.clone() };
            match self.forms.get(&need) {
                Some(Answer::Ready(artefacts)) => Some((image.clone(), artefacts.clone())),
                Some(Answer::Asked | Answer::Short(_)) | None => None,
            }
        };
        revision.roots.iter().map(of_image).collect()
    }

    /// Writes an answer. One to what was forgotten meanwhile is of no use to anyone.
    pub fn answer(&mut self, need: &ImageRequest, answer: Answer) {
        if let Some(known) = self.forms.get_mut(need) {
            *known = answer;
        }
    }

    /// Asks anew for a form that could not be had, if that may help.
    pub fn ask_again(&mut self, need: &ImageRequest) -> bool {
        let again = matches!(self.forms.get(need), Some(Answer::Short(shortage)) if shortage.retry);
        if again {
            self.forms.insert(need.clone(), Answer::Asked);
        }
        again
    }

    /// Forgets the forms of an image that could not be had, and names them.
    pub fn take_short(&mut self, root: Hash) -> Vec<ImageRequest> {
        let short: Vec<ImageRequest> = self
            .forms
            .iter()
            .filter(|(need, answer)| need.root == root && matches!(answer, Answer::Short(_)))
            .map(|(need, _)| need.clone())
            .collect();
        for need in &short {
            self.forms.remove(need);
        }
        short
    }
}

/// Why a Pod whose image's name means nothing waits.
#[must_use]
pub fn unknown_image(image: &str) -> Waiting {
    Waiting::new(
        "ImageNotFound",
        alloc::format!(
            "the hub has no image \"{image}\"; push it with: lichen image push FILE {image}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(arch: usize) -> ImageRequest {
        ImageRequest {
            root: Hash([1; 32]),
            target: Platform::Container { arch: alloc::format!("a{arch}") },
        }
    }

    #[test]
    fn kinds_of_devices_that_are_no_more_make_room_at_the_bound() {
        let mut images = Images::default();
        let present = || BTreeSet::from([need(0).target]);
        for arch in 0..MOST {
            assert!(images.admit(&need(arch), present));
        }
        assert!(!images.admit(&need(5), present), "known already");
        assert!(images.admit(&need(MOST), present));
        assert_eq!(images.forms.len(), 2);
        assert!(!images.admit(&need(0), present), "the device that is there keeps its image");
    }

    #[test]
    fn beyond_the_bound_nothing_is_asked() {
        let mut images = Images::default();
        let all = || (0..MOST).map(|arch| need(arch).target).collect();
        for arch in 0..MOST {
            assert!(images.admit(&need(arch), all));
        }
        assert!(!images.admit(&need(MOST), all));
        assert_eq!(images.forms.len(), MOST);
    }
}
