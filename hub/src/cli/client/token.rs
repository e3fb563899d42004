//! The token that says who one is, as `--token` or `LICHEN_TOKEN` gives it. It is never shown.

use std::{fmt, str::FromStr};

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a text is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no token: it is empty or has other characters than a token has; make one with `lichen create token`"
)]
pub struct TokenError;

impl Token {
    /// The header that shows it.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        // Files end with a line feed.
        let text = text.trim();
        let fits = |byte: u8| byte.is_ascii_graphic();
        match !text.is_empty() && text.bytes().all(fits) {
            true => Ok(Self(text.to_owned())),
            false => Err(TokenError),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_into_a_header_and_is_not_shown() {
        let token: Token = "a.b-c_d\n".parse().expect("a token");
        assert_eq!(token.header(), "Bearer a.b-c_d");
        assert_eq!(format!("{token:?}"), "Token");
        for text in ["", " ", "a b", "a\nb", "ä", "a\0"] {
            assert_eq!(text.parse::<Token>(), Err(TokenError), "{text:?}");
        }
    }
}
