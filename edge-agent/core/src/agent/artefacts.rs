//! The agent and its artefacts: which artefacts are needed, and which may go.

use alloc::{sync::Arc, vec::Vec};

use firmware_compat::{id::Hash, time::Instant};

use super::Agent;
use crate::{
    effect::Effect,
    event::{DISK_FULL, Failure},
    spec::PodSpec,
};

impl Agent {
    pub(super) fn fetch(&mut self, now: Instant) {
        let needed: Vec<Arc<PodSpec>> = {
            let context = self.context();
            let needs = self.pods.values().filter_map(|pod| pod.needs_artefacts(&context));
            needs.cloned().collect()
        };
        self.fetches.need(needed.iter().flat_map(|pod| pod.blobs()), &mut self.out);
        self.fetches.advance(now, &mut self.out);
    }

    /// Once everything of the assignment is where it should be, what neither it nor the one before needs may go.
    pub(super) fn retain_when_settled(&mut self) {
        let context = self.context();
        let is_settled = !context.hold
            && !context.doubt
            && !context.draining
            && self.pods.values().all(|pod| pod.is_settled(&context));
        if is_settled {
            self.retain(!self.pressure.is_disk_short());
        }
    }

    fn retain(&mut self, with_previous: bool) {
        let mut keep = self.assign.artefacts(with_previous);
        for pod in self.pods.values() {
            match pod.in_use() {
                Ok(Some(spec)) => keep.extend(spec.blobs().map(|blob| blob.digest)),
                Ok(None) => {}
                // What an unknown Pod uses is unknown: nothing may go.
                Err(()) => return,
            }
        }
        keep.extend(self.fetches.under_way());
        if self.retained.as_ref() != Some(&keep) {
            self.fetches.retained(&keep);
            self.out.push(Effect::Retain(keep.clone()));
            self.retained = Some(keep);
        }
    }

    pub(super) fn fetch_failed(&mut self, digest: Hash, failure: Failure, now: Instant) {
        self.disk_full(&failure);
        self.fetches.failed(digest, failure, now, &mut self.out);
    }

    /// Something failed. If that was for want of space, nothing is kept that is not needed now, whatever is under way.
    pub(super) fn disk_full(&mut self, failure: &Failure) {
        if failure.reason == DISK_FULL {
            self.make_room();
        }
    }

    /// Keeps only what the assignment in force needs. Where a newer one may have been lost, or none is known, everything stays.
    pub(super) fn make_room(&mut self) {
        if self.assign.in_force().is_some() && !self.doubt {
            self.retain(false);
        }
    }
}
