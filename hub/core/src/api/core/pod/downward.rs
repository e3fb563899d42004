//! What a container is told of its own Pod: fields and resources, as variables or as files of a volume.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    field::{Message, Shape, count, field, object, objects, text},
    meta::nullable,
    quantity::Quantity,
};

/// A field of the Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldRef {
    /// Of which form of the Pod. `v1`, the default.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub api_version: String,
    /// Such as `metadata.name` or `metadata.labels['app']`.
    #[serde(deserialize_with = "nullable")]
    pub field_path: String,
}

/// What a container of the Pod may use or asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceFieldRef {
    /// Which container. A variable's own, where it is empty.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub container_name: String,
    /// Such as `limits.cpu`.
    #[serde(deserialize_with = "nullable")]
    pub resource: String,
    /// In units of this. Absent or 0 means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divisor: Option<Quantity>,
}

/// Files about the Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardVolume {
    /// The files.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub items: Vec<DownwardFile>,
    /// Permission bits. Absent means 0644.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_mode: Option<u32>,
}

/// Files about the Pod, in a projected volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DownwardProjection {
    /// The files.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub items: Vec<DownwardFile>,
}

/// One file about the Pod. Exactly one of the two references.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DownwardFile {
    /// Relative path.
    #[serde(deserialize_with = "nullable")]
    pub path: String,
    /// A field of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
    /// What a container may use or asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceFieldRef>,
    /// Permission bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// The fields of [`FieldRef`].
pub(super) const FIELD_REF: Message =
    Message { name: "ObjectFieldSelector", fields: &[text("apiVersion", 1), text("fieldPath", 2)] };

/// The fields of [`ResourceFieldRef`].
pub(super) const RESOURCE_FIELD_REF: Message = Message {
    name: "ResourceFieldSelector",
    fields: &[text("containerName", 1), text("resource", 2), field("divisor", 3, Shape::Quantity)],
};

/// The fields of [`DownwardVolume`].
pub(super) const DOWNWARD_VOLUME: Message = Message {
    name: "DownwardAPIVolumeSource",
    fields: &[objects("items", 1, &DOWNWARD_FILE), count("defaultMode", 2).optional()],
};

/// The fields of [`DownwardProjection`].
pub(super) const DOWNWARD_PROJECTION: Message =
    Message { name: "DownwardAPIProjection", fields: &[objects("items", 1, &DOWNWARD_FILE)] };

/// The fields of [`DownwardFile`].
const DOWNWARD_FILE: Message = Message {
    name: "DownwardAPIVolumeFile",
    fields: &[
        text("path", 1),
        object("fieldRef", 2, &FIELD_REF).optional(),
        object("resourceFieldRef", 3, &RESOURCE_FIELD_REF).optional(),
        count("mode", 4).optional(),
    ],
};
