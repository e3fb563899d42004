//! Where decisions put what they ask for: effects in order, events for the hub; and the dice.

use alloc::collections::VecDeque;

use firmware_compat::{
    id::PodId,
    time::{Instant, UnixMs},
    v1::owned::Severity,
};

use crate::{
    backoff::Rng,
    effect::Effect,
    journal::{Clock, Journal, event},
};

/// What every part of the agent may ask for.
#[derive(Debug)]
pub struct Out {
    pub effects: VecDeque<Effect>,
    pub journal: Journal,
    pub rng: Rng,
    pub clock: Clock,
}

impl Out {
    pub fn new(seed: u64) -> Self {
        Self {
            effects: VecDeque::new(),
            journal: Journal::new(),
            rng: Rng::new(seed),
            clock: Clock::default(),
        }
    }

    pub fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Records that something went as meant.
    pub fn normal(&mut self, now: Instant, about: Option<PodId>, reason: &str, message: &str) {
        let at_ms = self.unix_ms(now);
        self.journal.record(event(about, Severity::Normal, reason, message, at_ms));
    }

    /// Records that someone should look.
    pub fn warn(&mut self, now: Instant, about: Option<PodId>, reason: &str, message: &str) {
        let at_ms = self.unix_ms(now);
        self.journal.record(event(about, Severity::Warning, reason, message, at_ms));
    }

    pub fn unix_ms(&self, now: Instant) -> UnixMs {
        self.clock.read(now)
    }
}
