//! Names and tags in the hub's catalogue, by the grammar of the OCI distribution specification.

use core::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name. The specification leaves it open; file systems and registries agree on this one.
pub const MAX_NAME_CHARS: usize = 255;
/// Longest tag, from the specification.
pub const MAX_TAG_CHARS: usize = 128;

/// The name of an image in the catalogue: `hello`, `team/hello`, `docker.io/library/nginx`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A tag: `latest`, `1.27`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

/// Why a text is not a name or a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there, also between two slashes.
    #[error("image name {0:?} has an empty part; write it like team/app")]
    Empty(String),
    /// Capital letters.
    #[error("image name {name:?} has upper-case letters; write {}", lowered)]
    UpperCase {
        /// The name.
        name: String,
        /// What to write instead.
        lowered: String,
    },
    /// Something that a name can't have.
    #[error(
        "image name {name:?} has the character {found:?}; letters, digits and single . _ - between them are allowed"
    )]
    Character {
        /// The name.
        name: String,
        /// The first wrong character.
        found: char,
    },
    /// A part that starts or ends with a separator, or has two in a row.
    #[error(
        "image name {name:?} has a misplaced . _ or - in {part:?}; each must stand between letters or digits"
    )]
    Separator {
        /// The name.
        name: String,
        /// The wrong part.
        part: String,
    },
    /// Longer than [`MAX_NAME_CHARS`].
    #[error("image name has {0} characters; at most {MAX_NAME_CHARS} are allowed")]
    TooLong(usize),
    /// Not a tag.
    #[error(
        "image tag {0:?} is not valid; use up to {MAX_TAG_CHARS} letters, digits, _ . - and don't start with . or -"
    )]
    Tag(String),
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME_CHARS {
            return Err(NameError::TooLong(text.chars().count()));
        }
        let name = || text.to_owned();
        for part in text.split('/') {
            if part.is_empty() {
                return Err(NameError::Empty(name()));
            }
            if let Some(found) = part.chars().find(|&c| !allowed(c)) {
                if found.is_ascii_uppercase() {
                    let lowered = text.to_ascii_lowercase();
                    return Err(NameError::UpperCase { name: name(), lowered });
                }
                return Err(NameError::Character { name: name(), found });
            }
            if !separators_are_placed(part) {
                return Err(NameError::Separator { name: name(), part: part.to_owned() });
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The registry that the first part names, by the usual rule (it has a dot, or is `localhost`); `None` for a name
    /// of the hub's own.
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.0.split_once('/')?;
        (first.contains('.') || first == "localhost").then_some(first)
    }
}

impl Tag {
    /// Checks a tag.
    ///
    /// # Errors
    /// It has characters that a tag can't have, or too many.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts = text.bytes().next().is_some_and(word);
        let rest = text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        match starts && rest && text.len() <= MAX_TAG_CHARS {
            true => Ok(Self(text.to_owned())),
            false => Err(NameError::Tag(text.chars().take(MAX_TAG_CHARS).collect())),
        }
    }

    /// The tag that an image without one has: `latest`.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn allowed(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')
}

/// Between letters and digits: one dot, one or two underscores, or any number of dashes.
fn separators_are_placed(part: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric();
    part.starts_with(word)
        && part.ends_with(word)
        && part.split(word).all(|between| {
            matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
        })
}

macro_rules! text_of {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }
    };
}
text_of!(Name);
text_of!(Tag);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_the_specification_are_accepted() {
        for name in
            ["a", "hello", "team/app", "docker.io/library/nginx", "a__b", "a---b/0", "a.b_c-d"]
        {
            assert_eq!(Name::parse(name).expect(name).as_str(), name);
        }
        let registry = |name: &str| Name::parse(name).expect(name).registry().map(str::to_owned);
        assert_eq!(registry("docker.io/library/nginx").as_deref(), Some("docker.io"));
        assert_eq!(registry("localhost/app").as_deref(), Some("localhost"));
        assert_eq!(registry("team/app"), None);
        assert_eq!(registry("hello.world"), None);
    }

    #[test]
    fn a_wrong_name_is_refused_with_the_fix() {
        let check = |name: &str, part: &str| {
            let error = Name::parse(name).expect_err(name).to_string();
            assert!(error.contains(part), "{error}");
        };
        check("", "empty part");
        check("a//b", "empty part");
        check("../etc", "misplaced");
        check("Hello", "write hello");
        check("a b", "' '");
        check("é", "'é'");
        check("a..b", "misplaced");
        check("a___b", "misplaced");
        check("-a", "misplaced");
        check("a/b-", "in \"b-\"");
        check(&"a".repeat(256), "256 characters");
    }

    #[test]
    fn tags_keep_their_case_and_their_bounds() {
        for tag in ["latest", "1.27", "_x", "V1-rc.1", &"a".repeat(128)] {
            assert_eq!(Tag::parse(tag).expect(tag).as_str(), tag);
        }
        for tag in ["", ".1", "-1", "a b", "a/b", "é", &"a".repeat(129)] {
            assert!(Tag::parse(tag).is_err(), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn the_grammar_and_the_parser_agree(name in "[a-z0-9]+((\\.|_|__|-{1,3})[a-z0-9]+){0,3}(/[a-z0-9]+((\\.|_|__|-{1,3})[a-z0-9]+){0,3}){0,2}") {
            prop_assume!(name.len() <= MAX_NAME_CHARS);
            prop_assert!(Name::parse(&name).is_ok());
        }

        #[test]
        fn an_accepted_name_is_a_safe_path(name in "[a-z0-9._/-]{0,20}") {
            if Name::parse(&name).is_ok() {
                prop_assert!(name.split('/').all(|part| part != ".." && part != "." && !part.is_empty()));
            }
        }
    }
}
