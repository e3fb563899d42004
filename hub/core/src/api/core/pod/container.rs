//! The containers of a Pod: what they run, with which environment, ports, resources and mounts. How they are watched over
//! is in [`probe`].

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    environment::{self, EnvFrom, EnvVar},
    probe::{self, Lifecycle, Probe},
    security::{SECURITY_CONTEXT, SecurityContext},
};
use crate::api::{
    field::{Field, Message, Shape, count, field, flag, instead, object, objects, text, texts},
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
    /// As whom it runs, and what it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// Whether it reads what somebody types: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<bool>,
    /// Whether that ends with the first who types: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin_once: Option<bool>,
    /// Whether it has a terminal: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// Whether it restarts when its resources are changed in place.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resize_policy: Vec<ResizePolicy>,
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

/// What a change of one resource in place does to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResizePolicy {
    /// `cpu` or `memory`.
    #[serde(deserialize_with = "nullable")]
    pub resource_name: String,
    /// `NotRequired` or `RestartContainer`.
    #[serde(deserialize_with = "nullable")]
    pub restart_policy: String,
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
    /// The same number, on the device's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u32>,
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
    /// The same, with `$(NAME)` for the value of a variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_path_expr: Option<String>,
    /// Whether writing is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Whether mounts that are made later on the device are seen: `None` (default) or `HostToContainer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_propagation: Option<String>,
    /// `Disabled`, or `IfPossible`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recursive_read_only: Option<String>,
}

const NO_TERMINAL: &str = "nobody types into a container; it must be false";

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
        text("imagePullPolicy", 14).without_effect(
            "a name becomes a digest when a workload is applied, and a device fetches what it lacks",
        ),
        object("securityContext", 15, &SECURITY_CONTEXT).optional(),
        flag("stdin", 16).without_effect(NO_TERMINAL),
        flag("stdinOnce", 17).without_effect(NO_TERMINAL),
        flag("tty", 18).without_effect(NO_TERMINAL),
        objects("envFrom", 19, &environment::ENV_FROM),
        text("terminationMessagePolicy", 20),
        instead("volumeDevices", 21, "there are no block volumes; mount a device by hostPath"),
        object("startupProbe", 22, &probe::PROBE),
        objects("resizePolicy", 23, &RESIZE_POLICY)
            .without_effect("other resources are another template, and its Pods are new ones"),
        text("restartPolicy", 24).optional(),
        instead("restartPolicyRules", 25, "write restartPolicy for the Pod"),
    ],
};

/// The fields of [`ResizePolicy`].
const RESIZE_POLICY: Message = Message {
    name: "ContainerResizePolicy",
    fields: &[text("resourceName", 1), text("restartPolicy", 2)],
};

/// The fields of [`ContainerPort`].
const CONTAINER_PORT: Message = Message {
    name: "ContainerPort",
    fields: &[
        text("name", 1),
        count("hostPort", 2)
            .without_effect("with hostNetwork it is the containerPort, and without it is refused"),
        count("containerPort", 3),
        text("protocol", 4),
        instead("hostIP", 5, "with hostNetwork a program listens where it says"),
    ],
};

/// The fields of [`Resources`].
const RESOURCES: Message = Message {
    name: "ResourceRequirements",
    fields: &[
        amounts("limits", 1),
        amounts("requests", 2),
        instead("claims", 3, "ask for devices in limits"),
    ],
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
        text("mountPropagation", 5).optional(),
        text("subPathExpr", 6),
        text("recursiveReadOnly", 7).optional().without_effect(
            "what is mounted below a mount keeps its own rights; Enabled is refused",
        ),
    ],
};
