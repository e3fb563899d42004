//! `apps/v1` ControllerRevision: a saved revision of a DaemonSet. The hub makes and shows it; `rollout history` and
//! `rollout undo` read it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{
    cell,
    core::pod::PodTemplate,
    field::{Message, object, written},
    meta::{OBJECT_META, ObjectMeta},
    resource::{Column, Home, Names, Resource, Verb},
};

/// A saved revision of a DaemonSet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControllerRevision {
    /// Named after the DaemonSet and the revision's hash.
    pub metadata: ObjectMeta,
    /// A strategic merge patch of the DaemonSet, which brings the revision back.
    pub data: Value,
    /// Rises with every revision that becomes the newest.
    pub revision: u64,
}

impl ControllerRevision {
    /// The patch that puts a template in the place of another.
    #[must_use]
    pub fn patch(template: &PodTemplate) -> Value {
        let mut template = serde_json::to_value(template).unwrap_or_default();
        if let Some(fields) = template.as_object_mut() {
            fields.insert("$patch".into(), "replace".into());
        }
        json!({"spec": {"template": template}})
    }
}

impl Resource for ControllerRevision {
    const NAMES: Names = Names {
        kind: "ControllerRevision",
        plural: "controllerrevisions",
        singular: "controllerrevision",
        categories: &[],
        runs_pods: false,
        verbs: &Verb::READ,
        home: Home::Revisions,
        made_by: "controllerrevisions can't be written by hand: a DaemonSet has one for each of its revisions; change the DaemonSet",
        longest_name: 253,
        ..Names::WORKLOAD
    };
    const FIELDS: &'static Message = &Message {
        name: "ControllerRevision",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            written("data", 2),
            written("revision", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Controller", "The workload that it is a revision of.", |o, _| {
            let owners = o.metadata.owner_references.iter();
            cell::joined(owners.map(|owner| owner.name.as_str()))
        }),
        Column::number("Revision", "Its number: the newest has the highest.", |o, _| {
            o.revision.into()
        }),
        Column::text("Age", "Time since it was first the newest.", |o, now| {
            cell::age(&o.metadata, now)
        }),
    ];
}
