//! What the containers of a Pod share: directories, volumes, network namespace, cgroup, hostname. Made once, before the
//! first container; removed once none of them runs.

use alloc::sync::Arc;

use firmware_compat::{id::PodId, time::Instant};

use super::failures::Failures;
use crate::{
    effect::{Effect, WakeReason},
    event::Failure,
    out::{Out, Recorder},
    spec::PodSpec,
};

/// The sandbox of one Pod.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) state: State,
    pub(super) failures: Failures,
}

/// Where a sandbox stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Absent,
    /// The shell makes it.
    Preparing,
    /// Making it failed.
    Unprepared { until: Instant },
    /// Containers can be started in it.
    Ready,
    /// It does not stand any more, or not as a whole: it must be removed before it is made again.
    Lost,
    /// The shell removes it.
    Removing { keep_volumes: bool },
    /// Removing it failed.
    Unremoved { until: Instant },
}

impl Sandbox {
    pub(super) fn new(state: State) -> Self {
        Self { state, failures: Failures::default() }
    }

    /// Whether the shell is at it.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self.state, State::Preparing | State::Removing { .. })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// What waited for its time waits no longer.
    pub(super) fn expire(&mut self, now: Instant) {
        self.state = match self.state {
            State::Unprepared { until } if until <= now => State::Absent,
            State::Unremoved { until } if until <= now => State::Lost,
            other => other,
        };
    }

    pub(super) fn prepare(&mut self, pod: Arc<PodSpec>, out: &mut Out) {
        out.push(Effect::PrepareSandbox { pod });
        self.state = State::Preparing;
    }

    pub(super) fn remove(&mut self, pod: PodId, keep_volumes: bool, out: &mut Out) {
        out.push(Effect::RemoveSandbox { pod, keep_volumes });
        self.state = State::Removing { keep_volumes };
    }

    /// The shell's answer.
    pub(super) fn prepared(&mut self) {
        if self.state == State::Preparing {
            self.failures.clear();
            self.state = State::Ready;
        }
    }

    /// The shell's answer.
    pub(super) fn prepare_failed(
        &mut self,
        failure: Failure,
        now: Instant,
        recorder: &mut Recorder<'_>,
    ) {
        if self.state == State::Preparing {
            let delay = self.failures.count("SandboxFailed", failure, recorder);
            self.state = State::Unprepared { until: now + delay };
        }
    }

    /// The shell's answer. Returns whether its volumes were kept; `None` if nobody waits for the answer.
    pub(super) fn removed(&mut self) -> Option<bool> {
        let State::Removing { keep_volumes } = self.state else { return None };
        *self = Self::new(State::Absent);
        Some(keep_volumes)
    }

    /// The shell's answer.
    pub(super) fn remove_failed(
        &mut self,
        failure: Failure,
        now: Instant,
        recorder: &mut Recorder<'_>,
    ) {
        if let State::Removing { .. } = self.state {
            let delay = self.failures.count("CleanFailed", failure, recorder);
            self.state = State::Unremoved { until: now + delay };
        }
    }

    /// When it is to be stepped again, if nothing happens before.
    pub(super) fn timer(&self) -> Option<(Instant, WakeReason)> {
        match self.state {
            State::Unprepared { until } | State::Unremoved { until } => {
                Some((until, WakeReason::Retry))
            }
            State::Absent
            | State::Preparing
            | State::Ready
            | State::Lost
            | State::Removing { .. } => None,
        }
    }
}
