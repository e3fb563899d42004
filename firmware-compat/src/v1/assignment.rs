//! What a device is to run: the head that names an assignment, and the bytes behind it. Compiled once per form, see
//! [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{Bytes, List, capacity};
use crate::id::{ClaimId, Generation, Hash, Lineage};

/// Which assignment a device holds, or is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentId {
    /// Of the hub's store that wrote it.
    pub lineage: Lineage,
    /// Rises with every change.
    pub generation: Generation,
    /// SHA-256 of the body.
    pub hash: Hash,
}

/// The newest assignment of a device; retained, under 200 bytes. Signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which assignment.
    pub assignment: AssignmentId,
    /// Bytes of the body.
    pub length: u32,
}

/// Asks for content by its hash: an assignment's body, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Hash of the content.
    pub hash: Hash,
    /// First byte wanted.
    pub offset: u32,
    /// More parts, wanted from their first byte, after it.
    pub also: List<Hash, { capacity::WANTED }>,
}

/// A chunk of content that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Hash of the whole content.
    pub hash: Hash,
    /// Bytes of the whole content.
    pub length: u32,
    /// Where these bytes belong.
    pub offset: u32,
    /// The bytes.
    pub bytes: Bytes<{ capacity::CHUNK }>,
}

/// Everything that one device should run. The body behind a [`Head`]; its bytes are what the hash is over. What it is
/// made of are parts, named by their hashes: whoever has a part does not ask for it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Hashes of the parts that are Pods ([`super::Pod`]), in ascending order of the Pods' ids. A Pod's id is in its part
    /// alone: a second time in every body would be a third of it.
    pub pods: List<Hash, { capacity::PODS }>,
    /// Claims whose data is to be removed: no Pod of this assignment mounts one. What is in no such list stays.
    pub removed_claims: List<ClaimId, { capacity::REMOVED_CLAIMS }>,
}
