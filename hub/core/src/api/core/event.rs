//! `v1` Event: something that happened to an object.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::api::meta::{ObjectMeta, ObjectReference, TypeMeta};

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
