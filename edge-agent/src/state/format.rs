//! Of which shape the state directory is, so that an agent of an older version leaves one alone that it would misread.
//!
//! The number is raised when an agent writes something that the one before it would not only fail to read (it does without),
//! but read as something else, or take away.

use std::path::Path;

use super::{StateError, Written, read_bounded};

/// What this agent writes.
pub const FORMAT: u32 = 1;
/// The file that says it.
pub const FILE: &str = "format";
/// A number and a line feed.
const MAX_BYTES: u64 = 16;

/// Refuses a directory of a newer agent, and marks one that nobody has marked. One whose mark can't be read is taken for
/// this agent's: a bad sector must not stop a device.
///
/// # Errors
/// [`StateError::Newer`].
pub fn check(dir: &Path, written: &Written) -> Result<(), StateError> {
    let path = dir.join(FILE);
    let bytes = read_bounded(&path, MAX_BYTES).unwrap_or_else(|error| {
        tracing::warn!("{error}: it is taken for damaged");
        None
    });
    let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    match text.trim().parse::<u32>() {
        Ok(found) if found > FORMAT => {
            Err(StateError::Newer { path: dir.to_owned(), found, known: FORMAT })
        }
        Ok(_) => Ok(()),
        Err(_) => {
            if let Err(error) = written.replace(&path, format!("{FORMAT}\n").as_bytes()) {
                tracing::warn!("the state directory is not marked: {error}");
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_newer_directory_is_refused_and_a_damaged_mark_is_made_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let check = || check(dir.path(), &Written::default());
        check().expect("a new one");
        let path = dir.path().join(FILE);
        assert_eq!(fs::read_to_string(&path).expect("marked"), format!("{FORMAT}\n"));
        fs::write(&path, b"\xff\0").expect("writable");
        check().expect("a damaged one");
        let newer = format!("{}\n", FORMAT + 1);
        fs::write(&path, &newer).expect("writable");
        let error = check().expect_err("a newer one").to_string();
        assert!(error.contains("newer agent") && error.contains("install"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("there"), newer, "it is left as it is");
    }
}
