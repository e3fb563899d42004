//! Objects around the workloads: Namespace, ConfigMap, Node, Event (all `v1`).

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    TypeMeta,
    meta::{ObjectMeta, nullable},
    pod::Amounts,
};

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

/// One fact about an object, with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// CamelCase.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// In words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

/// A happening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `v1`, `Event`.
    #[serde(flatten)]
    pub types: TypeMeta,
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// What it is about.
    #[serde(default)]
    pub involved_object: ObjectReference,
    /// CamelCase.
    #[serde(default)]
    pub reason: String,
    /// In words.
    #[serde(default)]
    pub message: String,
    /// `Normal` or `Warning`.
    #[serde(rename = "type", default)]
    pub severity: String,
    /// Who noticed.
    #[serde(default)]
    pub source: EventSource,
    /// RFC 3339.
    #[serde(default)]
    pub first_timestamp: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub last_timestamp: Option<String>,
    /// How often.
    #[serde(default)]
    pub count: u32,
}

/// Who noticed a happening.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventSource {
    /// `hub` or `agent`.
    pub component: String,
    /// The device, if one noticed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

/// Names an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Empty for kinds of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid, where known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}
