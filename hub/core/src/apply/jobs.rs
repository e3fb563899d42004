//! What Jobs and Pods without a workload need beside Pods that come and go: counting, one save for a count and its mark, a
//! Pod that is its own object.

use alloc::{format, string::String, sync::Arc};

use firmware_compat::{id::PodId, v1::owned::Severity};

use crate::{
    api::{Job, Key, Kind, Object, batch::job::JobStatus},
    controller::{Why, job},
    engine::Engine,
    pod::{self, Pod, Revision},
    record,
};

/// What a new Pod is called.
pub(crate) struct Made {
    /// Its uid.
    pub id: PodId,
    /// Its name.
    pub name: String,
    /// Its number, if it has one.
    pub index: Option<u32>,
}

impl Engine {
    /// Makes a Pod that no device knows of another revision: same name, same uid.
    pub(super) fn renew_pod(&mut self, id: PodId, revision: &Arc<Revision>) {
        let Some(known) = self.state.pods.get(id).filter(|pod| !pod.assigned) else { return };
        let mut pod = known.clone();
        pod.identity = pod::identity(id, pod.namespace(), &pod.name, revision);
        pod.revision = revision.clone();
        (pod.supply, pod.waiting) = (None, None);
        let owner = pod.owner.clone();
        self.state.pods.insert(pod, self.now);
        self.dirty.pods.insert(id);
        self.touch_pod(id);
        self.dirty_owner(&owner, None);
    }

    /// Marks a Pod as counted, and counts it: both are in one save.
    pub(super) fn count_pod(&mut self, id: PodId, succeeded: bool) {
        let Some(pod) = self.state.pods.get(id).filter(|pod| !pod.counted) else { return };
        let (owner, uid, index) = (pod.owner.clone(), pod.owner_uid.clone(), pod.index);
        self.change_pod(id, |pod| pod.counted = true);
        self.dirty.pods.insert(id);
        let Some(stored) = self.state.objects.get(&owner) else { return };
        let Object::Job(job) = stored.object.as_ref() else { return };
        if job.metadata.uid != uid || job.end().is_some() {
            return;
        }
        let (mut tally, mut job) = (stored.tally.clone(), job.clone());
        tally.count(index, succeeded, self.now);
        tally.write(job.indexes(), &mut job.status);
        self.save_object(&owner, &Object::Job(job));
        self.state.objects.set_tally(&owner, tally);
        self.dirty_owner(&owner, None);
    }

    /// A Pod that its Job lets go of is no failure of the Job's.
    pub(super) fn before_delete(&mut self, id: PodId, why: Why) {
        let Some(pod) = self.state.pods.get(id).filter(|pod| pod.owner.kind == Kind::Job) else {
            return;
        };
        let (owner, name) = (pod.owner.clone(), pod.name.clone());
        if matches!(why, Why::Lost | Why::Evicted | Why::Preempted) {
            return;
        }
        self.change_pod(id, |pod| pod.counted = true);
        self.dirty.pods.insert(id);
        self.record(&owner, Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
    }

    /// A Job's Pod that goes before it was counted counts now.
    pub(super) fn count_gone(&mut self, id: PodId) {
        let Some(pod) = self.state.pods.get(id).filter(|pod| pod.owner.kind == Kind::Job) else {
            return;
        };
        let succeeded = job::outcome(pod).unwrap_or(false);
        self.count_pod(id, succeeded);
    }

    /// The object of a Pod that no workload made goes with it.
    pub(super) fn drop_bare(&mut self, gone: &Pod) {
        let is_own = |object: &Object| object.meta().uid == gone.owner_uid;
        let stored = self.state.objects.get(&gone.owner).filter(|_| gone.owner.kind == Kind::Pod);
        if stored.is_some_and(|stored| is_own(&stored.object)) {
            self.state.objects.remove(&gone.owner);
            self.records.insert(record::object_key(&gone.owner), None);
        }
    }

    /// Deletes a workload whose time has come.
    pub(super) fn delete_expired(&mut self, key: &Key) {
        // It was there when its plan was made.
        let _gone = self.delete_object(key);
    }

    /// Tells of what a Job's new status says for the first time. Whether it is to be saved: what follows from the Pods that
    /// are there is not.
    pub(super) fn tell_of_job(&mut self, object: &Object) -> bool {
        let Object::Job(new) = object else { return false };
        let key = object.key();
        let old = self.state.objects.get(&key).map(|stored| stored.object.clone());
        let Some(Object::Job(old)) = old.as_deref() else { return false };
        for (severity, reason, message) in news(old, new) {
            self.record(&key, severity, &reason, message);
        }
        let lasting = |status: &JobStatus| JobStatus {
            active: 0,
            ready: 0,
            terminating: 0,
            ..status.clone()
        };
        lasting(&old.status) != lasting(&new.status)
    }
}

/// What changed between two states of a Job, as its events.
fn news(old: &Job, new: &Job) -> impl Iterator<Item = (Severity, String, String)> {
    let is_known = |kind: &str, status: &str| {
        old.status.conditions.iter().any(|known| known.kind == kind && known.status == status)
    };
    let changed = new.status.conditions.iter().filter(move |c| !is_known(&c.kind, &c.status));
    changed.map(|condition| match (condition.kind.as_str(), condition.status.as_str()) {
        ("Complete", _) => (Severity::Normal, "Completed".into(), "Job completed".into()),
        ("Suspended", "True") => (Severity::Normal, "Suspended".into(), "Job suspended".into()),
        ("Suspended", _) => (Severity::Normal, "Resumed".into(), "Job resumed".into()),
        _ => (Severity::Warning, condition.reason.clone(), condition.message.clone()),
    })
}
