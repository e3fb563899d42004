//! Events on their way to the hub: kept in a bounded ring while it is away, sent in order, spread out.
//! A newer event of the same Pod and reason replaces one that still waits, so that weeks of one
//! container's crashes do not push out everything else.

use alloc::{collections::VecDeque, format, string::String};

use firmware_compat::{
    id::PodId,
    time::{Instant, UnixMs},
    v1::owned::{Event, Severity, Text},
};

use crate::backoff::{Bucket, EVENTS, SEND};

/// Events kept while the hub is away: enough to tell what happened to each workload of a full device once or twice
/// over, in at most 40 KiB.
pub const RING: usize = 64;

/// The ring.
#[derive(Debug)]
pub struct Journal {
    waiting: VecDeque<Event>,
    dropped: u32,
    bucket: Bucket,
    hold_until: Instant,
}

impl Journal {
    pub fn new() -> Self {
        Self { waiting: VecDeque::new(), dropped: 0, bucket: EVENTS, hold_until: Instant(0) }
    }

    /// Keeps an event. The oldest makes room, and is counted.
    pub fn record(&mut self, event: Event) {
        self.waiting.retain(|old| old.pod != event.pod || old.reason != event.reason);
        if self.waiting.len() >= RING {
            self.waiting.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.waiting.push_back(event);
    }

    /// Takes back an event that the shell could not send.
    pub fn give_back(&mut self, event: Event, now: Instant) {
        self.hold_until = now + SEND.delay(1);
        if self.waiting.len() < RING {
            self.waiting.push_front(event);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The next event that may be sent now.
    pub fn next(&mut self, now: Instant, unix_ms: UnixMs) -> Option<Event> {
        if self.waiting.is_empty() || self.hold_until > now || !self.bucket.take(now) {
            return None;
        }
        if self.dropped > 0 {
            let message =
                format!("{} older events were dropped while the hub was away", self.dropped);
            self.dropped = 0;
            return Some(event(None, Severity::Warning, "EventsDropped", &message, unix_ms));
        }
        self.waiting.pop_front()
    }

    /// When [`Self::next`] has something, if the hub is there.
    pub fn timer(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| self.bucket.next().max(self.hold_until))
    }
}

/// An event in words.
pub fn event(
    pod: Option<PodId>,
    severity: Severity,
    reason: &str,
    message: &str,
    at_ms: UnixMs,
) -> Event {
    Event { pod, severity, reason: Text::cut(reason), message: Text::cut(message), at_ms }
}

/// The wall clock, carried forward from when the shell last told it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    unix_ms: UnixMs,
    at: Instant,
}

impl Clock {
    pub fn set(&mut self, unix_ms: UnixMs, now: Instant) {
        *self = Self { unix_ms, at: now };
    }

    /// Milliseconds since 1970, for people.
    pub fn read(&self, now: Instant) -> UnixMs {
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.unix_ms.saturating_add(passed)
    }
}

/// `reason` unless it is empty.
pub fn or_usual(reason: &str, usual: &str) -> String {
    if reason.is_empty() { usual.into() } else { reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(reason: u64) -> Event {
        event(None, Severity::Normal, &format!("R{reason}"), "", reason)
    }

    #[test]
    fn a_full_ring_drops_the_oldest_and_says_how_many() {
        let mut journal = Journal::new();
        (0..70).for_each(|n| journal.record(numbered(n)));
        let first = journal.next(Instant(0), 0).expect("waiting");
        assert_eq!(first.message.as_str(), "6 older events were dropped while the hub was away");
        assert_eq!(journal.next(Instant(0), 0), Some(numbered(6)));
    }

    #[test]
    fn the_newest_of_one_kind_replaces_the_one_that_waits() {
        let mut journal = Journal::new();
        journal.record(event(None, Severity::Normal, "BackOff", "first", 1));
        journal.record(event(None, Severity::Normal, "BackOff", "second", 2));
        assert_eq!(journal.next(Instant(0), 0).expect("one").message.as_str(), "second");
        assert_eq!(journal.next(Instant(0), 0), None);
    }

    #[test]
    fn events_beyond_the_burst_are_spread_out() {
        let mut journal = Journal::new();
        (0..40).for_each(|n| journal.record(numbered(n)));
        let burst = core::iter::from_fn(|| journal.next(Instant(0), 0)).count();
        assert_eq!(burst, 16);
        assert_eq!(journal.timer(), Some(Instant(1000)));
        assert_eq!(core::iter::from_fn(|| journal.next(Instant(1000), 0)).count(), 1);
    }
}
