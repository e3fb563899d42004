//! What a device says of its own health: Kubernetes' conditions of a Node. Compiled once per form, see [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{Text, capacity};

/// What a condition is about. Kubernetes' words where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionKind {
    /// Memory is short.
    MemoryPressure,
    /// The disk that holds the state directory is short of bytes or inodes.
    DiskPressure,
    /// Process ids are short.
    PidPressure,
    /// Nothing can be kept: the file system of the state directory is mounted to be read only.
    ReadonlyFilesystem,
    /// Limits of containers are not enforced, or not all of them.
    LimitsNotEnforced,
}

impl ConditionKind {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MemoryPressure => "MemoryPressure",
            Self::DiskPressure => "DiskPressure",
            Self::PidPressure => "PIDPressure",
            Self::ReadonlyFilesystem => "ReadonlyFilesystem",
            Self::LimitsNotEnforced => "LimitsNotEnforced",
        }
    }
}

/// One condition of a device. One that it does not speak of is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCondition {
    /// What it is about.
    pub kind: ConditionKind,
    /// Whether it is so.
    pub is_true: bool,
    /// CamelCase.
    pub reason: Text<{ capacity::REASON }>,
    /// In words. Changes with `is_true` and not with every figure in it: each change is a frame.
    pub message: Text<{ capacity::MESSAGE }>,
}
