//! The revisions of each workload, saved once: a Pod refers to its own by hash. What ReplicaSets show and
//! `rollout history` and `undo` read.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use firmware_compat::time::UnixMs;

use crate::{
    api::{Key, meta::Map},
    pod::Revision,
};

/// A revision that is saved.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The workload.
    pub owner: Key,
    /// Its template and images.
    pub revision: Arc<Revision>,
    /// Rises with every revision of the workload that becomes the newest, also when an old one does again.
    pub number: u64,
    /// When it was first the newest.
    pub created_ms: UnixMs,
    /// Annotations of the workload while it was the newest: why it was made, if somebody said so.
    pub annotations: Map,
    /// Whether all Pods of the workload were of it and available once, since it became the newest.
    pub complete: bool,
    /// What the API shows of it; nothing once its workload is gone.
    pub shown: Option<Shown>,
}

/// What the API shows of a revision, beside what never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Of its last change.
    pub resource_version: u64,
    /// Its number then.
    pub number: u64,
    /// Its annotations then.
    pub annotations: Map,
    /// Its Pods then.
    pub counts: Counts,
}

/// The Pods of a revision of a Deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many the Deployment wants.
    pub wanted: u32,
    /// How many there are.
    pub replicas: u32,
    /// How many of them run.
    pub ready: u32,
    /// How many of them have been ready for long enough.
    pub available: u32,
    /// How long that is, if the Deployment says so.
    pub min_ready_seconds: Option<u32>,
}

/// Every saved revision, by uid of the workload and hash.
#[derive(Clone, Debug, Default)]
pub struct Revisions {
    saved: BTreeMap<String, BTreeMap<String, Saved>>,
}

impl Revisions {
    /// The revisions of a workload, by hash.
    pub fn of(&self, owner_uid: &str) -> impl Iterator<Item = &Saved> {
        self.saved.get(owner_uid).into_iter().flat_map(BTreeMap::values)
    }

    /// Every revision, by uid of its workload and hash.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Saved)> {
        self.saved.iter().flat_map(|(uid, of)| of.values().map(move |saved| (uid.as_str(), saved)))
    }

    /// One revision.
    #[must_use]
    pub fn get(&self, owner_uid: &str, hash: &str) -> Option<&Saved> {
        self.saved.get(owner_uid)?.get(hash)
    }

    /// The newest of a workload.
    #[must_use]
    pub fn newest(&self, owner_uid: &str) -> Option<&Saved> {
        self.of(owner_uid).max_by_key(|saved| saved.number)
    }

    /// One that means the same, however it was written.
    #[must_use]
    pub fn meaning(&self, owner_uid: &str, revision: &Revision) -> Option<&Saved> {
        self.of(owner_uid).find(|saved| saved.revision.means(revision))
    }

    /// Saves a revision.
    pub fn insert(&mut self, owner_uid: &str, saved: Saved) {
        let hash = saved.revision.hash.clone();
        self.saved.entry(owner_uid.to_owned()).or_default().insert(hash, saved);
    }

    /// Notes what the API shows of a revision.
    pub fn show(&mut self, owner_uid: &str, hash: &str, shown: Option<Shown>) {
        if let Some(saved) = self.saved.get_mut(owner_uid).and_then(|of| of.get_mut(hash)) {
            saved.shown = shown;
        }
    }

    /// Forgets a revision.
    pub fn remove(&mut self, owner_uid: &str, hash: &str) {
        if let Some(of) = self.saved.get_mut(owner_uid) {
            of.remove(hash);
            if of.is_empty() {
                self.saved.remove(owner_uid);
            }
        }
    }

    /// The revisions of a workload that go: those without Pods, but for the newest and `keep` before it. One whose image
    /// was never known goes always: no Pod of it ever ran, and the next has the same template.
    #[must_use]
    pub fn outlived(
        &self,
        owner_uid: &str,
        keep: usize,
        has_pods: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut of: Vec<&Saved> = self.of(owner_uid).collect();
        of.sort_by_key(|saved| core::cmp::Reverse(saved.number));
        let mut kept = 0;
        of.into_iter()
            .skip(1)
            .filter(|saved| !has_pods(&saved.revision.hash))
            .filter(|saved| {
                let is_real = saved.revision.unknown_image().is_none();
                kept += usize::from(is_real);
                !is_real || kept > keep
            })
            .map(|saved| saved.revision.hash.clone())
            .collect()
    }
}
