//! As whom the containers of a Pod run, and what they may do. Compiled once per form, see [`crate::v1`].

use serde::{Deserialize, Serialize};

/// What holds for every container of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSecurity {}

/// What one container may do. Kubernetes' `securityContext`, with the Pod's merged into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSecurity {
    /// Whether its root file system can't be written.
    pub read_only_root: bool,
}
