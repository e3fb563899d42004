//! The hub's keys as files: what a backup takes away, and what a restored hub begins with. Known time is none of them: it
//! is no secret and changes by itself.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};

use crate::{
    error::TrustError,
    files::{self, FileError},
    known_time::{self, KnownTime},
};

/// Files that a hub's trust may have. It has fewer than ten.
pub const MAX_KEY_FILES: usize = 64;
/// Bytes of such a file's name.
const MAX_NAME: usize = 64;

/// A file of the hub's trust.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Without the directory.
    pub name: String,
    /// Secret.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether a file of the hub's trust may have this name: small letters, digits, `-` and `.`, a letter first.
#[must_use]
pub fn is_key_file_name(name: &str) -> bool {
    let fit =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(fit)
        && !name.ends_with(files::UNFINISHED)
        && name != known_time::FILE
}

/// The files of keys in a directory, in order of their names. None if there is no such directory.
///
/// # Errors
/// The disk refuses.
pub fn key_files(dir: &Path) -> Result<Vec<KeyFile>, TrustError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::new("list", dir))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::new("list", dir))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !is_key_file_name(&name) {
            continue;
        }
        // One that has gone meanwhile was not needed any more.
        if let Some(content) = files::read(&dir.join(&name))? {
            found.push(KeyFile { name, content });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// What was known of the time when a hub last saved it in this directory, in seconds since 1970.
///
/// # Errors
/// The disk refuses.
pub fn known_time(dir: &Path) -> Result<u64, TrustError> {
    Ok(KnownTime::load(dir)?.floor())
}

/// By what it is told whether keys belong to a backup that was made without them.
#[must_use]
pub fn digest_of(files: &[KeyFile]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for KeyFile { name, content } in files {
        digest.update((name.len() as u64).to_be_bytes());
        digest.update(name);
        digest.update((content.len() as u64).to_be_bytes());
        digest.update(content);
    }
    digest.finalize().into()
}

/// Makes the directory of a hub's trust from its files, durably. `known_time`: in seconds since 1970; time does not go back
/// below it.
///
/// # Errors
/// The disk refuses.
pub fn put_back(dir: &Path, key_files: &[KeyFile], known_time: u64) -> Result<(), TrustError> {
    files::directory(dir)?;
    for KeyFile { name, content } in key_files {
        files::replace(&dir.join(name), content)?;
    }
    files::replace(&dir.join(known_time::FILE), format!("{known_time}\n").as_bytes())?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;
    use crate::Trust;

    #[test]
    fn what_is_put_back_elsewhere_is_the_same_hub_and_knows_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (dir.path().join("here"), dir.path().join("there"));
        let trust = Trust::open(&here, Vec::new()).unwrap();
        trust.time().save().unwrap();
        fs::write(here.join("ca.new"), b"half").unwrap();
        let files = key_files(&here).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["ca.key", "ca.pem", "signing.key", "standing"]);
        put_back(&there, &files, 32_000_000_000).unwrap();
        let again = Trust::open(&there, Vec::new()).unwrap();
        assert_eq!(again.fingerprint(), trust.fingerprint());
        assert!(again.time().now() >= 32_000_000_000);
        assert_eq!(known_time(&there).unwrap(), 32_000_000_000);
        assert_eq!(known_time(&dir.path().join("nowhere")).unwrap(), 0);
        assert_eq!(key_files(&there).unwrap(), files);
        assert_eq!(key_files(&dir.path().join("nowhere")).unwrap(), []);
    }

    #[test]
    fn other_keys_have_another_digest_and_no_log_shows_them() {
        let file =
            |name: &str, content: &str| KeyFile { name: name.into(), content: content.into() };
        let all = [
            vec![],
            vec![file("a", "")],
            vec![file("a", "b")],
            vec![file("ab", "")],
            vec![file("a", ""), file("b", "")],
        ];
        let digests: std::collections::BTreeSet<[u8; 32]> =
            all.iter().map(|files| digest_of(files)).collect();
        assert_eq!(digests.len(), all.len());
        assert!(!format!("{:?}", file("a", "secret")).contains("secret"));
    }

    #[test]
    fn a_name_never_leads_out_of_the_directory() {
        for bad in ["", ".", "..", "../ca.pem", "/ca", "a/b", "A", "ca.new", "known-time", "a\0"] {
            assert!(!is_key_file_name(bad), "{bad:?}");
        }
        assert!(!is_key_file_name(&"a".repeat(65)));
        assert!(is_key_file_name("ca-2.pem"));
    }
}
