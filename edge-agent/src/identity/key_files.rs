//! Keys in files that only this user can read: `key.pem` (PKCS#8) and `sealing.key` (32 bytes in hex). They are made once,
//! on the device, and never leave it.

use std::sync::Arc;

use firmware_compat::{enrolment::SealingKey, id::Hash, v1::owned::Sealed};
use lichen_sealing::public_key;
use rcgen::KeyPair;
use rustls::{
    crypto::ring::sign::any_ecdsa_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::SigningKey,
};
use zeroize::Zeroizing;

use super::{
    keys::{self, KeyError, Keys, OpenError, Plain},
    store::{IdentityDir, IdentityError},
};

/// The key of the certificate.
pub(super) const KEY: &str = "key.pem";
/// The key to which secrets are sealed.
pub(super) const SEALING: &str = "sealing.key";

/// Both keys, read.
pub struct KeyFiles {
    pair: KeyPair,
    signer: Arc<dyn SigningKey>,
    sealing: Zeroizing<[u8; 32]>,
}

impl KeyFiles {
    /// The keys of a directory; `None` if one of them was not made yet.
    ///
    /// # Errors
    /// A file is damaged, or the system refuses.
    pub fn load(dir: &IdentityDir) -> Result<Option<Self>, IdentityError> {
        let Some(pem) = dir.read(KEY)? else { return Ok(None) };
        let Some(sealing) = dir.read(SEALING)? else { return Ok(None) };
        let (pair, signer) = read_pair(&pem).map_err(|error| dir.damaged(KEY, &error))?;
        let sealing = read_sealing(&sealing).map_err(|error| dir.damaged(SEALING, &error))?;
        Ok(Some(Self { pair, signer, sealing }))
    }

    /// The keys of a directory; what is missing is made, and is on the disk before this returns.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_or_make(dir: &IdentityDir) -> Result<Self, IdentityError> {
        if dir.read(KEY)?.is_none() {
            let pair = KeyPair::generate().map_err(|error| dir.unmade(KEY, error.into()))?;
            dir.write(KEY, pair.serialize_pem().as_bytes())?;
        }
        if dir.read(SEALING)?.is_none() {
            let secret = Zeroizing::new(crate::random::bytes());
            dir.write(SEALING, Zeroizing::new(format!("{}\n", Hash(*secret))).as_bytes())?;
        }
        Self::load(dir)?.ok_or_else(|| dir.missing(KEY))
    }
}

fn read_pair(pem: &str) -> Result<(KeyPair, Arc<dyn SigningKey>), KeyError> {
    let pair = KeyPair::from_pem(pem).map_err(|_| KeyError::NotAKey("a private key in PEM"))?;
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialized_der()));
    let signer = any_ecdsa_type(&der)?;
    Ok((pair, signer))
}

fn read_sealing(hex: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let secret = Hash::parse(hex.trim()).ok_or(KeyError::NotAKey("64 hex digits"))?;
    Ok(Zeroizing::new(secret.0))
}

impl Keys for KeyFiles {
    fn request(&self) -> Result<String, KeyError> {
        keys::request(&self.pair)
    }

    fn signer(&self) -> Arc<dyn SigningKey> {
        self.signer.clone()
    }

    fn sealing_key(&self) -> SealingKey {
        SealingKey(public_key(&self.sealing))
    }

    fn open(&self, about: &[u8], sealed: &Sealed) -> Result<Plain, OpenError> {
        lichen_sealing::open(&self.sealing, about, sealed)
    }
}

impl std::fmt::Debug for KeyFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyFiles")
    }
}
