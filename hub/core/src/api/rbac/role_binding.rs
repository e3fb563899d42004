//! `rbac.authorization.k8s.io/v1` RoleBinding: gives a role to somebody, in its namespace.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{
    NAMES,
    subject::{
        self, PROGRAM, ROLE_REF, RoleRef, SUBJECT, Subject, USER, USERS, role_cell, subjects_cell,
    },
};
use crate::api::{
    cell,
    field::{Message, object, objects},
    meta::{OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Names, Resource},
    validate::Errors,
};

/// Gives a role to somebody, in its namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleBinding {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub subjects: Vec<Subject>,
    /// Which role.
    pub role_ref: RoleRef,
}

impl Resource for RoleBinding {
    const NAMES: Names = Names {
        kind: "RoleBinding",
        plural: "rolebindings",
        singular: "rolebinding",
        apply_order: 17,
        ..NAMES
    };
    const FIELDS: &'static Message = &Message {
        name: "RoleBinding",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            objects("subjects", 2, &SUBJECT),
            object("roleRef", 3, &ROLE_REF).required(),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Role", "What it gives.", |o, _| role_cell(&o.role_ref)),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("Users", "Who has it.", |o, _| subjects_cell(&o.subjects, USER)),
        Column::wide("Groups", "Which groups have it.", |o, _| subjects_cell(&o.subjects, USERS)),
        Column::wide("ServiceAccounts", "Which programs have it.", |o, _| {
            subjects_cell(&o.subjects, PROGRAM)
        }),
    ];

    fn default_fields(&mut self) {
        subject::default_fields(&mut self.role_ref, &mut self.subjects);
    }

    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        let old = old.map(|old| &old.role_ref);
        subject::validate(&self.role_ref, old, &self.subjects, true, errors);
    }
}
