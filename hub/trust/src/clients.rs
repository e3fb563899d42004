//! Whose certificates are believed in a handshake: those of this hub's authorities. One that has ended is let through
//! as well, since it may still ask for a new one; whoever serves the connection looks at its end, see
//! [`crate::ClientCertificate::not_after`].

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::{error::TrustError, identity::ClientCertificate, known_time::KnownTime};

/// Checks clients' certificates by known time.
#[derive(Debug)]
pub(crate) struct Clients {
    inner: RwLock<Arc<dyn ClientCertVerifier>>,
    time: Arc<KnownTime>,
}

impl Clients {
    pub(crate) fn new(
        provider: &Arc<CryptoProvider>,
        authorities: &[CertificateDer<'static>],
        time: Arc<KnownTime>,
    ) -> Result<Self, TrustError> {
        Ok(Self { inner: RwLock::new(verifier(provider, authorities)?), time })
    }

    /// Believes others from now on.
    pub(crate) fn replace(&self, verifier: Arc<dyn ClientCertVerifier>) {
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = verifier;
    }

    fn inner(&self) -> Arc<dyn ClientCertVerifier> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Believes clients with certificates of these authorities.
pub(crate) fn verifier(
    provider: &Arc<CryptoProvider>,
    authorities: &[CertificateDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, TrustError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| TrustError::Tls(Error::General(error.to_string())))
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a device has one certificate, and the bytes are spared.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let inner = self.inner();
        match inner.verify_client_cert(end_entity, intermediates, at(self.time.now())) {
            Err(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => {
                let unreadable = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
                let ended = ClientCertificate::read(end_entity).map_err(unreadable)?.not_after;
                inner.verify_client_cert(end_entity, intermediates, at(ended))
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner().supported_verify_schemes()
    }
}
