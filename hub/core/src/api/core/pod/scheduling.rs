//! Where a Pod may run: tolerations of taints.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::api::meta::nullable;

/// A taint that does not keep a copy away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// The taint's key. Empty, with operator `Exists`, means every taint.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub key: String,
    /// `Equal` (default) or `Exists`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The taint's value, for `Equal`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule`, `NoExecute`, or empty for all.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub effect: String,
    /// How long a `NoExecute` taint is borne. Absent means for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<u32>,
}
