//! Workloads: what an operator declares. Deployment and DaemonSet of `apps/v1`.

use serde::{Deserialize, Serialize};

use super::{
    TypeMeta,
    meta::{Map, ObjectMeta, is_zero, nullable},
    pod::PodTemplate,
};

/// A number of copies, placed where they fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// `apps/v1`, `Deployment`.
    #[serde(flatten)]
    pub types: TypeMeta,
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: DeploymentSpec,
    /// What is so. Written by the hub alone.
    #[serde(default, deserialize_with = "nullable")]
    pub status: DeploymentStatus,
}

/// What a Deployment wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSpec {
    /// How many copies. Absent means 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replicas: Option<u32>,
    /// Must match the template's labels, and never changes.
    pub selector: LabelSelector,
    /// What each copy is.
    pub template: PodTemplate,
}

/// Which labels an object must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// All of these, with these values.
    #[serde(default, deserialize_with = "nullable")]
    pub match_labels: Map,
}

/// How far a Deployment is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    /// The spec's generation that these figures are about.
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: u64,
    /// Copies that exist.
    pub replicas: u32,
    /// Copies of the newest template.
    pub updated_replicas: u32,
    /// Copies that run.
    pub ready_replicas: u32,
    /// Copies that run; the same figure, for tools that ask for it.
    pub available_replicas: u32,
    /// Copies that do not run.
    pub unavailable_replicas: u32,
}

/// One copy on every matching device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonSet {
    /// `apps/v1`, `DaemonSet`.
    #[serde(flatten)]
    pub types: TypeMeta,
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: DaemonSetSpec,
    /// What is so. Written by the hub alone.
    #[serde(default, deserialize_with = "nullable")]
    pub status: DaemonSetStatus,
}

/// What a DaemonSet wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonSetSpec {
    /// Must match the template's labels, and never changes.
    pub selector: LabelSelector,
    /// What each copy is.
    pub template: PodTemplate,
}

/// How far a DaemonSet is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetStatus {
    /// The spec's generation that these figures are about.
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: u64,
    /// Devices that should run a copy.
    pub desired_number_scheduled: u32,
    /// Devices that should and have one.
    pub current_number_scheduled: u32,
    /// Devices that should not and have one.
    pub number_misscheduled: u32,
    /// Copies that run.
    pub number_ready: u32,
    /// Copies that run; the same figure, for tools that ask for it.
    pub number_available: u32,
    /// Copies that should run and do not.
    pub number_unavailable: u32,
    /// Copies of the newest template.
    pub updated_number_scheduled: u32,
}

impl Deployment {
    /// Copies wanted.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.spec.replicas.unwrap_or(1)
    }
}

/// The label that carries the hash of the template on a Pod.
pub const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";
