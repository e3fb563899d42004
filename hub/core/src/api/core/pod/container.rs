//! The containers of a Pod: what they run, with which environment, ports, resources and mounts.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{meta::nullable, quantity::Amounts};

/// One program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Unique in the copy.
    pub name: String,
    /// Name in the hub's catalogue, or name and digest.
    pub image: String,
    /// Replaces the image's entrypoint.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub args: Vec<String>,
    /// Replaces the image's working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Added to the image's environment.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub env: Vec<EnvVar>,
    /// Ports that it listens on.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub ports: Vec<ContainerPort>,
    /// What it asks for and may use.
    #[serde(skip_serializing_if = "Resources::is_empty", deserialize_with = "nullable")]
    pub resources: Resources,
    /// Where volumes appear.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub volume_mounts: Vec<VolumeMount>,
}

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value; `$(NAME)` refers to earlier ones.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub value: String,
}

/// A port that a program listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// 1 to 65535.
    pub container_port: u32,
    /// `TCP` (default), `UDP` or `SCTP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// Amounts by resource name (`cpu`, `memory`), as quantities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub requests: Amounts,
    /// What it may use at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub limits: Amounts,
}

impl Resources {
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.limits.is_empty()
    }
}

/// Where a volume appears.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// The volume's name.
    pub name: String,
    /// Absolute path in the container.
    pub mount_path: String,
    /// Path in the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
    /// Whether writing is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}
