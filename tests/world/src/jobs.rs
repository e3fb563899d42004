//! Jobs of a history: what operators declare, and what no hub may count.

use std::collections::{BTreeMap, BTreeSet};

use firmware_compat::id::PodId;
use lichen_hub_core::{
    api::{Key, Kind, Object},
    record::ObjectRecord,
};
use serde_json::json;

use crate::{World, manifests::Workload};

/// A Job, as an operator declares it. Its program ends well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    pub completions: u32,
    pub parallelism: u32,
    pub indexed: bool,
}

/// What a Job's Pods run.
pub const IMAGE: &str = "brief:1";

impl Work {
    /// The object of the API.
    pub fn object(&self, name: &str) -> Option<Object> {
        let mode = if self.indexed { "Indexed" } else { "NonIndexed" };
        let json = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "completions": self.completions,
                "parallelism": self.parallelism,
                "completionMode": mode,
                "template": {"spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "main", "image": IMAGE}],
                }},
            },
        });
        Object::from_json(Kind::Job, json.to_string().as_bytes()).ok()
    }

    /// Whether this is it.
    pub fn is(&self, object: &Object) -> bool {
        let Object::Job(job) = object else { return false };
        job.spec.completions == Some(self.completions)
            && job.parallelism() == self.parallelism
            && job.indexes().is_some() == self.indexed
    }
}

/// A workload that goes wherever a Job's Pods go.
pub fn anywhere() -> Workload {
    Workload {
        replicas: Some(1),
        image: IMAGE.to_owned(),
        init: false,
        beside: None,
        wasm: false,
        version: 1,
        selector: None,
        config: None,
        secret: None,
        tolerates: false,
        memory_mi: 0,
    }
}

/// What the checks remember of Jobs.
#[derive(Debug, Default)]
pub struct Jobs {
    /// Pods whose program has really ended well, on whichever board.
    ended_well: BTreeSet<PodId>,
    /// The Job of each Pod that there ever was, by uid.
    of: BTreeMap<PodId, String>,
    /// Whether the Job of a name has ended, as the hub's store has it.
    ended: BTreeMap<String, bool>,
}

impl Jobs {
    /// A program ended by itself.
    pub fn program_ended(&mut self, pod: PodId, code: i32) {
        if code == 0 {
            self.ended_well.insert(pod);
        }
    }

    /// The hub's store has a Pod of a Job.
    pub fn has_pod(&mut self, pod: PodId, owner_uid: &str) {
        self.of.insert(pod, owner_uid.to_owned());
    }

    /// Whether a Job has ended.
    pub fn has_ended(&self, name: &str) -> bool {
        self.ended.get(name).copied().unwrap_or(false)
    }
}

impl World {
    /// Looks at a Job that the hub saves: it has done no more than it is to do, and no more than was done.
    pub(crate) fn judge_job(&mut self, key: &Key, stored: Option<&ObjectRecord>) {
        let object =
            stored.and_then(|stored| Object::from_value(Kind::Job, stored.object.clone()).ok());
        let Some(Object::Job(job)) = object else {
            self.audit.jobs.ended.remove(&key.name);
            return;
        };
        self.audit.jobs.ended.insert(key.name.clone(), job.end().is_some());
        let succeeded = job.status.succeeded;
        let wanted = job.spec.completions.unwrap_or(u32::MAX);
        let jobs = &self.audit.jobs;
        let own = jobs.of.iter().filter(|(_, uid)| **uid == job.metadata.uid);
        let done = own.filter(|(pod, _)| jobs.ended_well.contains(*pod)).count();
        let what = if succeeded > wanted {
            format!("job {} has {succeeded} of {wanted} completions", key.name)
        } else if succeeded as usize > done {
            format!("job {} counts {succeeded} completions, and {done} Pods ended well", key.name)
        } else {
            return;
        };
        self.fail("job-counts-once", &what);
    }
}
