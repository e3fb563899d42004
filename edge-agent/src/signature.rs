//! The check of a hub's signatures, for the core, which has no cryptography.

use firmware_compat::{id::PublicKey, signed::Signature};
use ring::signature::{ED25519, UnparsedPublicKey};

/// Whether a hub's key has signed a message.
#[must_use]
pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, key.0).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 8032, 7.1: an empty message, and one of one byte.
    #[test]
    fn signatures_are_ed25519() {
        let bytes = |text: &str| -> Vec<u8> {
            let digit = |c: &u8| char::from(*c).to_digit(16).expect("hex");
            let digits: Vec<u32> = text.as_bytes().iter().map(digit).collect();
            digits
                .chunks(2)
                .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("hex"))
                .collect()
        };
        for (key, message, signature) in [
            (
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
        ] {
            let key = PublicKey::parse(key).expect("a key");
            let mut signature: Signature = bytes(signature).try_into().expect("64 bytes");
            assert!(verify(&key, &bytes(message), &signature));
            assert!(!verify(&key, b"another", &signature));
            signature[0] ^= 1;
            assert!(!verify(&key, &bytes(message), &signature));
        }
    }
}
