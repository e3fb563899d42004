//! The certificate authority of one hub: its key, its own certificate, and what it issues.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::{
    error::TrustError,
    files,
    identity::{ClientCertificate, DEVICES},
    standing::Number,
};

/// Largest certificate signing request that is read. One with an RSA key of 8192 bits takes a third of it.
const MAX_CSR: usize = 8 * 1024;
/// Random bytes of a serial number: as many as fit RFC 5280's bound whatever the first bit is.
const SERIAL_BYTES: usize = 16;

/// An end that never comes, for a key that lives as long as its process.
pub(crate) const NO_END: u64 = u64::MAX;
/// The organisation in the hub's own certificate.
const HUB: &str = "lichen:hub";

/// An authority. Its certificate has no well-defined end: it is replaced when somebody decides so, and never ends by
/// itself.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with the time at which it ends, in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// Big-endian, without leading zeros.
    pub serial: Vec<u8>,
    /// See [`ClientCertificate::key`].
    pub key: [u8; 32],
    /// The first second after its lifetime.
    pub not_after: u64,
    /// The fingerprint of who issued it.
    pub authority: [u8; 32],
}

/// A certificate in both forms.
#[derive(Clone, Debug)]
pub(crate) struct Pem {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
}

impl Pem {
    /// From a file; `None` if there is none.
    pub(crate) fn load(dir: &Path, name: &str) -> Result<Option<Self>, TrustError> {
        let path = dir.join(name);
        let Some(bytes) = files::read(&path)? else { return Ok(None) };
        let pem = String::from_utf8(bytes).ok();
        let read = pem.and_then(|pem| {
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
            Some(Self { der, pem })
        });
        read.map(Some).ok_or(TrustError::Damaged { path })
    }

    /// SHA-256 of its DER.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// From a file that has to be there.
    pub(crate) fn must_load(dir: &Path, name: &str) -> Result<Self, TrustError> {
        let missing = || TrustError::Missing { path: dir.join(name) };
        Self::load(dir, name)?.ok_or_else(missing)
    }
}

/// A certificate with its private key.
pub(crate) struct Keyed {
    pub(crate) issued: Issued,
    /// PKCS#8 in PEM.
    pub(crate) key: String,
}

/// For what a certificate may be used.
#[derive(Clone, Copy)]
enum Use {
    Server,
    Client,
}

impl Authority {
    /// The authority with this number; `None` if there is none.
    pub(crate) fn load(dir: &Path, number: Number) -> Result<Option<Self>, TrustError> {
        // The certificate is written last: without it there is no authority yet.
        let name = certificate_name(number);
        let Some(Pem { der, pem }) = Pem::load(dir, &name)? else { return Ok(None) };
        let path = dir.join(key_name(number));
        let Some(key_pem) = files::read(&path)? else {
            return Err(TrustError::Missing { path });
        };
        let key_pem = String::from_utf8(key_pem).ok();
        let key_pair = key_pem.and_then(|pem| KeyPair::from_pem(&pem).ok());
        let key_pair = key_pair.ok_or(TrustError::Damaged { path })?;
        let issuer = Issuer::from_ca_cert_der(&der, key_pair);
        let issuer = issuer.map_err(|_| TrustError::Damaged { path: dir.join(name) })?;
        Ok(Some(Self { certificate: der, pem, issuer }))
    }

    /// Makes an authority and keeps it under a number.
    pub(crate) fn create(dir: &Path, number: Number) -> Result<Self, TrustError> {
        let key_pair = KeyPair::generate()?;
        // One more than it needs by itself: for the certificate of its successor.
        let params = authority_params(&key_pair, 1)?;
        let certificate = params.self_signed(&key_pair)?;
        files::replace(&dir.join(key_name(number)), key_pair.serialize_pem().as_bytes())?;
        files::replace(&dir.join(certificate_name(number)), certificate.pem().as_bytes())?;
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Ok(Self { certificate: der, pem, issuer: Issuer::new(params, key_pair) })
    }

