//! `apps/v1` ReplicaSet: a saved revision of a Deployment, and the Pods that are of it. The hub makes and shows it;
//! Deployments alone decide. `rollout history` and `rollout undo` read it.

use serde::{Deserialize, Serialize};

use crate::api::{
    cell,
    core::pod::{POD_TEMPLATE, PodTemplate},
    field::{Message, count, object, written},
    meta::{OBJECT_META, ObjectMeta, is_zero, nullable},
    resource::{Column, Home, Names, Resource, Verb},
    selector::{LABEL_SELECTOR, LabelSelector},
};

/// A saved revision of a Deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaSet {
    /// Named after the Deployment and the revision's hash.
    pub metadata: ObjectMeta,
    /// What its Pods are.
    pub spec: ReplicaSetSpec,
    /// The Pods that there are.
    #[serde(default, deserialize_with = "nullable")]
    pub status: ReplicaSetStatus,
}

/// What the Pods of a revision are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSetSpec {
    /// Pods that the Deployment wants of it: all of its own of the newest revision, of an older one those that are left.
    pub replicas: u32,
    /// Seconds for which a Pod must be ready before it counts as available. Absent means 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_ready_seconds: Option<u32>,
    /// The Deployment's, with the revision's hash.
    pub selector: LabelSelector,
    /// The Deployment's at that time, with the revision's hash.
    pub template: PodTemplate,
}

/// The Pods of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetStatus {
    /// The spec's generation that these figures are about.
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: u64,
    /// Pods that exist.
    pub replicas: u32,
    /// Pods with all labels of the template.
    pub fully_labeled_replicas: u32,
    /// Pods that run.
    pub ready_replicas: u32,
    /// Pods that have been ready for `minReadySeconds`.
    pub available_replicas: u32,
}

impl Resource for ReplicaSet {
    const NAMES: Names = Names {
        kind: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short: &["rs"],
        runs_pods: false,
        verbs: &Verb::READ,
        home: Home::Revisions,
        made_by: "replicasets can't be written by hand: a Deployment has one for each of its revisions; change the Deployment",
        longest_name: 253,
        ..Names::WORKLOAD
    };
    const FIELDS: &'static Message = &Message {
        name: "ReplicaSet",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &REPLICA_SET_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::number("Desired", "Pods that the Deployment wants of it.", |o, _| {
            o.spec.replicas.into()
        }),
        Column::number("Current", "Pods that exist.", |o, _| o.status.replicas.into()),
        Column::number("Ready", "Pods that run.", |o, _| o.status.ready_replicas.into()),
        Column::text("Age", "Time since it was first the newest.", |o, now| {
            cell::age(&o.metadata, now)
        }),
        Column::wide("Containers", "Names of the template's containers.", |o, _| {
            cell::containers(&o.spec.template.spec)
        }),
        Column::wide("Images", "Images of the containers.", |o, _| {
            cell::images(&o.spec.template.spec)
        }),
        Column::wide("Selector", "Labels of its Pods.", |o, _| cell::selector(&o.spec.selector)),
    ];
}

/// The fields of [`ReplicaSetSpec`].
const REPLICA_SET_SPEC: Message = Message {
    name: "ReplicaSetSpec",
    fields: &[
        count("replicas", 1).optional(),
        object("selector", 2, &LABEL_SELECTOR).optional().required(),
        object("template", 3, &POD_TEMPLATE),
        count("minReadySeconds", 4),
    ],
};
