//! What the shell's answers do to a Pod. An answer that the state does not wait for is late or wrong: it changes
//! nothing.

use alloc::{format, string::ToString, sync::Arc};
use core::time::Duration;

use firmware_compat::{
    time::{Instant, UnixMs},
    v1::owned::{Exit, Text},
};

use super::{Holds, Match, Slot, State};
use crate::{
    backoff::{RESTART_RESET, STEP, restart_delay},
    effect::Effect,
    event::{Failure, FoundPod, FoundState},
    journal::or_usual,
    out::Out,
};

impl Slot {
    /// Takes in what an earlier agent left. An end that happened while nobody watched is long ago, so its first
    /// restart does not wait.
    pub fn found(&mut self, found: FoundPod, now: Instant) {
        self.holds = Some(Holds { identity: found.identity, spec: None });
        self.started = true;
        self.restarts = found.restarts;
        self.state = match found.state {
            FoundState::Running { pid, started_ms } => {
                State::Running { pid, started_ms, since: now }
            }
            FoundState::Exited(exit) => {
                self.last_exit = Some(exit);
                self.ends = 1;
                State::Ended { at: now, delay: Duration::ZERO }
            }
            FoundState::Lost => State::Lost,
        };
    }

    /// `is_held_back`: it must not start now; when it may, it is prepared again.
    pub fn prepared(&mut self, is_held_back: bool, out: &mut Out) {
        if !matches!(self.state, State::Preparing) {
            return;
        }
        self.state = State::Absent;
        self.clear_failure();
        let spec = self.holds.as_ref().and_then(|holds| holds.spec.as_ref());
        let Some(pod) = spec.filter(|_| self.relation() == Match::Same && !is_held_back) else {
            return;
        };
        let pod = Arc::clone(pod);
        self.restarts = self.next_attempt();
        self.started = true;
        self.state = State::Starting { ended: None };
        out.push(Effect::Start { pod, attempt: self.restarts });
    }

    pub fn prepare_failed(&mut self, failure: Failure, now: Instant, out: &mut Out) {
        if matches!(self.state, State::Preparing) {
            self.fail("PrepareFailed", failure, now, out);
            self.state = State::Unprepared { until: now + STEP.delay(self.failures) };
        }
    }

    pub fn started(&mut self, pid: u32, started_ms: UnixMs, now: Instant, out: &mut Out) {
        let State::Starting { ended } = &mut self.state else { return };
        let ended = ended.take();
        self.state = State::Running { pid, started_ms, since: now };
        out.normal(now, Some(self.id), "Started", &format!("started with process id {pid}"));
        if let Some(exit) = ended {
            self.exited(exit, now);
        }
    }

    /// A start that failed counts as a run that ended at once.
    pub fn start_failed(&mut self, failure: &Failure, now: Instant, out: &Out) {
        if matches!(self.state, State::Starting { .. }) {
            let exit = Exit {
                code: START_ERROR,
                reason: Text::cut(&or_usual(&failure.reason, "StartError")),
                message: Text::cut(&failure.message),
                at_ms: out.unix_ms(now),
            };
            self.end(exit, Duration::ZERO, now);
        }
    }

    pub fn exited(&mut self, exit: Exit, now: Instant) {
        match &mut self.state {
            State::Running { since, .. } => {
                let ran = now.since(*since);
                self.end(exit, ran, now);
            }
            State::Starting { ended } => *ended = Some(exit),
            State::Stopping { .. } => {
                self.last_exit = Some(exit);
                self.state = State::Lost;
            }
            State::Absent
            | State::Preparing
            | State::Unprepared { .. }
            | State::Ended { .. }
            | State::Backoff { .. }
            | State::Done
            | State::Lost
            | State::Cleaning { .. }
            | State::Unclean { .. } => {}
        }
    }

    pub fn files_updated(&mut self, now: Instant, out: &mut Out) {
        self.files.updated(self.id, now, out);
    }

    pub fn files_update_failed(&mut self, failure: Failure, now: Instant, out: &mut Out) {
        self.files.update_failed(failure, self.id, now, out);
    }

    pub fn cleaned(&mut self) {
        let State::Cleaning { keep_volumes } = self.state else { return };
        self.clear_failure();
        if keep_volumes {
            self.state = State::Absent;
        } else {
            let wanted = self.wanted.take();
            *self = Self { wanted, ..Self::new(self.id) };
        }
    }

    pub fn clean_failed(&mut self, failure: Failure, now: Instant, out: &mut Out) {
        if matches!(self.state, State::Cleaning { .. }) {
            self.fail("CleanFailed", failure, now, out);
            self.state = State::Unclean { until: now + STEP.delay(self.failures) };
        }
    }

    fn end(&mut self, exit: Exit, ran: Duration, now: Instant) {
        self.ends = if ran >= RESTART_RESET { 1 } else { self.ends.saturating_add(1) };
        self.last_exit = Some(exit);
        self.state = State::Ended { at: now, delay: restart_delay(self.ends) };
    }

    /// Counts a failed step; the first of a row is an event, the status shows the newest.
    fn fail(&mut self, usual: &str, failure: Failure, now: Instant, out: &mut Out) {
        let reason = or_usual(&failure.reason, usual);
        let is_new = self.failure.as_ref().is_none_or(|old| old.reason != reason);
        if is_new {
            out.warn(now, Some(self.id), &reason, &failure.message);
        }
        self.failures = self.failures.saturating_add(1);
        self.failure = Some(Failure { reason, message: failure.message.to_string() });
    }

    fn clear_failure(&mut self) {
        self.failures = 0;
        self.failure = None;
    }
}

/// Kubernetes' exit code of a program that could not be started.
const START_ERROR: i32 = 128;
