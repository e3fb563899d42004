//! What a hollow device has instead of a machine: a disk, a store and a runtime in memory, which answer at once. One
//! device has a real disk for its assignments, so that what is written to it can be counted.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use firmware_compat::{
    id::PodId,
    v1::owned::{Exit, Text},
};
use lichen_agent::state::StateDir;
use lichen_agent_core::{
    ContainerId, Effect, Event, SavedAssignment,
    event::{Answer, Failure},
};

/// What all devices of a fleet have done, counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections that stand.
    pub connected: AtomicUsize,
    /// Connections that came up, ever.
    pub connects: AtomicUsize,
    /// Containers that were started, ever.
    pub starts: AtomicUsize,
    /// Containers that run.
    pub running: AtomicUsize,
    /// Assignments that were saved, ever.
    pub saves: AtomicUsize,
    /// Devices that stay away because another one seemed to have their name.
    pub away: AtomicUsize,
}

/// One device's machine. Its owner is the device's task; a scenario may look at it and end what runs.
#[derive(Debug, Default)]
pub struct Machine {
    running: Mutex<BTreeSet<(PodId, ContainerId)>>,
    disk: Option<StateDir>,
}

impl Machine {
    /// A machine whose assignments are saved in a state directory, as a real agent does it.
    #[must_use]
    pub fn with_disk(disk: StateDir) -> Self {
        Self { disk: Some(disk), ..Self::default() }
    }

    /// Bytes written to its disk; none where it is in memory.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.disk.as_ref().map_or(0, |disk| disk.written().bytes())
    }

    fn save(&self, assignment: &SavedAssignment) -> Event {
        let generation = assignment.id.generation;
        let saved = self.disk.as_ref().map_or(Ok(()), |disk| disk.save_assignment(assignment));
        match saved {
            Ok(()) => Event::Saved { generation },
            Err(error) => Event::SaveFailed {
                generation,
                failure: Failure { reason: String::new(), message: error.to_string() },
            },
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeSet<(PodId, ContainerId)>> {
        // No code panics while it holds the lock.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends one of the processes that run, as a crash would: what the agent is told of it.
    pub fn crash_one(&self, counts: &Counts) -> Option<Event> {
        let (pod, container) = self.running().pop_first()?;
        counts.running.fetch_sub(1, Relaxed);
        Some(Event::Exited { pod, container, exit: exit(1) })
    }

    /// Does what the core asks of a machine, and says what came of it.
    pub fn perform(&self, effect: &Effect, counts: &Counts) -> Option<Event> {
        Some(match effect {
            Effect::SaveAssignment(assignment) => {
                counts.saves.fetch_add(1, Relaxed);
                self.save(assignment)
            }
            Effect::Fetch(blob) => Event::Fetched { digest: blob.digest },
            Effect::PrepareSandbox { pod } => Event::SandboxReady { pod: pod.id },
            Effect::Prepare { pod, container, .. } => {
                Event::Prepared { pod: pod.id, container: *container }
            }
            Effect::Start { pod, container, .. } => {
                self.running().insert((pod.id, *container));
                counts.running.fetch_add(1, Relaxed);
                let pid = counts.starts.fetch_add(1, Relaxed).wrapping_add(1);
                let pid = u32::try_from(pid).unwrap_or(u32::MAX);
                Event::Started { pod: pod.id, container: *container, pid, started_ms: unix_ms() }
            }
            Effect::Stop { pod, container, .. } => {
                if self.running().remove(&(*pod, *container)) {
                    counts.running.fetch_sub(1, Relaxed);
                }
                Event::Exited { pod: *pod, container: *container, exit: exit(143) }
            }
            Effect::Probe { pod, container, attempt, purpose } => Event::Probed {
                pod: pod.id,
                container: *container,
                attempt: *attempt,
                purpose: *purpose,
                answer: Answer::Good,
            },
            Effect::RunHook { pod, container, attempt, moment, .. } => Event::HookEnded {
                pod: pod.id,
                container: *container,
                attempt: *attempt,
                moment: *moment,
                failure: None,
            },
            Effect::UpdateFiles { pod } => Event::FilesUpdated { pod: pod.id },
            Effect::CleanContainer { pod, container } => {
                Event::ContainerCleaned { pod: *pod, container: *container }
            }
            Effect::RemoveSandbox { pod, .. } => Event::SandboxRemoved { pod: *pod },
            Effect::ReadLogs(request) => Event::CommandEnded { command: request.command },
            // The fetch that is cancelled and the command that is cancelled have answered already.
            Effect::CancelFetch { .. }
            | Effect::Retain(_)
            | Effect::KeepHealth { .. }
            | Effect::KeepFailure { .. }
            | Effect::CancelCommand { .. }
            | Effect::RemoveClaims(_)
            // The device's, not the machine's.
            | Effect::Connect
            | Effect::Disconnect
            | Effect::PinHub(_)
            | Effect::Note(_)
            | Effect::RaiseTime { .. }
            | Effect::Send(_)
            | Effect::Quit => return None,
        })
    }
}

fn exit(code: i32) -> Exit {
    Exit {
        code,
        reason: Text::cut("Error"),
        message: Text::default(),
        started_ms: 0,
        at_ms: unix_ms(),
    }
}

/// What the wall clock reads.
#[must_use]
pub fn unix_ms() -> u64 {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    wall.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
}
