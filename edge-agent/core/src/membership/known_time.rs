//! A time that has certainly passed: the newest that the hub has said and signed, and what has gone by since. A device's own
//! clock decides nothing; it may stand at 1970, and whoever can set it must not be able to make an expired certificate good.

use firmware_compat::time::{Instant, UnixMs};

/// What the hub has said, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    unix_ms: UnixMs,
    at: Instant,
    /// The latest that the hub said, which may be earlier than what is known: words travel, and this device's clock may be
    /// the faster one.
    said_ms: UnixMs,
}

impl Floor {
    /// It was so late at `at`.
    #[must_use]
    pub fn new(unix_ms: UnixMs, at: Instant) -> Self {
        Self { unix_ms, at, said_ms: unix_ms }
    }

    /// What the hub has said, without what has gone by since.
    #[must_use]
    pub fn said_ms(&self) -> UnixMs {
        self.said_ms
    }

    /// How late it is at least.
    #[must_use]
    pub fn now_ms(&self, now: Instant) -> UnixMs {
        let passed = now.since(self.at).as_millis();
        self.unix_ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The hub has said that it is so late. An earlier time than what is known changes nothing of that.
    pub fn raise(&mut self, unix_ms: UnixMs, now: Instant) {
        self.said_ms = self.said_ms.max(unix_ms);
        if unix_ms > self.now_ms(now) {
            *self = Self::new(unix_ms, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_by_itself_and_is_only_ever_raised() {
        let mut known = Floor::new(1_000_000, Instant(70));
        assert_eq!(known.now_ms(Instant(5_070)), 1_005_000);
        assert_eq!(known.now_ms(Instant(0)), 1_000_000, "a clock before it adds nothing");
        known.raise(1_004_000, Instant(5_070));
        assert_eq!(known.now_ms(Instant(5_070)), 1_005_000, "it is later than that already");
        known.raise(2_000_000, Instant(6_070));
        assert_eq!((known.now_ms(Instant(7_070)), known.said_ms()), (2_001_000, 2_000_000));
        known.raise(u64::MAX, Instant(8_070));
        assert_eq!(known.now_ms(Instant(9_070)), u64::MAX);
    }

    #[test]
    fn what_the_hub_said_is_kept_though_a_faster_clock_of_the_device_knew_it_before() {
        const DAY: u64 = 24 * 3_600_000;
        let mut known = Floor::new(0, Instant(0));
        known.raise(1_000 * DAY, Instant(0));
        for day in 1..=700 {
            known.raise((1_000 + day) * DAY, Instant(day * (DAY + 1_000)));
        }
        assert_eq!(known.said_ms(), 1_700 * DAY);
        assert_eq!(known.now_ms(Instant(700 * (DAY + 1_000))), 1_700 * DAY + 700_000);
        known.raise(5, Instant(0));
        assert_eq!(known.said_ms(), 1_700 * DAY);
    }
}
