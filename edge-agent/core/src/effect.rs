//! Everything that an agent can ask of its shell: the one closed enum that comes out of [`crate::Agent::drain`].
//!
//! Effects are carried out in order. Those that start work say which event answers; the answer comes exactly once.

use alloc::{boxed::Box, collections::BTreeSet, sync::Arc, vec::Vec};

use firmware_compat::{
    frame::{EncodeError, Kind, Stamp, encode},
    id::{ClaimId, Hash, PodId},
    keys::PinnedHub,
    time::UnixMs,
    v1::owned::{Blob, Event, Hello, Moment, Purpose, Reply, Status, Want},
};

use crate::{
    config::SavedAssignment,
    event::{Failure, Health},
    spec::{ContainerId, PodSpec},
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Keep this assignment with its parts, and the one before it, so that both survive power loss: the steps are those of
    /// [`crate::saved::save_steps`]. One at a time.
    /// → [`crate::Event::Saved`] or [`crate::Event::SaveFailed`].
    SaveAssignment(Arc<SavedAssignment>),
    /// So late it is at least: the hub has said so and signed it. Rises with each. No answer.
    RaiseTime {
        /// Milliseconds since 1970.
        unix_ms: UnixMs,
        /// Keep it as the time floor, too: about once a day, for flash is a budget.
        save: bool,
    },
    /// Keep this as whom to believe, durably, in place of what was kept before.
    /// → [`crate::Event::HubPinned`] or [`crate::Event::PinFailed`].
    PinHub(PinnedHub),

    /// Note this in the device's logbook, where it is for who wants to know later what happened: all that the hub is told
    /// of at once as [`Up::Event`], too, and more. No answer.
    Note(Event),

    /// Connect to the broker, and go on trying (full jitter) until [`Effect::Disconnect`].
    /// → [`crate::Event::LinkUp`] and [`crate::Event::LinkDown`], as often as it happens.
    Connect,
    /// Close the connection and stay away: another device has this name. Poll the hub's API slowly and say
    /// [`crate::Event::NameFree`] once it does not have it any more.
    Disconnect,
    /// Send a message to the hub. Dropped by the shell, with [`crate::Event::SendFailed`], if it can't be queued.
    Send(Up),

    /// Bring an artefact into the store and check its digest. Continues what an earlier attempt left.
    /// → [`crate::Event::Fetched`] or [`crate::Event::FetchFailed`].
    Fetch(Blob),
    /// Nobody needs this artefact any more: end the fetch early. The fetch still answers.
    CancelFetch {
        /// Of the artefact.
        digest: Hash,
    },
    /// Keep these artefacts (and what was unpacked from them); everything else in the store may be deleted.
    /// A fetch that is under way is always in the set. No answer.
    Retain(BTreeSet<Hash>),

    /// Make what the containers of a Pod share: directories, volumes with their files, network namespace, cgroup,
    /// hostname. Sent once in the life of a Pod, and again after [`Effect::RemoveSandbox`] with `keep_volumes`.
    /// → [`crate::Event::SandboxReady`] or [`crate::Event::SandboxFailed`].
    PrepareSandbox {
        /// What it is to run.
        pod: Arc<PodSpec>,
    },
    /// Make a container ready for its next start: unpack layers, write bundle and root afresh. Sent before every start,
    /// so it must be cheap when there is nothing to do. The sandbox stands, the container's artefacts are in the store.
    /// → [`crate::Event::Prepared`] or [`crate::Event::PrepareFailed`].
    Prepare {
        /// What its Pod is to run.
        pod: Arc<PodSpec>,
        /// Which of its containers.
        container: ContainerId,
        /// Of the start that will follow.
        attempt: u32,
    },
    /// Start a container under its shim; it was prepared.
    /// → [`crate::Event::Started`] or [`crate::Event::StartFailed`].
    Start {
        /// What its Pod is to run.
        pod: Arc<PodSpec>,
        /// Which of its containers.
        container: ContainerId,
        /// How often it was started before on this device. Kept in the Pod's directory, for
        /// [`crate::event::FoundContainer`].
        attempt: u32,
    },
    /// Ask a container that runs, within the probe's timeout. Its spec has the probe.
    /// → [`crate::Event::Probed`].
    Probe {
        /// What its Pod runs.
        pod: Arc<PodSpec>,
        /// Which of its containers.
        container: ContainerId,
        /// Which start of it.
        attempt: u32,
        /// Which probe.
        purpose: Purpose,
    },
    /// Do what the spec has for the start or the end of a container that runs.
    /// → [`crate::Event::HookEnded`].
    RunHook {
        /// What its Pod runs.
        pod: Arc<PodSpec>,
        /// Which of its containers.
        container: ContainerId,
        /// Which start of it.
        attempt: u32,
        /// Which hook.
        moment: Moment,
        /// It is given up after so many milliseconds; `None`: when the container ends.
        timeout_ms: Option<u32>,
    },
    /// Keep this of the present run of a container for an agent that starts later, while it runs. Not worth a sync. No
    /// answer.
    KeepHealth {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
        /// Which start of it.
        attempt: u32,
        /// What is known.
        health: Health,
    },
    /// Keep, durably, that a Pod has failed for good, and why. No answer.
    KeepFailure {
        /// Which Pod.
        pod: PodId,
        /// Why.
        failure: Failure,
    },
    /// Stop a container that runs: signal, grace, kill. A Pod's containers are stopped by one such effect each, the last
    /// one of the spec first, all within the one grace. → [`crate::Event::Exited`].
    Stop {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
        /// Time between the stop signal and the kill, in milliseconds.
        grace_ms: u32,
    },
    /// Write the files of its configMap volumes again, in place; its containers run on. Files that are the same are not
    /// written. → [`crate::Event::FilesUpdated`] or [`crate::Event::FilesUpdateFailed`].
    UpdateFiles {
        /// What it is to run.
        pod: Arc<PodSpec>,
    },
    /// Remove what is left of the last run of a container that does not run: shim, mounts, cgroup. What says how often it
    /// was started stays. → [`crate::Event::ContainerCleaned`] or [`crate::Event::ContainerCleanFailed`].
    CleanContainer {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers.
        container: ContainerId,
    },
    /// Remove a Pod of which no container runs, with all that is left of its containers: shims, mounts, network
    /// namespace, cgroup, directory. → [`crate::Event::SandboxRemoved`] or [`crate::Event::SandboxRemoveFailed`].
    RemoveSandbox {
        /// Which Pod.
        pod: PodId,
        /// Keep its emptyDir volumes, its logs, and what says how often its containers were started and how they ended:
        /// the same Pod will be started again. Only how init containers ended is forgotten, because they run again: an
        /// agent that starts meanwhile finds them [`crate::event::FoundState::Lost`].
        keep_volumes: bool,
    },

    /// Remove the data of these claims. That it is to go is on disk before the next effect is carried out: the hub may
    /// forget them once it is told that the assignment is saved. It goes once no Pod that mounts it has anything left.
    /// No answer.
    RemoveClaims(Vec<ClaimId>),

    /// Read a container's log and send it in [`Reply`]s by `Up::Reply`, the last of them `Done` or `Failed`.
    /// → [`crate::Event::CommandEnded`].
    ReadLogs(LogRequest),
    /// End a command early. The command still answers.
    CancelCommand {
        /// The command's id.
        command: u64,
    },

    /// The agent is done: leave the process. Nothing follows.
    Quit,
}

