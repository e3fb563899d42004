//! `v1` Pod, and the template that workloads make Pods from. Its parts: [`container`], [`environment`], [`downward`],
//! [`probe`], [`volume`], [`projected`], [`names`], [`security`], [`scheduling`], [`affinity`], [`status`].

pub mod affinity;
pub mod container;
pub mod downward;
pub mod environment;
pub mod names;
pub(crate) mod normal;
pub mod probe;
pub mod projected;
pub mod scheduling;
pub mod security;
pub mod status;
pub mod volume;

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::String,
    vec::Vec,
};

use serde::{Deserialize, Serialize};

pub use self::{
    affinity::{Affinity, TopologySpreadConstraint},
    container::{Container, ContainerPort, Resources, VolumeMount},
    downward::{DownwardFile, DownwardVolume, FieldRef, ResourceFieldRef},
    environment::{EnvFrom, EnvVar, EnvVarSource, KeyReference, ObjectSource},
    names::{DnsConfig, DnsOption, HostAlias},
    probe::{Lifecycle, LifecycleHandler, NumberOrName, Probe},
    projected::{ObjectProjection, ProjectedVolume, Projection},
    scheduling::Toleration,
    security::{Capabilities, PodSecurityContext, Profile, SecurityContext, Sysctl},
    status::{ContainerState, ContainerStatus, PodStatus, Running, Terminated, Waiting},
    volume::{ClaimVolume, ConfigMapVolume, EmptyDir, HostPath, KeyToPath, SecretVolume, Volume},
};
use super::service_account::NameReference;
use crate::api::{
    cell,
    field::{Message, count, flag, instead, object, objects, text, text_map, unsupported, written},
    meta::{Map, OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Home, LOG, Names, Resource, RestartRule, Selectable},
    validate::Errors,
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
    /// Seconds that it may be active, then it has failed. Absent for as long as it likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<u32>,
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
    /// Whether its containers see the processes of the device.
    #[serde(rename = "hostPID", skip_serializing_if = "Option::is_none")]
    pub host_pid: Option<bool>,
    /// Whether they have the device's IPC.
    #[serde(rename = "hostIPC", skip_serializing_if = "Option::is_none")]
    pub host_ipc: Option<bool>,
    /// Whether they see each other's processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_process_namespace: Option<bool>,
    /// As whom they run, and what they may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,
    /// Secrets with which its images are pulled.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub image_pull_secrets: Vec<NameReference>,
    /// As whom its programs reach the API of a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// The same, under its old name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Whether a cluster gives its containers a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// What its containers see as their host's name. Absent means the Pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Part of its whole name, `hostname.subdomain.namespace.svc.cluster.local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// More lines of `/etc/hosts`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub host_aliases: Vec<HostAlias>,
    /// `Default`, the same under the names `ClusterFirst` (default) and `ClusterFirstWithHostNet`, or `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_policy: Option<String>,
    /// Name servers, behind the device's or instead of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<DnsConfig>,
    /// Whether a cluster writes the addresses of Services into variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_service_links: Option<bool>,
    /// `default-scheduler`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    /// Whether its hostname is its whole name: no.
    #[serde(rename = "setHostnameAsFQDN", skip_serializing_if = "Option::is_none")]
    pub set_hostname_as_fqdn: Option<bool>,
    /// The system that its images are for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<PodOs>,
    /// Whether its users are the device's: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_users: Option<bool>,
}

/// The system that a Pod's images are for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodOs {
    /// `linux`.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
}

