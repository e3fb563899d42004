//! Digests: the names of artefacts. Only SHA-256 is stored; other algorithms are refused by name.
//!
//! Bytes are hashed with a [`Digester`]; where a digest is checked against content, see [`crate::blobs`].

use core::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of an artefact, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Why a text is not a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `algorithm:` in front.
    #[error("digest {0:?} has no algorithm; write it as sha256:<64 hexadecimal digits>")]
    NoAlgorithm(String),
    /// The algorithm is not SHA-256.
    #[error("digest algorithm {0:?} is not supported; artefacts are named by sha256")]
    Algorithm(String),
    /// What follows the algorithm is not 64 lower-case hexadecimal digits.
    #[error("digest {0:?} is not sha256: and 64 lower-case hexadecimal digits")]
    Hex(String),
}

/// What an error message shows of an untrusted text.
const SHOWN_CHARS: usize = 100;

impl Digest {
    /// Reads `sha256:<64 lower-case hexadecimal digits>`.
    ///
    /// # Errors
    /// Any other form, saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let shown = || text.chars().take(SHOWN_CHARS).collect::<String>();
        let (algorithm, hex) =
            text.split_once(':').ok_or_else(|| DigestError::NoAlgorithm(shown()))?;
        if algorithm != "sha256" {
            return Err(DigestError::Algorithm(algorithm.chars().take(SHOWN_CHARS).collect()));
        }
        Self::from_hex(hex).ok_or_else(|| DigestError::Hex(shown()))
    }

    /// Reads the 64 hexadecimal digits alone, as they appear in file names.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits: &[u8; 64] = hex.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// The digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits without the algorithm: the file name in a layout.
    pub fn hex(&self) -> String {
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// The 32 bytes, as assignments carry them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest whose 32 bytes these are.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16")
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A running SHA-256.
#[derive(Clone, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::parse(EMPTY), Ok(Digest::of(b"")));
    }

    #[test]
    fn a_wrong_text_is_refused_with_the_reason() {
        let check = |text: &str, part: &str| {
            let error = Digest::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        };
        check("", "no algorithm");
        check("abc", "no algorithm");
        check("sha512:00", "\"sha512\" is not supported");
        check("sha256:", "64 lower-case");
        check(&EMPTY.to_uppercase(), "\"SHA256\"");
        check(&format!("sha256:{}", EMPTY[7..].to_uppercase()), "64 lower-case");
        check(&format!("{EMPTY}0"), "64 lower-case");
    }

    #[test]
    fn it_is_a_plain_string_in_json() {
        let json = serde_json::to_string(&Digest::of(b"")).expect("to json");
        assert_eq!(json, format!("\"{EMPTY}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).expect("from json"), Digest::of(b""));
    }

    proptest! {
        #[test]
        fn text_and_digest_are_one_to_one(bytes: [u8; 32]) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,90}") {
            if let Ok(digest) = Digest::parse(&text) {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
