//! The numbers of Kubernetes' messages (`generated.proto` of `k8s.io/api` and `k8s.io/apimachinery`), for the kinds that can
//! be written. Fields that Lichen does not support have their names here too, so that they can be refused by name.

/// A message.
pub(super) struct Message {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

/// One field of a message.
pub(super) struct Field {
    pub(super) number: u32,
    /// As JSON has it.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// Whether it is a list.
    pub(super) list: bool,
    /// Whether Go has a pointer for it: then a zero is a value, else it means absent.
    pub(super) optional: bool,
}

/// What a field holds.
pub(super) enum Shape {
    Text,
    Data,
    Number,
    Flag,
    Object(&'static Message),
    /// A message whose fields stand in the object around it.
    Inline(&'static Message),
    /// From text to this.
    Map(&'static Shape),
    Quantity,
    /// What only the server writes.
    Ignored,
    /// What Lichen does not support.
    Unsupported,
}

const fn field(number: u32, name: &'static str, shape: Shape) -> Field {
    Field { number, name, shape, list: false, optional: false }
}

const fn optional(number: u32, name: &'static str, shape: Shape) -> Field {
    Field { number, name, shape, list: false, optional: true }
}

const fn list(number: u32, name: &'static str, shape: Shape) -> Field {
    Field { number, name, shape, list: true, optional: false }
}

const fn no(number: u32, name: &'static str) -> Field {
    field(number, name, Shape::Unsupported)
}

const fn message(name: &'static str, fields: &'static [Field]) -> Message {
    Message { name, fields }
}

use Shape::{Data, Flag, Ignored, Inline, Map, Number, Object, Quantity, Text};

/// The message of a kind, or of the options of a deletion.
pub(super) fn of(kind: &str) -> Option<&'static Message> {
    Some(match kind {
        "Namespace" => &NAMESPACE,
        "ConfigMap" => &CONFIG_MAP,
        "Deployment" => &DEPLOYMENT,
        "DaemonSet" => &DAEMON_SET,
        "Node" => &NODE,
        "DeleteOptions" => &DELETE_OPTIONS,
        _ => return None,
    })
}

/// The number of the object's message in [`UNKNOWN`].
pub(super) const RAW: u32 = 2;

pub(super) static UNKNOWN: Message = message(
    "Unknown",
    &[
        field(1, "", Inline(&TYPE_META)),
        field(RAW, "raw", Ignored),
        field(3, "contentEncoding", Ignored),
        field(4, "contentType", Ignored),
    ],
);
static TYPE_META: Message =
    message("TypeMeta", &[field(1, "apiVersion", Text), field(2, "kind", Text)]);
pub(super) static QUANTITY: Message = message("Quantity", &[field(1, "string", Text)]);

static OBJECT_META: Message = message(
    "ObjectMeta",
    &[
        field(1, "name", Text),
        no(2, "generateName"),
        field(3, "namespace", Text),
        field(4, "selfLink", Ignored),
        field(5, "uid", Ignored),
        field(6, "resourceVersion", Text),
        field(7, "generation", Ignored),
        field(8, "creationTimestamp", Ignored),
        field(9, "deletionTimestamp", Ignored),
        field(10, "deletionGracePeriodSeconds", Ignored),
        field(11, "labels", Map(&Text)),
        field(12, "annotations", Map(&Text)),
        list(13, "ownerReferences", Object(&OWNER_REFERENCE)),
        no(14, "finalizers"),
        field(17, "managedFields", Ignored),
    ],
);
static OWNER_REFERENCE: Message = message(
    "OwnerReference",
    &[
        field(1, "kind", Text),
        field(3, "name", Text),
        field(4, "uid", Text),
        field(5, "apiVersion", Text),
        optional(6, "controller", Flag),
        no(7, "blockOwnerDeletion"),
    ],
);
static DELETE_OPTIONS: Message = message(
    "DeleteOptions",
    &[
        optional(1, "gracePeriodSeconds", Number),
        no(2, "preconditions"),
        no(3, "orphanDependents"),
        optional(4, "propagationPolicy", Text),
        no(5, "dryRun"),
    ],
);
static LABEL_SELECTOR: Message =
    message("LabelSelector", &[field(1, "matchLabels", Map(&Text)), no(2, "matchExpressions")]);

static NAMESPACE: Message = message(
    "Namespace",
    &[
        field(1, "metadata", Object(&OBJECT_META)),
        field(2, "spec", Object(&NAMESPACE_SPEC)),
        field(3, "status", Ignored),
    ],
);
static NAMESPACE_SPEC: Message = message("NamespaceSpec", &[no(1, "finalizers")]);
static CONFIG_MAP: Message = message(
    "ConfigMap",
    &[
        field(1, "metadata", Object(&OBJECT_META)),
        field(2, "data", Map(&Text)),
        field(3, "binaryData", Map(&Data)),
        no(4, "immutable"),
    ],
);
static NODE: Message = message(
    "Node",
    &[
        field(1, "metadata", Object(&OBJECT_META)),
        field(2, "spec", Object(&NODE_SPEC)),
        field(3, "status", Ignored),
    ],
);
static NODE_SPEC: Message = message(
    "NodeSpec",
    &[
        no(1, "podCIDR"),
        no(2, "externalID"),
        no(3, "providerID"),
        field(4, "unschedulable", Flag),
        list(5, "taints", Object(&TAINT)),
        no(6, "configSource"),
        no(7, "podCIDRs"),
    ],
);
static TAINT: Message = message(
    "Taint",
    &[field(1, "key", Text), field(2, "value", Text), field(3, "effect", Text), no(4, "timeAdded")],
);

static DEPLOYMENT: Message = message(
    "Deployment",
    &[
        field(1, "metadata", Object(&OBJECT_META)),
        field(2, "spec", Object(&DEPLOYMENT_SPEC)),
        field(3, "status", Ignored),
    ],
);
static DEPLOYMENT_SPEC: Message = message(
    "DeploymentSpec",
    &[
        optional(1, "replicas", Number),
        optional(2, "selector", Object(&LABEL_SELECTOR)),
        field(3, "template", Object(&POD_TEMPLATE)),
        field(4, "strategy", Object(&STRATEGY)),
        no(5, "minReadySeconds"),
        no(6, "revisionHistoryLimit"),
        no(7, "paused"),
        no(9, "progressDeadlineSeconds"),
    ],
);
static STRATEGY: Message = message("Strategy", &[field(1, "type", Text), no(2, "rollingUpdate")]);
static DAEMON_SET: Message = message(
    "DaemonSet",
    &[
        field(1, "metadata", Object(&OBJECT_META)),
        field(2, "spec", Object(&DAEMON_SET_SPEC)),
        field(3, "status", Ignored),
    ],
);
static DAEMON_SET_SPEC: Message = message(
    "DaemonSetSpec",
    &[
        optional(1, "selector", Object(&LABEL_SELECTOR)),
        field(2, "template", Object(&POD_TEMPLATE)),
        field(3, "updateStrategy", Object(&STRATEGY)),
        no(4, "minReadySeconds"),
        no(6, "revisionHistoryLimit"),
    ],
);

static POD_TEMPLATE: Message = message(
    "PodTemplateSpec",
    &[field(1, "metadata", Object(&OBJECT_META)), field(2, "spec", Object(&POD_SPEC))],
);
static POD_SPEC: Message = message(
    "PodSpec",
    &[
        list(1, "volumes", Object(&VOLUME)),
        list(2, "containers", Object(&CONTAINER)),
        field(3, "restartPolicy", Text),
        optional(4, "terminationGracePeriodSeconds", Number),
        no(5, "activeDeadlineSeconds"),
        no(6, "dnsPolicy"),
        field(7, "nodeSelector", Map(&Text)),
        no(8, "serviceAccountName"),
        no(9, "serviceAccount"),
        field(10, "nodeName", Text),
        field(11, "hostNetwork", Flag),
        no(12, "hostPID"),
        no(13, "hostIPC"),
        no(14, "securityContext"),
        no(15, "imagePullSecrets"),
        no(16, "hostname"),
        no(17, "subdomain"),
        no(18, "affinity"),
        no(19, "schedulerName"),
        list(20, "initContainers", Object(&CONTAINER)),
        no(21, "automountServiceAccountToken"),
        list(22, "tolerations", Object(&TOLERATION)),
        no(23, "hostAliases"),
        no(24, "priorityClassName"),
        no(25, "priority"),
        no(26, "dnsConfig"),
        no(27, "shareProcessNamespace"),
        no(28, "readinessGates"),
        optional(29, "runtimeClassName", Text),
        no(30, "enableServiceLinks"),
        no(31, "preemptionPolicy"),
        no(32, "overhead"),
        no(33, "topologySpreadConstraints"),
        no(34, "ephemeralContainers"),
        no(35, "setHostnameAsFQDN"),
        no(36, "os"),
        no(37, "hostUsers"),
        no(38, "schedulingGates"),
        no(39, "resourceClaims"),
        no(40, "resources"),
    ],
);
static CONTAINER: Message = message(
    "Container",
    &[
        field(1, "name", Text),
        field(2, "image", Text),
        list(3, "command", Text),
        list(4, "args", Text),
        field(5, "workingDir", Text),
        list(6, "ports", Object(&CONTAINER_PORT)),
        list(7, "env", Object(&ENV_VAR)),
        field(8, "resources", Object(&RESOURCES)),
        list(9, "volumeMounts", Object(&VOLUME_MOUNT)),
        no(10, "livenessProbe"),
        no(11, "readinessProbe"),
        no(12, "lifecycle"),
        no(13, "terminationMessagePath"),
        no(14, "imagePullPolicy"),
        no(15, "securityContext"),
        no(16, "stdin"),
        no(17, "stdinOnce"),
        no(18, "tty"),
        no(19, "envFrom"),
        no(20, "terminationMessagePolicy"),
        no(21, "volumeDevices"),
        no(22, "startupProbe"),
        no(23, "resizePolicy"),
        no(24, "restartPolicy"),
    ],
);
static CONTAINER_PORT: Message = message(
    "ContainerPort",
    &[
        field(1, "name", Text),
        no(2, "hostPort"),
        field(3, "containerPort", Number),
        field(4, "protocol", Text),
        no(5, "hostIP"),
    ],
);
static ENV_VAR: Message =
    message("EnvVar", &[field(1, "name", Text), field(2, "value", Text), no(3, "valueFrom")]);
static RESOURCES: Message = message(
    "ResourceRequirements",
    &[field(1, "limits", Map(&Quantity)), field(2, "requests", Map(&Quantity)), no(3, "claims")],
);
static VOLUME_MOUNT: Message = message(
    "VolumeMount",
    &[
        field(1, "name", Text),
        field(2, "readOnly", Flag),
        field(3, "mountPath", Text),
        field(4, "subPath", Text),
        no(5, "mountPropagation"),
        no(6, "subPathExpr"),
        no(7, "recursiveReadOnly"),
    ],
);
static TOLERATION: Message = message(
    "Toleration",
    &[
        field(1, "key", Text),
        field(2, "operator", Text),
        field(3, "value", Text),
        field(4, "effect", Text),
        optional(5, "tolerationSeconds", Number),
    ],
);

static VOLUME: Message =
    message("Volume", &[field(1, "name", Text), field(2, "", Inline(&VOLUME_SOURCE))]);
static VOLUME_SOURCE: Message = message(
    "VolumeSource",
    &[
        optional(1, "hostPath", Object(&HOST_PATH)),
        optional(2, "emptyDir", Object(&EMPTY_DIR)),
        no(6, "secret"),
        no(7, "nfs"),
        no(8, "iscsi"),
        no(10, "persistentVolumeClaim"),
        no(16, "downwardAPI"),
        optional(19, "configMap", Object(&CONFIG_MAP_VOLUME)),
        no(26, "projected"),
        no(28, "csi"),
        no(29, "ephemeral"),
        no(30, "image"),
    ],
);
static HOST_PATH: Message =
    message("HostPathVolumeSource", &[field(1, "path", Text), optional(2, "type", Text)]);
static EMPTY_DIR: Message = message(
    "EmptyDirVolumeSource",
    &[field(1, "medium", Text), optional(2, "sizeLimit", Quantity)],
);
static CONFIG_MAP_VOLUME: Message = message(
    "ConfigMapVolumeSource",
    &[
        field(1, "", Inline(&LOCAL_REFERENCE)),
        list(2, "items", Object(&KEY_TO_PATH)),
        optional(3, "defaultMode", Number),
        optional(4, "optional", Flag),
    ],
);
static LOCAL_REFERENCE: Message = message("LocalObjectReference", &[field(1, "name", Text)]);
static KEY_TO_PATH: Message = message(
    "KeyToPath",
    &[field(1, "key", Text), field(2, "path", Text), optional(3, "mode", Number)],
);
