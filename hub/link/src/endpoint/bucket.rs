//! How much of something is allowed in a time: a token bucket that is one number. It starts full.

use std::time::Duration;

use firmware_compat::time::Instant;

/// What a bucket holds, and how fast it fills.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Tokens at most.
    pub(crate) burst: u64,
    /// Tokens that come back in a second.
    pub(crate) per_second: u64,
}

impl Rate {
    fn micros(self, tokens: u64) -> u64 {
        tokens.saturating_mul(1_000_000) / self.per_second.max(1)
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// When it is full again, in microseconds: later than that by all that was taken.
    full_at: u64,
}

impl Bucket {
    /// Takes tokens, whether they are there or not. If they are not: when they will be.
    pub(crate) fn take(&mut self, tokens: u64, rate: Rate, now: Instant) -> Option<Instant> {
        let now_micros = now.0.saturating_mul(1000);
        let full_at = self.full_at.max(now_micros).saturating_add(rate.micros(tokens));
        self.full_at = full_at;
        let ready_at = full_at.saturating_sub(rate.micros(rate.burst));
        let wait = Duration::from_micros(ready_at.saturating_sub(now_micros));
        (!wait.is_zero()).then(|| now + wait.max(Duration::from_millis(1)))
    }

    /// Takes tokens if they are there.
    pub(crate) fn try_take(&mut self, tokens: u64, rate: Rate, now: Instant) -> bool {
        let mut after = *self;
        let are_there = after.take(tokens, rate, now).is_none();
        if are_there {
            *self = after;
        }
        are_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 10, per_second: 2 };

    #[test]
    fn a_burst_is_free_and_then_each_token_has_its_time() {
        let mut bucket = Bucket::default();
        let start = Instant(5000);
        assert_eq!(bucket.take(10, RATE, start), None);
        assert_eq!(bucket.take(1, RATE, start), Some(Instant(5500)));
        assert_eq!(bucket.take(1, RATE, Instant(5500)), Some(Instant(6000)));
        // It fills no further than its burst.
        let later = Instant(1_000_000);
        assert_eq!(bucket.take(10, RATE, later), None);
        assert_eq!(bucket.take(4, RATE, later), Some(later + Duration::from_secs(2)));
    }

    #[test]
    fn what_is_refused_is_not_taken() {
        let mut bucket = Bucket::default();
        let taken = (0..100).filter(|_| bucket.try_take(1, RATE, Instant(0))).count();
        assert_eq!(taken, 10);
        assert!(!bucket.try_take(1, RATE, Instant(499)));
        assert!(bucket.try_take(1, RATE, Instant(500)));
    }

    #[test]
    fn no_number_is_too_large() {
        let mut bucket = Bucket::default();
        assert!(bucket.take(u64::MAX, RATE, Instant(u64::MAX)).is_none_or(|at| at.0 > 0));
        assert!(bucket.take(u64::MAX, RATE, Instant(0)).is_some());
    }
}
