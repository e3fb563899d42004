//! The volumes of a Pod.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    downward::{DOWNWARD_VOLUME, DownwardVolume},
    projected::{PROJECTED_VOLUME, ProjectedVolume},
};
use crate::api::{
    field::{Message, Shape, count, field, flag, instead, object, objects, text},
    meta::nullable,
    quantity::Quantity,
};

/// Something to mount. Exactly one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Unique in the Pod.
    pub name: String,
    /// A directory that lives as long as the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
    /// A path of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPath>,
    /// Files from a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolume>,
    /// Files from a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
    /// Files about the Pod.
    #[serde(rename = "downwardAPI", skip_serializing_if = "Option::is_none")]
    pub downward_api: Option<DownwardVolume>,
    /// Files from several sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projected: Option<ProjectedVolume>,
    /// The data of a claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimVolume>,
}

/// The data of a claim of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimVolume {
    /// The claim's name.
    pub claim_name: String,
    /// Whether no container may write to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// A directory that lives as long as the Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EmptyDir {
    /// Empty for disk, `Memory` for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// Bound on its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
}

/// A path of the device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostPath {
    /// Absolute path.
    pub path: String,
    /// What it must be: Kubernetes' words.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Files from a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapVolume {
    /// The ConfigMap's name, in the same namespace.
    pub name: String,
    /// Only these keys, at these paths. Empty means all keys by their names.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub items: Vec<KeyToPath>,
    /// Permission bits. Absent means 0644.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_mode: Option<u32>,
    /// Whether the ConfigMap or a key may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Files from a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretVolume {
    /// The Secret's name, in the same namespace.
    pub secret_name: String,
    /// Only these keys, at these paths. Empty means all keys by their names.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub items: Vec<KeyToPath>,
    /// Permission bits. Absent means 0644.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_mode: Option<u32>,
    /// Whether the Secret or a key may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// One key of a ConfigMap or Secret and its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyToPath {
    /// The key.
    pub key: String,
    /// Relative path.
    pub path: String,
    /// Permission bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// The fields of [`Volume`].
pub const VOLUME: Message = Message {
    name: "Volume",
    fields: &[text("name", 1), field("", 2, Shape::Inline(&VOLUME_SOURCE))],
};

const NO_REMOTE: &str = "mount it on the device, and that path by hostPath";

const VOLUME_SOURCE: Message = Message {
    name: "VolumeSource",
    fields: &[
        object("hostPath", 1, &HOST_PATH).optional(),
        object("emptyDir", 2, &EMPTY_DIR).optional(),
        object("secret", 6, &SECRET_VOLUME).optional(),
        instead("gcePersistentDisk", 3, NO_REMOTE),
        instead("awsElasticBlockStore", 4, NO_REMOTE),
        instead("gitRepo", 5, "clone it in an init container, into an emptyDir"),
        instead("nfs", 7, NO_REMOTE),
        instead("iscsi", 8, NO_REMOTE),
        instead("glusterfs", 9, NO_REMOTE),
        object("persistentVolumeClaim", 10, &CLAIM_VOLUME).optional(),
        instead("rbd", 11, NO_REMOTE),
        instead("flexVolume", 12, NO_REMOTE),
        instead("cinder", 13, NO_REMOTE),
        instead("cephfs", 14, NO_REMOTE),
        instead("flocker", 15, NO_REMOTE),
        object("downwardAPI", 16, &DOWNWARD_VOLUME).optional(),
        instead("fc", 17, NO_REMOTE),
        instead("azureFile", 18, NO_REMOTE),
        object("configMap", 19, &CONFIG_MAP_VOLUME).optional(),
        instead("vsphereVolume", 20, NO_REMOTE),
        instead("quobyte", 21, NO_REMOTE),
        instead("azureDisk", 22, NO_REMOTE),
        instead("photonPersistentDisk", 23, NO_REMOTE),
        instead("portworxVolume", 24, NO_REMOTE),
        instead("scaleIO", 25, NO_REMOTE),
        object("projected", 26, &PROJECTED_VOLUME).optional(),
        instead("storageos", 27, NO_REMOTE),
        instead("csi", 28, NO_REMOTE),
        instead("ephemeral", 29, "emptyDir lives as long as the Pod"),
        instead("image", 30, "copy the files into the container's own image"),
    ],
};

/// The fields of [`ClaimVolume`].
const CLAIM_VOLUME: Message = Message {
    name: "PersistentVolumeClaimVolumeSource",
    fields: &[text("claimName", 1), flag("readOnly", 2)],
};

/// The fields of [`HostPath`].
const HOST_PATH: Message = Message {
    name: "HostPathVolumeSource",
    fields: &[text("path", 1), text("type", 2).optional()],
};

/// The fields of [`EmptyDir`].
const EMPTY_DIR: Message = Message {
    name: "EmptyDirVolumeSource",
    fields: &[text("medium", 1), field("sizeLimit", 2, Shape::Quantity).optional()],
};

/// The fields of [`ConfigMapVolume`].
const CONFIG_MAP_VOLUME: Message = Message {
    name: "ConfigMapVolumeSource",
    fields: &[
        field("", 1, Shape::Inline(&LOCAL_REFERENCE)),
        objects("items", 2, &KEY_TO_PATH),
        count("defaultMode", 3).optional(),
        flag("optional", 4).optional(),
    ],
};

/// The fields of [`SecretVolume`].
const SECRET_VOLUME: Message = Message {
    name: "SecretVolumeSource",
    fields: &[
        text("secretName", 1),
        objects("items", 2, &KEY_TO_PATH),
        count("defaultMode", 3).optional(),
        flag("optional", 4).optional(),
    ],
};

/// An object of the same namespace, by its name.
pub(super) const LOCAL_REFERENCE: Message =
    Message { name: "LocalObjectReference", fields: &[text("name", 1)] };

/// The fields of [`KeyToPath`].
pub(super) const KEY_TO_PATH: Message = Message {
    name: "KeyToPath",
    fields: &[text("key", 1), text("path", 2), count("mode", 3).optional()],
};
