//! Where a Pod may run: tolerations of taints.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::api::{
    field::{Message, count, text},
    meta::nullable,
};

/// A taint that does not keep a Pod away.
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

/// The fields of [`Toleration`].
pub const TOLERATION: Message = Message {
    name: "Toleration",
    fields: &[
        text("key", 1),
        text("operator", 2),
        text("value", 3),
        text("effect", 4),
        count("tolerationSeconds", 5).optional(),
    ],
};
