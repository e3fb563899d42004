//! When a certificate is to be replaced. A fleet that joined on one day, or is asked for new certificates by a hub that changes
//! its CA, must not come all at once: each device takes a time of its own.

use std::time::Duration;

use firmware_compat::time::UnixMs;

use crate::identity::Identity;

/// When the certificate is to be replaced, in seconds since 1970: two thirds of its lifetime after it was issued, and up to a
/// twelfth of that lifetime later as `random` decides; earlier if the hub has asked for that.
#[must_use]
pub fn renew_at_s(identity: &Identity, random: u64) -> u64 {
    let hub = &identity.hub;
    let usual = usual(hub.issued_ms, identity.not_after_s, random);
    match hub.facts.renewal {
        Some(asked) if hub.issued_ms < asked.issued_before_ms => {
            usual.min(early(hub.facts.unix_ms, asked.by_ms, random))
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
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use firmware_compat::enrolment::Renewal;

    use super::*;
    use crate::{
        identity::IdentityDir,
        state::StateDir,
        test_support::{Authority, identity},
    };

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
        let dir = tempfile::tempdir().unwrap();
        let dir = IdentityDir::of(&StateDir::open(dir.path()).unwrap());
        let mut device = identity(&dir, &Authority::new(), "pi");
        let issued_ms = device.hub.issued_ms;
        let now = issued_ms + DAY * 1000;
        let usual = renew_at_s(&device, 0);
        let asked = Renewal { issued_before_ms: now, by_ms: now + 10 * DAY * 1000 };
        (device.hub.facts.renewal, device.hub.facts.unix_ms) = (Some(asked), now);
        for (random, days) in [(0, 0), (u64::MAX / 2, 5), (u64::MAX, 10)] {
            let at = renew_at_s(&device, random) - now / 1000;
            assert_eq!(at.div_ceil(3600), days * 24);
        }
        // The new one is of the new CA.
        device.hub.issued_ms = now;
        assert!(renew_at_s(&device, 0) > usual);
        // Too late for an orderly time is still time.
        device.hub.issued_ms = issued_ms;
        device.hub.facts.unix_ms = asked.by_ms + 5000;
        assert_eq!(renew_at_s(&device, u64::MAX), asked.by_ms / 1000 + 5);
        // And a certificate that ends before is renewed before.
        device.not_after_s = issued_ms / 1000 + 9;
        assert_eq!(renew_at_s(&device, 0), issued_ms / 1000 + 6);
    }
}
