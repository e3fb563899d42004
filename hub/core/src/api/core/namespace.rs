//! `v1` Namespace: a space of names.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::api::meta::{ObjectMeta, TypeMeta};

/// A space of names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Namespace {
    /// `v1`, `Namespace`.
    #[serde(flatten)]
    pub types: TypeMeta,
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// What is so.
    #[serde(default)]
    pub status: NamespaceStatus,
}

/// Whether a namespace is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    pub phase: String,
}
