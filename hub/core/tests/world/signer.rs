//! The hub's signing keys and a device's check. No Ed25519: a hash of key and message stands for a signature.

use std::sync::Arc;

use firmware_compat::{
    frame::Frame,
    guard::Guard,
    id::{Lineage, PublicKey},
    keys::{PinnedHub, SigningKeys},
    signed::Signature,
};
use lichen_hub_core::signing::Sign;
use sha2::{Digest, Sha256};

/// Newest first; the oldest signs.
#[derive(Debug)]
struct Keys(SigningKeys);

impl Sign for Keys {
    fn keys(&self) -> SigningKeys {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Signature {
        signature(&self.0.oldest(), message)
    }
}

fn signature(key: &PublicKey, message: &[u8]) -> Signature {
    let half: [u8; 32] = Sha256::new().chain_update(key.0).chain_update(message).finalize().into();
    [half, half].concat().try_into().expect("64 bytes")
}

fn verify(key: &PublicKey, message: &[u8], found: &Signature) -> bool {
    signature(key, message) == *found
}

/// Keys by their numbers, newest first.
pub fn keys(numbers: &[u8]) -> SigningKeys {
    let keys: Vec<PublicKey> = numbers.iter().map(|number| PublicKey([*number; 32])).collect();
    SigningKeys::new(&keys).expect("one or two")
}

pub fn signer(numbers: &[u8]) -> Arc<dyn Sign> {
    Arc::new(Keys(keys(numbers)))
}

/// What stands before a device that knows its hub by these keys.
pub fn guard(lineage: Lineage, numbers: &[u8]) -> Guard {
    Guard::new(verify, Some(PinnedHub { lineage, keys: keys(numbers) }), 0)
}

/// What stands before a device that was told of no hub.
pub fn nobody() -> Guard {
    Guard::new(verify, None, 0)
}

/// A frame of the hub, as it was sent.
pub fn parse(bytes: &[u8]) -> Frame<'_> {
    Frame::parse(bytes).expect("the hub's frames decode")
}
