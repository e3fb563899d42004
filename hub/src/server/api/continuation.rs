//! `continue`: where the next page of a list begins. Opaque to clients, who give it back as it is.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lichen_hub_core::api::{Key, Kind};

use super::status::Refusal;

/// Longer than any token that the hub makes: a version, a namespace and a name.
const MAX_TOKEN: usize = 1024;

/// The version that a list is read at, and the last key that the client has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Continuation {
    pub(super) version: u64,
    pub(super) after: Key,
}

impl Continuation {
    pub(super) fn write(&self) -> String {
        let Key { kind, namespace, name } = &self.after;
        URL_SAFE_NO_PAD.encode(format!("{}/{}/{namespace}/{name}", self.version, kind.plural()))
    }

    /// Reads a token for a list of a kind.
    pub(super) fn read(kind: Kind, token: &str) -> Result<Self, Refusal> {
        Self::parse(kind, token).ok_or_else(|| {
            Refusal::bad_request(
                "the continue token is none that this hub made for this list; start again without it",
            )
        })
    }

    fn parse(kind: Kind, token: &str) -> Option<Self> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let mut parts = text.splitn(4, '/');
        let version = parts.next()?.parse().ok()?;
        if parts.next()? != kind.plural() {
            return None;
        }
        Some(Self { version, after: Key::new(kind, parts.next()?, parts.next()?) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was_made() {
        for (kind, namespace, name) in [(Kind::Pod, "a", "web-1.x"), (Kind::Node, "", "pi")] {
            let made = Continuation { version: 7, after: Key::new(kind, namespace, name) };
            assert_eq!(Continuation::read(kind, &made.write()).expect("valid"), made);
            assert!(Continuation::read(Kind::Event, &made.write()).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_token_is_read_or_refused(token in "[A-Za-z0-9_-]{0,40}|.{0,40}") {
            let _ = Continuation::read(Kind::Pod, &token);
        }
    }
}
