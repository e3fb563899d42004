//! The life of one container of a Pod: which state it is in and which step comes next. One table, [`Container::step`],
//! holds every move that the agent makes by itself while the Pod is to run, [`Container::stop`] the way to its end;
//! what the shell's answers do is in `results`.

use alloc::{format, sync::Arc};
use core::time::Duration;

use firmware_compat::{
    id::PodId,
    time::{Instant, UnixMs},
    v1::owned::{Exit, Moment},
};

use super::{
    failures::Failures,
    health::Health,
    restart::{again_in, how_it_ended, is_restarted},
};
use crate::{
    backoff::{STOP_AT_LEAST, STOP_OVERDUE},
    effect::{Effect, WakeReason},
    event::{FoundContainer, FoundState, Health as Kept},
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
    /// An init container that runs along with the containers.
    pub(super) sidecar: bool,
    /// Of the run that is under way, once its spec is known.
    pub(super) health: Option<Health>,
    /// Of a run that an earlier agent began: what that agent kept, and how long ago it began.
    pub(super) kept: Option<(Option<Kept>, Duration)>,
}

/// Why a container is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopWhy {
    /// Nothing of its Pod is to run here.
    Wanted,
    /// It is not well: what follows is the restart policy's.
    Unhealthy,
    /// Its Pod has ended: it stays ended.
    Over,
}

/// How a container is to be stopped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop<'a> {
    pub(super) pod: PodId,
    /// With its hook before the end, if it is known.
    pub(super) spec: Option<&'a Arc<PodSpec>>,
    pub(super) grace_ms: u32,
    pub(super) why: StopWhy,
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
    /// The shell stops it, or, until then, does what comes before.
    Stopping {
        pid: u32,
        started_ms: UnixMs,
        since: Instant,
        why: StopWhy,
        /// When its grace ends.
        until: Instant,
        /// Its hook is being run.
        hook: bool,
        overdue_at: Option<Instant>,
    },
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
            sidecar: false,
            health: None,
            kept: None,
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
        container.kept = Some((found.health, found.age));
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
            State::Stopping { hook: true, until, .. } if *until <= now => {
                self.hook_is_over(recorder.pod, now, recorder.out);
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

    /// Stops it if it runs, its hook first. Returns whether anything changed.
    pub(super) fn stop(&mut self, order: &Stop<'_>, now: Instant, out: &mut Out) -> bool {
        let Stop { pod, grace_ms, .. } = *order;
        let until = now + Duration::from_millis(grace_ms.into());
        match &mut self.state {
            State::Running { pid, started_ms, since } => {
                let (pid, started_ms, since) = (*pid, *started_ms, *since);
                let spec = order
                    .spec
                    .filter(|spec| grace_ms > 0 && hook_of(self.id, spec, Moment::PreStop));
                match spec {
                    Some(spec) => out.push(Effect::RunHook {
                        pod: Arc::clone(spec),
                        container: self.id,
                        attempt: self.restarts,
                        moment: Moment::PreStop,
                        timeout_ms: Some(grace_ms),
                    }),
                    None => out.push(Effect::Stop { pod, container: self.id, grace_ms }),
                }
                let overdue_at = Some(until + STOP_OVERDUE);
                let (why, hook) = (order.why, spec.is_some());
                self.state =
                    State::Stopping { pid, started_ms, since, why, until, hook, overdue_at };
                self.health = None;
                true
            }
            // It was not well, and now it is to go: its own grace may be the longer one.
            State::Stopping { why: why @ StopWhy::Unhealthy, until: ends, hook, .. }
                if order.why != StopWhy::Unhealthy =>
            {
                *why = order.why;
                if until < *ends {
                    *ends = until;
                    if !*hook {
                        out.push(Effect::Stop { pod, container: self.id, grace_ms });
                    }
                }
                true
            }
            _ => false,
        }
    }

    /// Its hook before the end has ended, or has had its time: what is left of the grace is its own.
    pub(super) fn hook_is_over(&mut self, pod: PodId, now: Instant, out: &mut Out) {
        let State::Stopping { hook, until, overdue_at, .. } = &mut self.state else { return };
        if core::mem::take(hook) {
            let grace = until.since(now).max(STOP_AT_LEAST);
            let grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
            *overdue_at = Some(now + grace + STOP_OVERDUE);
            out.push(Effect::Stop { pod, container: self.id, grace_ms });
        }
    }

    /// Stays as it ended, if it ran and nothing of it does.
    pub(super) fn retire(&mut self) -> bool {
        let is_at_rest = matches!(
            self.state,
            State::Absent
                | State::Unprepared { .. }
                | State::Ended { .. }
                | State::Backoff { .. }
                | State::Lost
                | State::Unclean { .. }
        );
        let retires = is_at_rest && self.last_exit.is_some();
        if retires {
            self.state = State::Done;
        }
        retires
    }

    /// What the restart policy makes of an end. Returns whether anything changed.
    pub(super) fn settle_end(&mut self, spec: &PodSpec, recorder: &mut Recorder<'_>) -> bool {
        let State::Ended { at, delay } = self.state else { return false };
        let code = self.exit_code();
        let how = how_it_ended(self.last_exit.as_ref());
        if self.sidecar || is_restarted(spec.restart, self.id, code) {
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

    /// Whether it has done what the init containers after it wait for.
    pub(super) fn is_past(&self) -> bool {
        if self.sidecar { self.is_started() } else { self.has_succeeded() }
    }

    /// Whether it belongs to those that run together.
    pub(super) fn runs_along(&self) -> bool {
        self.sidecar || !self.id.is_init()
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
            State::Running { .. } => {
                let health = self.health.as_ref();
                health.and_then(Health::timer).map(|at| (at, WakeReason::Probe))
            }
            State::Stopping { hook: true, until, .. } => Some((*until, WakeReason::Probe)),
            State::Stopping { overdue_at, .. } => overdue_at.map(|at| (at, WakeReason::Retry)),
            _ => None,
        }
    }
}

/// Whether the spec has something to be done.
pub(super) fn hook_of(id: ContainerId, spec: &PodSpec, moment: Moment) -> bool {
    let mut hooks = id.of(spec).into_iter().flat_map(|container| &container.supervision.hooks[..]);
    hooks.any(|hook| hook.moment == moment)
}
