//! The authorities of hubs, and what people compare them by.

use std::{fmt, str::FromStr};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};

/// Most authorities in one bundle. During a rotation there are two.
const MAX_AUTHORITIES: usize = 32;

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    /// As it is shown, and as openssl shows it: `AA:BB:…`.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            "write the 64 hex digits that `lichen version` shows on the hub's machine".to_owned()
        };
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b':').take(65).collect();
        let value =
            |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut fingerprint = [0; 32];
        if digits.len() != 2 * fingerprint.len() {
            return Err(refused());
        }
        for (byte, pair) in fingerprint.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = value(pair[0]).zip(value(pair[1])).ok_or_else(refused)?;
            *byte = high << 4 | low;
        }
        Ok(Self(fingerprint))
    }
}

/// The authorities of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// From a bundle in PEM.
    ///
    /// # Errors
    /// It holds no certificate, or something else.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .take(MAX_AUTHORITIES + 1)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("it is not PEM: {error}"))?;
        match certificates.len() {
            0 => Err("it holds no CERTIFICATE in PEM".to_owned()),
            1..=MAX_AUTHORITIES => Ok(Self(certificates)),
            _ => Err(format!("it holds more than {MAX_AUTHORITIES} certificates")),
        }
    }

    /// Of one certificate.
    #[must_use]
    pub fn one(certificate: CertificateDer<'static>) -> Self {
        Self(vec![certificate])
    }

    /// Their certificates.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// By what people compare them.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.0.iter().map(Fingerprint::of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_shown_and_as_openssl_shows_it() {
        let shown = Fingerprint::of(&CertificateDer::from(b"x".to_vec()));
        assert_eq!(shown.to_string().parse(), Ok(shown));
        let digits = shown.to_string().replace("sha256:", "").to_uppercase();
        let pairs: Vec<&str> = (0..32).map(|i| &digits[2 * i..2 * i + 2]).collect();
        assert_eq!(pairs.join(":").parse(), Ok(shown));
        for bad in ["", "sha256:", "abcd", &format!("{shown}0"), &format!("{}g", &digits[..63])] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
        assert!("ä".repeat(32).parse::<Fingerprint>().is_err());
    }

    #[test]
    fn a_bundle_holds_certificates_and_not_too_many() {
        assert!(Authorities::read(b"").is_err());
        assert!(Authorities::read(b"rubbish").is_err());
        let one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(Authorities::read(one.as_bytes()).map(|read| read.0.len()), Ok(1));
        let many = one.repeat(MAX_AUTHORITIES + 1);
        assert!(Authorities::read(many.as_bytes()).is_err());
    }
}
