//! How long to wait before the next attempt to connect.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use super::Down;

/// Bounds of the pauses between connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The bound of the first pause. It doubles with each failure.
    pub first: Duration,
    /// The bound that is never passed.
    pub longest: Duration,
    /// The bound after the broker has shown that trying sooner is no use: another program has the client id, or one side
    /// does not want the other.
    pub unwelcome: Duration,
}

impl RetryPolicy {
    /// The pause after the `failures`-th failure in a row (from 1), somewhere below its bound as `random` decides: with
    /// full jitter a thousand clients that lost one broker come back spread out.
    #[must_use]
    pub fn pause(&self, why: &Down, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1);
        match why {
            // The lower half is left out: whoever was replaced shall let the other one be for a while. The first pause
            // is shorter, for a client can replace itself, when an attempt that it gave up arrives late.
            Down::TakenOver { .. }
            | Down::Contested { .. }
            | Down::Refused { .. }
            | Down::Impostor { .. }
            | Down::CertificateRefused { .. }
            | Down::SubscriptionRefused { .. } => {
                let bound = doubled(self.unwelcome / 4, doublings).min(self.unwelcome);
                bound / 2 + part(bound / 2, random)
            }
            Down::Closed { .. } | Down::ClosedSilently | Down::Silent | Down::Lost(_) => {
                part(doubled(self.first, doublings).min(self.longest), random)
            }
        }
    }
}

fn doubled(pause: Duration, times: u32) -> Duration {
    pause.saturating_mul(2_u32.saturating_pow(times))
}

/// The share of `whole` that `random` is of its own range.
fn part(whole: Duration, random: u64) -> Duration {
    let nanoseconds = whole.as_nanos().min(u128::from(u64::MAX)) * u128::from(random);
    Duration::from_nanos((nanoseconds >> 64) as u64)
}

/// A random number, good enough for spreading load. The standard library seeds each hasher anew.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(2),
        unwelcome: Duration::from_secs(60),
    };

    fn check(why: &Down, failures: u32, lowest_ms: u128, highest_ms: u128) {
        assert_eq!(POLICY.pause(why, failures, 0).as_millis(), lowest_ms);
        let highest = POLICY.pause(why, failures, u64::MAX).as_millis();
        assert!((highest_ms - 1..=highest_ms).contains(&highest), "{highest}");
    }

    #[test]
    fn the_bound_doubles_up_to_the_longest() {
        let lost = Down::Lost(String::new());
        check(&lost, 1, 0, 100);
        check(&lost, 2, 0, 200);
        check(&lost, 5, 0, 1600);
        check(&lost, 6, 0, 2000);
        check(&lost, u32::MAX, 0, 2000);
    }

    #[test]
    fn a_replaced_or_refused_client_waits_long_at_once() {
        check(&Down::TakenOver { client_id: String::new() }, 1, 7_500, 15_000);
        check(&Down::Contested { client_id: String::new() }, 3, 30_000, 60_000);
        check(&Down::SubscriptionRefused { filter: String::new() }, 9, 30_000, 60_000);
    }
}
