//! Where the hub's records survive: the seam, and what may go wrong behind it.
//!
//! - [`redb`]: one crash-safe file, the default.
//! - [`memory`]: for tests; survives nothing.
//! - [`encrypted`]: around one of them; what is confidential reaches it encrypted, by a key from a [`KeySource`].
//!
//! What a record holds is the engine's business. One turn of the engine is one commit, and the turn's answers leave
//! only after it (see [`crate::server`]).

#[cfg(test)]
mod conformance;
pub mod encrypted;
mod key_source;
pub mod memory;
pub mod redb;

use std::{io, path::PathBuf, sync::Arc};

use lichen_hub_core::effect::Record;

use lichen_trust::TrustError;

pub use encrypted::{EncryptedStore, SecretsError};
pub use key_source::{KeySource, VARIABLE};
pub use memory::MemoryStore;
pub use redb::RedbStore;

/// Keeps records, in order of their keys.
pub trait Store: Send {
    /// Every record, in ascending order of key.
    ///
    /// # Errors
    /// The records can't be read.
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Writes and removes records, all of them or none. When this returns, they survive power loss. Of several
    /// records with one key the last one counts.
    ///
    /// # Errors
    /// Nothing of the batch is kept. What memory holds is then not what the store holds, so the process must end.
    fn commit(&self, records: &[Record]) -> Result<(), StoreError>;

    /// How much it holds.
    fn sizes(&self) -> Sizes;

    /// For those who read it while its owner goes on.
    fn reader(&self) -> Arc<dyn Reader>;
}

/// Takes a record: its key, its value.
pub type Each<'a> = dyn FnMut(&str, &[u8]) -> io::Result<()> + 'a;

/// Reads a store's records on any thread, while they are changed.
pub trait Reader: Send + Sync {
    /// Hands on every record, in ascending order of key, all as of one commit. What `each` refuses ends it.
    ///
    /// # Errors
    /// The records can't be read, or what `each` says.
    fn read(&self, each: &mut Each<'_>) -> Result<(), ReadError>;
}

/// Why records could not be handed on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever got them could not go on.
    #[error(transparent)]
    Taker(io::Error),
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of its file.
    pub file_bytes: u64,
    /// Bytes of all keys and values.
    pub live_bytes: u64,
    /// How often it has given space back since it was opened.
    pub compactions: u64,
}

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory can't be made.
    #[error("could not create the state directory {}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error(
        "the store {} is in use by another hub: stop that one first, or give this one another --state directory",
        .0.display()
    )]
    InUse(PathBuf),
    /// What is confidential in it can't be opened.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The key for that can't be used.
    #[error("could not use the key of the Secrets in the store")]
    Key(#[from] TrustError),
    /// There is no such file.
    #[error("there is no key of Secrets in {}: put it there, or give another file with --secrets-key", .0.display())]
    NoKeyFile(PathBuf),
    /// It can't be opened.
    #[error("could not open the store {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<::redb::Error>,
    },
    /// A newer hub wrote it.
    #[error(
        "the store {} was written by a newer hub (records of version {found}; this hub reads up to version \
         {known}): start the newer hub again, or restore a backup that was made before the upgrade",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The newest version that this hub reads.
        known: u32,
    },
    /// The file system or the file refuses.
    #[error("could not {verb} the store {}", path.display())]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<::redb::Error>,
    },
}
