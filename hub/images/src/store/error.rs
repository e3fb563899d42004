//! What can go wrong in the store, with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::Digest;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("could not {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another process has the directory open.
    #[error("the store {} is in use by another process; stop that hub first or use another --state directory", .0.display())]
    InUse(PathBuf),
    /// An upload that grew beyond its bound.
    #[error("the upload is larger than {limit} bytes, the most that is accepted here")]
    TooLarge {
        /// The bound in bytes.
        limit: u64,
    },
    /// An upload whose content is not what its sender said.
    #[error("the upload was announced as {expected}, but its content has the digest {found}")]
    Mismatch {
        /// The digest that was announced.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A chunk that does not continue where the upload stands.
    #[error("the chunk starts at byte {got}, but the upload stands at byte {offset}")]
    Offset {
        /// Where the upload stands.
        offset: u64,
        /// Where the chunk starts.
        got: u64,
    },
    /// An earlier write failed, so the upload can't go on.
    #[error("the upload failed before and must be started again")]
    Broken,
    /// A stored blob whose content is not what its name says.
    #[error(
        "blob {expected} is corrupt on disk: its content has the digest {found}; push the image again"
    )]
    Corrupt {
        /// The name.
        expected: Digest,
        /// The content.
        found: Digest,
    },
    /// There is no such blob.
    #[error("blob {0} is not in the store")]
    Missing(Digest),
}

/// Names what was tried and with which file.
pub(super) fn io_error<'a>(
    verb: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::Io { verb, path: path.to_owned(), source }
}
