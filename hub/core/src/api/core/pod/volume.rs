//! The volumes of a Pod.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{meta::nullable, quantity::Quantity};

/// Something to mount. Exactly one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Unique in the copy.
    pub name: String,
    /// A directory that lives as long as the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
    /// A path of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPath>,
    /// Files from a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolume>,
}

/// A directory that lives as long as the Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EmptyDir {
    /// Empty for disk, `Memory` for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// Bound on its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
}

/// A path of the device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostPath {
    /// Absolute path.
    pub path: String,
    /// What it must be: Kubernetes' words.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Files from a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapVolume {
    /// The ConfigMap's name, in the same namespace.
    pub name: String,
    /// Only these keys, at these paths. Empty means all keys by their names.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub items: Vec<KeyToPath>,
    /// Permission bits. Absent means 0644.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_mode: Option<u32>,
    /// Whether the ConfigMap or a key may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// One key of a ConfigMap and its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyToPath {
    /// The key.
    pub key: String,
    /// Relative path.
    pub path: String,
    /// Permission bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}
