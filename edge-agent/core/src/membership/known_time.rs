//! A time that has certainly passed: the newest that the hub has said and signed, and what has gone by since. A device's own
//! clock decides nothing; it may stand at 1970, and whoever can set it must not be able to make an expired certificate good.

use firmware_compat::time::{Instant, UnixMs};

/// What the hub has said, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    unix_ms: UnixMs,
    at: Instant,
}

impl Floor {
    /// It was so late at `at`.
    #[must_use]
    pub fn new(unix_ms: UnixMs, at: Instant) -> Self {
        Self { unix_ms, at }
    }

    /// What the hub has said, without what has gone by since.
    #[must_use]
    pub fn said_ms(&self) -> UnixMs {
        self.unix_ms
    }

    /// How late it is at least.
    #[must_use]
    pub fn now_ms(&self, now: Instant) -> UnixMs {
        let passed = now.since(self.at).as_millis();
        self.unix_ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The hub has said that it is so late. An earlier time than what is known changes nothing.
    pub fn raise(&mut self, unix_ms: UnixMs, now: Instant) {
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
}
