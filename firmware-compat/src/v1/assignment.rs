//! What a device is to run: the head that names an assignment, and the bytes behind it. Compiled once per form, see
//! [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{Bytes, List, Pod, capacity};
use crate::id::{Generation, Hash, Lineage};

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

/// The newest assignment of a device; retained, under 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which assignment.
    pub assignment: AssignmentId,
    /// Bytes of the body.
    pub length: u32,
    /// Ed25519 over lineage, device, generation and hash. Empty while the hub has no identity.
    pub signature: Bytes<{ capacity::SIGNATURE }>,
}

/// Asks for an assignment's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Hash of the body.
    pub hash: Hash,
    /// First byte wanted.
    pub offset: u32,
}

/// A chunk of an assignment's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Hash of the whole body.
    pub hash: Hash,
    /// Where these bytes belong.
    pub offset: u32,
    /// The bytes.
    pub bytes: Bytes<{ capacity::CHUNK }>,
}

/// Everything that one device should run. The body behind a [`Head`]; its bytes are what the hash is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// In ascending order of id.
    pub pods: List<Pod, { capacity::PODS }>,
}
