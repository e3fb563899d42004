//! One upload: bytes that become a blob when they are complete, and leave nothing behind if they never are.

use std::io::Write;

use tempfile::NamedTempFile;

use super::error::io_error;
use super::{Store, StoreError, sync_dir};
use crate::Digest;
use crate::digest::Digester;

/// An upload in progress. Dropping it deletes what was received.
#[derive(Debug)]
pub struct Upload {
    store: Store,
    file: NamedTempFile,
    hash: Digester,
    offset: u64,
    limit: u64,
    broken: bool,
}

impl Upload {
    pub(super) fn new(store: Store, limit: u64) -> Result<Self, StoreError> {
        let dir = &store.0.uploads;
        let file = NamedTempFile::new_in(dir).map_err(io_error("create a file in", dir))?;
        Ok(Self { store, file, hash: Digester::default(), offset: 0, limit, broken: false })
    }

    /// How many bytes have been received: where a resumed upload goes on.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] beyond the bound; after that or a failed write the upload can only be dropped.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        let offset = self.offset.saturating_add(bytes.len() as u64);
        if offset > self.limit {
            self.broken = true;
            return Err(StoreError::TooLarge { limit: self.limit });
        }
        if let Err(error) = self.file.write_all(bytes) {
            self.broken = true;
            return Err(io_error("write", self.file.path())(error));
        }
        self.hash.update(bytes);
        self.offset = offset;
        Ok(())
    }

    /// Adds a chunk that its sender says starts at byte `at`.
    ///
    /// # Errors
    /// [`StoreError::Offset`] if that is not where the upload stands (nothing is written then), or as [`Self::append`].
    pub fn append_at(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if at != self.offset {
            return Err(StoreError::Offset { offset: self.offset, got: at });
        }
        self.append(bytes)
    }

    /// Makes the upload a blob. When this returns, the blob survives power loss. A blob of that name that was already
    /// there is replaced, which also repairs a corrupt one.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] if the content is not what was `expected` (it is dropped), or the file system refuses.
    pub fn finish(self, expected: Option<Digest>) -> Result<Digest, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        let found = self.hash.finish();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(StoreError::Mismatch { expected, found });
        }
        self.file.as_file().sync_all().map_err(io_error("sync", self.file.path()))?;
        let shard = self.store.shard(&found)?;
        let path = self.store.path(&found);
        self.file.persist(&path).map_err(|error| io_error("rename to", &path)(error.error))?;
        sync_dir(&shard)?;
        Ok(found)
    }
}
