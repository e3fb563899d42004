//! Replaces files so that a power loss leaves the old content or the new, and counts the bytes.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::StateError;

/// Counts bytes written to the state directory since the agent's start. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Written(Arc<AtomicU64>);

impl Written {
    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Counts bytes that were written elsewhere.
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Relaxed);
    }

    /// Replaces `path` durably: a new file, synced, renamed over the old one, the directory synced.
    ///
    /// # Errors
    /// Those of the system, with the file's name.
    pub fn replace(&self, path: &Path, content: &[u8]) -> Result<(), StateError> {
        self.replace_as(0o666, path, content)
    }

    /// As [`Self::replace`], and nobody but this user may read it, not even while it is written.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub fn replace_private(&self, path: &Path, content: &[u8]) -> Result<(), StateError> {
        self.replace_as(0o600, path, content)
    }

    fn replace_as(&self, mode: u32, path: &Path, content: &[u8]) -> Result<(), StateError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let failed = |source| StateError::io("write", &temporary, source);
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(mode);
        let mut file = options.open(&temporary).map_err(failed)?;
        file.write_all(content).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        self.add(content.len() as u64);
        fs::rename(&temporary, path).map_err(|source| StateError::io("replace", path, source))?;
        sync_dir_of(path)
    }
}

/// Makes renames in the directory of `path` durable.
pub(crate) fn sync_dir_of(path: &Path) -> Result<(), StateError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| StateError::io("sync", dir, source))
}
