//! The life of one container of a Pod: which state it is in and which step comes next. One table, [`Container::step`],
//! holds every move that the agent makes by itself while the Pod is to run, [`Container::stop`] the way to its end;
//! what the shell's answers do is in `results`.

use alloc::{format, sync::Arc};
use core::time::Duration;

use firmware_compat::{
    id::PodId,
    time::{Instant, UnixMs},
    v1::owned::Exit,
};

use super::{
    failures::Failures,
    restart::{again_in, how_it_ended, is_restarted},
};
use crate::{
    backoff::STOP_OVERDUE,
    effect::{Effect, WakeReason},
    event::{FoundContainer, FoundState},
    out::{Out, Recorder},
    spec::{ContainerId, PodSpec},
};

/// One container: what happened to it and where it stands.
#[derive(Debug)]
pub struct Container {
    pub(super) id: ContainerId,
    /// By which the hub asks for its log.
    pub(super) name: Arc<str>,
    pub(super) state: State,
    /// Whether it was ever started on this device.
    pub(super) started: bool,
    /// How often it was started again.
    pub(super) restarts: u32,
    /// Ends in a row without a healthy run in between.
    pub(super) ends: u32,
    pub(super) failures: Failures,
    pub(super) last_exit: Option<Exit>,
    /// How it ended the time before.
    pub(super) exit_before: Option<Exit>,
    /// When it was found, if an earlier agent started it.
    pub(super) found_at: Option<Instant>,
}

/// Where a container stands.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing runs, nothing is under way.
    Absent,
    /// The shell prepares its next start.
    Preparing,
    /// Preparing failed.
    Unprepared { until: Instant },
    /// The shell starts it. Its end may overtake the news of its start.
    Starting { ended: Option<Exit> },
    /// It runs.
    Running { pid: u32, started_ms: UnixMs, since: Instant },
    /// The shell stops it.
    Stopping { pid: u32, started_ms: UnixMs, overdue_at: Option<Instant> },
    /// It ended by itself; what follows is the restart policy's.
    Ended { at: Instant, delay: Duration },
    /// It will be started again.
    Backoff { until: Instant, delay: Duration },
    /// It stays ended.
    Done,
    /// Nobody knows how it ended, or it was stopped; what is left of it must be cleaned away.
    Lost,
    /// The shell cleans up.
    Cleaning,
    /// Cleaning up failed.
    Unclean { until: Instant },
}

impl Container {
    /// One of which nothing is on the device yet.
    pub(super) fn new(id: ContainerId, name: Arc<str>) -> Self {
        Self {
            id,
            name,
            state: State::Absent,
            started: false,
            restarts: 0,
            ends: 0,
            failures: Failures::default(),
            last_exit: None,
            exit_before: None,
            found_at: None,
        }
    }

    /// What an earlier agent left. An end that happened while nobody watched is long ago, so its first restart does not
    /// wait.
    pub(super) fn found(found: FoundContainer, now: Instant) -> Self {
        let mut container = Self::new(found.container, found.name.into());
        container.started = true;
        container.found_at = Some(now);
        container.restarts = found.restarts;
        container.last_exit = found.last_exit;
        container.state = match found.state {
            FoundState::Created => {
                container.started = false;
                State::Absent
            }
            FoundState::Running { pid, started_ms } => {
                State::Running { pid, started_ms, since: now }
            }
            FoundState::Exited(exit) => {
                container.exit_before = container.last_exit.replace(exit);
                container.ends = 1;
                State::Ended { at: now, delay: Duration::ZERO }
            }
            FoundState::Lost => State::Lost,
        };
        container
    }

    /// What waited for its time waits no longer; a stop that takes too long is told of.
    pub(super) fn expire(&mut self, now: Instant, recorder: &mut Recorder<'_>) {
        match &mut self.state {
            State::Backoff { until, .. } | State::Unprepared { until } if *until <= now => {
                self.state = State::Absent;
            }
            State::Unclean { until } if *until <= now => self.state = State::Lost,
            State::Stopping { overdue_at, .. } if overdue_at.is_some_and(|at| at <= now) => {
                *overdue_at = None;
                let message = "it was told to stop and still runs; look for a process in state D";
                recorder.warn("StopOverdue", message);
            }
            _ => {}
        }
    }

