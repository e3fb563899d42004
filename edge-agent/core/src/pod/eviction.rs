//! Eviction: a Pod that holds more of the device than it may is stopped, and its emptyDirs go with it.
//!
//! In a cluster somebody else makes another Pod in its place, elsewhere. On a device that is alone nobody does: a Pod that is
//! always to run starts anew here, with a delay that doubles as for one that crashes. One that is to run once has failed.

use alloc::string::String;

use firmware_compat::{
    time::Instant,
    v1::owned::{Phase, RestartPolicy},
};

use super::Pod;
use crate::{
    backoff::{RESTART, RESTART_RESET},
    out::Out,
};

/// Time between the stop signal and the kill of one that is evicted: the kubelet's.
pub(super) const GRACE_MS: u32 = 1000;
/// The kubelet's word.
pub(super) const REASON: &str = "Evicted";

/// That it is evicted, and how often it was.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    state: State,
    /// In a row, without a time in which it behaved.
    count: u32,
    /// When it could start again after the last one.
    ended: Option<Instant>,
    message: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    None,
    /// It is being stopped and removed.
    Removing,
    /// Nothing is left of it; it starts again then.
    Resting { until: Instant },
    /// It is not started again.
    Over,
}

impl Eviction {
    /// Whether it must be removed now.
    pub(super) fn is_under_way(&self) -> bool {
        self.state == State::Removing
    }

    /// Whether it must not be started.
    pub(super) fn holds_back(&self) -> bool {
        self.state != State::None
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if matches!(self.state, State::Resting { until } if until <= now) {
            self.state = State::None;
            self.ended = Some(now);
        }
    }

    pub(super) fn timer(&self) -> Option<Instant> {
        match self.state {
            State::Resting { until } => Some(until),
            State::None | State::Removing | State::Over => None,
        }
    }

    /// Nothing is left of the Pod.
    pub(super) fn removed(self, restart: Option<RestartPolicy>, now: Instant) -> Self {
        let state = match self.state {
            State::Removing if restart == Some(RestartPolicy::Always) => {
                State::Resting { until: now + RESTART.delay(self.count) }
            }
            State::Removing => State::Over,
            other => other,
        };
        Self { state, ..self }
    }

    /// Where it stands, while it is held back: phase and message.
    pub(super) fn standing(&self) -> Option<(Phase, &str)> {
        let phase = match self.state {
            State::None => return None,
            State::Removing => Phase::Stopping,
            State::Resting { .. } => Phase::Backoff,
            State::Over => Phase::Failed,
        };
        Some((phase, &self.message))
    }
}

impl Pod {
    /// Evicts it, unless it is being evicted already or nothing of it is here.
    pub fn evict(&mut self, message: &str, now: Instant, out: &mut Out) {
        if self.eviction.holds_back() || self.holds.is_none() || self.wanted.is_none() {
            return;
        }
        let has_behaved = self.eviction.ended.is_none_or(|ended| now.since(ended) >= RESTART_RESET);
        let count = if has_behaved { 1 } else { self.eviction.count.saturating_add(1) };
        let (ended, message) = (self.eviction.ended, String::from(message));
        out.warn(now, Some(self.id), REASON, &message);
        self.eviction = Eviction { state: State::Removing, count, ended, message };
    }

    /// Whether somebody waits for its eviction.
    pub fn is_being_evicted(&self) -> bool {
        self.eviction.is_under_way()
    }
}
