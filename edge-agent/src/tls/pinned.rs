//! Whom a device believes once it has joined: a server whose certificate leads to one of the pinned authorities and bears
//! one fixed name, whatever address was dialled. A hub that moves stays the same hub.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// webpki with pinned authorities and a fixed name.
#[derive(Debug)]
pub struct Pinned {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
    authorities: Vec<CertificateDer<'static>>,
    /// Becomes true when a server that is believed shows a CA that is not among those.
    pub(super) news: Option<Arc<AtomicBool>>,
}

impl Pinned {
    /// Believes servers of this name with certificates of these authorities.
    ///
    /// # Errors
    /// An authority's certificate can't be read.
    pub fn new(
        provider: &Arc<CryptoProvider>,
        authorities: &[CertificateDer<'static>],
        name: &'static str,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone())?;
        }
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let inner = inner.build().map_err(|_| CertificateError::UnknownIssuer)?;
        let name = ServerName::try_from(name).map_err(|_| CertificateError::NotValidForName)?;
        Ok(Self { inner, name, authorities: authorities.to_vec(), news: None })
    }

    /// A hub shows the CA last by which newcomers are to know it.
    fn look_for_news(&self, chain: &[CertificateDer<'_>]) {
        if let (Some(news), Some(newest)) = (&self.news, chain.last())
            && !self.authorities.contains(newest)
        {
            news.store(true, Relaxed);
        }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let inner = &self.inner;
        let verified =
            inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)?;
        self.look_for_news(intermediates);
        Ok(verified)
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
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use firmware_compat::enrolment::HUB_NAME;
    use rustls::{ClientConfig, ClientConnection, ServerConnection};

    use super::*;
    use crate::{
        test_support::Authority,
        tls::{finished, provider},
    };

    /// Whether a device that has been told of these CAs hears of another one from this hub.
    fn hears_news(told: &[&Authority], hub: &Authority) -> bool {
        let authorities: Vec<_> = told.iter().map(|authority| authority.der()).collect();
        let mut pinned = Pinned::new(&provider(), &authorities, HUB_NAME).unwrap();
        let news = Arc::new(AtomicBool::new(false));
        pinned.news = Some(news.clone());
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pinned))
            .with_no_client_auth();
        let name = ServerName::try_from(HUB_NAME).unwrap();
        let config = Arc::new(finished(config, b"mqtt"));
        let mut client = ClientConnection::new(config, name).unwrap();
        let mut server = ServerConnection::new(hub.server()).unwrap();
        while client.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut bytes = Vec::new();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        news.load(Relaxed)
    }

    #[test]
    fn a_hub_that_shows_a_new_ca_has_something_to_say() {
        let old = Authority::new();
        let new = Authority::new().introduced_by(&old);
        assert!(!hears_news(&[&old], &old));
        assert!(!hears_news(&[&new, &old], &old));
        assert!(hears_news(&[&old], &new));
        assert!(!hears_news(&[&new, &old], &new));
    }
}
