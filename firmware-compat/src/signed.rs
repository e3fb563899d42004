//! What the hub signs: which bytes, and what binds them to one device and one moment. A broker between hub and device can
//! delay and drop what is signed, and nothing else.
//!
//! The signature (Ed25519, RFC 8032) is over [`DOMAIN`], a byte with the length of the addressee's name, that name (the
//! device's, or [`ALL`](crate::topic::ALL) for what goes to every device), and the frame up to the signature: protocol
//! version, kind, session, sequence, message. What is signed for one device, kind or version is nothing for another.
//!
//! | kind | also bound to | what a copy of it does later |
//! |---|---|---|
//! | head | lineage, generation, hash and length of the body | nothing: devices refuse older generations |
//! | command | lineage, one connection of the device, its id | nothing: in another connection it is refused, in this one its id is known |
//! | time, report | lineage, the time that the hub knew | nothing: devices refuse what is not newer than what they heard |
//!
//! Parts of assignments carry no signature: a head names the body by its hash, and the body its parts.
//!
//! This crate has no cryptography of its own. Who signs hands it to [`sign`], who checks gives a [`Verify`] to the
//! [`guard`](crate::guard).

use crate::{
    capacity::SIGNED_BYTES,
    frame::{EncodeError, Message, SIGNATURE_BYTES, Seal},
    id::{Lineage, PublicKey},
    time::UnixMs,
    topic::MAX_DEVICE_NAME,
};

/// In front of everything that is signed, so that a hub's key signs nothing that is something else elsewhere.
pub const DOMAIN: &[u8; 22] = b"lichen/1 signed frame\n";

/// An Ed25519 signature.
pub type Signature = [u8; SIGNATURE_BYTES];

/// Whether this key has signed this message: Ed25519 as RFC 8032 has it.
pub type Verify = fn(key: &PublicKey, message: &[u8], signature: &Signature) -> bool;

const MESSAGE_BYTES: usize = DOMAIN.len() + 1 + MAX_DEVICE_NAME + SIGNED_BYTES;

/// A message that only the hub says, and signs.
pub trait Signed: Message {
    /// What it is bound to, beside its addressee.
    fn bound(&self) -> Bound;
}

/// What a message is bound to, so that it says nothing to another device or at another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Its generation; the receiver's rule is [`Standing`](crate::session::Standing).
    Generation,
    /// The device's connection whose number is the frame's session, and its id in there.
    Connection(Lineage, u64),
    /// The time that the hub knew.
    Time(Lineage, UnixMs),
}

/// Signs a frame that was encoded for this addressee, in place.
///
/// # Errors
/// [`EncodeError`] if it has no place for a signature, or the name is none.
pub fn sign(
    frame: &mut [u8],
    to: &str,
    sign: impl FnOnce(&[u8]) -> Signature,
) -> Result<(), EncodeError> {
    let (signed, place) = frame.split_last_chunk_mut().ok_or(EncodeError)?;
    *place = with_message(to, signed, sign).ok_or(EncodeError)?;
    Ok(())
}

/// Whether a key has signed a frame for this addressee.
pub(crate) fn is_signed_by(seal: Seal<'_>, key: &PublicKey, to: &str, verify: Verify) -> bool {
    let check = |message: &[u8]| verify(key, message, seal.signature);
    with_message(to, seal.signed, check).unwrap_or(false)
}

/// Hands on what a signature is over. `None` if that is longer than anything that is signed.
fn with_message<T>(to: &str, signed: &[u8], hand_on: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let mut message = heapless::Vec::<u8, MESSAGE_BYTES>::new();
    let length = u8::try_from(to.len()).ok()?;
    for part in [&DOMAIN[..], &[length], to.as_bytes(), signed] {
        message.extend_from_slice(part).ok()?;
    }
    Some(hand_on(&message))
}
