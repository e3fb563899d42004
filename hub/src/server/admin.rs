//! The file by which whoever owns the hub's machine is its admin.

use std::path::{Path, PathBuf};

use lichen_trust::{Credentials, Trust, TrustError};

use crate::cli::kubeconfig::{
    KubeconfigError,
    admin::{self, FILE, Hub},
};

/// The user in the file.
pub const ADMIN: &str = "system:admin";
/// Its group, which may do everything (Kubernetes' own word for it).
const MASTERS: &str = "system:masters";
/// How long its certificate lasts, in seconds. The hub renews it in time.
const LIFETIME_S: u64 = 365 * 24 * 3600;

/// Why the file can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The disk refuses.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    /// No certificate can be made.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Where the file is, and what it says of the hub.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    path: PathBuf,
    server: String,
}

impl Admin {
    /// For a hub that keeps its state here and is reached by this URL.
    pub(crate) fn new(state: &Path, server: String) -> Self {
        Self { path: state.join(FILE), server }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file if it is not there, is about another hub, or its certificate comes to its end.
    pub(crate) fn keep(&self, trust: &Trust) -> Result<bool, AdminError> {
        let authorities = trust.bundle();
        let hub = Hub { server: &self.server, authorities: &authorities, now: trust.time().now() };
        admin::keep(&self.path, hub, LIFETIME_S, || {
            let Credentials { certificate, key } = trust.client(ADMIN, MASTERS, LIFETIME_S)?;
            Ok((certificate, key))
        })
    }
}
