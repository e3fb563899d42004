//! `v1` Pod, and the template that workloads make Pods from. Its parts: [`container`], [`environment`],
//! [`volume`], [`scheduling`], [`affinity`], [`status`].

pub mod affinity;
pub mod container;
pub mod environment;
pub(crate) mod normal;
pub mod scheduling;
pub mod status;
pub mod volume;

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

pub use self::{
    affinity::{Affinity, TopologySpreadConstraint},
    container::{Container, ContainerPort, Resources, VolumeMount},
    environment::{EnvFrom, EnvVar, EnvVarSource, KeyReference, ObjectSource},
    scheduling::Toleration,
    status::{ContainerState, ContainerStatus, PodStatus, Running, Terminated, Waiting},
    volume::{ClaimVolume, ConfigMapVolume, EmptyDir, HostPath, KeyToPath, SecretVolume, Volume},
};
use super::service_account::NameReference;
use crate::api::{
    cell,
    field::{
        Message, count, flag, instead, object, objects, text, text_map, unless_empty, unsupported,
        written,
    },
    meta::{Map, OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Home, LOG, Names, Resource, Selectable, Verb},
};

/// A Pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Name, labels, owner.
    pub metadata: ObjectMeta,
    /// What it runs, with its device in `nodeName`.
    pub spec: PodSpec,
    /// What it does.
    #[serde(default)]
    pub status: PodStatus,
}

/// What each Pod of a workload is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodTemplate {
    /// Labels and annotations of the Pods.
    #[serde(default)]
    pub metadata: TemplateMeta,
    /// What they run.
    pub spec: PodSpec,
}

/// Metadata that a template may give its Pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TemplateMeta {
    /// For selecting.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub labels: Map,
    /// For people and tools.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub annotations: Map,
}

/// What a Pod runs, and where it may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Run one after the other, each to its end, before the containers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub init_containers: Vec<Container>,
    /// Run together. At least one.
    pub containers: Vec<Container>,
    /// `Always` (default), `OnFailure` or `Never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
    /// Seconds between the stop signal and the kill. Absent means 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<u32>,
    /// Labels that the device must have.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub node_selector: Map,
    /// Taints that do not keep it away.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub tolerations: Vec<Toleration>,
    /// What draws it to devices and Pods, and what keeps it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How far places may differ in the number of its Pods.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// How much it matters when devices are full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// The same as a number; the hub writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The device, by name: no other is considered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Absent or `crun` for containers, `wasm` for Wasm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// What the mounts refer to.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub volumes: Vec<Volume>,
    /// Whether it shares the device's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// Secrets with which its images are pulled.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub image_pull_secrets: Vec<NameReference>,
}

impl Resource for Pod {
    const NAMES: Names = Names {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short: &["po"],
        categories: &["all"],
        verbs: &[Verb::Delete, Verb::Get, Verb::List, Verb::Watch],
        subresources: &[LOG],
        home: Home::Pods,
        lingers: true,
        made_by: "pods can't be written by hand: declare a Deployment or a DaemonSet, which makes them",
        apply_order: 90,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "Pod",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &POD_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Ready", "Containers that run, of those declared.", |o, _| {
            format!("{}/{}", o.ready(), o.spec.containers.len()).into()
        }),
        Column::text("Status", "What it does, or why it does not run.", |o, _| o.state().into()),
        Column::number("Restarts", "How often its containers were started again.", |o, _| {
            o.restarts().into()
        }),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::text("Node", "The device that it is on.", |o, _| {
            cell::or_none(o.spec.node_name.as_deref().unwrap_or_default())
        }),
        Column::wide("Images", "Images of the containers.", |o, _| cell::images(&o.spec)),
        Column::wide("Runtime Class", "What its template asks to be run by.", |o, _| {
            cell::or_none(o.spec.runtime_class_name.as_deref().unwrap_or_default())
        }),
        Column::wide("Message", "Why it does not run.", |o, _| o.status.message.as_str().into()),
    ];
    const SELECTABLE: &'static [Selectable<Self>] = &[
        Selectable::new("spec.nodeName", |o| o.spec.node_name.as_deref().unwrap_or_default()),
        Selectable::new("spec.restartPolicy", |o| {
            o.spec.restart_policy.as_deref().unwrap_or("Always")
        }),
        Selectable::new("status.phase", |o| &o.status.phase),
    ];

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
    }
}

impl Pod {
    /// Its state in one word, as kubectl shows it: the most telling of its phase and its containers' states.
    #[must_use]
    pub fn state(&self) -> String {
        if self.metadata.deletion_timestamp.is_some() {
            return "Terminating".to_owned();
        }
        if let Some(init) = self.initializing() {
            return init;
        }
        let states = self.status.container_statuses.iter().map(|status| &status.state);
        let container = states.filter_map(ContainerState::word).next_back();
        let runs = |status: &ContainerStatus| status.ready && status.state.running.is_some();
        let container = match container {
            // Kubernetes: while others run, one that has completed tells nothing.
            Some(word)
                if word == "Completed" && self.status.container_statuses.iter().any(runs) =>
            {
                Some("Running".to_owned())
            }
            other => other,
        };
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        container
            .or_else(|| given(&self.status.reason))
            .or_else(|| given(&self.status.phase))
            .unwrap_or_else(|| "Unknown".to_owned())
    }

