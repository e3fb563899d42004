//! What is to be done for one workload: a pure function from what is declared and what is there to a [`Plan`], which
//! leaves no choice to whoever carries it out. Each kind has its own file; what they share is in [`rollout`] and
//! [`eviction`]. [`check`] lints every plan.

pub mod check;
mod condition;
pub mod daemon_set;
pub mod deployment;
pub mod draft;
pub mod eviction;
pub mod job;
mod placement;
pub mod pod;
pub mod rollout;
pub mod stateful_set;

use alloc::{collections::BTreeSet, string::String, sync::Arc, vec::Vec};
use core::time::Duration;

use firmware_compat::{id::PodId, time::Instant};

use crate::{
    api::{Key, Object},
    pod::{Revision, Waiting},
    state::{Owned, Progress, State, Tally},
};

/// Which devices a plan looks at. What a workload's own counts tell is looked at always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those where something changed that matters to the workload.
    Devices(BTreeSet<String>),
    /// All: the workload itself changed.
    All,
}

impl Default for Scope {
    fn default() -> Self {
        Self::Devices(BTreeSet::new())
    }
}

impl Scope {
    /// Whether it looks at a device.
    #[must_use]
    pub fn has(&self, device: &str) -> bool {
        match self {
            Self::Devices(devices) => devices.contains(device),
            Self::All => true,
        }
    }

    /// Looks at the devices of another scope too.
    pub fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Devices(devices), Self::Devices(mut more)) => {
                if more.len() > devices.len() {
                    core::mem::swap(devices, &mut more);
                }
                devices.extend(more);
            }
        }
    }

    /// Keeps some devices, in the order of their names, and gives the rest back.
    #[must_use]
    pub fn split_off(&mut self, most: usize) -> Option<Self> {
        let Self::Devices(devices) = self else { return None };
        let first = devices.iter().nth(most)?.clone();
        Some(Self::Devices(devices.split_off(&first)))
    }

    /// Looks at one device more.
    pub fn add(&mut self, device: &str) {
        if let Self::Devices(devices) = self
            && !devices.contains(device)
        {
            devices.insert(device.into());
        }
    }
}

/// What a controller sees.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The workload.
    pub key: &'a Key,
    /// What its Pods are to be of.
    pub revision: &'a Arc<Revision>,
    /// Everything that is there.
    pub state: &'a State,
    /// The devices to look at.
    pub scope: &'a Scope,
    /// Whether nothing became free since no device could take another of its Pods.
    pub no_room: bool,
    /// Steps that can be carried out now: to plan more is to plan it again.
    pub room: usize,
    /// How long a device is silent before nobody waits for it.
    pub lost_after: Duration,
    /// How far the workload was.
    pub progress: &'a Progress,
    /// What a Job has counted of its Pods.
    pub tally: &'a Tally,
    /// The time of day, for what is counted from a time that was written down.
    pub unix_ms: u64,
    /// Now.
    pub now: Instant,
}

impl View<'_> {
    /// What the workload has.
    #[must_use]
    pub fn owned(&self) -> Option<&Owned> {
        self.state.pods.owned(self.key)
    }
}

