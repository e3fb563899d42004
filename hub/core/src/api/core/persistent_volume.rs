//! `v1` PersistentVolume: the directory of a claim on its device. The hub makes one for each claim that is bound.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use firmware_compat::id::{AgentId, ClaimId};
use serde::{Deserialize, Serialize};

use super::persistent_volume_claim::{STORAGE, amounts, short_modes};
use crate::api::{
    cell,
    field::{Message, instead, object, objects, text, texts, unsupported, written},
    meta::{OBJECT_META, ObjectMeta, ObjectReference, nullable},
    quantity::Amounts,
    resource::{Column, Names, Resource, Verb},
    validate::Errors,
};

/// Keeps a volume as long as it is bound to a claim.
pub const PV_PROTECTION: &str = "kubernetes.io/pv-protection";
/// The state directory on which the volume was bound, by its agent's id. Another board under the device's name never had
/// its data.
pub const BOUND_TO: &str = "lichen.dev/agent";
/// Whether the device holds the claim to its size.
pub const SIZE_ENFORCED: &str = "lichen.dev/size-enforced";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The directory of a claim on its device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PersistentVolume {
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// What it is.
    pub spec: PersistentVolumeSpec,
    /// Whether a claim has it. Written by the hub alone.
    #[serde(default, deserialize_with = "nullable")]
    pub status: PersistentVolumeStatus,
}

/// What a volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeSpec {
    /// What its claim asks for.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub capacity: Amounts,
    /// Those of its claim.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub access_modes: Vec<String>,
    /// Its claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_ref: Option<ObjectReference>,
    /// `Retain` or `Delete`: what becomes of the data once the claim is gone.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub persistent_volume_reclaim_policy: String,
    /// Its class.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub storage_class_name: String,
    /// `Filesystem`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_mode: Option<String>,
    /// Where it is on its device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalVolume>,
    /// Its device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<VolumeNodeAffinity>,
}

/// A directory of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalVolume {
    /// Its path.
    pub path: String,
}

/// Which devices have a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeNodeAffinity {
    /// Those that one of its terms matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<NodeTerms>,
}

/// Terms of which one must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeTerms {
    /// The terms.
    #[serde(deserialize_with = "nullable")]
    pub node_selector_terms: Vec<NodeTerm>,
}

/// Labels that must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeTerm {
    /// All of them.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub match_expressions: Vec<NodeRequirement>,
}

/// What a label must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeRequirement {
    /// The label.
    pub key: String,
    /// `In`.
    pub operator: String,
    /// One of these.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub values: Vec<String>,
}

/// Whether a claim has a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PersistentVolumeStatus {
    /// `Bound`, `Released` or `Failed`.
    pub phase: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub message: String,
}

impl PersistentVolume {
    /// Its device.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        let terms = self.spec.node_affinity.as_ref()?.required.as_ref()?;
        let label = terms.node_selector_terms.first()?.match_expressions.first()?;
        label.values.first().map(String::as_str).filter(|_| label.key == HOSTNAME)
    }

    /// The label by which it is kept to one device.
    #[must_use]
    pub fn affinity(device: &str) -> VolumeNodeAffinity {
        let label = NodeRequirement {
            key: HOSTNAME.to_owned(),
            operator: "In".to_owned(),
            values: Vec::from([device.to_owned()]),
        };
        let term = NodeTerm { match_expressions: Vec::from([label]) };
        VolumeNodeAffinity { required: Some(NodeTerms { node_selector_terms: Vec::from([term]) }) }
    }

    /// Its claim, as devices know it.
    #[must_use]
    pub fn claim(&self) -> Option<ClaimId> {
        claim_id(&self.spec.claim_ref.as_ref()?.uid)
    }

    /// The state directory for which it was bound.
    #[must_use]
    pub fn bound_to(&self) -> Option<AgentId> {
        AgentId::parse(self.metadata.annotations.get(BOUND_TO)?)
    }

    /// What it takes of its device, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.spec.capacity.get(STORAGE).and_then(|size| size.in_units()).unwrap_or(0)
    }

    /// Whether its data is to go: its claim is gone, and nobody wants it kept.
    #[must_use]
    pub fn is_condemned(&self) -> bool {
        self.status.phase == "Released" && self.metadata.deletion_timestamp.is_some()
    }
}

/// A claim's uid, as devices know it.
#[must_use]
pub fn claim_id(uid: &str) -> Option<ClaimId> {
    ClaimId::parse(&uid.replace('-', ""))
}

