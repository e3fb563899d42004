//! How the engine signs what it says to devices: with the signing keys of the hub's trust, as they are when it is told of
//! them. What is signed, and when, is decided in `lichen-hub-core`; the bytes are those of `firmware_compat::signed`.

use std::sync::Arc;

use firmware_compat::{id::PublicKey, keys, signed::Signature};
use lichen_hub_core::signing::Sign;
use lichen_trust::{SigningKeys, Trust};

/// Signs with keys that are in memory.
#[derive(Debug)]
pub(crate) struct Signer(Arc<SigningKeys>);

impl Signer {
    /// With the keys that count now.
    pub(crate) fn of(trust: &Trust) -> Arc<dyn Sign> {
        Arc::new(Self(trust.signing()))
    }
}

/// The public keys by which devices know a hub, newest first.
pub(crate) fn public_keys(trust: &Trust) -> Vec<PublicKey> {
    trust.signing().public().into_iter().map(PublicKey).collect()
}

impl Sign for Signer {
    fn keys(&self) -> keys::SigningKeys {
        let public: Vec<PublicKey> = self.0.public().into_iter().map(PublicKey).collect();
        keys::SigningKeys::new(&public).expect("one or two different keys")
    }

    fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_signs_with_the_older_key_until_the_rotation_has_ended() {
        let dir = tempfile::tempdir().expect("a directory");
        let trust = Trust::open(&dir.path().join("trust"), Vec::new()).expect("opened");
        let first = Signer::of(&trust);
        trust.rotate_signing_key(60).expect("rotated");
        let both = Signer::of(&trust);
        assert_eq!(both.keys().oldest(), first.keys().oldest());
        assert_eq!(both.sign(b"words"), first.sign(b"words"));
        trust.end_signing_key().expect("ended");
        let last = Signer::of(&trust);
        assert_eq!(both.keys().iter().next(), Some(&last.keys().oldest()));
        assert_ne!(last.sign(b"words"), first.sign(b"words"));
    }
}
