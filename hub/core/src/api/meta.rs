//! What objects share: names, metadata, references to each other, conditions, selectors.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize};

use super::field::{Message, flag, objects, text, text_map, texts, written};

/// Labels and annotations.
pub type Map = BTreeMap<String, String>;

/// Kubernetes' ObjectMeta, as far as supported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Unique in its kind and namespace.
    pub name: String,
    /// How the name begins that the hub makes of a new object without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub generate_name: String,
    /// Empty for kinds of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Given by the hub: 32 hex digits in UUID form.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Given by the hub with every change; decimal digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Given by the hub: rises when the spec changes.
    #[serde(skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// Given by the hub: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Set while the object waits for a device to let go of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// How long its containers may take to end. Set with the time of deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<u64>,
    /// For selecting.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub labels: Map,
    /// For people and tools.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub annotations: Map,
    /// The workload that a Pod belongs to.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub owner_references: Vec<OwnerReference>,
    /// What keeps a deleted object until it is done with. Written by the hub alone.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub finalizers: Vec<String>,
}

/// The workload that a Pod belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Always true: one workload rules a Pod.
    pub controller: bool,
    /// Always true: a deleted workload's Pods go with it.
    pub block_owner_deletion: bool,
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
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// `null` reads as the type's default, as Kubernetes treats absent and null alike.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The fields of [`ObjectMeta`].
pub const OBJECT_META: Message = Message {
    name: "ObjectMeta",
    fields: &[
        text("name", 1),
        text("generateName", 2),
        text("namespace", 3),
        written("selfLink", 4),
        written("uid", 5),
        text("resourceVersion", 6),
        written("generation", 7),
        written("creationTimestamp", 8),
        written("deletionTimestamp", 9),
        written("deletionGracePeriodSeconds", 10),
        text_map("labels", 11),
        text_map("annotations", 12),
        objects("ownerReferences", 13, &OWNER_REFERENCE).merged_by("uid"),
        texts("finalizers", 14),
        written("managedFields", 17),
    ],
};

/// The fields of [`OwnerReference`].
const OWNER_REFERENCE: Message = Message {
    name: "OwnerReference",
    fields: &[
        text("kind", 1),
        text("name", 3),
        text("uid", 4),
        text("apiVersion", 5),
        flag("controller", 6).optional(),
        flag("blockOwnerDeletion", 7).optional(),
    ],
};
