//! Where a Pod may run, beyond labels and taints: affinity to devices and to other Pods, and how Pods are spread.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    field::{Message, count, object, objects, text, texts},
    meta::nullable,
    selector::{LABEL_SELECTOR, LabelSelector, NODE_SELECTOR_REQUIREMENT, Requirement},
};

/// What draws a Pod to devices and keeps it from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Affinity {
    /// To devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<NodeAffinity>,
    /// To where other Pods are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_affinity: Option<PodAffinity>,
    /// To where other Pods are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_anti_affinity: Option<PodAffinity>,
}

/// To which devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAffinity {
    /// A device must be as this says when the Pod is placed.
    #[serde(
        rename = "requiredDuringSchedulingIgnoredDuringExecution",
        skip_serializing_if = "Option::is_none"
    )]
    pub required: Option<NodeSelector>,
    /// Devices that are as these say come first.
    #[serde(
        rename = "preferredDuringSchedulingIgnoredDuringExecution",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub preferred: Vec<PreferredNode>,
}

/// Which devices: one of the terms holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelector {
    /// At least one.
    #[serde(deserialize_with = "nullable")]
    pub node_selector_terms: Vec<NodeSelectorTerm>,
}

/// All of it holds. An empty one selects no device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSelectorTerm {
    /// Of labels.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub match_expressions: Vec<Requirement>,
    /// Of fields: `metadata.name` alone.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub match_fields: Vec<Requirement>,
}

/// A preference for devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreferredNode {
    /// 1 to 100.
    pub weight: u32,
    /// Which devices.
    pub preference: NodeSelectorTerm,
}

/// To where other Pods are, or are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodAffinity {
    /// It must be so when the Pod is placed.
    #[serde(
        rename = "requiredDuringSchedulingIgnoredDuringExecution",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub required: Vec<PodAffinityTerm>,
    /// Places where it is so come first.
    #[serde(
        rename = "preferredDuringSchedulingIgnoredDuringExecution",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub preferred: Vec<WeightedPodTerm>,
}

/// Which Pods, and what counts as the same place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodAffinityTerm {
    /// Their labels. Absent selects none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Their namespaces. With neither these nor a selector, the Pod's own.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub namespaces: Vec<String>,
    /// The label of devices that tells places apart.
    pub topology_key: String,
    /// Labels of their namespaces. Empty selects all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Labels that they have as the Pod has them.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub match_label_keys: Vec<String>,
    /// Labels that they have otherwise than the Pod.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub mismatch_label_keys: Vec<String>,
}

/// A preference for places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedPodTerm {
    /// 1 to 100.
    pub weight: u32,
    /// Which places.
    pub pod_affinity_term: PodAffinityTerm,
}

/// How far places may differ in the number of Pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySpreadConstraint {
    /// 1 or more.
    pub max_skew: u32,
    /// The label of devices that tells places apart.
    pub topology_key: String,
    /// `DoNotSchedule` or `ScheduleAnyway`.
    pub when_unsatisfiable: String,
    /// Which Pods are counted. Absent selects none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Fewer places than these count as one with no Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_domains: Option<u32>,
    /// `Honor` (default): only places that the Pod may go to are counted; or `Ignore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity_policy: Option<String>,
    /// `Ignore` (default), or `Honor`: devices whose taints it does not tolerate are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_taints_policy: Option<String>,
    /// Labels that the counted Pods have as the Pod has them.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub match_label_keys: Vec<String>,
}

impl Affinity {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let node = |of: &NodeAffinity| of.required.is_none() && of.preferred.is_empty();
        let pods = |of: &PodAffinity| of.required.is_empty() && of.preferred.is_empty();
        self.node_affinity.as_ref().is_none_or(node)
            && self.pod_affinity.as_ref().is_none_or(pods)
            && self.pod_anti_affinity.as_ref().is_none_or(pods)
    }
}

/// The fields of [`Affinity`].
pub const AFFINITY: Message = Message {
    name: "Affinity",
    fields: &[
        object("nodeAffinity", 1, &NODE_AFFINITY).optional(),
        object("podAffinity", 2, &POD_AFFINITY).optional(),
        object("podAntiAffinity", 3, &POD_ANTI_AFFINITY).optional(),
    ],
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

const NODE_AFFINITY: Message = Message {
    name: "NodeAffinity",
    fields: &[
        object(REQUIRED, 1, &NODE_SELECTOR).optional(),
        objects(PREFERRED, 2, &PREFERRED_NODE),
    ],
};

const NODE_SELECTOR: Message = Message {
    name: "NodeSelector",
    fields: &[objects("nodeSelectorTerms", 1, &NODE_SELECTOR_TERM)],
};

const NODE_SELECTOR_TERM: Message = Message {
    name: "NodeSelectorTerm",
    fields: &[
        objects("matchExpressions", 1, &NODE_SELECTOR_REQUIREMENT),
        objects("matchFields", 2, &NODE_SELECTOR_REQUIREMENT),
    ],
};

const PREFERRED_NODE: Message = Message {
    name: "PreferredSchedulingTerm",
    fields: &[count("weight", 1), object("preference", 2, &NODE_SELECTOR_TERM)],
};

const POD_AFFINITY: Message = Message {
    name: "PodAffinity",
    fields: &[
        objects(REQUIRED, 1, &POD_AFFINITY_TERM),
        objects(PREFERRED, 2, &WEIGHTED_POD_AFFINITY_TERM),
    ],
};

const POD_ANTI_AFFINITY: Message = Message { name: "PodAntiAffinity", fields: POD_AFFINITY.fields };

const POD_AFFINITY_TERM: Message = Message {
    name: "PodAffinityTerm",
    fields: &[
        object("labelSelector", 1, &LABEL_SELECTOR).optional(),
        texts("namespaces", 2),
        text("topologyKey", 3),
        object("namespaceSelector", 4, &LABEL_SELECTOR).optional(),
        texts("matchLabelKeys", 5),
        texts("mismatchLabelKeys", 6),
    ],
};

const WEIGHTED_POD_AFFINITY_TERM: Message = Message {
    name: "WeightedPodAffinityTerm",
    fields: &[count("weight", 1), object("podAffinityTerm", 2, &POD_AFFINITY_TERM)],
};

/// The fields of [`TopologySpreadConstraint`].
pub const TOPOLOGY_SPREAD_CONSTRAINT: Message = Message {
    name: "TopologySpreadConstraint",
    fields: &[
        count("maxSkew", 1),
        text("topologyKey", 2),
        text("whenUnsatisfiable", 3),
        object("labelSelector", 4, &LABEL_SELECTOR).optional(),
        count("minDomains", 5).optional(),
        text("nodeAffinityPolicy", 6).optional(),
        text("nodeTaintsPolicy", 7).optional(),
        texts("matchLabelKeys", 8),
    ],
};
