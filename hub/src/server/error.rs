//! Why a hub does not start, or had to end.

use std::io;

use firmware_compat::enrolment::AddressError;
use lichen_hub_core::record::LoadError;
use lichen_link::LinkError;
use lichen_trust::TrustError;

use super::{admin::AdminError, authn::KeyError, listen::ListenError, state_lock::StateLockError};
use crate::{audit::log::LogError, backup::BackupError, store::StoreError};

/// Why a hub does not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The state directory is another hub's.
    #[error(transparent)]
    Lock(#[from] StateLockError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A restore into the directory was interrupted, and can't be finished.
    #[error("could not finish the restore of this hub; run `lichen hub restore` again")]
    Restore(#[from] BackupError),
    /// Its records can't be.
    #[error("could not load the hub's state")]
    Load(#[from] LoadError),
    /// The key of tokens can't be.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The audit log can't be.
    #[error("could not open the audit log")]
    Audit(#[from] LogError),
    /// The artefact store can't be used.
    #[error(transparent)]
    Artefacts(#[from] lichen_images::store::StoreError),
    /// An address can't be used.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Devices can't connect to the address.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The operator's broker can't be one.
    #[error("could not use the external broker")]
    Broker(#[from] AddressError),
    /// The hub's keys and certificates can't be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The admin's kubeconfig can't be written.
    #[error("could not write the admin's kubeconfig")]
    Admin(#[from] AdminError),
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
