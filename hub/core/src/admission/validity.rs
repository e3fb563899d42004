//! What a certificate is good for, by its end and the time that the hub knows. All times are seconds since 1970.

use firmware_compat::enrolment::Renewal;

/// Whether a certificate's lifetime is over: it does not open a session any more.
#[must_use]
pub fn has_ended(not_after_s: u64, known_s: u64) -> bool {
    known_s > not_after_s
}

/// Whether a certificate is good for a new one: until so long after its end, so that a device that was off comes back by
/// itself.
#[must_use]
pub fn is_renewable(not_after_s: u64, grace_s: u64, known_s: u64) -> bool {
    known_s <= not_after_s.saturating_add(grace_s)
}

/// What devices are asked while the hub changes its CA, which was made at `since_s` and believed beside the one before until
/// `until_s`: certificates of the CA before are to be renewed within the first half of that.
#[must_use]
pub fn early_renewal(since_s: u64, until_s: u64) -> Renewal {
    let by_s = since_s.saturating_add(until_s.saturating_sub(since_s) / 2);
    // The second in which it changed counts as before.
    let issued_before_ms = since_s.saturating_add(1).saturating_mul(1000);
    Renewal { issued_before_ms, by_ms: by_s.saturating_mul(1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_good_to_its_last_second_and_then_for_a_new_one_until_the_grace_is_over() {
        const END: u64 = 1_000;
        for (known, ended, renewable) in [
            (0, false, true),
            (END, false, true),
            (END + 1, true, true),
            (1_500, true, true),
            (1_501, true, false),
        ] {
            assert_eq!(
                (has_ended(END, known), is_renewable(END, 500, known)),
                (ended, renewable),
                "{known}"
            );
        }
        assert!(is_renewable(u64::MAX, 1, u64::MAX) && is_renewable(1, u64::MAX, u64::MAX));
    }

    #[test]
    fn devices_have_half_of_an_overlap_for_their_new_certificates() {
        let asked = early_renewal(100, 300);
        assert_eq!((asked.issued_before_ms, asked.by_ms), (101_000, 200_000));
        // An overlap that is over has no half left.
        assert_eq!(early_renewal(100, 50).by_ms, 100_000);
    }
}
