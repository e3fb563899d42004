//! The agent's state machine: events and time in, effects out.

use alloc::{
    collections::{VecDeque, vec_deque},
    vec::Vec,
};

use firmware_compat::{id::Lineage, time::Instant, v1::owned::AssignmentId};

use crate::{
    config::{Config, SavedAssignment},
    effect::{Effect, WakeReason},
    event::Event,
};

/// The decisions of one agent.
#[derive(Debug)]
pub struct Agent {
    effects: VecDeque<Effect>,
}

/// Why an agent does not follow the hub at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pause {
    /// A hub of another lineage speaks; the operator must say whether it may take over.
    ForeignHub {
        /// The one that was refused.
        lineage: Lineage,
    },
    /// Another device connected under this device's name.
    NameTaken,
}

impl Agent {
    /// An agent that has just started. `saved` are the assignments on disk, newest first: the current one and, if
    /// there is one, the one before. The first that is sound is in force. `seed` feeds the jitter.
    #[must_use]
    pub fn new(config: Config, saved: Vec<SavedAssignment>, seed: u64) -> Self {
        let _ = (config, saved, seed);
        Self { effects: VecDeque::new() }
    }

    /// Takes in what happened. Effects are there to [`Self::drain`] afterwards.
    pub fn handle(&mut self, event: Event, now: Instant) {
        let _ = (event, now);
    }

    /// Does what time calls for. Harmless when called early or late.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`Self::handle_timeout`] is to be called, if nothing happens before, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, WakeReason)> {
        None
    }

    /// What is to be done, in order.
    pub fn drain(&mut self) -> vec_deque::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// The assignment in force: saved, and what the device works towards.
    #[must_use]
    pub fn assignment(&self) -> Option<AssignmentId> {
        None
    }

    /// Why the agent does not follow the hub, if so.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        None
    }
}