    /// What kubectl shows while init containers run or fail: `Init:1/2`, `Init:Error`.
    fn initializing(&self) -> Option<String> {
        let statuses = &self.status.init_container_statuses;
        let place = statuses.iter().position(|status| !status.ready)?;
        let state = &statuses.get(place)?.state;
        match state.word() {
            Some(word) if word != "PodInitializing" => Some(format!("Init:{word}")),
            _ if state.running.is_some() => {
                Some(format!("Init:{place}/{}", self.spec.init_containers.len()))
            }
            // Nothing of the Pod was started yet.
            _ => None,
        }
    }

    /// How many of its containers are ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.status.container_statuses.iter().filter(|status| status.ready).count()
    }

    /// How often its containers were started again.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        let status = &self.status;
        let all = status.init_container_statuses.iter().chain(&status.container_statuses);
        let counts = all.map(|status| status.restart_count);
        counts.fold(0, u32::saturating_add)
    }
}

/// The fields of [`PodTemplate`].
pub const POD_TEMPLATE: Message = Message {
    name: "PodTemplateSpec",
    fields: &[object("metadata", 1, &TEMPLATE_META), object("spec", 2, &POD_SPEC).required()],
};

/// The fields of [`TemplateMeta`]: those of an object's metadata, of which a template gives its Pods two.
const TEMPLATE_META: Message = Message {
    name: "ObjectMeta",
    fields: &[
        instead("name", 1, "Pods get names of their own; leave it out"),
        unsupported("generateName", 2),
        instead("namespace", 3, "Pods live in the namespace of their workload; leave it out"),
        written("selfLink", 4),
        written("uid", 5),
        unsupported("resourceVersion", 6),
        written("generation", 7),
        written("creationTimestamp", 8),
        written("deletionTimestamp", 9),
        written("deletionGracePeriodSeconds", 10),
        text_map("labels", 11),
        text_map("annotations", 12),
        unsupported("ownerReferences", 13),
        unsupported("finalizers", 14),
        written("managedFields", 17),
    ],
};

/// The fields of [`PodSpec`].
pub const POD_SPEC: Message = Message {
    name: "PodSpec",
    fields: &[
        objects("volumes", 1, &volume::VOLUME).merged_by("name"),
        objects("containers", 2, &container::CONTAINER).merged_by("name"),
        text("restartPolicy", 3),
        count("terminationGracePeriodSeconds", 4).optional(),
        unsupported("activeDeadlineSeconds", 5),
        unsupported("dnsPolicy", 6),
        text_map("nodeSelector", 7),
        unsupported("serviceAccountName", 8),
        unsupported("serviceAccount", 9),
        text("nodeName", 10),
        flag("hostNetwork", 11),
        unsupported("hostPID", 12),
        unsupported("hostIPC", 13),
        unless_empty("securityContext", 14, "give the image a user of its own"),
        objects("imagePullSecrets", 15, &volume::LOCAL_REFERENCE).merged_by("name"),
        unsupported("hostname", 16),
        unsupported("subdomain", 17),
        object("affinity", 18, &affinity::AFFINITY).optional(),
        unsupported("schedulerName", 19),
        objects("initContainers", 20, &container::CONTAINER).merged_by("name"),
        unsupported("automountServiceAccountToken", 21),
        objects("tolerations", 22, &scheduling::TOLERATION),
        unsupported("hostAliases", 23),
        text("priorityClassName", 24),
        written("priority", 25),
        unsupported("dnsConfig", 26),
        unsupported("shareProcessNamespace", 27),
        unsupported("readinessGates", 28),
        text("runtimeClassName", 29).optional(),
        unsupported("enableServiceLinks", 30),
        written("preemptionPolicy", 31),
        unsupported("overhead", 32),
        objects("topologySpreadConstraints", 33, &affinity::TOPOLOGY_SPREAD_CONSTRAINT)
            .merged_by("topologyKey")
            .and_by("whenUnsatisfiable", ""),
        unsupported("ephemeralContainers", 34),
        unsupported("setHostnameAsFQDN", 35),
        unsupported("os", 36),
        unsupported("hostUsers", 37),
        unsupported("schedulingGates", 38),
        unsupported("resourceClaims", 39),
        unsupported("resources", 40),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, Object};

    fn check(status_json: &str, deleted: bool, expected: &str) {
        let json = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"x"{}}},"spec":{{}},"status":{status_json}}}"#,
            if deleted { r#","deletionTimestamp":"2020-01-01T00:00:00Z""# } else { "" }
        );
        let Ok(Object::Pod(pod)) = Object::from_json(Kind::Pod, json.as_bytes()) else {
            panic!("not a pod: {json}")
        };
        assert_eq!(pod.state(), expected, "{json}");
    }

    #[test]
    fn the_most_telling_word_is_shown() {
        check(r#"{"phase":"Running"}"#, false, "Running");
        check(r#"{"phase":"Running"}"#, true, "Terminating");
        check(r#"{"phase":"Pending","reason":"NoDevice"}"#, false, "NoDevice");
        check(r#"{}"#, false, "Unknown");
        let state = |state: &str| {
            format!(r#"{{"phase":"Running","containerStatuses":[{{"name":"a","state":{state}}}]}}"#)
        };
        check(&state(r#"{"running":{}}"#), false, "Running");
        check(&state(r#"{"waiting":{"reason":"CrashLoopBackOff"}}"#), false, "CrashLoopBackOff");
        check(&state(r#"{"terminated":{"exitCode":1,"reason":"Error"}}"#), false, "Error");
        check(&state(r#"{"terminated":{"exitCode":3,"reason":""}}"#), false, "ExitCode:3");
    }
}
