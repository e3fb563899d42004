//! The hub's signing keys: Ed25519 keys by which devices know what this hub says. There is one, or two while it is changed:
//! the hub signs with the older one, which every device has, until the newer one is known to all of them.

use std::path::Path;

use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};

use crate::{
    error::TrustError,
    files,
    standing::{Number, Standing},
};

/// The hub's signing keys.
pub struct SigningKeys {
    signs: Ed25519KeyPair,
    next: Option<Ed25519KeyPair>,
}

impl SigningKeys {
    /// Those that count.
    pub(crate) fn load(dir: &Path, standing: &Standing) -> Result<Self, TrustError> {
        let read = |number| load(dir, number)?.ok_or_else(|| missing(dir, number));
        let next = standing.next_signing.map(|next| read(next.number)).transpose()?;
        Ok(Self { signs: read(standing.signing.number)?, next })
    }

    /// The public keys, newest first.
    #[must_use]
    pub fn public(&self) -> Vec<[u8; 32]> {
        let public = |pair: &Ed25519KeyPair| {
            let key = pair.public_key().as_ref();
            key.try_into().expect("an Ed25519 public key has 32 bytes")
        };
        self.next.iter().chain([&self.signs]).map(public).collect()
    }

    /// Signs (RFC 8032) with the older key.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.signs.sign(message);
        signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys").field("keys", &self.public().len()).finish_non_exhaustive()
    }
}

/// The file of a key, in PKCS#8.
pub(crate) fn file_name(number: Number) -> String {
    match number {
        1 => "signing.key".to_owned(),
        number => format!("signing-{number}.key"),
    }
}

/// Makes a key. One that is there under its number never counted.
pub(crate) fn make(dir: &Path, number: Number) -> Result<(), TrustError> {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let made = made.map_err(|_| TrustError::Random)?;
    Ok(files::replace(&dir.join(file_name(number)), made.as_ref())?)
}

/// Whether the file of a key is there.
pub(crate) fn exists(dir: &Path, number: Number) -> Result<bool, TrustError> {
    Ok(files::read(&dir.join(file_name(number)))?.is_some())
}

fn load(dir: &Path, number: Number) -> Result<Option<Ed25519KeyPair>, TrustError> {
    let path = dir.join(file_name(number));
    let Some(bytes) = files::read(&path)? else { return Ok(None) };
    Ed25519KeyPair::from_pkcs8(&bytes).map(Some).map_err(|_| TrustError::Damaged { path })
}

fn missing(dir: &Path, number: Number) -> TrustError {
    TrustError::Missing { path: dir.join(file_name(number)) }
}
