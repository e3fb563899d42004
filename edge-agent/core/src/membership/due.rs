//! When a certificate is to be replaced. A fleet that joined on one day, or is asked for new certificates by a hub that changes
//! its CA, must not come all at once: each device takes a time of its own.

use core::time::Duration;

use firmware_compat::{enrolment::Renewal, time::UnixMs};

/// A certificate's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// When it was issued, by the hub's known time, in milliseconds since 1970.
    pub issued_ms: UnixMs,
    /// Its last second, since 1970.
    pub not_after_s: u64,
}

/// What the hub has asked of certificates of its old CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which are meant, and by when.
    pub renewal: Renewal,
    /// When the hub said so, by its known time, in milliseconds since 1970.
    pub at_ms: UnixMs,
}

/// When the certificate is to be replaced, in seconds since 1970: two thirds of its lifetime after it was issued, and up to a
/// twelfth of that lifetime later as `random` decides; earlier if the hub has asked for that.
#[must_use]
pub fn renew_at_s(of: Lifetime, asked: Option<Asked>, random: u64) -> u64 {
    let usual = usual(of.issued_ms, of.not_after_s, random);
    match asked {
        Some(Asked { renewal, at_ms }) if of.issued_ms < renewal.issued_before_ms => {
            usual.min(early(at_ms, renewal.by_ms, random))
        }
        _ => usual,
    }
}

fn usual(issued_ms: UnixMs, not_after_s: u64, random: u64) -> u64 {
    let issued_s = issued_ms / 1000;
    let lifetime = Duration::from_secs(not_after_s.saturating_sub(issued_s));
    issued_s + (lifetime / 3 * 2).as_secs() + part(lifetime / 12, random).as_secs()
}

/// Between the time at which the hub asked for it, and that by which it wants it.
fn early(asked_ms: UnixMs, by_ms: UnixMs, random: u64) -> u64 {
    let left = Duration::from_millis(by_ms.saturating_sub(asked_ms));
    asked_ms / 1000 + part(left, random).as_secs()
}

/// The share of `whole` that `random` is of its own range.
pub(super) fn part(whole: Duration, random: u64) -> Duration {
    let millis = whole.as_millis().min(u128::from(u64::MAX)) * u128::from(random);
    Duration::from_millis((millis >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_lifetime_spread_over_a_twelfth() {
        let issued = 1_700_000_000;
        let at = |random| usual(issued * 1000, issued + 90 * DAY, random) - issued;
        assert_eq!(at(0), 60 * DAY);
        assert_eq!(at(u64::MAX).div_ceil(3600), (60 * DAY + 90 * DAY / 12) / 3600);
        // One that is already over, and one without end.
        assert_eq!(usual(issued * 1000, 5, u64::MAX), issued);
        assert!(usual(0, 253_402_300_799, u64::MAX) < 253_402_300_799);
    }

    #[test]
    fn a_hub_that_changes_its_ca_gets_old_certificates_renewed_in_the_time_that_it_gives() {
        let issued_ms = 1_700_000_000_000;
        let mut of = Lifetime { issued_ms, not_after_s: issued_ms / 1000 + 90 * DAY };
        let now = issued_ms + DAY * 1000;
        let usual = renew_at_s(of, None, 0);
        let renewal = Renewal { issued_before_ms: now, by_ms: now + 10 * DAY * 1000 };
        let mut asked = Asked { renewal, at_ms: now };
        for (random, days) in [(0, 0), (u64::MAX / 2, 5), (u64::MAX, 10)] {
            let at = renew_at_s(of, Some(asked), random) - now / 1000;
            assert_eq!(at.div_ceil(3600), days * 24);
        }
        // The new one is of the new CA.
        of.issued_ms = now;
        assert!(renew_at_s(of, Some(asked), 0) > usual);
        // Too late for an orderly time is still time.
        of.issued_ms = issued_ms;
        asked.at_ms = renewal.by_ms + 5000;
        assert_eq!(renew_at_s(of, Some(asked), u64::MAX), renewal.by_ms / 1000 + 5);
        // And a certificate that ends before is renewed before.
        of.not_after_s = issued_ms / 1000 + 9;
        assert_eq!(renew_at_s(of, Some(asked), 0), issued_ms / 1000 + 6);
    }
}
