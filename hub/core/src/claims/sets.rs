//! The claims of StatefulSets: made for each Pod by its name, and deleted where the set says so.

use alloc::{string::ToString, vec::Vec};

use firmware_compat::v1::owned::Severity;

use crate::{
    api::{Key, Kind, Object, PersistentVolumeClaim, apps::stateful_set},
    engine::Engine,
};

impl Engine {
    /// Makes what is missing of the claims of a Pod of a StatefulSet.
    pub(crate) fn make_claims_of(&mut self, owner: &Key, pod: &str) {
        for claim in self.claims_of(owner, pod) {
            let claim = Object::PersistentVolumeClaim(claim);
            if self.state.objects.contains(&claim.key()) {
                continue;
            }
            if let Err(error) = self.check_room(&claim) {
                return self.record(owner, Severity::Warning, "FailedCreate", error.to_string());
            }
            let object = self.create_stored(claim, None);
            self.storage_changed(&object, true);
            self.dirty_owner(owner, None);
        }
    }

    /// Deletes the claims of a Pod of a StatefulSet.
    pub(crate) fn delete_claims_of(&mut self, owner: &Key, pod: &str) {
        for claim in self.claims_of(owner, pod) {
            let key = Object::PersistentVolumeClaim(claim).key();
            if self.state.objects.contains(&key) {
                let _there = self.delete_storage(&key);
            }
        }
    }

    fn claims_of(&self, owner: &Key, pod: &str) -> Vec<PersistentVolumeClaim> {
        let stored = self.state.objects.get(owner);
        let set = stored.and_then(|stored| stateful_set::of(&stored.object));
        set.map(|set| set.claims(pod)).unwrap_or_default()
    }

    /// A StatefulSet was deleted: its claims go with it, if it says so.
    pub(crate) fn delete_claims_of_set(&mut self, object: &Object) {
        let Some(set) = stateful_set::of(object).filter(|set| set.deletes_when_deleted()) else {
            return;
        };
        let is_of_set = |name: &str| {
            set.spec.volume_claim_templates.iter().any(|template| {
                let pod = name.strip_prefix(template.metadata.name.as_str());
                let pod = pod.and_then(|rest| rest.strip_prefix('-'));
                pod.is_some_and(|pod| set.ordinal(pod).is_some())
            })
        };
        let claims = self.state.objects.of_kind(Kind::PersistentVolumeClaim);
        let of_set: Vec<Key> = claims
            .map(|(key, _)| key)
            .filter(|key| key.namespace == set.metadata.namespace && is_of_set(&key.name))
            .cloned()
            .collect();
        for key in of_set {
            let _there = self.delete_storage(&key);
        }
    }
}
