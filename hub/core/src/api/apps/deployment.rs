//! `apps/v1` Deployment: a number of Pods, placed where they fit.

use serde::{Deserialize, Serialize};

use crate::api::{
    core::pod::PodTemplate,
    meta::{LabelSelector, ObjectMeta, TypeMeta, is_zero, nullable},
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

impl Deployment {
    /// Copies wanted.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.spec.replicas.unwrap_or(1)
    }
}
