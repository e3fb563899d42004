//! What a device proves itself with. The private halves stay behind this trait: in files ([`super::key_files`]), or in a
//! TPM or a secure element, which would be another implementation of it.

use std::{fmt::Debug, sync::Arc};

use firmware_compat::{enrolment::SealingKey, v1::owned::Sealed};
pub use lichen_sealing::OpenError;
use rcgen::{CertificateParams, DistinguishedName};
use zeroize::Zeroizing;

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The library that makes keys and requests refuses.
    #[error("could not make a key or a request for a certificate: {0}")]
    Making(#[from] rcgen::Error),
    /// The TLS library refuses.
    #[error("could not use the key for TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// What is kept is no key.
    #[error("it is not {0}")]
    NotAKey(&'static str),
}

/// What was under a seal. Wiped from memory when it is dropped.
pub type Plain = Zeroizing<Vec<u8>>;

/// A device's keys: one that it shows itself by (ECDSA P-256), one to which its secrets are sealed (X25519).
pub trait Keys: Debug + Send + Sync {
    /// A certificate signing request in PEM. Says nothing but the public key: the rest is the hub's to decide.
    ///
    /// # Errors
    /// See [`KeyError`].
    fn request(&self) -> Result<String, KeyError>;

    /// Signs handshakes.
    fn signer(&self) -> Arc<dyn rustls::sign::SigningKey>;

    /// The public half of the other key.
    fn sealing_key(&self) -> SealingKey;

    /// Opens what was sealed to that key. `about` is what [`firmware_compat::sealed::about`] says of it.
    ///
    /// # Errors
    /// It was sealed to another one.
    fn open(&self, about: &[u8], sealed: &Sealed) -> Result<Plain, OpenError>;
}

/// A request for the certificate of a key.
///
/// # Errors
/// See [`KeyError`].
pub fn request(key: &impl rcgen::SigningKey) -> Result<String, KeyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.pem()?)
}
