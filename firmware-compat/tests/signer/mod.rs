//! A hub's key and a device's check, with a real Ed25519.

#![allow(dead_code, reason = "each test program that shares this module uses a part of it")]

use firmware_compat::{
    frame::{self, Message, Stamp},
    guard::Guard,
    id::{Lineage, PublicKey},
    keys::{PinnedHub, SigningKeys},
    signed::{self, Signature},
};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// The hub that tests follow.
pub const LINEAGE: Lineage = Lineage([1; 16]);

/// The pair with this seed.
fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("any 32 bytes are a seed")
}

pub fn public(seed: u8) -> PublicKey {
    PublicKey(pair(seed).public_key().as_ref().try_into().expect("32 bytes"))
}

pub fn signature(seed: u8, message: &[u8]) -> Signature {
    pair(seed).sign(message).as_ref().try_into().expect("64 bytes")
}

pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, key.0).verify(message, signature).is_ok()
}

/// A hub known by the keys with these seeds, newest first.
pub fn hub(seeds: &[u8]) -> PinnedHub {
    let keys: Vec<PublicKey> = seeds.iter().map(|seed| public(*seed)).collect();
    PinnedHub { lineage: LINEAGE, keys: SigningKeys::new(&keys).expect("one or two") }
}

/// A device that was told whom to believe.
pub fn guard(seeds: &[u8], floor_ms: u64) -> Guard {
    Guard::new(verify, Some(hub(seeds)), floor_ms)
}

/// A frame of the hub, signed for `to`.
pub fn seal<M: Message>(seed: u8, to: &str, session: u32, message: &M) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let stamp = Stamp { session, sequence: 7 };
    let frame = frame::encode_into(message, stamp, &mut buffer).expect("it fits");
    signed::sign(frame, to, |message| signature(seed, message)).expect("it can be signed");
    frame.to_vec()
}
