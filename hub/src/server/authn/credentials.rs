//! What a request's headers show of who sends it: nothing, or one token. Registries' clients can show one only as the
//! password of a name, which then does not matter.

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::token::{MAX_TOKEN_BYTES, TokenError};

/// What the headers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Token(String),
}

/// Reads the headers. What can't be understood is refused: whoever sends it believes to have shown something.
pub(super) fn shown(headers: &HeaderMap) -> Result<Shown, TokenError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Shown::Nothing) };
    if values.next().is_some() {
        return Err(TokenError::Header);
    }
    let text = value.to_str().map_err(|_| TokenError::Header)?;
    let (scheme, given) = text.split_once(' ').ok_or(TokenError::Header)?;
    let given = given.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Shown::Token(given.to_owned()));
    }
    if scheme.eq_ignore_ascii_case("basic") && given.len() <= 2 * MAX_TOKEN_BYTES {
        return password(given).map(Shown::Token).ok_or(TokenError::Header);
    }
    Err(TokenError::Header)
}

fn password(given: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(given).ok()?).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<Shown> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().expect("a header"));
        }
        shown(&headers).ok()
    }

    #[test]
    fn one_token_is_shown_in_either_way() {
        let token = |text: &str| Some(Shown::Token(text.to_owned()));
        assert_eq!(read(&[]), Some(Shown::Nothing));
        assert_eq!(read(&["Bearer a.b.c"]), token("a.b.c"));
        assert_eq!(read(&["bearer   a.b.c "]), token("a.b.c"));
        assert_eq!(read(&[&format!("Basic {}", STANDARD.encode("ci:a.b.c"))]), token("a.b.c"));
        assert_eq!(read(&[&format!("basic {}", STANDARD.encode(":a:b"))]), token("a:b"));
    }

    #[test]
    fn what_is_not_understood_is_not_taken_for_nothing() {
        let long = format!("Basic {}", STANDARD.encode("x".repeat(2 * MAX_TOKEN_BYTES)));
        for values in [
            &["Bearer"][..],
            &["a.b.c"],
            &["Digest a.b.c"],
            &["Basic !"],
            &["Basic eA=="],
            &["Bearer a", "Bearer b"],
            &["Basic /w=="],
            &[&long],
        ] {
            assert_eq!(read(values), None, "{values:?}");
        }
        // An empty one is a token, and no good one.
        assert_eq!(read(&["Bearer "]), Some(Shown::Token(String::new())));
    }
}
