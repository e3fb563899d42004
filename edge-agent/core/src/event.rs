//! Everything that can happen to an agent: the one closed enum that the shell feeds to [`crate::Agent::handle`].
//!
//! Each [`crate::Effect`] that starts work names the event that answers it; the shell sends that answer exactly once.
//! An answer that nobody waits for any more is harmless.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use firmware_compat::{
    id::{Generation, Hash, PodId},
    keys::PinnedHub,
    time::UnixMs,
    v1::owned::{Exit, Moment, NodeCondition, Purpose, Runtime, WasmSupport},
};

use crate::{effect::Up, spec::ContainerId};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The wall clock reads `unix_ms` now. Sent before everything else and whenever the clock was set. Only shown to
    /// people, never used to decide.
    Clock {
        /// Milliseconds since 1970.
        unix_ms: UnixMs,
    },
    /// What earlier runs left on this device. Sent once at the start, maybe empty: nothing is started before it.
    Found(Found),
    /// The operator allows the next foreign lineage to take this device over (a flag at start). Holds until one did.
    AdoptLineage,
    /// The engines that were found changed, or were tried again.
    Runtimes {
        /// Every engine that was looked for.
        runtimes: Vec<Runtime>,
        /// Absent if the device runs no Wasm.
        wasm: Option<WasmSupport>,
    },

    /// How much there is left of what the device has. Said now and then, first before [`Event::Found`].
    Measured(Measured),
    /// The shell knows of this condition by itself.
    Condition(NodeCondition),

    /// The shell keeps this as whom to believe, durably: learned at the first contact with the hub, or the answer to
    /// [`crate::Effect::PinHub`].
    HubPinned(PinnedHub),
    /// Answers [`crate::Effect::PinHub`]: what was kept before is still there.
    PinFailed {
        /// Why.
        message: String,
    },

    /// A new connection to the broker stands and its subscriptions are acknowledged.
    LinkUp {
        /// The number that was drawn for it: the session of the frames that are sent in it.
        session: u32,
    },
    /// The connection broke. Harmless if there was none.
    LinkDown,
    /// The broker closed the connection because another one used this device's name.
    TakenOver,
    /// Nobody uses this device's name any more. Heard by the shell's slow poll after [`crate::Effect::Disconnect`].
    NameFree,
    /// Something came on a topic of this device: of the hub, perhaps.
    Heard {
        /// On a topic that every device reads, not on this device's own.
        to_all: bool,
        /// Untrusted.
        frame: Vec<u8>,
    },
    /// [`crate::Effect::Send`] could not be done (queue full, too long). Not sent for messages that were handed to MQTT.
    SendFailed(Up),

    /// Answers [`crate::Effect::SaveAssignment`]: it survives power loss.
    Saved {
        /// Of the assignment that was saved.
        generation: Generation,
    },
    /// Answers [`crate::Effect::SaveAssignment`]: what was saved before is still there.
    SaveFailed {
        /// Of the assignment that was not saved.
        generation: Generation,
        /// Why.
        failure: Failure,
    },

    /// Answers [`crate::Effect::Fetch`]: the bytes are in the store, their digest was checked.
    Fetched {
        /// Of the artefact.
        digest: Hash,
    },
    /// Answers [`crate::Effect::Fetch`], also after [`crate::Effect::CancelFetch`]. What has arrived is kept for next time.
    FetchFailed {
        /// Of the artefact.
        digest: Hash,
        /// Why.
        failure: Failure,
    },

    /// Artefacts in the store are not what they were: they count as missing. What runs of them runs on.
    Damaged {
        /// Which.
        digests: Vec<Hash>,
        /// What is wrong with them, in words.
        message: String,
    },

    /// Answers [`crate::Effect::PrepareSandbox`].
    SandboxReady {
        /// Which Pod.
        pod: PodId,
    },
    /// Answers [`crate::Effect::PrepareSandbox`]. What was made of it may stay: it is made again, or removed.
    SandboxFailed {
        /// Which Pod.
        pod: PodId,
        /// Why.
        failure: Failure,
    },
    /// Answers [`crate::Effect::Prepare`].
    Prepared {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
    },
    /// Answers [`crate::Effect::Prepare`].
    PrepareFailed {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
        /// Why.
        failure: Failure,
        /// Artefacts that turned out to be missing or damaged: they are fetched again.
        missing: Vec<Hash>,
    },
    /// Answers [`crate::Effect::Start`]. Is followed by one [`Event::Exited`] when the container ends.
    Started {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
        /// Process id on the device.
        pid: u32,
        /// When, by the device's clock.
        started_ms: UnixMs,
    },
    /// Answers [`crate::Effect::Start`].
    StartFailed {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
        /// Why.
        failure: Failure,
    },
    /// A container that was started or found running has ended, by itself or by [`crate::Effect::Stop`].
    Exited {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
        /// How. Reason `Lost` if nobody knows.
        exit: Exit,
    },
    /// Answers [`crate::Effect::Probe`].
    Probed {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
        /// Which start of it.
        attempt: u32,
        /// Which probe.
        purpose: Purpose,
        /// What came of it.
        answer: Answer,
    },
    /// Answers [`crate::Effect::RunHook`].
    HookEnded {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
        /// Which start of it.
        attempt: u32,
        /// Which hook.
        moment: Moment,
        /// Why it failed, if it did.
        failure: Option<String>,
    },
    /// Answers [`crate::Effect::UpdateFiles`].
    FilesUpdated {
        /// Which Pod.
        pod: PodId,
    },
    /// Answers [`crate::Effect::UpdateFiles`].
    FilesUpdateFailed {
        /// Which Pod.
        pod: PodId,
        /// Why.
        failure: Failure,
    },
    /// Answers [`crate::Effect::CleanContainer`].
    ContainerCleaned {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
    },
    /// Answers [`crate::Effect::CleanContainer`].
    ContainerCleanFailed {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
        /// Why.
        failure: Failure,
    },
    /// Answers [`crate::Effect::RemoveSandbox`].
    SandboxRemoved {
        /// Which Pod.
        pod: PodId,
    },
    /// Answers [`crate::Effect::RemoveSandbox`].
    SandboxRemoveFailed {
        /// Which Pod.
        pod: PodId,
        /// Why.
        failure: Failure,
    },

    /// Answers [`crate::Effect::ReadLogs`], also after [`crate::Effect::CancelCommand`]: its last reply was sent.
    CommandEnded {
        /// The command's id.
        command: u64,
    },

    /// The agent is to end. Answered by [`crate::Effect::Quit`].
    Shutdown {
        /// Stop every Pod first. Otherwise they go on under their shims and the next agent adopts them.
        drain: bool,
    },
}

