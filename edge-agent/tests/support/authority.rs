//! A hub's certificate authority, made for one test.

use std::{sync::Arc, time::Duration};

use firmware_compat::enrolment::{DEVICES, Fingerprint, HUB_NAME};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer, UnixTime, pem::PemObject,
    },
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use sha2::{Digest, Sha256};

/// A day, as `year, month, day`.
pub type Day = (i32, u8, u8);

/// Long before any test, and long after.
pub const BEGINNING: Day = (1970, 1, 1);
pub const NO_END: Day = (9999, 12, 31);

/// An authority, and what its servers show between their certificates and its own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>, Vec<CertificateDer<'static>>);

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params("an authority", BEGINNING, NO_END);
        // Two of them differ in their names, too.
        params
            .distinguished_name
            .push(DnType::OrganizationName, key.serialize_pem()[60..80].to_owned());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, key).unwrap(), Vec::new())
    }

    /// The same, believed by those who believe an older one.
    pub fn introduced_by(mut self, older: &Self) -> Self {
        let mut params = params("an authority", BEGINNING, NO_END);
        let key = self.0.key();
        params
            .distinguished_name
            .push(DnType::OrganizationName, key.serialize_pem()[60..80].to_owned());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let cross = params.signed_by(key, &older.0).unwrap();
        self.1 = vec![cross.der().clone(), older.der()];
        self
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.0.as_ref().der().clone()
    }

    pub fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(self.der()).into())
    }

    /// A certificate of a device, for the key of a request.
    pub fn device(&self, csr: &str, name: &str, end: Day) -> String {
        let der = CertificateSigningRequestDer::from_pem_slice(csr.as_bytes()).unwrap();
        let mut csr = CertificateSigningRequestParams::from_der(&der).unwrap();
        csr.params = params(name, BEGINNING, end);
        csr.params.distinguished_name.push(DnType::OrganizationName, DEVICES);
        csr.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        csr.signed_by(&self.0).unwrap().pem()
    }

    /// What the hub's device port shows.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server_of(HUB_NAME, BEGINNING, NO_END)
    }

    /// The same with another name or lifetime.
    pub fn server_of(&self, name: &str, begin: Day, end: Day) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, begin, end);
        params.subject_alt_names =
            CertificateParams::new(vec![name.to_owned()]).unwrap().subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let own = [certificate.der().clone()];
        let chain = own.into_iter().chain(self.1.clone()).chain([self.der()]).collect();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let builder = ServerConfig::builder_with_provider(provider());
        let mut config = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(Arc::new(Lenient::new(self)))
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"mqtt".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

fn params(name: &str, begin: Day, end: Day) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(begin.0, begin.1, begin.2);
    params.not_after = date_time_ymd(end.0, end.1, end.2);
    params
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// As the hub's: a certificate is optional, and one that has ended is let through.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

impl Lenient {
    fn new(authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        Self(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .unwrap(),
        )
    }
}

impl ClientCertVerifier for Lenient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let beginning = UnixTime::since_unix_epoch(Duration::from_secs(1));
        self.0.verify_client_cert(end_entity, intermediates, beginning)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
