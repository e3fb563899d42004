//! `v1` Node: a device.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    meta::{Condition, ObjectMeta, TypeMeta, nullable},
    quantity::Amounts,
};

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// `v1`, `Node`.
    #[serde(flatten)]
    pub types: TypeMeta,
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Taints.
    #[serde(default)]
    pub spec: NodeSpec,
    /// What it is and how it is.
    #[serde(default)]
    pub status: NodeStatus,
}

/// What the operator and the hub say of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Keep away what does not tolerate them.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub taints: Vec<Taint>,
    /// Nothing new is placed on it.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub unschedulable: bool,
}

/// Keeps away what does not tolerate it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Like a label's key.
    pub key: String,
    /// Like a label's value.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// What a device is and how it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// `Ready` and others.
    pub conditions: Vec<Condition>,
    /// All that it has.
    pub capacity: Amounts,
    /// What Pods may use.
    pub allocatable: Amounts,
    /// Its system.
    pub node_info: NodeInfo,
    /// The engines that were found, tried, and can or cannot be used.
    pub runtimes: Vec<NodeRuntime>,
    /// The assignment that the hub wants it to hold, and the one that it holds.
    pub assignment: NodeAssignment,
}

/// How far a device is with its assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAssignment {
    /// Newest generation at the hub.
    pub desired: u64,
    /// Generation that the device has saved.
    pub acknowledged: u64,
}

/// A device's system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInfo {
    /// Kubernetes' name of the architecture.
    pub architecture: String,
    /// Changes with every boot.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// The state directory's own id.
    #[serde(rename = "machineID")]
    pub machine_id: String,
    /// Kernel release.
    pub kernel_version: String,
    /// The agent's version.
    pub kubelet_version: String,
    /// `linux` or a microcontroller's system.
    pub operating_system: String,
    /// The container runtime and its version.
    pub container_runtime_version: String,
    /// Class and compatibility hash of compiled Wasm; empty without Wasm.
    pub wasm: String,
}

/// One engine of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRuntime {
    /// The class that selects it: `crun`, `wasm` or `firmware`.
    pub class: String,
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether the trial run worked.
    pub usable: bool,
    /// Whether limits are enforced.
    pub limits_enforced: bool,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}
