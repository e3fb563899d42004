//! Whom this device believes: the hub that it was introduced to, as the text that is kept in the state directory and is part
//! of what a hub says of itself; and the check of its signatures.

use firmware_compat::{
    id::{Lineage, PublicKey},
    keys::{PinnedHub, SigningKeys},
    signed::Signature,
};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// The JSON form.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinnedText {
    lineage: String,
    signing_keys: Vec<String>,
}

/// Why a text names no hub.
#[derive(Debug, thiserror::Error)]
pub enum PinnedError {
    /// Not JSON with `lineage` and `signingKeys`.
    #[error("not {{\"lineage\": …, \"signingKeys\": […]}}: {0}")]
    Json(#[from] serde_json::Error),
    /// Not 32 hex digits.
    #[error("lineage {0:?} is not 32 lower-case hex digits")]
    Lineage(String),
    /// Not 64 hex digits.
    #[error("signing key {0:?} is not 64 lower-case hex digits")]
    Key(String),
    /// Not one or two.
    #[error(
        "{0} signing keys are given, and a hub has one, or two different ones while it changes its key"
    )]
    Count(usize),
}

impl PinnedText {
    /// What it says.
    ///
    /// # Errors
    /// See [`PinnedError`].
    pub fn read(&self) -> Result<PinnedHub, PinnedError> {
        let lineage = Lineage::parse(&self.lineage);
        let lineage = lineage.ok_or_else(|| PinnedError::Lineage(self.lineage.clone()))?;
        let key =
            |text: &String| PublicKey::parse(text).ok_or_else(|| PinnedError::Key(text.clone()));
        let keys = self.signing_keys.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let keys = SigningKeys::new(&keys).ok_or(PinnedError::Count(keys.len()))?;
        Ok(PinnedHub { lineage, keys })
    }
}

impl From<PinnedHub> for PinnedText {
    fn from(hub: PinnedHub) -> Self {
        let signing_keys = hub.keys.iter().map(ToString::to_string).collect();
        Self { lineage: hub.lineage.to_string(), signing_keys }
    }
}

/// Reads the JSON form.
///
/// # Errors
/// See [`PinnedError`].
pub fn parse(text: &str) -> Result<PinnedHub, PinnedError> {
    serde_json::from_str::<PinnedText>(text)?.read()
}

/// Writes the JSON form.
#[must_use]
pub fn to_text(hub: PinnedHub) -> String {
    serde_json::to_string(&PinnedText::from(hub)).expect("texts encode")
}

/// Whether a hub's key has signed a message.
#[must_use]
pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, key.0).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(keys: &[u8]) -> PinnedHub {
        let keys: Vec<PublicKey> = keys.iter().map(|byte| PublicKey([*byte; 32])).collect();
        let keys = SigningKeys::new(&keys).expect("one or two");
        PinnedHub { lineage: Lineage([7; 16]), keys }
    }

    #[test]
    fn a_hub_reads_back_as_it_was_written() {
        for keys in [&[1][..], &[2, 1]] {
            assert_eq!(parse(&to_text(hub(keys))).expect("sound"), hub(keys));
        }
    }

    #[test]
    fn an_unusable_text_says_what_is_wrong() {
        let (lineage, key) = ("0".repeat(32), "1".repeat(64));
        for (text, cause) in [
            (String::new(), "not {"),
            (format!(r#"{{"lineage":"{lineage}"}}"#), "signingKeys"),
            (format!(r#"{{"lineage":"x","signingKeys":["{key}"]}}"#), "32 lower-case"),
            (format!(r#"{{"lineage":"{lineage}","signingKeys":["x"]}}"#), "64 lower-case"),
            (format!(r#"{{"lineage":"{lineage}","signingKeys":[]}}"#), "0 signing keys"),
            (format!(r#"{{"lineage":"{lineage}","signingKeys":["{key}","{key}"]}}"#), "2 signing"),
        ] {
            let error = parse(&text).expect_err(&text).to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }

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