impl Resource for Pod {
    const NAMES: Names = Names {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short: &["po"],
        categories: &["all"],
        subresources: &[LOG],
        home: Home::Pods,
        lingers: true,
        apply_order: 90,
        // As many as a hub keeps of workloads' Pods.
        most: 200_000,
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
        Column::text("Ready", "Containers that are ready, of those declared.", |o, _| {
            format!("{}/{}", o.ready(), o.spec.containers.len() + o.sidecars().count()).into()
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

    const TEMPLATE: &'static str = "";

    /// Of a Pod that is there, its own labels and annotations can be changed. Kubernetes lets little more: the image, which
    /// would be a restart in place, and more tolerations.
    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        let Some(old) = old else { return };
        if let Some(owner) = old.metadata.owner_references.first() {
            let cause = format!(
                "the Pod is of {} {}, and can't be changed by itself: change the template of its workload",
                owner.kind, owner.name
            );
            return errors.add("metadata.ownerReferences", cause);
        }
        if !self.spec.is_same_as(&old.spec) {
            errors.add("spec", UPDATE);
        }
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.spec = old.spec.clone();
        self.status = old.status.clone();
    }

    fn prepare_for_create(&mut self) {
        self.status = PodStatus::default();
    }

    fn template(&self) -> Option<(Cow<'_, PodTemplate>, RestartRule)> {
        let ObjectMeta { labels, annotations, .. } = &self.metadata;
        let metadata = TemplateMeta { labels: labels.clone(), annotations: annotations.clone() };
        let template = PodTemplate { metadata, spec: self.spec.clone() };
        Some((Cow::Owned(template), RestartRule::Any))
    }

    fn replicas(&self) -> u32 {
        1
    }
}

/// What a change of a Pod is told that goes too far, beginning as Kubernetes says it.
const UPDATE: &str = "Forbidden: pod updates may not change fields other than labels and annotations; Lichen changes no \
                      image or toleration in place: delete the Pod and create it again";

impl PodSpec {
    /// Whether it means what the spec of a Pod that is there does. That one names its device.
    fn is_same_as(&self, placed: &Self) -> bool {
        let normal = |spec: &Self| {
            let mut spec = spec.clone();
            if spec.node_name.is_none() {
                spec.node_name.clone_from(&placed.node_name);
            }
            spec.priority = placed.priority;
            PodTemplate { spec, ..PodTemplate::default() }.normal()
        };
        normal(self) == normal(placed)
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
        let is_done =
            |status: &ContainerStatus| match self.sidecars().any(|c| c.name == status.name) {
                true => status.started,
                false => status.ready,
            };
        let place = statuses.iter().position(|status| !is_done(status))?;
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

    /// The init containers that run along with the containers.
    pub fn sidecars(&self) -> impl Iterator<Item = &Container> {
        let init = self.spec.init_containers.iter();
        init.filter(|container| container.restart_policy.as_deref() == Some("Always"))
    }

    /// How many of its containers and sidecars are ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        let init = self.status.init_container_statuses.iter();
        let sidecars = init.filter(|status| self.sidecars().any(|c| c.name == status.name));
        sidecars.chain(&self.status.container_statuses).filter(|status| status.ready).count()
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

const NO_TOKEN: &str = "no Pod is given a token of the API";

/// The fields of [`PodOs`].
const POD_OS: Message = Message { name: "PodOS", fields: &[text("name", 1)] };

/// The fields of [`PodSpec`].
pub const POD_SPEC: Message = Message {
    name: "PodSpec",
    fields: &[
        objects("volumes", 1, &volume::VOLUME).merged_by("name"),
        objects("containers", 2, &container::CONTAINER).merged_by("name"),
        text("restartPolicy", 3),
        count("terminationGracePeriodSeconds", 4).optional(),
        count("activeDeadlineSeconds", 5).optional(),
        text("dnsPolicy", 6),
        text_map("nodeSelector", 7),
        text("serviceAccountName", 8).without_effect(NO_TOKEN),
        text("serviceAccount", 9).without_effect(NO_TOKEN),
        text("nodeName", 10),
        flag("hostNetwork", 11),
        flag("hostPID", 12),
        flag("hostIPC", 13),
        object("securityContext", 14, &security::POD_SECURITY_CONTEXT).optional(),
        objects("imagePullSecrets", 15, &volume::LOCAL_REFERENCE).merged_by("name"),
        text("hostname", 16),
        text("subdomain", 17),
        object("affinity", 18, &affinity::AFFINITY).optional(),
        text("schedulerName", 19)
            .without_effect("the hub is the one scheduler; it must be default-scheduler"),
        objects("initContainers", 20, &container::CONTAINER).merged_by("name"),
        flag("automountServiceAccountToken", 21).optional().without_effect(NO_TOKEN),
        objects("tolerations", 22, &scheduling::TOLERATION),
        objects("hostAliases", 23, &names::HOST_ALIAS).merged_by("ip"),
        text("priorityClassName", 24),
        written("priority", 25),
        object("dnsConfig", 26, &names::DNS_CONFIG).optional(),
        flag("shareProcessNamespace", 27).optional(),
        instead("readinessGates", 28, "nothing here sets conditions of Pods; use a readinessProbe"),
        text("runtimeClassName", 29).optional(),
        flag("enableServiceLinks", 30)
            .optional()
            .without_effect("no Service's address is written into variables"),
        written("preemptionPolicy", 31),
        instead("overhead", 32, "the runtimes here have no cost of their own; leave it out"),
        objects("topologySpreadConstraints", 33, &affinity::TOPOLOGY_SPREAD_CONSTRAINT)
            .merged_by("topologyKey")
            .and_by("whenUnsatisfiable", ""),
        instead("ephemeralContainers", 34, "list what is to run under containers"),
        flag("setHostnameAsFQDN", 35)
            .optional()
            .without_effect("a hostname is one label; it must be false"),
        object("os", 36, &POD_OS)
            .optional()
            .without_effect("an image says which system it is for; it must be linux"),
        flag("hostUsers", 37)
            .optional()
            .without_effect("containers have no user namespace of their own; it must be true"),
        instead("schedulingGates", 38, "apply the workload when its Pods may be placed"),
        instead("resourceClaims", 39, "ask for devices in resources.limits of a container"),
        instead("resources", 40, "write them for each container"),
        instead("hostnameOverride", 41, "write hostname"),
        instead("schedulingGroup", 43, "each Pod is placed by itself"),
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
