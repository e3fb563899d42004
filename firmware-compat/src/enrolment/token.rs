//! The join token: one word that an operator pastes on a device. It says where the hub is, by which certificate it is
//! known, and that its bearer may join.
//!
//! `lichen-join.` and then base64url, without padding, of the JSON of [`JoinToken`].

use alloc::{borrow::ToOwned, string::String};
use core::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ADDRESSES, Address, Fingerprint, List};

/// What every token starts with.
pub const PREFIX: &str = "lichen-join.";
/// Longest token: as many addresses as there may be, each with the longest name.
pub const MAX_TOKEN: usize = 4096;
/// Longest half of a [`JoinSecret`].
const MAX_HALF: usize = 64;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinToken {
    /// Where the hub's device port is, best first. Never empty once parsed.
    #[serde(rename = "a")]
    pub addresses: List<Address, ADDRESSES>,
    /// Of the hub's CA.
    #[serde(rename = "f")]
    pub fingerprint: Fingerprint,
    /// The right to join.
    #[serde(rename = "t")]
    pub secret: JoinSecret,
}

/// Why a word is no token. Says nothing of what is secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Something else.
    NotAToken,
    /// Longer than any token.
    TooLong,
    /// A part is missing, or a character was changed.
    Damaged,
    /// It is whole, but says what this version does not understand.
    Content,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAToken => write!(
                f,
                "this is not a join token: one starts with {PREFIX} and is printed by `lichen token create`"
            ),
            Self::TooLong => write!(
                f,
                "this is longer than a join token, of {MAX_TOKEN} characters at most: paste what `lichen token create` \
                 prints, once"
            ),
            Self::Damaged => f.write_str(
                "the join token is damaged: it is one word, so copy it whole, without spaces or line breaks",
            ),
            Self::Content => f.write_str(
                "the join token is not understood: it is damaged, or a hub of another version made it; make a new one \
                 with `lichen token create`, and use the lichen-agent of the hub's version",
            ),
        }
    }
}

impl core::error::Error for TokenError {}

impl JoinToken {
    /// Reads a token; `read` is the caller's JSON parser. White space around it is passed over.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn parse<E>(
        word: &str,
        read: impl FnOnce(&[u8]) -> Result<Self, E>,
    ) -> Result<Self, TokenError> {
        let encoded = word.trim().strip_prefix(PREFIX).ok_or(TokenError::NotAToken)?;
        if encoded.len() > MAX_TOKEN - PREFIX.len() {
            return Err(TokenError::TooLong);
        }
        let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Damaged)?;
        // A token that was cut short between two characters is still base64, but its JSON ends early.
        if json.first() != Some(&b'{') || json.last() != Some(&b'}') {
            return Err(TokenError::Damaged);
        }
        let token = read(&json).map_err(|_| TokenError::Content)?;
        if token.addresses.is_empty() {
            return Err(TokenError::Content);
        }
        Ok(token)
    }

    /// The word for what a JSON writer made of a token.
    #[must_use]
    pub fn to_word(json: &[u8]) -> String {
        let mut word = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(json, &mut word);
        word
    }
}

/// `ID.SECRET`: the hub finds the token by its id, and compares the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinSecret {
    id: String,
    secret: String,
}

impl JoinSecret {
    /// Reads `ID.SECRET`, each of 1 to 64 letters, digits, `-` and `_`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let sound = |half: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            !half.is_empty() && half.len() <= MAX_HALF && half.bytes().all(allowed)
        };
        let both = sound(id) && sound(secret);
        both.then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// The token's name, which is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What only its bearer knows.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.…", self.id)
    }
}

impl Serialize for JoinSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{}", self.id, self.secret))
    }
}

impl<'de> Deserialize<'de> for JoinSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The text is a secret, so the error does not repeat it.
        Self::parse(&text).ok_or_else(|| de::Error::custom("a join token's ID.SECRET is expected"))
    }
}
