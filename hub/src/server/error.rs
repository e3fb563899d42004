//! Why a hub does not start, or had to end.

use std::io;

use lichen_hub_core::record::LoadError;
use lichen_link::LinkError;

use super::{listen::ListenError, signing::SigningKeyError, state_lock::StateLockError};
use crate::store::StoreError;

/// Why a hub does not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The state directory is another hub's.
    #[error(transparent)]
    Lock(#[from] StateLockError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its records can't be.
    #[error("could not load the hub's state")]
    Load(#[from] LoadError),
    /// There is no key to sign with.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// The artefact store can't be used.
    #[error(transparent)]
    Artefacts(#[from] lichen_images::store::StoreError),
    /// An address can't be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Devices can't connect to the address, or the external broker's URL is not one.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Something of the system's.
    #[error("could not {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The store failed while running. What was not acknowledged is not saved.
    #[error("the hub had to end because its store failed; what it acknowledged is saved")]
    Failed(#[source] StoreError),
}
