//! The hub's side: the same content for the same device always makes the same bytes.
//!
//! Assignments name their parts by hash, so a part that were other bytes each time it is made would be another assignment
//! each time, and a hub that starts again would send every device all of its secrets anew. HPKE draws a fresh key pair for
//! each message; here it is derived, by a keyed hash (HMAC-SHA-256), from a secret of the hub and from everything that
//! goes into the message: the device's key, what it is about, and the content. This is what RFC 6979 does for signatures
//! and synthetic nonces do for encryption, and it is as safe as the secret is:
//!
//! - HPKE breaks if one key pair serves two messages. Two messages that differ in anything differ in what is hashed, so
//!   their pairs are as good as drawn apart; for two that differ in nothing the bytes are the same.
//! - Who does not have the secret can't tell a pair from one that was drawn, nor try contents until one fits.
//! - What is learnt is that two parts are equal for one device: their names say that anyway.
//!
//! The secret never leaves the hub and is used for nothing else.

use alloc::vec::Vec;
use core::{convert::Infallible, fmt};

use firmware_compat::{
    sealed::INFO,
    v1::owned::{Bytes, Sealed},
};
use hpke::{
    Deserializable, Kem, OpModeS, Serializable,
    aead::ChaCha20Poly1305,
    inout::InOutBuf,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    rand_core::{TryCryptoRng, TryRng},
    single_shot_seal_inout_detached_with_rng,
};
use ring::hmac;
use zeroize::Zeroizing;

/// In front of what is hashed: the secret says nothing elsewhere.
const DOMAIN: &[u8] = b"lichen ephemeral key of a sealed secret\n";

/// Why something is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// Nothing can be sealed to this key: it is one of the few that agree on nothing.
    Key,
    /// It is longer than any part may be.
    TooLong,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "nothing can be sealed to this key",
            Self::TooLong => "it is longer than any part may be",
        })
    }
}

impl core::error::Error for SealError {}

/// Seals to any device.
#[derive(Clone)]
pub struct Sealer(hmac::Key);

impl Sealer {
    /// Seals by a secret of the hub.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Seals content to a device's X25519 key. `about` is what [`firmware_compat::sealed::about`] says of it.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(&self, to: &[u8; 32], about: &[u8], plain: &[u8]) -> Result<Sealed, SealError> {
        let key =
            <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(to).map_err(|_| SealError::Key)?;
        let mut content = Vec::with_capacity(plain.len() + super::TAG_BYTES);
        content.extend_from_slice(plain);
        let (sent, tag) = single_shot_seal_inout_detached_with_rng::<
            ChaCha20Poly1305,
            HkdfSha256,
            X25519HkdfSha256,
        >(
            &OpModeS::Base,
            &key,
            INFO,
            InOutBuf::from(content.as_mut_slice()),
            about,
            &mut self.pair_for(to, about, plain),
        )
        .map_err(|_| SealError::Key)?;
        content.extend_from_slice(&tag.to_bytes());
        let content = Bytes::try_from(content).map_err(|_| SealError::TooLong)?;
        Ok(Sealed { encapsulated_key: sent.to_bytes().into(), content })
    }

    fn pair_for(&self, to: &[u8; 32], about: &[u8], plain: &[u8]) -> Derived {
        let mut hash = hmac::Context::with_key(&self.0);
        // Every part but the last has a length that is known, so that no two inputs are one text.
        for part in [DOMAIN, to, &(about.len() as u64).to_le_bytes(), about, plain] {
            hash.update(part);
        }
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(hash.sign().as_ref());
        Derived { key: hmac::Key::new(hmac::HMAC_SHA256, &*seed), blocks: 0 }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

/// The random numbers of one message: a keyed hash of a counter.
struct Derived {
    key: hmac::Key,
    blocks: u64,
}

impl TryRng for Derived {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for part in bytes.chunks_mut(32) {
            let block = hmac::sign(&self.key, &self.blocks.to_le_bytes());
            self.blocks += 1;
            part.copy_from_slice(&block.as_ref()[..part.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Derived {}
