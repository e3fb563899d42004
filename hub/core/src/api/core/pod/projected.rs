//! A volume with files from several sources.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    downward::{DOWNWARD_PROJECTION, DownwardProjection},
    volume::{KEY_TO_PATH, KeyToPath, LOCAL_REFERENCE},
};
use crate::api::{
    field::{Message, Shape, count, field, flag, instead, object, objects},
    meta::nullable,
};

/// Files from several sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectedVolume {
    /// Where they come from.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub sources: Vec<Projection>,
    /// Permission bits. Absent means 0644.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_mode: Option<u32>,
}

/// Where some of the files come from. Exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Projection {
    /// A Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectProjection>,
    /// The Pod itself.
    #[serde(rename = "downwardAPI", skip_serializing_if = "Option::is_none")]
    pub downward_api: Option<DownwardProjection>,
    /// A ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ObjectProjection>,
}

/// Files from a ConfigMap or Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectProjection {
    /// Its name.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Only these keys, at these paths. Empty means all keys by their names.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub items: Vec<KeyToPath>,
    /// Whether it or a key may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// The fields of [`ProjectedVolume`].
pub(super) const PROJECTED_VOLUME: Message = Message {
    name: "ProjectedVolumeSource",
    fields: &[objects("sources", 1, &PROJECTION), count("defaultMode", 2).optional()],
};

/// The fields of [`Projection`].
const PROJECTION: Message = Message {
    name: "VolumeProjection",
    fields: &[
        object("secret", 1, &OBJECT_PROJECTION).optional(),
        object("downwardAPI", 2, &DOWNWARD_PROJECTION).optional(),
        object("configMap", 3, &OBJECT_PROJECTION).optional(),
        instead(
            "serviceAccountToken",
            4,
            "devices are given no tokens of the API, which they may not reach; make one with `lichen create token` and put it into a Secret",
        ),
        instead("clusterTrustBundle", 5, "put the certificates into a ConfigMap"),
        instead("podCertificate", 6, "put key and certificate into a Secret"),
    ],
};

/// The fields of [`ObjectProjection`].
const OBJECT_PROJECTION: Message = Message {
    name: "ObjectProjection",
    fields: &[
        field("", 1, Shape::Inline(&LOCAL_REFERENCE)),
        objects("items", 2, &KEY_TO_PATH),
        flag("optional", 4).optional(),
    ],
};
