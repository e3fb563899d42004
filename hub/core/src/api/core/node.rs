//! `v1` Node: a device.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    cell,
    field::{Message, flag, object, objects, text, unsupported, written},
    meta::{Condition, OBJECT_META, ObjectMeta, nullable},
    quantity::Amounts,
    resource::{Column, Home, Names, Resource, Selectable, Verb},
    validate::{Errors, check_label},
};

/// The label that says where a device is.
pub const SITE_LABEL: &str = "lichen.dev/site";

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Taints.
    #[serde(default)]
    pub spec: NodeSpec,
    /// What it is and how it is.
    #[serde(default)]
    pub status: NodeStatus,
}

/// What the operator and the hub say of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Keep away what does not tolerate them.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub taints: Vec<Taint>,
    /// Nothing new is placed on it.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub unschedulable: bool,
}

/// Keeps away what does not tolerate it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Like a label's key.
    pub key: String,
    /// Like a label's value.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// What a device is and how it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// `Ready` and others.
    pub conditions: Vec<Condition>,
    /// All that it has.
    pub capacity: Amounts,
    /// What Pods may use.
    pub allocatable: Amounts,
    /// Its system.
    pub node_info: NodeInfo,
    /// The engines that were found, tried, and can or cannot be used.
    pub runtimes: Vec<NodeRuntime>,
    /// The assignment that the hub wants it to hold, and the one that it holds.
    pub assignment: NodeAssignment,
}

/// How far a device is with its assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAssignment {
    /// Newest generation at the hub.
    pub desired: u64,
    /// Generation that the device has saved.
    pub acknowledged: u64,
}

/// A device's system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInfo {
    /// Kubernetes' name of the architecture.
    pub architecture: String,
    /// Changes with every boot.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// The state directory's own id.
    #[serde(rename = "machineID")]
    pub machine_id: String,
    /// Kernel release.
    pub kernel_version: String,
    /// The agent's version.
    pub kubelet_version: String,
    /// `linux` or a microcontroller's system.
    pub operating_system: String,
    /// The container runtime and its version.
    pub container_runtime_version: String,
    /// Class and compatibility hash of compiled Wasm; empty without Wasm.
    pub wasm: String,
}

/// One engine of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRuntime {
    /// The class that selects it: `crun`, `wasm` or `firmware`.
    pub class: String,
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether the trial run worked.
    pub usable: bool,
    /// Whether limits are enforced.
    pub limits_enforced: bool,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Resource for Node {
    const NAMES: Names = Names {
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short: &["no", "device", "devices"],
        namespaced: false,
        runs_pods: true,
        verbs: &[Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch],
        home: Home::Devices,
        made_by: "nodes can't be created by hand: a device joins when its agent connects",
        apply_order: 10,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "Node",
        fields: &[
            object("metadata", 1, &OBJECT_META),
            object("spec", 2, &NODE_SPEC),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "The device.", |o, _| cell::name(&o.metadata)),
        Column::text("Status", "Whether the device is in touch, and takes new Pods.", |o, _| {
            o.state().into()
        }),
        Column::text("Site", "Where it is: its label lichen.dev/site.", |o, _| {
            cell::or_none(o.metadata.labels.get(SITE_LABEL).map_or("", String::as_str))
        }),
        Column::text("Arch", "Its architecture.", |o, _| {
            o.status.node_info.architecture.as_str().into()
        }),
        Column::text("Runtimes", "What it can run Pods with.", |o, _| {
            let usable = o.status.runtimes.iter().filter(|runtime| runtime.usable);
            cell::joined(usable.map(|runtime| runtime.name.as_str()))
        }),
        Column::text("Age", "Time since it first joined.", |o, now| cell::age(&o.metadata, now)),
        Column::text("Version", "Its agent's version.", |o, _| {
            o.status.node_info.kubelet_version.as_str().into()
        }),
        Column::wide("CPU", "Its processors.", |o, _| o.amount("cpu").into()),
        Column::wide("Memory", "Its memory.", |o, _| o.amount("memory").into()),
        Column::wide("OS", "Its operating system.", |o, _| {
            o.status.node_info.operating_system.as_str().into()
        }),
        Column::wide("Kernel", "Its kernel.", |o, _| {
            o.status.node_info.kernel_version.as_str().into()
        }),
        Column::wide("Assignment", "The generation that it holds, of the newest one.", |o, _| {
            let NodeAssignment { desired, acknowledged } = o.status.assignment;
            if desired == acknowledged {
                format!("{acknowledged}").into()
            } else {
                format!("{acknowledged} of {desired}").into()
            }
        }),
        Column::wide("Taints", "What keeps Pods away.", |o, _| {
            let taints: Vec<String> = o
                .spec
                .taints
                .iter()
                .map(|taint| format!("{}:{}", taint.key, taint.effect))
                .collect();
            cell::joined(taints.iter().map(String::as_str))
        }),
    ];
    const SELECTABLE: &'static [Selectable<Self>] = &[Selectable::new("spec.unschedulable", |o| {
        if o.spec.unschedulable { "true" } else { "false" }
    })];

    fn validate(&self, _old: Option<&Self>, errors: &mut Errors) {
        for (i, taint) in self.spec.taints.iter().enumerate() {
            let field = format!("spec.taints[{i}]");
            errors.keep(check_label(&field, &taint.key, &taint.value));
            if !TAINT_EFFECTS.contains(&taint.effect.as_str()) {
                errors.add(
                    format!("{field}.effect"),
                    format!(
                        "\"{}\" must be \"NoSchedule\", \"PreferNoSchedule\" or \"NoExecute\"",
                        taint.effect
                    ),
                );
            }
        }
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
    }
}

/// What a taint does.
const TAINT_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl Node {
    /// Its state in one word, and what else keeps Pods away: `Ready`, `NotReady,SchedulingDisabled`.
    #[must_use]
    pub fn state(&self) -> String {
        let is_true = |kind: &str| {
            let condition = self.status.conditions.iter().find(|condition| condition.kind == kind);
            condition.is_some_and(|condition| condition.status == "True")
        };
        let mut state = String::from(if is_true("Ready") { "Ready" } else { "NotReady" });
        if is_true("Paused") {
            state.push_str(",Paused");
        }
        if self.spec.unschedulable {
            state.push_str(",SchedulingDisabled");
        }
        state
    }

    fn amount(&self, name: &str) -> &str {
        self.status.capacity.get(name).map_or("", |amount| amount.0.as_str())
    }
}

/// The fields of [`NodeSpec`].
const NODE_SPEC: Message = Message {
    name: "NodeSpec",
    fields: &[
        unsupported("podCIDR", 1),
        unsupported("externalID", 2),
        unsupported("providerID", 3),
        flag("unschedulable", 4),
        objects("taints", 5, &TAINT).merged_by(&["key"]),
        unsupported("configSource", 6),
        unsupported("podCIDRs", 7),
    ],
};

/// The fields of [`Taint`].
const TAINT: Message = Message {
    name: "Taint",
    fields: &[text("key", 1), text("value", 2), text("effect", 3), unsupported("timeAdded", 4)],
};
