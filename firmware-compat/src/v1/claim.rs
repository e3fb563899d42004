//! The data of PersistentVolumeClaims on a device: directories that outlive Pods. Compiled once per form, see
//! [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{Text, capacity};
use crate::id::{AgentId, ClaimId};

/// A claim, as a Pod mounts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The claim's uid: names its directory.
    pub id: ClaimId,
    /// The claim's name in the Pod's namespace, for people.
    pub name: Text<{ capacity::NAME }>,
    /// The state directory for which the claim was bound. Another one never had its data: it makes no empty directory in
    /// its place.
    pub bound_to: AgentId,
    /// What the claim asks for, in bytes.
    pub size_bytes: u64,
    /// Whether no container may write to it.
    pub read_only: bool,
}

/// Where a device keeps the data of claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// The directory in which each claim has one. Empty: it keeps none.
    pub claims: Text<{ capacity::PATH }>,
    /// Whether the file system holds each claim to its size.
    pub sizes_enforced: bool,
}