    /// Keeps a certificate of this authority by an older one: whoever believes only that one believes this one, too.
    pub(crate) fn cross_sign(
        &self,
        dir: &Path,
        number: Number,
        by: &Self,
    ) -> Result<Pem, TrustError> {
        let key_pair = self.issuer.key();
        let mut params = authority_params(key_pair, 0)?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key_pair, &by.issuer)?;
        let pem = certificate.pem();
        files::replace(&dir.join(cross_name(number)), pem.as_bytes())?;
        Ok(Pem { der: certificate.der().clone(), pem })
    }

    /// Its own certificate, DER.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its own certificate, PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of its certificate's DER.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }

    /// A server's certificate with a fresh key.
    pub(crate) fn server(
        &self,
        names: Vec<SanType>,
        not_after: u64,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TrustError> {
        let key_pair = KeyPair::generate()?;
        let mut params = params("lichen-hub", HUB, Use::Server, not_after)?;
        params.subject_alt_names = names;
        let certificate = params.signed_by(&key_pair, &self.issuer)?;
        Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key_pair.serialize_der()).into()))
    }

    /// A client's certificate with a fresh key.
    pub(crate) fn client(
        &self,
        name: &str,
        organization: &str,
        not_after: u64,
    ) -> Result<Keyed, TrustError> {
        let key_pair = KeyPair::generate()?;
        let params = params(name, organization, Use::Client, not_after)?;
        let certificate = params.signed_by(&key_pair, &self.issuer)?;
        Ok(Keyed { issued: self.issued(&certificate)?, key: key_pair.serialize_pem() })
    }

    /// The same for a client of this process: its key never leaves memory.
    pub(crate) fn client_key(
        &self,
        name: &str,
        organization: &str,
        not_after: u64,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TrustError> {
        let key_pair = KeyPair::generate()?;
        let params = params(name, organization, Use::Client, not_after)?;
        let certificate = params.signed_by(&key_pair, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(key_pair.serialize_der());
        Ok((certificate.der().clone(), key.into()))
    }

    /// A device's certificate for the key in its request. What else the request says is ignored.
    pub(crate) fn device(
        &self,
        csr_pem: &str,
        name: &str,
        not_after: u64,
    ) -> Result<Issued, TrustError> {
        let mut csr = read_csr(csr_pem)?;
        csr.params = params(name, DEVICES, Use::Client, not_after)?;
        self.issued(&csr.signed_by(&self.issuer)?)
    }

    fn issued(&self, certificate: &rcgen::Certificate) -> Result<Issued, TrustError> {
        let read = ClientCertificate::read(certificate.der())?;
        let ClientCertificate { serial, key, not_after, .. } = read;
        let (certificate, authority) = (certificate.pem(), self.fingerprint());
        Ok(Issued { certificate, serial, key, not_after, authority })
    }
}

/// SHA-256 of the public key in a request (PEM): the same as [`ClientCertificate::key`] of what is issued for it.
pub(crate) fn key_of(csr_pem: &str) -> Result<[u8; 32], TrustError> {
    Ok(Sha256::digest(read_csr(csr_pem)?.public_key.subject_public_key_info()).into())
}

fn read_csr(pem: &str) -> Result<CertificateSigningRequestParams, TrustError> {
    if pem.len() > MAX_CSR {
        return Err(TrustError::Csr("it is too long"));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| TrustError::Csr("it is not a CERTIFICATE REQUEST in PEM"))?;
    CertificateSigningRequestParams::from_der(&der)
        .map_err(|_| TrustError::Csr("it can't be read, or its signature is wrong"))
}

fn authority_params(key_pair: &KeyPair, below: u8) -> Result<CertificateParams, TrustError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(serial()?));
    params.distinguished_name = DistinguishedName::new();
    // Tells one authority from the next where both are shown.
    let id = short(&Sha256::digest(key_pair.public_key_raw()));
    params.distinguished_name.push(DnType::CommonName, format!("lichen-ca-{id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = beginning();
    params.not_after = no_end();
    Ok(params)
}

fn params(
    name: &str,
    organization: &str,
    usage: Use,
    not_after: u64,
) -> Result<CertificateParams, TrustError> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(serial()?));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match usage {
        Use::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Use::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params.use_authority_key_identifier_extension = true;
    // Of all time before the end: whose clock is behind must not refuse it.
    params.not_before = beginning();
    let end = i64::try_from(not_after).ok().map(OffsetDateTime::from_unix_timestamp);
    params.not_after = end.and_then(Result::ok).unwrap_or_else(no_end);
    Ok(params)
}

/// Random, positive, and never one that was given before.
fn serial() -> Result<Vec<u8>, TrustError> {
    let mut bytes = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| TrustError::Random)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(bytes.to_vec())
}

fn beginning() -> OffsetDateTime {
    date_time_ymd(1970, 1, 1)
}

/// RFC 5280 4.1.2.5: no well-defined expiration date.
fn no_end() -> OffsetDateTime {
    date_time_ymd(9999, 12, 31) + time::Duration::seconds(24 * 3600 - 1)
}

/// The file of an authority's certificate.
pub(crate) fn certificate_name(number: Number) -> String {
    format!("{}.pem", name(number))
}

/// The file of an authority's key.
pub(crate) fn key_name(number: Number) -> String {
    format!("{}.key", name(number))
}

/// The file of an authority's certificate by the one before it.
pub(crate) fn cross_name(number: Number) -> String {
    format!("{}.cross.pem", name(number))
}

fn name(number: Number) -> String {
    if number == 1 { "ca".to_owned() } else { format!("ca-{number}") }
}

fn short(digest: &[u8]) -> String {
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
