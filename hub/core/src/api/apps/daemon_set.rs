//! `apps/v1` DaemonSet: one Pod on every matching device.

use serde::{Deserialize, Serialize};

use crate::api::{
    core::pod::PodTemplate,
    meta::{LabelSelector, ObjectMeta, TypeMeta, is_zero, nullable},
};

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