/// What a log command asks for, checked: the container is one of the Pod's and has been started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// The command's id, for every reply.
    pub command: u64,
    /// Which Pod.
    pub pod: PodId,
    /// Which of its containers.
    pub container: ContainerId,
    /// Keep sending new lines until cancelled.
    pub follow: bool,
    /// Only so many lines from the end.
    pub tail: Option<u32>,
    /// The run before the current one.
    pub previous: bool,
    /// Put the time in front of each line.
    pub timestamps: bool,
}

/// A message to the hub. The shell adds the stamp: session and sequence are the connection's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Up {
    /// Who the device is.
    Hello(Box<Hello>),
    /// What its Pods do.
    Status(Status),
    /// Something happened.
    Event(Event),
    /// Part of an answer.
    Reply(Reply),
    /// Send me a body, or parts.
    Want(Want),
}

impl Up {
    /// The kind of frame, which names the topic.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Status(_) => Kind::Status,
            Self::Event(_) => Kind::Event,
            Self::Reply(_) => Kind::Reply,
            Self::Want(_) => Kind::Want,
        }
    }

    /// The whole frame.
    ///
    /// # Errors
    /// [`EncodeError`] if it would be longer than a frame may be. The core's own messages never are, but for a Hello
    /// with too many long labels.
    pub fn encode(&self, stamp: Stamp) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Hello(message) => encode(&**message, stamp),
            Self::Status(message) => encode(message, stamp),
            Self::Event(message) => encode(message, stamp),
            Self::Reply(message) => encode(message, stamp),
            Self::Want(message) => encode(message, stamp),
        }
    }
}

/// Why [`crate::Agent::poll_timeout`] wants waking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeReason {
    /// A Pod is to be started again.
    Restart,
    /// A step of a Pod that failed is tried again.
    Retry,
    /// A container is to be asked how it is, or a hook has had its time.
    Probe,
    /// A Pod has been active for as long as it may.
    Deadline,
    /// A fetch that failed is tried again.
    Fetch,
    /// An assignment's body, or part of it, did not come.
    Want,
    /// Saving an assignment is tried again.
    Save,
    /// The hub did not answer a Hello.
    Hello,
    /// A full report is due.
    Report,
    /// Changes were held back to travel together.
    Changes,
    /// Events were held back to spread them out.
    Events,
    /// An empty status follows the last one, in case that was lost.
    LastWord,
}
