//! Bytes of a fixed length that are text in JSON: a fingerprint and a public key.

use alloc::string::String;
use core::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::Hash;

/// SHA-256 of a CA certificate's DER. People read and write it as hex; in a join token it is base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// An X25519 public key. base64 in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealingKey(pub [u8; 32]);

impl Fingerprint {
    /// Reads hex digits, in either case, with or without colons between the bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // With colons 95 characters; anything longer is none.
        if text.len() > 95 {
            return None;
        }
        let digits: String =
            text.chars().filter(|&c| c != ':').map(|c| c.to_ascii_lowercase()).collect();
        Hash::parse(&digits).map(|hash| Self(hash.0))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hash(self.0), f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || unusable(&text, "a SHA-256 as base64url without padding");
        exactly(URL_SAFE_NO_PAD.decode(&text)).map(Self).ok_or_else(wrong)
    }
}

impl Serialize for SealingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for SealingKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || unusable(&text, "an X25519 public key of 32 bytes as base64");
        exactly(STANDARD.decode(&text)).map(Self).ok_or_else(wrong)
    }
}

fn exactly<E>(decoded: Result<alloc::vec::Vec<u8>, E>) -> Option<[u8; 32]> {
    decoded.ok()?.try_into().ok()
}

fn unusable<E: de::Error>(text: &str, expected: &'static str) -> E {
    E::invalid_value(de::Unexpected::Str(text), &expected)
}
