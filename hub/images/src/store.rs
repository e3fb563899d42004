//! The content-addressed directory: `sha256/<first two digits>/<64 digits>`, with unfinished uploads beside it.
//!
//! A blob is there whole or not at all, also after power loss: bytes go to a temporary file, which is synced and then
//! renamed, and the directory is synced. What is still referenced is the caller's knowledge ([`Store::collect`] is
//! told); [`crate::walk::reachable`] computes it from the names that the caller keeps.

mod error;
mod upload;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

pub use error::StoreError;
use error::io_error;
pub use upload::Upload;

use crate::blobs::{Blob, Blobs};
use crate::digest::Digester;
use crate::{Digest, document};

/// Largest blob that the store takes: a layer of a large image; a bound against a peer that fills the disk.
pub const MAX_BLOB_BYTES: u64 = 8 << 30;

/// A content-addressed directory, used by one process at a time. Clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    blobs: PathBuf,
    uploads: PathBuf,
    /// Makes creating and syncing a subdirectory one step.
    making: Mutex<()>,
    /// Holds the lock that keeps a second process out.
    _lock: File,
}

/// An opened blob of the store.
#[derive(Debug)]
pub struct Opened {
    /// The file, at its start.
    pub file: File,
    /// Its length in bytes.
    pub len: u64,
}

/// What [`Store::collect`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The blobs that were deleted.
    pub removed: Vec<Digest>,
    /// How many bytes that freed.
    pub bytes: u64,
    /// Unreferenced blobs that stay because they are younger than the given age.
    pub too_young: usize,
}