    /// The table of moves of a container that is to run. Returns whether anything changed. `may_start`: everything that a
    /// start needs is there.
    pub(super) fn step(&mut self, spec: &Arc<PodSpec>, may_start: bool, out: &mut Out) -> bool {
        let (pod, container) = (spec.id, self.id);
        let next = match &self.state {
            State::Lost => {
                out.push(Effect::CleanContainer { pod, container });
                State::Cleaning
            }
            State::Absent if may_start => {
                let (pod, attempt) = (Arc::clone(spec), self.next_attempt());
                out.push(Effect::Prepare { pod, container, attempt });
                State::Preparing
            }
            // An answer, the clock or the assignment must change something first.
            State::Absent
            | State::Preparing
            | State::Unprepared { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Ended { .. }
            | State::Backoff { .. }
            | State::Done
            | State::Cleaning
            | State::Unclean { .. } => return false,
        };
        self.state = next;
        true
    }

    /// Stops it if it runs. Returns whether anything changed.
    pub(super) fn stop(&mut self, pod: PodId, grace_ms: u32, now: Instant, out: &mut Out) -> bool {
        let State::Running { pid, started_ms, .. } = self.state else { return false };
        out.push(Effect::Stop { pod, container: self.id, grace_ms });
        let overdue_at = Some(now + Duration::from_millis(grace_ms.into()) + STOP_OVERDUE);
        self.state = State::Stopping { pid, started_ms, overdue_at };
        true
    }

    /// What the restart policy makes of an end. Returns whether anything changed.
    pub(super) fn settle_end(&mut self, spec: &PodSpec, recorder: &mut Recorder<'_>) -> bool {
        let State::Ended { at, delay } = self.state else { return false };
        let code = self.exit_code();
        let how = how_it_ended(self.last_exit.as_ref());
        if is_restarted(spec.restart, self.id, code) {
            recorder.warn("BackOff", &format!("{how}; {}", again_in(delay)));
            self.state = State::Backoff { until: at + delay, delay };
            return true;
        }
        self.state = State::Done;
        // An end without a delay was seen by an earlier agent, which said so.
        match code {
            _ if delay.is_zero() => {}
            0 => recorder.normal("Completed", &how),
            _ => recorder.warn("Failed", &how),
        }
        true
    }

    /// The sandbox that it ran in was removed: what ended for good stays ended, but init containers run again.
    pub(super) fn sandbox_removed(&mut self) {
        let is_over = matches!(self.state, State::Done) && !self.id.is_init();
        let waits = matches!(self.state, State::Backoff { .. });
        if !is_over && !waits {
            self.state = State::Absent;
            self.failures.clear();
        }
    }

    pub(super) fn exit_code(&self) -> i32 {
        self.last_exit.as_ref().map_or(-1, |exit| exit.code)
    }

    /// Whether the shell owes an answer about it, or an end.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.state, State::Preparing | State::Cleaning) || self.may_run()
    }

    /// Whether it runs, or may: it is being started, or was told to stop and has not ended.
    pub(super) fn may_run(&self) -> bool {
        match self.state {
            State::Starting { .. } | State::Running { .. } | State::Stopping { .. } => true,
            State::Absent
            | State::Preparing
            | State::Unprepared { .. }
            | State::Ended { .. }
            | State::Backoff { .. }
            | State::Done
            | State::Lost
            | State::Cleaning
            | State::Unclean { .. } => false,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self.state, State::Absent)
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Whether it stays ended.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Whether it ended with code 0 and was not started again.
    pub(super) fn has_ended_well(&self) -> bool {
        matches!(self.state, State::Ended { .. } | State::Done) && self.exit_code() == 0
    }

    /// Whether it stays ended, with code 0.
    pub(super) fn has_succeeded(&self) -> bool {
        self.is_done() && self.exit_code() == 0
    }

    /// Whether it is as near to what is wanted as the agent can bring it.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Done | State::Backoff { .. })
    }

    /// How often it will have been started again with its next start.
    pub(super) fn next_attempt(&self) -> u32 {
        if self.started { self.restarts.saturating_add(1) } else { self.restarts }
    }

    /// When it is to be stepped again, if nothing happens before.
    pub(super) fn timer(&self) -> Option<(Instant, WakeReason)> {
        match &self.state {
            State::Backoff { until, .. } => Some((*until, WakeReason::Restart)),
            State::Unprepared { until } | State::Unclean { until } => {
                Some((*until, WakeReason::Retry))
            }
            State::Stopping { overdue_at, .. } => overdue_at.map(|at| (at, WakeReason::Retry)),
            _ => None,
        }
    }
}
