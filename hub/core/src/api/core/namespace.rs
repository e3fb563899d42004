//! `v1` Namespace: a space of names.

use alloc::{borrow::ToOwned, string::String};

use serde::{Deserialize, Serialize};

use crate::{
    api::{
        cell,
        field::{Message, object, unless_empty, written},
        meta::{OBJECT_META, ObjectMeta},
        resource::{Column, Names, Resource},
        validate::Errors,
    },
    pod_security,
};

/// A space of names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Namespace {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Whether it is in use.
    #[serde(default)]
    pub status: NamespaceStatus,
}

/// Whether a namespace is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    pub phase: String,
}

impl Resource for Namespace {
    const NAMES: Names = Names {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short: &["ns"],
        namespaced: false,
        runs_pods: true,
        lingers: true,
        apply_order: 0,
        longest_name: 63,
        most: 1000,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "Namespace",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            unless_empty("spec", 2, "the hub writes what is in it"),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in the hub.", |o, _| cell::name(&o.metadata)),
        Column::text("Status", "Active or Terminating.", |o, _| o.status.phase.as_str().into()),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("Labels", "Its labels.", |o, _| cell::pairs(&o.metadata.labels)),
    ];

    fn validate(&self, _old: Option<&Self>, errors: &mut Errors) {
        pod_security::check_labels(&self.metadata.labels, errors);
    }

    fn default_fields(&mut self) {
        "Active".clone_into(&mut self.status.phase);
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
    }
}
