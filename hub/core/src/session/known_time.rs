//! The time that the hub knows, and says to devices with its signature. They heed nothing that is not newer than what they
//! have heard, so it never goes back, whatever the machine's clock does: it is the furthest that the clock has been, and
//! goes on from there.
//!
//! What was said is kept in the store, rarely: with what is written anyway, and before the hub says what is far ahead of that;
//! an idle hub writes it with its daily beacon. A hub that starts again with a clock that went back goes on from what was
//! kept, at most [`MOST_BEHIND`] what it last said; for so long devices take its requests and beacons for old ones.
//! Assignments and commands do not depend on it.

use core::time::Duration;

use firmware_compat::time::{Instant, LAST_UNIX_MS, UnixMs};

use crate::{
    engine::Engine,
    record::{self, TimeRecord},
};

/// What is said is at most so much later than what the store has.
const MOST_BEHIND: Duration = Duration::from_hours(12);
/// With other records what was said is written once it is so much later.
const WRITE_ALONG_AFTER: Duration = Duration::from_mins(1);

/// The furthest that the clock has been.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownTime {
    now_ms: UnixMs,
    at: Instant,
    /// The last that was said.
    said_ms: UnixMs,
    /// The last that was written.
    written_ms: UnixMs,
}

impl KnownTime {
    /// What the store has.
    pub(crate) fn load(&mut self, record: TimeRecord) {
        let unix_ms = record.unix_ms.min(LAST_UNIX_MS);
        self.now_ms = self.now_ms.max(unix_ms);
        (self.said_ms, self.written_ms) = (unix_ms, unix_ms);
    }

    /// The clocks read this.
    pub(crate) fn set(&mut self, clock_ms: UnixMs, now: Instant) {
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let carried_on = self.now_ms.saturating_add(passed);
        self.now_ms = carried_on.max(clock_ms).min(LAST_UNIX_MS);
        self.at = now;
    }

    /// A time to be said, later than all that were.
    fn say(&mut self) -> UnixMs {
        self.said_ms = self.now_ms.max(self.said_ms.saturating_add(1));
        self.said_ms
    }

    /// Whether what was said is to be written. `along`: something else is.
    fn is_to_be_written(&self, along: bool) -> bool {
        let ahead = Duration::from_millis(self.said_ms.saturating_sub(self.written_ms));
        ahead > if along { WRITE_ALONG_AFTER } else { MOST_BEHIND }
    }
}

impl Engine {
    /// By which what has an end is judged, and until when somebody waits.
    pub(crate) fn known_ms(&self) -> UnixMs {
        self.known.now_ms
    }

    /// A time for one message, later than that of every other.
    pub(crate) fn say_time(&mut self) -> UnixMs {
        self.known.say()
    }

    /// Keeps what this turn says of the time, if it is time to. It is durable before it leaves, as all records are.
    pub(crate) fn write_time(&mut self) {
        if self.known.is_to_be_written(!self.records.is_empty()) {
            self.known.written_ms = self.known.said_ms;
            let record = TimeRecord { unix_ms: self.known.said_ms };
            self.records.insert(record::TIME.into(), Some(record::encode(&record)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn it_follows_a_clock_that_goes_on_and_none_that_goes_back() {
        let mut known = KnownTime::default();
        known.set(10 * HOUR, Instant(0));
        assert_eq!(known.say(), 10 * HOUR);
        known.set(11 * HOUR, Instant(HOUR));
        assert_eq!(known.say(), 11 * HOUR);
        known.set(0, Instant(2 * HOUR));
        assert_eq!(known.say(), 12 * HOUR, "it goes on by itself");
        known.set(100 * HOUR, Instant(2 * HOUR));
        known.set(13 * HOUR, Instant(3 * HOUR));
        assert_eq!(known.say(), 101 * HOUR, "the clock had been there");
        known.set(u64::MAX, Instant(3 * HOUR));
        assert_eq!(known.say(), LAST_UNIX_MS);
    }

    #[test]
    fn no_time_is_said_twice_and_a_hub_without_a_clock_goes_on_from_what_it_kept() {
        let mut known = KnownTime::default();
        known.set(0, Instant(0));
        known.load(TimeRecord { unix_ms: 5 * HOUR });
        assert_eq!([known.say(), known.say()], [5 * HOUR + 1, 5 * HOUR + 2]);
        known.set(0, Instant(HOUR));
        assert_eq!(known.say(), 6 * HOUR);
        assert!(known.is_to_be_written(true) && !known.is_to_be_written(false));
        known.set(0, Instant(12 * HOUR + 1));
        assert!(known.say() > 17 * HOUR && known.is_to_be_written(false));
    }
}
