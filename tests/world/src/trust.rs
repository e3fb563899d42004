//! Keys and signatures of the world. No Ed25519, which would take most of the time of thousands of histories: a hash of key
//! and message stands for a signature, behind the seams that hub and devices have for the real one. It binds a message to a
//! key just as well; that whoever knows the public key could sign is the world's own business, and its forger does not.

use firmware_compat::{
    frame::{self, Message, Stamp},
    id::{Lineage, PublicKey},
    keys::{PinnedHub, SigningKeys},
    signed::{self, Signature},
};
use lichen_hub_core::signing::Sign;
use sha2::{Digest, Sha256};

/// The key that no hub has.
const FORGERS: u64 = u64::MAX;

/// A hub's keys.
#[derive(Debug)]
pub struct Signer(SigningKeys);

impl Signer {
    /// Of these numbers, newest first.
    pub fn new(numbers: &[u64]) -> Self {
        Self(keys(numbers))
    }
}

impl Sign for Signer {
    fn keys(&self) -> SigningKeys {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Signature {
        signature(&self.0.oldest(), message)
    }
}

/// Keys by their numbers, newest first: one or two.
pub fn keys(numbers: &[u64]) -> SigningKeys {
    let key = |number: &u64| PublicKey(Sha256::digest(number.to_le_bytes()).into());
    let keys: Vec<PublicKey> = numbers.iter().map(key).collect();
    SigningKeys::new(&keys).unwrap_or(SigningKeys::one(PublicKey([0; 32])))
}

fn signature(key: &PublicKey, message: &[u8]) -> Signature {
    let half: [u8; 32] = Sha256::new().chain_update(key.0).chain_update(message).finalize().into();
    let mut signature = [0; 64];
    let (first, second) = signature.split_at_mut(32);
    first.copy_from_slice(&half);
    second.copy_from_slice(&half);
    signature
}

/// What a device's check says.
pub fn verify(key: &PublicKey, message: &[u8], found: &Signature) -> bool {
    signature(key, message) == *found
}

/// What it says while a canary has broken it.
pub fn believe_anyone(_: &PublicKey, _: &[u8], _: &Signature) -> bool {
    true
}

/// A frame that is signed as well as its maker can.
pub fn forge<M: Message>(message: &M, to: &str, session: u32) -> Vec<u8> {
    let mut bytes = frame::encode(message, Stamp { session, sequence: 1 }).unwrap_or_default();
    if M::KIND.is_signed() {
        forge_signature(&mut bytes, to);
    }
    bytes
}

/// Puts another signature where one is.
pub fn forge_signature(frame: &mut [u8], to: &str) {
    let key = keys(&[FORGERS]).oldest();
    let _too_short = signed::sign(frame, to, |message| signature(&key, message));
}

/// As a device keeps it.
pub fn to_bytes(hub: PinnedHub) -> Vec<u8> {
    let keys = hub.keys.iter().flat_map(|key| key.0);
    hub.lineage.0.into_iter().chain(keys).collect()
}

/// As a device reads it.
pub fn from_bytes(bytes: &[u8]) -> Option<PinnedHub> {
    let (lineage, keys) = bytes.split_first_chunk()?;
    let keys: Vec<PublicKey> = keys.as_chunks().0.iter().map(|key| PublicKey(*key)).collect();
    Some(PinnedHub { lineage: Lineage(*lineage), keys: SigningKeys::new(&keys)? })
}
