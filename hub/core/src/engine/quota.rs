//! Keeping namespaces to their quotas: what goes over one is not made, and is made when there is room again.

use alloc::{sync::Arc, vec::Vec};

use firmware_compat::v1::owned::Severity;

use super::{Engine, changed};
use crate::{
    api::{ApiError, Key, Kind, Object, ResourceQuota, core::resource_quota::ResourceQuotaStatus},
    effect::Action,
    pod::Revision,
};

impl Engine {
    /// An object that its namespace may not have.
    pub(super) fn check_count(&self, key: &Key) -> Result<(), ApiError> {
        match self.state.over_count(key) {
            Some(why) => Err(ApiError::Forbidden(alloc::format!("{key} is forbidden: {why}"))),
            None => Ok(()),
        }
    }

    /// Whether a workload may have a Pod more. If not, that is told, and it is looked at again when there may be room.
    pub(crate) fn is_within_quota(&mut self, key: &Key, revision: &Revision) -> bool {
        let Some(why) = self.state.over_quota(&key.namespace, revision) else { return true };
        self.over_quota.insert(key.clone());
        self.record(key, Severity::Warning, "FailedCreate", why);
        false
    }

    /// Marks the workloads that may have Pods that they could not. Whether there are any.
    pub(super) fn tell_of_quota(&mut self) -> bool {
        let waiting: Vec<Key> = self.over_quota.iter().cloned().collect();
        let mut is_any = false;
        for key in waiting {
            let stored = self.state.objects.get(&key);
            let revision = stored.and_then(|stored| stored.revision.clone());
            let still = revision
                .is_some_and(|revision| self.state.over_quota(&key.namespace, &revision).is_some());
            if !still {
                is_any = true;
                self.over_quota.remove(&key);
                self.dirty.workloads.entry(key).or_default();
            }
        }
        is_any
    }

    /// Writes what is used into the quotas. Whether that has changed.
    pub(super) fn count_quotas(&mut self) -> bool {
        let quotas = self.state.objects.of_kind(Kind::ResourceQuota);
        let counted: Vec<(Key, ResourceQuota)> = quotas
            .filter_map(|(key, stored)| {
                let Object::ResourceQuota(quota) = stored.object.as_ref() else { return None };
                let used = self.state.used(quota);
                let status = ResourceQuotaStatus { hard: quota.spec.hard.clone(), used };
                let differs = status != quota.status;
                differs.then(|| (key.clone(), ResourceQuota { status, ..quota.clone() }))
            })
            .collect();
        let has_changed = !counted.is_empty();
        for (key, mut quota) in counted {
            let version = self.next_resource_version();
            quota.metadata.resource_version = alloc::format!("{version}");
            let object = Arc::new(Object::from(quota));
            self.state.objects.set_status(&key, object.clone(), version);
            self.effects.push(changed(Action::Modified, object, version));
        }
        has_changed
    }
}
