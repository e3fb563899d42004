//! Time as an argument: a plain count of milliseconds on a clock that never goes back. Only shells read real clocks.

use core::{ops::Add, time::Duration};

/// Milliseconds on a clock that never goes back. Comparable only within one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    /// Time passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, length: Duration) -> Self {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// Milliseconds since 1970. By a device's own clock, which may be wrong, only shown to people. What the hub has signed of
/// it has certainly passed, as far as the hub knows.
pub type UnixMs = u64;

/// The end of the year 9999, the last that a certificate can name (RFC 5280): no hub says a later time.
pub const LAST_UNIX_MS: UnixMs = 253_402_300_799_999;
