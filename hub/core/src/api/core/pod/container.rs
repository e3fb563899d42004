//! The containers of a Pod: what they run, with which environment, ports, resources and mounts. How they are watched over
//! is in [`probe`].

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    environment::{self, EnvFrom, EnvVar},
    probe::{self, Lifecycle, Probe},
};
use crate::api::{
    field::{
        Field, Message, Shape, count, field, flag, instead, object, objects, text, texts,
        unless_empty, unsupported,
    },
    meta::nullable,
    quantity::Amounts,
};

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Unique in the Pod.
    pub name: String,
    /// Name in the hub's catalogue, or name and digest.
    pub image: String,
    /// Replaces the image's entrypoint.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub args: Vec<String>,
    /// Replaces the image's working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Added to the image's environment.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub env: Vec<EnvVar>,
    /// Added before them: all that a ConfigMap or Secret holds.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub env_from: Vec<EnvFrom>,
    /// Ports that it listens on.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub ports: Vec<ContainerPort>,
    /// What it asks for and may use.
    #[serde(skip_serializing_if = "Resources::is_empty", deserialize_with = "nullable")]
    pub resources: Resources,
    /// Where volumes appear.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Whether it is to be started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// Whether it is of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// Whether it has come up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
    /// What is done at its start and end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// The file with its last word. Absent means `/dev/termination-log`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_message_path: Option<String>,
    /// `File` (default) or `FallbackToLogsOnError`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_message_policy: Option<String>,
    /// Of an init container: `Always` makes it a sidecar, which runs along with the containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
}

/// A port that a container listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// 1 to 65535.
    pub container_port: u32,
    /// `TCP` (default), `UDP` or `SCTP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// Amounts by resource name (`cpu`, `memory`), as quantities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub requests: Amounts,
    /// What it may use at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub limits: Amounts,
}

impl Resources {
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.limits.is_empty()
    }
}

/// Where a volume appears.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// The volume's name.
    pub name: String,
    /// Absolute path in the container.
    pub mount_path: String,
    /// Path in the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
    /// Whether writing is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// The fields of [`Container`].
pub const CONTAINER: Message = Message {
    name: "Container",
    fields: &[
        text("name", 1),
        text("image", 2),
        texts("command", 3),
        texts("args", 4),
        text("workingDir", 5),
        objects("ports", 6, &CONTAINER_PORT).merged_by("containerPort").and_by("protocol", "TCP"),
        objects("env", 7, &environment::ENV_VAR).merged_by("name"),
        object("resources", 8, &RESOURCES),
        objects("volumeMounts", 9, &VOLUME_MOUNT).merged_by("mountPath"),
        object("livenessProbe", 10, &probe::PROBE),
        object("readinessProbe", 11, &probe::PROBE),
        object("lifecycle", 12, &probe::LIFECYCLE),
        text("terminationMessagePath", 13),
        instead(
            "imagePullPolicy",
            14,
            "the hub knows each image by its digest, and a tag that was pushed anew by its new one",
        ),
        unless_empty(
            "securityContext",
            15,
            "give the image a user of its own; there are no privileged containers",
        ),
        unsupported("stdin", 16),
        unsupported("stdinOnce", 17),
        unsupported("tty", 18),
        objects("envFrom", 19, &environment::ENV_FROM),
        text("terminationMessagePolicy", 20),
        unsupported("volumeDevices", 21),
        object("startupProbe", 22, &probe::PROBE),
        unsupported("resizePolicy", 23),
        text("restartPolicy", 24).optional(),
    ],
};

/// The fields of [`ContainerPort`].
const CONTAINER_PORT: Message = Message {
    name: "ContainerPort",
    fields: &[
        text("name", 1),
        instead("hostPort", 2, "hostNetwork: true shares the device's network"),
        count("containerPort", 3),
        text("protocol", 4),
        unsupported("hostIP", 5),
    ],
};

/// The fields of [`Resources`].
const RESOURCES: Message = Message {
    name: "ResourceRequirements",
    fields: &[amounts("limits", 1), amounts("requests", 2), unsupported("claims", 3)],
};

const fn amounts(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Map(&Shape::Quantity))
}

/// The fields of [`VolumeMount`].
const VOLUME_MOUNT: Message = Message {
    name: "VolumeMount",
    fields: &[
        text("name", 1),
        flag("readOnly", 2),
        text("mountPath", 3),
        text("subPath", 4),
        unsupported("mountPropagation", 5),
        unsupported("subPathExpr", 6),
        unsupported("recursiveReadOnly", 7),
    ],
};
