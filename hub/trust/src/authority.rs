//! The certificate authority of one hub: its key, its own certificate, and what it issues.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams,
    CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
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

/// Of what a device's certificate may last, the part within which the same key gets the same certificate again: its serial
/// number and its end. So a device whose answers are lost, or that asks without end, has no more certificates than this
/// at a time, and all of them can be told when it is revoked.
const CERTIFICATES_PER_LIFETIME: u64 = 64;
/// Whom the hub is: the organisation in what it shows as a server, the common name of what it shows at an operator's broker.
/// No device has a name like this.
pub const HUB_USER: &str = "lichen:hub";

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
        let (certificate, key_pair) = self.serving("lichen-hub", HUB_USER, names, not_after)?;
        Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key_pair.serialize_der()).into()))
    }

    /// The same for another server than the hub, in PEM.
    pub(crate) fn other_server(
        &self,
        name: &str,
        organization: &str,
        names: Vec<SanType>,
        not_after: u64,
    ) -> Result<(String, String), TrustError> {
        let (certificate, key_pair) = self.serving(name, organization, names, not_after)?;
        Ok((certificate.pem(), key_pair.serialize_pem()))
    }

    fn serving(
        &self,
        name: &str,
        organization: &str,
        names: Vec<SanType>,
        not_after: u64,
    ) -> Result<(rcgen::Certificate, KeyPair), TrustError> {
        let key_pair = KeyPair::generate()?;
        let mut params = params(name, organization, Use::Server, not_after)?;
        params.subject_alt_names = names;
        Ok((params.signed_by(&key_pair, &self.issuer)?, key_pair))
    }

    /// Signs which of its certificates are worth nothing any more, by their serial numbers. PEM.
    pub(crate) fn revocations(&self, serials: &[Vec<u8>], now: u64) -> Result<String, TrustError> {
        let this_update = at(now);
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update,
            // A broker that is not given a newer one must not lock every device out.
            next_update: no_end(),
            // Rises, as time does.
            crl_number: SerialNumber::from_slice(&now.to_be_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
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

    /// A device's certificate for the key in its request. What else the request says is ignored. It ends after `lifetime_s`
    /// or a little earlier; see [`CERTIFICATES_PER_LIFETIME`].
    pub(crate) fn device(
        &self,
        csr_pem: &str,
        name: &str,
        now: u64,
        lifetime_s: u64,
    ) -> Result<Issued, TrustError> {
        let mut csr = read_csr(csr_pem)?;
        let step = (lifetime_s / CERTIFICATES_PER_LIFETIME).max(1);
        let not_after = now.saturating_add(lifetime_s) / step * step;
        csr.params = params(name, DEVICES, Use::Client, not_after)?;
        let key = csr.public_key.subject_public_key_info();
        csr.params.serial_number = Some(SerialNumber::from(self.serial_of(&key, name, not_after)));
        self.issued(&csr.signed_by(&self.issuer)?)
    }

    /// One serial number for each key, name and end: of a hash, so that no two certificates share one.
    fn serial_of(&self, key: &[u8], name: &str, not_after: u64) -> Vec<u8> {
        let mut hash = Sha256::new();
        hash.update(self.fingerprint());
        hash.update(not_after.to_be_bytes());
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update(key);
        positive(hash.finalize()[..SERIAL_BYTES].to_vec())
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
    params.not_after = at(not_after);
    Ok(params)
}

/// Random, positive, and never one that was given before.
fn serial() -> Result<Vec<u8>, TrustError> {
    let mut bytes = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| TrustError::Random)?;
    Ok(positive(bytes.to_vec()))
}

/// As an integer of DER: neither negative nor with zeros in front.
fn positive(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    bytes
}

/// A time that certificates can hold; beyond it there is no end.
fn at(seconds: u64) -> OffsetDateTime {
    let time = i64::try_from(seconds).ok().map(OffsetDateTime::from_unix_timestamp);
    time.and_then(Result::ok).unwrap_or_else(no_end)
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

/// The file of what an authority that has been replaced had revoked.
pub(crate) fn revocations_name(number: Number) -> String {
    format!("{}.crl.pem", name(number))
}

fn name(number: Number) -> String {
    if number == 1 { "ca".to_owned() } else { format!("ca-{number}") }
}

fn short(digest: &[u8]) -> String {
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