impl Resource for PersistentVolume {
    const NAMES: Names = Names {
        kind: "PersistentVolume",
        plural: "persistentvolumes",
        singular: "persistentvolume",
        short: &["pv"],
        namespaced: false,
        verbs: &[Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch],
        made_by: "the hub makes a PersistentVolume for each PersistentVolumeClaim, on the device of the first Pod that uses the claim; make a claim, or mount a path of the device by hostPath",
        lingers: true,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "PersistentVolume",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in the hub.", |o, _| cell::name(&o.metadata)),
        Column::text("Capacity", "What it has.", |o, _| cell::storage(&o.spec.capacity)),
        Column::text("Access Modes", "What Pods may do.", |o, _| {
            short_modes(&o.spec.access_modes).into()
        }),
        Column::text("Reclaim Policy", "What becomes of it without its claim.", |o, _| {
            o.spec.persistent_volume_reclaim_policy.as_str().into()
        }),
        Column::text("Status", "Whether a claim has it.", |o, _| {
            cell::phase(&o.metadata, &o.status.phase)
        }),
        Column::text("Claim", "Its claim.", |o, _| match &o.spec.claim_ref {
            Some(claim) => format!("{}/{}", claim.namespace, claim.name).into(),
            None => "".into(),
        }),
        Column::text("StorageClass", "Its class.", |o, _| {
            o.spec.storage_class_name.as_str().into()
        }),
        Column::text("Reason", "Why it is in its state.", |o, _| o.status.message.as_str().into()),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("VolumeMode", "What Pods see of it.", |o, _| {
            o.spec.volume_mode.as_deref().unwrap_or("Filesystem").into()
        }),
        Column::wide("Node", "Its device.", |o, _| cell::or_none(o.device().unwrap_or_default())),
    ];

    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        let policy = self.spec.persistent_volume_reclaim_policy.as_str();
        if !matches!(policy, "Retain" | "Delete") {
            errors.add(
                "spec.persistentVolumeReclaimPolicy",
                format!("\"{policy}\" must be \"Retain\" or \"Delete\""),
            );
        }
        let Some(old) = old else { return };
        let mut compared = self.spec.clone();
        compared.persistent_volume_reclaim_policy =
            old.spec.persistent_volume_reclaim_policy.clone();
        if compared != old.spec {
            errors.add(
                "spec",
                "only persistentVolumeReclaimPolicy can be changed: the hub wrote the rest, and it says where the data is",
            );
        }
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
        for name in [BOUND_TO, SIZE_ENFORCED] {
            match old.metadata.annotations.get(name) {
                Some(text) => {
                    self.metadata.annotations.insert(name.to_owned(), text.clone());
                }
                None => _ = self.metadata.annotations.remove(name),
            }
        }
    }
}

const SPEC: Message = Message {
    name: "PersistentVolumeSpec",
    fields: &[
        amounts("capacity", 1),
        object("local", 20, &LOCAL).optional(),
        texts("accessModes", 3),
        object("claimRef", 4, &CLAIM_REF).optional(),
        text("persistentVolumeReclaimPolicy", 5),
        text("storageClassName", 6),
        instead("mountOptions", 7, "a volume is a directory, not a mount"),
        text("volumeMode", 8).optional(),
        object("nodeAffinity", 9, &AFFINITY).optional(),
        unsupported("volumeAttributesClassName", 10),
    ],
};

const LOCAL: Message =
    Message { name: "LocalVolumeSource", fields: &[text("path", 1), unsupported("fsType", 2)] };

const CLAIM_REF: Message = Message {
    name: "ObjectReference",
    fields: &[
        text("kind", 1),
        text("namespace", 2),
        text("name", 3),
        text("uid", 4),
        text("apiVersion", 5),
        written("resourceVersion", 6),
        unsupported("fieldPath", 7),
    ],
};

const AFFINITY: Message =
    Message { name: "VolumeNodeAffinity", fields: &[object("required", 1, &TERMS).optional()] };

const TERMS: Message =
    Message { name: "NodeSelector", fields: &[objects("nodeSelectorTerms", 1, &TERM)] };

const TERM: Message = Message {
    name: "NodeSelectorTerm",
    fields: &[objects("matchExpressions", 1, &REQUIREMENT), unsupported("matchFields", 2)],
};

const REQUIREMENT: Message = Message {
    name: "NodeSelectorRequirement",
    fields: &[text("key", 1), text("operator", 2), texts("values", 3)],
};
