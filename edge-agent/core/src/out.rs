//! Where decisions put what they ask for: effects in order, events for the hub; and the dice.

use alloc::{borrow::Cow, collections::VecDeque, format};

use firmware_compat::{
    id::PodId,
    time::{Instant, UnixMs},
    v1::owned::{Event, Severity},
};

use crate::{
    backoff::Rng,
    complaints::Complaints,
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
    complaints: Complaints,
}

impl Out {
    pub fn new(seed: u64) -> Self {
        Self {
            effects: VecDeque::new(),
            journal: Journal::new(),
            rng: Rng::new(seed),
            clock: Clock::default(),
            complaints: Complaints::default(),
        }
    }

    pub fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Records that something went as meant.
    pub fn normal(&mut self, now: Instant, about: Option<PodId>, reason: &str, message: &str) {
        self.record(event(about, Severity::Normal, reason, message, self.unix_ms(now)));
    }

    /// Records that someone should look.
    pub fn warn(&mut self, now: Instant, about: Option<PodId>, reason: &str, message: &str) {
        self.record(event(about, Severity::Warning, reason, message, self.unix_ms(now)));
    }

    fn record(&mut self, event: Event) {
        self.note(event.clone());
        self.journal.record(event);
    }

    /// Has it noted on the device; the hub is told by other ways, or later.
    pub fn note(&mut self, event: Event) {
        self.push(Effect::Note(event));
    }

    /// Records what anybody on the network can bring about, now and then. Returns whether it did.
    pub fn complain(&mut self, now: Instant, reason: &'static str, message: &str) -> bool {
        let message = self.complaints.count(reason, message, now);
        if let Some(message) = &message {
            self.warn(now, None, reason, message);
        }
        message.is_some()
    }

    pub fn unix_ms(&self, now: Instant) -> UnixMs {
        self.clock.read(now)
    }
}

/// Records what happens to one Pod, or to one of its containers.
#[derive(Debug)]
pub struct Recorder<'a> {
    pub out: &'a mut Out,
    pub now: Instant,
    pub pod: PodId,
    /// The container's name, if the Pod has several.
    pub container: Option<&'a str>,
}

impl Recorder<'_> {
    /// Records that something went as meant.
    pub fn normal(&mut self, reason: &str, message: &str) {
        let message = in_container(self.container, message);
        self.out.normal(self.now, Some(self.pod), reason, &message);
    }

    /// Records that someone should look.
    pub fn warn(&mut self, reason: &str, message: &str) {
        let message = in_container(self.container, message);
        self.out.warn(self.now, Some(self.pod), reason, &message);
    }
}

/// A sentence about a container of several.
pub fn in_container<'a>(container: Option<&str>, message: &'a str) -> Cow<'a, str> {
    match container {
        Some(name) => format!("container {name}: {message}").into(),
        None => message.into(),
    }
}
