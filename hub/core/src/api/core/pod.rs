//! `v1` Pod, and the template that workloads make Pods from. Its parts: [`container`], [`volume`], [`scheduling`],
//! [`status`].

pub mod container;
pub mod scheduling;
pub mod status;
pub mod volume;

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

pub use self::{
    container::{Container, ContainerPort, EnvVar, Resources, VolumeMount},
    scheduling::Toleration,
    status::{ContainerState, ContainerStatus, PodStatus, Running, Terminated, Waiting},
    volume::{ConfigMapVolume, EmptyDir, HostPath, KeyToPath, Volume},
};
use crate::api::meta::{Map, ObjectMeta, TypeMeta, nullable};

/// A Pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// `v1`, `Pod`.
    #[serde(flatten)]
    pub types: TypeMeta,
    /// Name, labels, owner.
    pub metadata: ObjectMeta,
    /// What it runs, with its device in `nodeName`.
    pub spec: PodSpec,
    /// What it does.
    #[serde(default)]
    pub status: PodStatus,
}

/// What each copy of a workload is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodTemplate {
    /// Labels and annotations of the copies.
    #[serde(default)]
    pub metadata: TemplateMeta,
    /// What they run.
    pub spec: PodSpec,
}

/// Metadata that a template may give its copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TemplateMeta {
    /// For selecting.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub labels: Map,
    /// For people and tools.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub annotations: Map,
}

/// What a copy runs, and where it may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The programs: exactly one for now.
    pub containers: Vec<Container>,
    /// `Always` (default), `OnFailure` or `Never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
    /// Seconds between the stop signal and the kill. Absent means 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<u32>,
    /// Labels that the device must have.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub node_selector: Map,
    /// Taints that do not keep it away.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub tolerations: Vec<Toleration>,
    /// The device, by name: no other is considered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Absent or `crun` for containers, `wasm` for Wasm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// What the mounts refer to.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub volumes: Vec<Volume>,
    /// Whether it shares the device's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
}
