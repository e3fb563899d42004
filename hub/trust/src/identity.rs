//! Who a certificate is for, read from the certificate itself.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The organisation in every certificate of a device. No operator has it.
pub const DEVICES: &str = "lichen:device";
/// Names and organisations that are read, in bytes: what X.520 allows a common name four times over.
const MAX_TEXT: usize = 256;
/// Organisations (an operator's groups) that are read.
const MAX_ORGANIZATIONS: usize = 64;
/// Bytes of a serial number (RFC 5280 4.1.2.2).
const MAX_SERIAL: usize = 20;

/// What a certificate says of its holder. Only worth something once its chain was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// A device's name, or an operator's user name.
    pub common_name: String,
    /// [`DEVICES`] for devices, the groups for operators.
    pub organizations: Vec<String>,
    /// Of the certificate, big-endian, without leading zeros.
    pub serial: Vec<u8>,
    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER), which stays when the certificate is renewed.
    pub key: [u8; 32],
    /// The first second after its lifetime, since 1970.
    pub not_after: u64,
}

/// Bytes that are no certificate as this hub makes them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate can't be read: {0}")]
pub struct Unreadable(&'static str);

impl ClientCertificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// It is not one, or has no single common name, or its texts are longer than any of ours.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, Unreadable> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| Unreadable("it is not X.509"))?;
        if !rest.is_empty() {
            return Err(Unreadable("bytes follow it"));
        }
        let subject = certificate.subject();
        let mut names = subject.iter_common_name();
        let common_name = match (names.next(), names.next()) {
            (Some(name), None) => text(name.as_str().ok())?,
            _ => return Err(Unreadable("it does not have exactly one common name")),
        };
        let organizations = subject.iter_organization();
        let organizations = organizations
            .take(MAX_ORGANIZATIONS + 1)
            .map(|organization| text(organization.as_str().ok()))
            .collect::<Result<Vec<_>, _>>()?;
        if organizations.len() > MAX_ORGANIZATIONS {
            return Err(Unreadable("it has too many organizations"));
        }
        let serial = certificate.raw_serial();
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let serial = serial[zeros..].to_vec();
        if serial.len() > MAX_SERIAL {
            return Err(Unreadable("its serial number is too long"));
        }
        let not_after = certificate.validity().not_after.timestamp();
        let not_after = u64::try_from(not_after).unwrap_or(0);
        let key = Sha256::digest(certificate.public_key().raw).into();
        Ok(Self { common_name, organizations, serial, key, not_after })
    }

    /// Whether it is a device's.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.organizations.iter().any(|organization| organization == DEVICES)
    }
}

fn text(text: Option<&str>) -> Result<String, Unreadable> {
    match text {
        Some(text) if text.len() <= MAX_TEXT => Ok(text.to_owned()),
        Some(_) => Err(Unreadable("a name in it is too long")),
        None => Err(Unreadable("a name in it is not text")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = ClientCertificate::read(&CertificateDer::from(bytes));
        }
    }
}
