//! Which of the keys in the directory count, in one file: replacing it is the moment at which a rotation begins or ends.
//! Whatever else lies there belongs to a rotation that never began, or is over.

use std::{fmt::Write, path::Path};

use crate::{error::TrustError, files};

/// The file.
pub(crate) const FILE: &str = "standing";

/// A key is known by a number, counted from 1.
pub(crate) type Number = u32;

/// Which keys count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The authority that issues.
    pub(crate) authority: Dated,
    /// The one before it, until the end of the overlap.
    pub(crate) previous: Option<Dated>,
    /// The key that signs.
    pub(crate) signing: Dated,
    /// The one that will, from the end of the overlap on.
    pub(crate) next_signing: Option<Dated>,
}

/// A key and a time of it, in seconds since 1970: since when it counts, or until when both do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dated {
    pub(crate) number: Number,
    pub(crate) at: u64,
}

impl Standing {
    /// Of a hub that has just been made.
    pub(crate) fn new(now: u64) -> Self {
        let first = Dated { number: 1, at: now };
        Self { authority: first, previous: None, signing: first, next_signing: None }
    }

    /// What is kept in the directory; `None` if nothing is.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>, TrustError> {
        let path = dir.join(FILE);
        let Some(bytes) = files::read(&path)? else { return Ok(None) };
        let standing = std::str::from_utf8(&bytes).ok().and_then(Self::parse);
        standing.map(Some).ok_or(TrustError::Damaged { path })
    }

    /// Keeps it, durably.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), TrustError> {
        Ok(files::replace(&dir.join(FILE), self.text().as_bytes())?)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (what, dated) in [
            ("authority", Some(self.authority)),
            ("previous-authority", self.previous),
            ("signing-key", Some(self.signing)),
            ("next-signing-key", self.next_signing),
        ] {
            if let Some(Dated { number, at }) = dated {
                let _ = writeln!(text, "{what} {number} {at}");
            }
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut found = [None; 4];
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [what, number, at] = words[..] else { return None };
            let place = match what {
                "authority" => 0,
                "previous-authority" => 1,
                "signing-key" => 2,
                "next-signing-key" => 3,
                _ => return None,
            };
            let number = number.parse().ok().filter(|number| *number > 0)?;
            let dated = Dated { number, at: at.parse().ok()? };
            if found[place].replace(dated).is_some() {
                return None;
            }
        }
        let [authority, previous, signing, next_signing] = found;
        let standing = Self { authority: authority?, previous, signing: signing?, next_signing };
        let differ =
            |one: Dated, other: Option<Dated>| other.is_none_or(|other| one.number != other.number);
        let sound = differ(standing.authority, previous) && differ(standing.signing, next_signing);
        sound.then_some(standing)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_saved_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Standing::load(dir.path()).unwrap(), None);
        let mut standing = Standing::new(5);
        for (previous, next) in [(None, None), (Some(1), None), (None, Some(9)), (Some(1), Some(9))]
        {
            let dated = |number| Dated { number, at: 77 };
            standing.authority.number = 2;
            (standing.previous, standing.next_signing) = (previous.map(dated), next.map(dated));
            standing.save(dir.path()).unwrap();
            assert_eq!(Standing::load(dir.path()).unwrap().unwrap(), standing);
        }
        std::fs::write(dir.path().join(FILE), "authority 1 5\n").unwrap();
        assert!(matches!(Standing::load(dir.path()), Err(TrustError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_key_is_its_own_successor(
            text in "((authority|previous-authority|signing-key|next-signing-key|x) [0-3] [0-9]{1,22}\n){0,5}.{0,5}"
        ) {
            if let Some(standing) = Standing::parse(&text) {
                prop_assert_eq!(Standing::parse(&standing.text()), Some(standing.clone()));
                prop_assert!(standing.previous.is_none_or(|it| it.number != standing.authority.number));
            }
        }
    }
}
