//! Whom a device believes when it joins: a hub whose chain holds the very CA that a join token, or an operator, names by
//! its fingerprint. Without a fingerprint the first hub that answers is believed; what it was known by is told.

use std::sync::{Arc, OnceLock};

use firmware_compat::enrolment::{Fingerprint, HUB_NAME};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::pinned::Pinned;
use crate::identity::certificate::fingerprint;

/// Certificates of a chain that are looked at.
const MAX_CHAIN: usize = 8;

/// Why the hub that answers is not believed.
#[derive(Debug, thiserror::Error)]
enum Stranger {
    #[error("its CA has the fingerprint {found}, and {expected} is expected")]
    OtherAuthority { found: Fingerprint, expected: Fingerprint },
    #[error("it shows no CA beside its own certificate; is it a Lichen hub's port for devices?")]
    NoAuthority,
}

/// Believes one CA, and remembers it.
#[derive(Debug)]
pub struct FirstContact {
    provider: Arc<CryptoProvider>,
    expected: Option<Fingerprint>,
    met: OnceLock<CertificateDer<'static>>,
}

impl FirstContact {
    /// Believes the CA with this fingerprint; without one, whichever comes first, and that one from then on.
    #[must_use]
    pub fn new(expected: Option<Fingerprint>) -> Self {
        Self { provider: super::provider(), expected, met: OnceLock::new() }
    }

    /// The CA of the hub that was met.
    #[must_use]
    pub fn authority(&self) -> Option<&CertificateDer<'static>> {
        self.met.get()
    }

    fn expected(&self) -> Option<Fingerprint> {
        self.expected.or_else(|| self.met.get().map(fingerprint))
    }

    fn choose<'c>(
        &self,
        chain: &'c [CertificateDer<'c>],
    ) -> Result<&'c CertificateDer<'c>, Stranger> {
        let chain = &chain[..chain.len().min(MAX_CHAIN)];
        let last = chain.last().ok_or(Stranger::NoAuthority)?;
        let Some(expected) = self.expected() else { return Ok(last) };
        let named = chain.iter().find(|certificate| fingerprint(certificate) == expected);
        named.ok_or_else(|| Stranger::OtherAuthority { found: fingerprint(last), expected })
    }
}

impl ServerCertVerifier for FirstContact {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = self
            .choose(intermediates)
            .map_err(|stranger| CertificateError::Other(OtherError(Arc::new(stranger))))?;
        let authority = authority.clone().into_owned();
        let pinned = Pinned::new(&self.provider, std::slice::from_ref(&authority), HUB_NAME)?;
        let verified =
            pinned.verify_server_cert(end_entity, intermediates, dialled, ocsp_response, now)?;
        // Of two connections at once the first decides; the other one met the same CA, or is not believed next time.
        let _ = self.met.set(authority);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