/// Why a Pod is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There are more than declared.
    Excess,
    /// Its device has a taint that it does not tolerate.
    Evicted,
    /// Its device has been silent for too long, and there is a place elsewhere.
    Lost,
    /// It is of an older revision and does not run.
    Unhealthy,
    /// It is of an older revision, and its turn has come.
    Updated,
    /// Its device is none of those that should have one.
    Unwanted,
    /// Its device's assignment has no room for it, and that of another one has.
    TooLarge,
    /// A Pod of the workload that is planned matters more, and takes its place. It is another workload's.
    Preempted,
    /// Its device has been silent for too long.
    Gone,
    /// Its Job is suspended.
    Suspended,
    /// Its Job has ended.
    Ended,
    /// It has ended, and newer ones of its Job have too.
    Outlived,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a Pod of the newest revision.
    Create {
        /// On this device.
        device: Option<String>,
        /// Its number, where each has one.
        index: Option<u32>,
        /// Pods there whose end it waits for.
        after: Vec<PodId>,
        /// Why it is not part of the device's assignment, or on no device.
        waiting: Option<Waiting>,
    },
    /// Make the Pod of this name of a StatefulSet. There is none.
    CreateNamed {
        /// Its name.
        name: String,
        /// Hash of its revision.
        revision: String,
        /// On this device.
        device: Option<String>,
        /// Why it is on no device.
        waiting: Option<Waiting>,
    },
    /// Make what is missing of the claims of a Pod of a StatefulSet.
    MakeClaims {
        /// The Pod's name.
        pod: String,
    },
    /// Delete the claims of a Pod of a StatefulSet; they stay as long as it is there.
    DeleteClaims {
        /// The Pod's name.
        pod: String,
    },
    /// Give a Pod a device.
    Bind {
        /// The Pod.
        pod: PodId,
        /// The device.
        device: String,
        /// Pods there whose end it waits for.
        after: Vec<PodId>,
    },
    /// Make a bound Pod part of its device's assignment.
    Admit {
        /// The Pod.
        pod: PodId,
        /// Pods there whose end it waits for.
        after: Vec<PodId>,
    },
    /// Say why a Pod waits.
    Wait {
        /// The Pod.
        pod: PodId,
        /// Why.
        waiting: Waiting,
    },
    /// Make a Pod that no device was ever told of one of the newest revision.
    Renew {
        /// The Pod.
        pod: PodId,
    },
    /// Count how a Job's Pod ended.
    Count {
        /// The Pod.
        pod: PodId,
        /// Whether it ended well.
        succeeded: bool,
    },
    /// Ask a Pod to go.
    Delete {
        /// The Pod.
        pod: PodId,
        /// Why.
        why: Why,
    },
}

/// What could not be done, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Pods that no device can take, or that should leave a silent one and have no place elsewhere.
    pub no_place: usize,
}

/// What is to be done for a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// What could not be done.
    pub report: Report,
    /// Whether more is to be done than there was room for.
    pub more: bool,
    /// Whether the time of the workload itself has come: it is deleted.
    pub is_over: bool,
}

/// What is to be done for a workload.
#[must_use]
pub fn plan(object: &Object, view: &View<'_>) -> Plan {
    match object {
        Object::Deployment(deployment) => deployment::plan(deployment, view),
        Object::DaemonSet(set) => daemon_set::plan(set, view),
        Object::Job(job) => job::plan(job, view),
        Object::Pod(_) => pod::plan(view),
        Object::StatefulSet(set) => stateful_set::plan(set, view),
        _ => Plan::default(),
    }
}

/// A workload's status after its plan was carried out; none if it has none or it is as it was.
#[must_use]
pub fn status(object: &Object, view: &View<'_>, unix_ms: u64) -> Option<Object> {
    match object {
        Object::Deployment(deployment) => deployment::status(deployment, view, unix_ms),
        Object::DaemonSet(set) => daemon_set::status(set, view),
        Object::StatefulSet(set) => stateful_set::status(set, view),
        Object::Job(job) => job::status(job, view, unix_ms),
        _ => None,
    }
}

/// When a workload is to be looked at again, whatever happens to its Pods.
#[must_use]
pub fn deadline(object: &Object, view: &View<'_>) -> Option<Instant> {
    match object {
        Object::Deployment(deployment) => deployment::deadline(deployment, view),
        Object::Job(job) => job::deadline(job, view),
        _ => None,
    }
}

/// How long a Pod of a workload must be ready before it counts as available.
#[must_use]
pub fn min_ready(object: &Object) -> Duration {
    let seconds = match object {
        Object::Deployment(deployment) => deployment.spec.min_ready_seconds,
        Object::DaemonSet(set) => set.spec.min_ready_seconds,
        Object::StatefulSet(set) => set.spec.min_ready_seconds,
        _ => None,
    };
    Duration::from_secs(seconds.unwrap_or(0).into())
}

/// How many old revisions of a workload are kept.
#[must_use]
pub fn history(object: &Object) -> usize {
    /// As Kubernetes has it.
    const HISTORY: u32 = 10;
    let limit = match object {
        Object::Deployment(deployment) => deployment.spec.revision_history_limit,
        Object::DaemonSet(set) => set.spec.revision_history_limit,
        Object::StatefulSet(set) => set.spec.revision_history_limit,
        _ => None,
    };
    limit.unwrap_or(HISTORY) as usize
}

/// Whether a workload's updates are held.
#[must_use]
pub fn is_paused(object: &Object) -> bool {
    matches!(object, Object::Deployment(deployment) if deployment.spec.paused.unwrap_or(false))
}
