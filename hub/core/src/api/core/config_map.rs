//! `v1` ConfigMap: configuration data that Pods mount as files.

use alloc::{collections::BTreeMap, string::String};

use serde::{Deserialize, Serialize};

use crate::api::meta::{ObjectMeta, TypeMeta, nullable};

/// Configuration data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMap {
    /// `v1`, `ConfigMap`.
    #[serde(flatten)]
    pub types: TypeMeta,
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Text by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub data: BTreeMap<String, String>,
    /// Bytes by key, as base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub binary_data: BTreeMap<String, String>,
}
