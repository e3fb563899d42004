//! Seals files of a Secret to one device, and opens them there: HPKE as [`firmware_compat::sealed`] has it. One crate for
//! both ends, so that they can't disagree.
//!
//! - [`open`] is the device's side, [`public_key`] what it shows when it enrols.
//! - `Sealer`, with the feature `seal`, is the hub's.
//!
//! Keys are handed in and kept nowhere; what was opened is wiped when it is dropped.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "seal")]
mod seal;

use alloc::vec::Vec;
use core::fmt;

use firmware_compat::{sealed::INFO, v1::owned::Sealed};
use hpke::{
    Deserializable, Kem, OpModeR, Serializable,
    aead::{AeadTag, ChaCha20Poly1305},
    inout::InOutBuf,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    single_shot_open_inout_detached,
};
use zeroize::Zeroizing;

#[cfg(feature = "seal")]
pub use seal::{SealError, Sealer};

/// Bytes of the tag behind what is encrypted.
const TAG_BYTES: usize = 16;

/// It was not sealed to this key for this purpose, or has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenError;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was sealed to another key, or has changed since")
    }
}

impl core::error::Error for OpenError {}

/// The X25519 public key of a private one; any 32 random bytes are one.
#[must_use]
pub fn public_key(private: &[u8; 32]) -> [u8; 32] {
    let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(private);
    let public = private.map(|private| X25519HkdfSha256::sk_to_pk(&private).to_bytes());
    public.expect("a key of X25519 is 32 bytes long").into()
}

/// Opens what was sealed to a device's key. `about` is what [`firmware_compat::sealed::about`] says of it.
///
/// # Errors
/// [`OpenError`], which does not tell more to whoever tries.
pub fn open(
    private: &[u8; 32],
    about: &[u8],
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let key = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(private).map_err(|_| OpenError)?;
    let sent = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&sealed.encapsulated_key)
        .map_err(|_| OpenError)?;
    let (content, tag) = sealed.content.split_last_chunk::<TAG_BYTES>().ok_or(OpenError)?;
    let tag = AeadTag::<ChaCha20Poly1305>::from_bytes(tag).map_err(|_| OpenError)?;
    let mut plain = Zeroizing::new(content.to_vec());
    single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &key,
        &sent,
        INFO,
        InOutBuf::from(plain.as_mut_slice()),
        about,
        &tag,
    )
    .map_err(|_| OpenError)?;
    Ok(plain)
}
