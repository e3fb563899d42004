//! How far a Job is.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::meta::Condition;

/// How far a Job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatus {
    /// `Suspended`, `Complete`, `Failed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// When it was first let run, or resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// When it was complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<String>,
    /// Pods that have not ended and are not on their way out.
    #[serde(skip_serializing_if = "is_none")]
    pub active: u32,
    /// Those of them that run.
    pub ready: u32,
    /// Pods that have not ended and are on their way out.
    #[serde(skip_serializing_if = "is_none")]
    pub terminating: u32,
    /// Pods that ended well.
    #[serde(skip_serializing_if = "is_none")]
    pub succeeded: u32,
    /// Pods that ended otherwise, or went before their end.
    #[serde(skip_serializing_if = "is_none")]
    pub failed: u32,
    /// Numbers that were done: `0,2-4`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub completed_indexes: String,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}
