//! Why a backup can't be made or used.

use std::{
    io,
    path::{Path, PathBuf},
};

use lichen_hub_core::record::LoadError;
use lichen_trust::TrustError;

use super::format::VERSION;
use crate::{
    audit::log::LogError,
    server::StateLockError,
    store::{ReadError, StoreError},
};

/// Why a backup can't be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something else.
    #[error("it is no backup of a hub: {0}")]
    Foreign(String),
    /// A newer hub made it.
    #[error(
        "a newer hub made it (format {found}, this program reads up to {VERSION}): use the lichen of that version"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// It ends too early.
    #[error("it is cut short: copy it again, or take another one")]
    CutShort,
    /// It is not what was written.
    #[error("it is damaged ({0}): copy it again, or take another one")]
    Damaged(String),
    /// The keys are in another file.
    #[error(
        "its keys are in a file of their own, and without them no device knows the hub: name that file with --keys FILE"
    )]
    KeysApart,
    /// A file of keys, where a hub is wanted.
    #[error("it holds keys alone: name the backup itself, and this file with --keys FILE")]
    OnlyKeys,
    /// A hub, where a file of keys is wanted.
    #[error("it is not a file of keys, which `lichen hub backup --keys apart FILE` makes")]
    NotKeys,
    /// The keys of another hub, or of another time.
    #[error(
        "these are not the keys that the hub had at {made_at}: take those that were saved with this backup, or after its \
         keys had last been changed"
    )]
    OtherKeys {
        /// When the backup was made.
        made_at: String,
    },
    /// Keys are in it and beside it.
    #[error("its keys are in it: leave out --keys")]
    KeysTwice,
    /// The state directory is taken.
    #[error(
        "there is a hub in {} already: name another directory, or add --replace, which keeps that hub's state in {} beside \
         the new one",
        state.display(),
        kept.display()
    )]
    Taken {
        /// The directory.
        state: PathBuf,
        /// Where its content would be.
        kept: PathBuf,
    },
    /// There is nothing to save.
    #[error("there is no hub in {}: name its state directory with --state", .0.display())]
    NoHub(PathBuf),
    /// A hub has the state directory.
    #[error(transparent)]
    Lock(#[from] StateLockError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its records can't be used.
    #[error("its records can't be used")]
    Records(#[from] LoadError),
    /// The artefacts.
    #[error(transparent)]
    Artefacts(#[from] lichen_images::store::StoreError),
    /// The keys.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The audit log of the restored hub can't be begun.
    #[error("could not begin its audit log")]
    Audit(#[from] LogError),
    /// Nobody takes what is written.
    #[error("could not write it")]
    Write(#[source] io::Error),
    /// It can't be read.
    #[error("could not read it")]
    Read(#[source] io::Error),
    /// The file system refuses.
    #[error("could not {what} {}", path.display())]
    Disk {
        /// In words.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl BackupError {
    /// Names what was tried, and with which file.
    pub(super) fn disk<'a>(
        what: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Disk { what, path: path.to_owned(), source }
    }
}

impl From<ReadError> for BackupError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => Self::Store(error),
            ReadError::Taker(error) => Self::Write(error),
        }
    }
}
