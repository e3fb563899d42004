//! Image references as users write them: `hello`, `hello:1.2`, `docker.io/library/nginx:1.27`, `name@sha256:…`.
//!
//! A bare name means the hub's own catalogue; no registry is ever added to it. Without a tag and a digest the tag is `latest`.

use core::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::DigestError;
use crate::name::NameError;
use crate::{Digest, Name, Tag};

/// A reference to an image in the catalogue. A digest, if there is one, decides; the tag beside it is then a remark.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    /// The image's name.
    pub name: Name,
    /// The tag; absent only where a digest is given.
    pub tag: Option<Tag>,
    /// The digest.
    pub digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("the image reference is empty; write it like name:tag")]
    Empty,
    /// `https://…`
    #[error(
        "image reference {0:?} starts with a scheme; leave out everything up to and including ://"
    )]
    Scheme(String),
    /// A registry with a port.
    #[error(
        "image reference {0:?} names a registry with a port, which a name in the hub's catalogue can't have; push it under a name without the port"
    )]
    Port(String),
    /// A wrong name or tag.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A wrong digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// Reads and normalises what a user wrote.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let shown = || text.chars().take(100).collect::<String>();
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.contains("://") {
            return Err(ReferenceError::Scheme(shown()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        let last_part = rest.rfind('/').map_or(0, |slash| slash + 1);
        if rest[..last_part].contains(':') {
            return Err(ReferenceError::Port(shown()));
        }
        let (name, tag) = match rest[last_part..].split_once(':') {
            Some((_, tag)) => (&rest[..rest.len() - tag.len() - 1], Some(Tag::parse(tag)?)),
            None => (rest, None),
        };
        let tag = tag.or_else(|| digest.is_none().then(Tag::latest));
        Ok(Self { name: Name::parse(name)?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name, f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;
    fn try_from(text: String) -> Result<Self, ReferenceError> {
        Self::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_normalised_and_get_no_registry() {
        let check = |text: &str, normal: &str| {
            assert_eq!(Reference::parse(text).expect(text).to_string(), normal);
        };
        check("hello", "hello:latest");
        check("hello:1.2", "hello:1.2");
        check("team/hello:V1", "team/hello:V1");
        check("docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27");
        check(&format!("hello@{DIGEST}"), &format!("hello@{DIGEST}"));
        check(&format!("hello:1@{DIGEST}"), &format!("hello:1@{DIGEST}"));
    }

    #[test]
    fn a_wrong_reference_is_refused_with_the_fix() {
        let check = |text: &str, part: &str| {
            let error = Reference::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        };
        check("", "empty");
        check("https://example.com/app", "leave out everything up to");
        check("localhost:5000/app", "without the port");
        check("Hello:1", "write hello");
        check("hello:", "image tag \"\"");
        check("hello:a:b", "image tag \"a:b\"");
        check(":1", "empty part");
        check("hello@sha256:12", "64 lower-case");
        check("hello@", "no algorithm");
        check("hello world", "' '");
    }

    proptest! {
        #[test]
        fn the_normal_form_is_read_as_itself(text in "[a-z0-9./:@_-]{0,30}|.{0,30}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference));
            }
        }
    }
}