impl Store {
    /// Opens or creates the directory and deletes what unfinished uploads left behind.
    ///
    /// # Errors
    /// The file system refuses, or another process uses the directory.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(io_error("create", dir))?;
        let lock = lock(dir)?;
        let inner = Inner {
            blobs: dir.join("sha256"),
            uploads: dir.join("uploads"),
            making: Mutex::new(()),
            _lock: lock,
        };
        // No upload survives its process, because the lock admits one: whatever is left is stale.
        match fs::remove_dir_all(&inner.uploads) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("delete", &inner.uploads)(error));
            }
            _ => {}
        }
        for path in [&inner.blobs, &inner.uploads] {
            make_dir(path)?;
        }
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Starts an upload of at most [`MAX_BLOB_BYTES`].
    ///
    /// # Errors
    /// The file system refuses.
    pub fn begin(&self) -> Result<Upload, StoreError> {
        self.begin_bounded(MAX_BLOB_BYTES)
    }

    /// Starts an upload of at most `limit` bytes.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn begin_bounded(&self, limit: u64) -> Result<Upload, StoreError> {
        Upload::new(self.clone(), limit)
    }

    /// Stores bytes that are in memory, such as a manifest.
    ///
    /// # Errors
    /// The file system refuses, or `expected` is given and isn't their digest.
    pub fn put(&self, bytes: &[u8], expected: Option<Digest>) -> Result<Digest, StoreError> {
        let mut upload = self.begin()?;
        upload.append(bytes)?;
        upload.finish(expected)
    }

    /// Opens a blob for reading; `None` if there is none.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn get(&self, digest: &Digest) -> Result<Option<Opened>, StoreError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(io_error("open", &path))?,
        };
        let len = file.metadata().map_err(io_error("examine", &path))?.len();
        Ok(Some(Opened { file, len }))
    }

    /// The length of a blob; `None` if there is none.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn has(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => Ok(Some(found.map_err(io_error("examine", &path))?.len())),
        }
    }

    /// Makes a blob young again and says its length, so that one which a push found present is not collected before
    /// the manifest arrives that refers to it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn touch(&self, digest: &Digest, now: SystemTime) -> Result<Option<u64>, StoreError> {
        let Some(Opened { file, len }) = self.get(digest)? else { return Ok(None) };
        file.set_modified(now).map_err(io_error("touch", &self.path(digest)))?;
        Ok(Some(len))
    }

    /// Reads a small blob (a manifest or a configuration) whole, verified.
    ///
    /// # Errors
    /// Missing, corrupt, larger than a manifest may be, or unreadable.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, crate::blobs::BlobError> {
        crate::blobs::read_small(self, digest, document::MAX_DOCUMENT_BYTES)
    }

    /// Compares a blob's content with its name.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Corrupt`], or the file system refuses.
    pub fn verify(&self, digest: &Digest) -> Result<(), StoreError> {
        let mut opened = self.get(digest)?.ok_or(StoreError::Missing(*digest))?;
        let mut hash = Digester::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match opened.file.read(&mut buffer).map_err(io_error("read", &self.path(digest)))? {
                0 => break,
                got => hash.update(&buffer[..got]),
            }
        }
        match hash.finish() {
            found if found == *digest => Ok(()),
            found => Err(StoreError::Corrupt { expected: *digest, found }),
        }
    }

    /// Deletes a blob; says whether there was one. Whether it is still needed is for the caller to know.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn delete(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            done => done.map(|()| true).map_err(io_error("delete", &path)),
        }
    }

    /// Every blob with its length, in order of digest. Files with foreign names are not ours and left out.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let entries = self.entries()?;
        Ok(entries.into_iter().map(|(digest, metadata)| (digest, metadata.len())).collect())
    }

    /// Deletes every blob that is not in `keep` and was written or touched at least `min_age` before `now`.
    /// The age protects what a running push has uploaded and not yet named; a clock that went backwards deletes nothing.
    ///
    /// # Errors
    /// The file system refuses; what was deleted until then stays deleted.
    pub fn collect(
        &self,
        keep: &BTreeSet<Digest>,
        min_age: Duration,
        now: SystemTime,
    ) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        for (digest, metadata) in self.entries()? {
            if keep.contains(&digest) {
                continue;
            }
            let written = metadata.modified().map_err(io_error("examine", &self.path(&digest)))?;
            match now.duration_since(written) {
                Ok(age) if age >= min_age => {
                    self.delete(&digest)?;
                    collected.bytes += metadata.len();
                    collected.removed.push(digest);
                }
                _ => collected.too_young += 1,
            }
        }
        Ok(collected)
    }

    fn entries(&self) -> Result<Vec<(Digest, fs::Metadata)>, StoreError> {
        let mut found = Vec::new();
        for shard in read_dir(&self.0.blobs)? {
            if !shard.is_dir() {
                continue;
            }
            for path in read_dir(&shard)? {
                let name = path.file_name().and_then(|name| name.to_str());
                let Some(digest) = name.and_then(Digest::from_hex) else { continue };
                if self.path(&digest) != path {
                    continue;
                }
                match fs::metadata(&path) {
                    // Deleted meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    metadata => found.push((digest, metadata.map_err(io_error("examine", &path))?)),
                }
            }
        }
        found.sort_by_key(|(digest, _)| *digest);
        Ok(found)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.0.blobs.join(&hex[..2]).join(hex)
    }

    /// The subdirectory for a digest, created and durable.
    fn shard(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let path = self.0.blobs.join(&digest.hex()[..2]);
        let _making = self.0.making.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !path.is_dir() {
            make_dir(&path)?;
            sync_dir(&self.0.blobs)?;
        }
        Ok(path)
    }
}

impl Blobs for Store {
    fn open(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        let opened = self.get(digest).map_err(io::Error::other)?;
        Ok(opened.map(|opened| Blob { len: opened.len, reader: Box::new(opened.file) }))
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::InUse(dir.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}

fn make_dir(path: &Path) -> Result<(), StoreError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io_error("create", path)(error))
        }
        _ => path.parent().map_or(Ok(()), sync_dir),
    }
}

fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io_error("sync", path))
}

fn read_dir(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(path).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    entries.map_err(io_error("list", path))
}

#[cfg(test)]
mod tests;
