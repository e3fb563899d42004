//! The hub's signing key, as the targets have it. No Ed25519, which a fuzzer would wait for: a hash of key and message stands
//! for a signature, behind the same seams. What real signatures are worth is tried in `tests/signed.rs`.

use std::sync::Arc;

use firmware_compat::{
    frame::{Frame, Kind},
    id::{Lineage, PublicKey},
    keys::{PinnedHub, SigningKeys},
    signed::{self, Signature},
};
use lichen_hub_core::signing::Sign;
use sha2::{Digest, Sha256};

const KEY: PublicKey = PublicKey([0x5a; 32]);

#[derive(Debug)]
struct Key;

impl Sign for Key {
    fn keys(&self) -> SigningKeys {
        SigningKeys::one(KEY)
    }

    fn sign(&self, message: &[u8]) -> Signature {
        signature(&KEY, message)
    }
}

/// What a hub signs with.
pub fn signer() -> Arc<dyn Sign> {
    Arc::new(Key)
}

/// Whom a device believes.
pub fn pinned(lineage: Lineage) -> PinnedHub {
    PinnedHub { lineage, keys: Key.keys() }
}

fn signature(key: &PublicKey, message: &[u8]) -> Signature {
    let half: [u8; 32] = Sha256::new().chain_update(key.0).chain_update(message).finalize().into();
    [half, half].concat().try_into().expect("64 bytes")
}

/// A device's check.
pub fn verify(key: &PublicKey, message: &[u8], found: &Signature) -> bool {
    signature(key, message) == *found
}

/// The frame as its hub would have signed it for this device, in this connection: what is a frame of a kind that is not
/// signed, or no frame, stays as it is.
pub fn sign(frame: &[u8], to: &str, session: u32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let kind = Frame::parse(&frame).map(|frame| frame.kind);
    if kind == Ok(Kind::Command) {
        frame[2..6].copy_from_slice(&session.to_le_bytes());
    }
    if kind.is_ok_and(Kind::is_signed) {
        signed::sign(&mut frame, to, |message| Key.sign(message)).expect("it has a place");
    }
    frame
}

/// Whether a frame of a hub is signed for its addressee, if its kind is signed.
pub fn is_signed(frame: &[u8], to: &str) -> bool {
    let session = Frame::parse(frame).map_or(0, |frame| frame.stamp.session);
    sign(frame, to, session) == frame
}
