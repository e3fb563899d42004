//! Whom the command line believes: a hub whose certificate an authority of the context has signed, for the name that it
//! was asked for. What is not believed is told with what was seen.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use lichen_hub_core::api::time::rfc3339;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{Authorities, Fingerprint};

/// Names of another certificate that are told.
const MAX_NAMES: usize = 8;

/// Why a hub is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Another authority has signed its certificate.
    Stranger {
        /// That authority.
        shown: Fingerprint,
        /// Those that would do.
        expected: Vec<Fingerprint>,
    },
    /// Its certificate is for other names.
    Name {
        /// What it was asked for.
        wanted: String,
        /// What it has.
        known_as: Vec<String>,
    },
    /// Its certificate has ended, by this machine's clock.
    Ended {
        /// When. RFC 3339.
        at: String,
        /// What this machine's clock says. RFC 3339.
        clock: String,
    },
    /// Something else is wrong with its certificate.
    Other(String),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger { shown, expected } => {
                let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
                let expected = expected.join(" or ");
                write!(f, "its authority has the fingerprint {shown}, expected is {expected}")
            }
            Self::Name { wanted, known_as } => {
                write!(f, "its certificate is not for {wanted} but for {}", known_as.join(", "))
            }
            Self::Ended { at, clock } => {
                write!(
                    f,
                    "its certificate has ended at {at}, and it is {clock} by this machine's clock"
                )
            }
            Self::Other(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for Distrust {}

impl Distrust {
    /// What a failed handshake says about the hub's certificate, if it is that.
    pub(super) fn of(error: &Error) -> Option<Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
                Some(match cause.downcast_ref::<Self>() {
                    Some(distrust) => distrust.clone(),
                    None => Self::Other(cause.to_string()),
                })
            }
            Error::InvalidCertificate(other) => Some(Self::Other(other.to_string())),
            _ => None,
        }
    }
}

/// The cryptography that every connection uses.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Believes what one of the authorities has signed, and says of everything else why not.
#[derive(Debug)]
pub(super) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    expected: Vec<Fingerprint>,
}

impl Verifier {
    pub(super) fn new(authorities: &Authorities) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in authorities.certificates() {
            let added = roots.add(certificate.clone());
            added.map_err(|error| format!("a certificate in it is no authority's: {error}"))?;
        }
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { inner, expected: authorities.fingerprints() })
    }

    /// Settings of a client that believes this and shows nothing of itself yet.
    pub(super) fn into_config(
        self,
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        config_of(Arc::new(self))
    }

    fn distrust(
        &self,
        error: CertificateError,
        name: &ServerName<'_>,
        chain: (&CertificateDer<'_>, &[CertificateDer<'_>]),
    ) -> Distrust {
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                let (leaf, others) = chain;
                let shown = Fingerprint::of(others.last().unwrap_or(leaf));
                Distrust::Stranger { shown, expected: self.expected.clone() }
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let known_as = presented.iter().take(MAX_NAMES).map(|name| shown_name(name));
                Distrust::Name { wanted: name.to_str().into_owned(), known_as: known_as.collect() }
            }
            CertificateError::ExpiredContext { time, not_after } => {
                let shown = |at: UnixTime| rfc3339(at.as_secs().saturating_mul(1000));
                Distrust::Ended { at: shown(not_after), clock: shown(time) }
            }
            other => Distrust::Other(other.to_string()),
        }
    }
}

/// `DnsName("hub")`, `IpAddress(127.0.0.1)`: the name in it, which nobody but the peer has chosen.
fn shown_name(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    let name = inner.unwrap_or(presented).trim_matches('"');
    let mut plain = String::new();
    for letter in name.chars().filter(|letter| !letter.is_control()).take(253) {
        let _ = plain.write_char(letter);
    }
    plain
}

/// Settings of a client with a verifier of its own.
pub(super) fn config_of(
    verifier: Arc<dyn ServerCertVerifier>,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let inner = &self.inner;
        inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| match error {
                Error::InvalidCertificate(error) => {
                    let chain = (end_entity, intermediates);
                    let distrust = self.distrust(error, server_name, chain);
                    let other = OtherError(Arc::new(distrust));
                    Error::InvalidCertificate(CertificateError::Other(other))
                }
                other => other,
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_stranger_cannot_drive_the_terminal() {
        assert_eq!(shown_name("DnsName(\"hub\")"), "hub");
        assert_eq!(shown_name("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(shown_name("x\u{1b}[31m"), "x[31m");
    }
}