/// What is left, and who uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Bytes of memory that processes can have.
    pub memory: Room,
    /// Bytes of the file system that holds the state directory.
    pub disk: Room,
    /// Its inodes.
    pub inodes: Room,
    /// Process ids.
    pub pids: Room,
    /// Of the volumes that [`crate::Agent::to_measure`] has named.
    pub volumes: Vec<VolumeUse>,
    /// Of the Pods that it has named.
    pub pods: Vec<PodUse>,
}

/// So much of so much. Nothing of nothing if it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What is left.
    pub free: u64,
    /// What there is.
    pub total: u64,
}

/// What an emptyDir holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUse {
    /// Whose.
    pub pod: PodId,
    /// Its name.
    pub volume: String,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// What a Pod uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodUse {
    /// Which.
    pub pod: PodId,
    /// Of its processes: what could not be taken from them without a loss.
    pub memory_bytes: u64,
    /// What they asked for.
    pub memory_request_bytes: u64,
    /// Of its emptyDirs.
    pub disk_bytes: u64,
}

/// A step failed for want of space on the disk.
pub const DISK_FULL: &str = "DiskFull";

/// A fetch brought other bytes than those that were asked for.
pub const DIGEST_MISMATCH: &str = "DigestMismatch";

/// Why something could not be done. Reason [`DISK_FULL`], of any step, makes the core give up artefacts that only the
/// assignment before needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// CamelCase reason; empty for the usual one of the step.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// What came of asking a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is well.
    Good,
    /// It is not, in words.
    Bad(String),
    /// It could not be asked, in words.
    Unknown(String),
}

/// What an agent that starts later is to know of a container that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Its hook after the start has ended, or there is none.
    pub hooked: bool,
    /// It has come up.
    pub started: bool,
    /// It is of use.
    pub ready: bool,
}

/// What earlier runs left on this device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Every Pod that has a run directory or a shim.
    pub pods: Vec<FoundPod>,
    /// Every artefact in the store that is whole (its digest was checked when it was stored).
    pub artefacts: Vec<Hash>,
}

/// One Pod that earlier runs left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPod {
    /// Which Pod.
    pub pod: PodId,
    /// Of the spec that it runs or ran. `None` if its directory does not say.
    pub identity: Option<Hash>,
    /// Whether its sandbox stands: network namespace, cgroup, mounts. Not after the device was switched off, nor if only
    /// a part of it is there.
    pub sandbox: bool,
    /// How long ago its sandbox was made, if that was in this boot.
    pub age: Duration,
    /// Why it has failed for good, if it has.
    pub failed: Option<Failure>,
    /// Every container that was ever prepared, and is not gone.
    pub containers: Vec<FoundContainer>,
}

/// One container that earlier runs left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundContainer {
    /// Which of the Pod's containers.
    pub container: ContainerId,
    /// Its name, by which a hub asks for its log.
    pub name: String,
    /// How often it had been started again: the `attempt` of its last [`crate::Effect::Start`].
    pub restarts: u32,
    /// How the run before the last one ended, if its directory says.
    pub last_exit: Option<Exit>,
    /// What became of it.
    pub state: FoundState,
    /// What was kept of its health, if it runs.
    pub health: Option<Health>,
    /// How long ago it was started, if it runs.
    pub age: Duration,
}

/// What became of a container while no agent watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// It was prepared and never started.
    Created,
    /// It runs, and the shell watches it from now on: [`Event::Exited`] will come when it ends.
    Running {
        /// Process id on the device.
        pid: u32,
        /// When it started, by the device's clock.
        started_ms: UnixMs,
    },
    /// It ended.
    Exited(Exit),
    /// Nobody knows: the device lost power, or its shim was killed. Nothing of it runs.
    Lost,
}
