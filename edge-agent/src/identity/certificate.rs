//! Reads what a hub issues: PEM, fingerprints, and when a certificate ends. Whether it is to be believed is TLS' to say
//! ([`crate::tls`]); of X.509 only the way to the validity is read here (RFC 5280 4.1), because a parser for the rest would
//! be many times as large as this and would answer nothing that is asked.

use firmware_compat::enrolment::Fingerprint;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};

/// Why a certificate, or what goes with it, can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No certificate where one should be.
    #[error("there is no certificate in it")]
    Empty,
    /// Cut short, or something else.
    #[error("it is cut short, or not certificates in PEM")]
    Pem,
    /// More than any chain has.
    #[error("it holds more certificates than a chain has")]
    TooMany,
    /// Not X.509.
    #[error("its certificate can't be read")]
    Certificate,
    /// Issued for somebody else's key.
    #[error("its certificate is for another key than this device has")]
    OtherKey,
    /// The CA that it was introduced by is not among those that it names.
    #[error("its CAs are not the one that the hub was known by")]
    OtherAuthority,
    /// No hub that could be believed.
    #[error("it names no keys that the hub signs with, or more than two")]
    SigningKeys,
    /// Not a name that a device may have.
    #[error("its name is none that a device may have")]
    Name,
}

/// The certificates in a text, in order; one at least.
///
/// # Errors
/// See [`Unusable`].
pub fn read_pem(text: &str, max: usize) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        if all.len() == max {
            return Err(Unusable::TooMany);
        }
        all.push(certificate.map_err(|_| Unusable::Pem)?);
    }
    // One that was cut in its middle is passed over by the reader of PEM.
    let begun = text.matches("-----BEGIN").count();
    match all.len() {
        0 if begun == 0 => Err(Unusable::Empty),
        found if found == begun => Ok(all),
        _ => Err(Unusable::Pem),
    }
}

/// By what people and tokens know a CA.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint(Sha256::digest(certificate).into())
}

/// The last second of a certificate's life, since 1970. One that ended before is at 0.
///
/// # Errors
/// [`Unusable::Certificate`].
pub fn not_after_s(certificate: &CertificateDer<'_>) -> Result<u64, Unusable> {
    not_after(certificate).ok_or(Unusable::Certificate)
}

const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

fn not_after(certificate: &[u8]) -> Option<u64> {
    let (to_be_signed, _) = element(element(certificate)?.0.of(SEQUENCE)?)?;
    let mut rest = to_be_signed.of(SEQUENCE)?;
    // Version (if any), serial number, signature algorithm, issuer.
    let (first, after) = element(rest)?;
    let before_validity = if first.tag == EXPLICIT_VERSION { 3 } else { 2 };
    rest = after;
    for _ in 0..before_validity {
        rest = element(rest)?.1;
    }
    let (_not_before, rest) = element(element(rest)?.0.of(SEQUENCE)?)?;
    let (not_after, _) = element(rest)?;
    seconds(&not_after)
}

/// One element of DER.
struct Element<'d> {
    tag: u8,
    content: &'d [u8],
}

impl<'d> Element<'d> {
    fn of(&self, tag: u8) -> Option<&'d [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

/// The first element, and what follows it.
fn element(der: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((Element { tag, content }, rest))
}

/// RFC 5280 4.1.2.5: `YYMMDDHHMMSSZ` of 1950 to 2049, or `YYYYMMDDHHMMSSZ`.
fn seconds(time: &Element<'_>) -> Option<u64> {
    let digits = time.content.strip_suffix(b"Z")?;
    let (year, digits) = match time.tag {
        UTC_TIME => {
            let (year, digits) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits)
        }
        GENERALIZED_TIME => {
            let (year, digits) = digits.split_at_checked(4)?;
            (number(year)?, digits)
        }
        _ => return None,
    };
    let pairs = digits.chunks(2).map(number).collect::<Option<Vec<_>>>()?;
    let &[month @ 1..=12, day @ 1..=31, hour @ 0..=23, minute @ 0..=59, second @ 0..=60] =
        pairs.as_slice()
    else {
        return None;
    };
    let days = days_before(year, month)? + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> Option<u64> {
    let all = digits.len() >= 2 && digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Days from 1970 to the first of a month; 0 years before 1970 have none.
fn days_before(year: u64, month: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let past = year.checked_sub(1970)?;
    let leap_days = leaps(year - 1) - leaps(1969) + u64::from(is_leap && month > 2);
    Some(past * 365 + leap_days + BEFORE.get(usize::try_from(month - 1).ok()?)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn ending(year: i32, month: u8, day: u8) -> rcgen::Certificate {
        let mut params = CertificateParams::new(vec!["pi".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_time() {
        for (year, month, day) in [
            (1970, 1, 1),
            (1970, 1, 2),
            (2000, 2, 29),
            (2024, 3, 1),
            (2026, 12, 31),
            (2049, 12, 31),
            (2050, 1, 1),
            (2100, 3, 1),
            (2400, 2, 29),
            (9999, 12, 31),
        ] {
            let expected = date_time_ymd(year, month, day).unix_timestamp();
            let found = not_after_s(ending(year, month, day).der());
            assert_eq!(found, Ok(expected.try_into().unwrap()), "{year}-{month}-{day}");
        }
    }

    #[test]
    fn what_is_cut_short_is_no_certificate() {
        let certificate = ending(2030, 1, 1);
        let der = certificate.der();
        for length in 0..80 {
            let cut = CertificateDer::from(der[..length].to_vec());
            assert_eq!(not_after_s(&cut), Err(Unusable::Certificate), "{length}");
        }
        let pem = certificate.pem();
        assert_eq!(read_pem(&pem, 8).unwrap().as_slice(), std::slice::from_ref(der));
        assert_eq!(read_pem(&pem[..pem.len() / 2], 8), Err(Unusable::Pem));
        assert_eq!(read_pem(&format!("{pem}{}", &pem[..40]), 8), Err(Unusable::Pem));
        assert_eq!(read_pem("", 8), Err(Unusable::Empty));
        assert_eq!(read_pem("rubbish", 8), Err(Unusable::Empty));
        assert_eq!(read_pem(&pem.repeat(3), 2), Err(Unusable::TooMany));
    }

    proptest! {
        #[test]
        fn changed_bytes_are_never_a_panic(
            at in 0_usize..400, byte: u8, length in 0_usize..500, random: Vec<u8>, text in ".{0,200}"
        ) {
            let mut der = ending(2030, 1, 1).der().to_vec();
            if let Some(changed) = der.get_mut(at) {
                *changed = byte;
            }
            der.truncate(length);
            let _ = not_after(&der);
            let _ = not_after(&random);
            let _ = read_pem(&format!("-----BEGIN CERTIFICATE-----\n{text}"), 8);
        }
    }
}
