//! What a device says of its Pods. Compiled once per form, see [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{AssignmentId, List, Text, capacity};
use crate::id::{Hash, PodId};

/// Where a Pod stands as a whole. What each container does is in its own status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Something must happen first: see the reason.
    Waiting,
    /// Its artefacts are being fetched or unpacked, or its sandbox is being made.
    Fetching,
    /// Its init containers run, or its containers are being started.
    Starting,
    /// Every container runs, or has completed while another runs.
    Running,
    /// A container ended and will be started again after a delay.
    Backoff,
    /// It was asked to stop.
    Stopping,
    /// Every container ended with code 0 and stays so.
    Succeeded,
    /// A container ended otherwise, and none is started any more.
    Failed,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 plus the signal's number if a signal ended it.
    pub code: i32,
    /// Kubernetes' words: `Completed`, `Error`, `OOMKilled`, `StartError`, `Lost`.
    pub reason: Text<{ capacity::REASON }>,
    /// Its last word, or more for people; may be empty.
    pub message: Text<{ capacity::EXIT_MESSAGE }>,
    /// When it started, by the device's clock, in milliseconds since 1970; 0 if nobody knows.
    pub started_ms: u64,
    /// When, by the device's clock, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What one Pod does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    /// Which Pod.
    pub id: PodId,
    /// Of the spec that it runs, or is to run.
    pub identity: Hash,
    /// Where it stands.
    pub phase: Phase,
    /// CamelCase reason for a phase other than running; may be empty.
    pub reason: Text<{ capacity::REASON }>,
    /// The reason in words; may be empty.
    pub message: Text<{ capacity::MESSAGE }>,
    /// Of each init container, in the spec's order.
    pub init_containers: List<ContainerStatus, { capacity::INIT_CONTAINERS }>,
    /// Of each container, in the spec's order.
    pub containers: List<ContainerStatus, { capacity::CONTAINERS }>,
}

/// What one container does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// As the spec has it.
    pub name: Text<{ capacity::NAMESPACE }>,
    /// Where it stands.
    pub state: ContainerState,
    /// How it ended the last time before its present state. Kubernetes' `lastState.terminated`.
    pub last_exit: Option<Exit>,
    /// How often it was started again on this device.
    pub restarts: u32,
    /// A container that runs on: whether it runs and is of use, by its readiness probe. An init container: whether it ended
    /// with code 0.
    pub ready: bool,
    /// Whether it runs and has come up: its hook has ended, and its startup probe has succeeded.
    pub started: bool,
    /// What it runs, or is to run: the digest of the image's configuration, of the module, of the firmware. All zero if
    /// nobody knows.
    pub image: Hash,
}

/// Where a container stands. Kubernetes' `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// It does not run, and will.
    Waiting {
        /// CamelCase: `PodInitializing`, `CrashLoopBackOff`, …
        reason: Text<{ capacity::REASON }>,
        /// In words.
        message: Text<{ capacity::CONTAINER_MESSAGE }>,
    },
    /// It runs.
    Running {
        /// Process id on the device.
        pid: u32,
        /// When it started, by the device's clock, in milliseconds since 1970.
        started_ms: u64,
    },
    /// It ended and stays so.
    Terminated(Exit),
}

/// What the Pods of a device do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The assignment that the device has saved.
    pub assignment: Option<AssignmentId>,
    /// Whether the device holds no Pod but those in this report and the parts that follow it.
    pub full: bool,
    /// More frames of the same report follow.
    pub more: bool,
    /// New state of each.
    pub pods: List<PodStatus, { capacity::STATUS_PODS }>,
    /// Pods that no longer exist on the device: nothing of them is left.
    pub removed: List<PodId, { capacity::STATUS_PODS }>,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// For the record.
    Normal,
    /// Someone should look.
    Warning,
}

/// Something happened on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The Pod that it is about; absent for the device itself.
    pub pod: Option<PodId>,
    /// How much it matters.
    pub severity: Severity,
    /// CamelCase reason.
    pub reason: Text<{ capacity::REASON }>,
    /// In words.
    pub message: Text<{ capacity::MESSAGE }>,
    /// When, by the device's clock, in milliseconds since 1970.
    pub at_ms: u64,
}
