//! `rbac.authorization.k8s.io/v1` Role: what may be done in its namespace.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{
    NAMES, created_at,
    rule::{self, POLICY_RULE, PolicyRule},
};
use crate::api::{
    cell,
    field::{Message, object, objects},
    meta::{OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Names, Resource},
    validate::Errors,
};

/// What may be done in its namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Each of them allows something.
    #[serde(default, deserialize_with = "nullable")]
    pub rules: Vec<PolicyRule>,
}

impl Resource for Role {
    const NAMES: Names = Names { kind: "Role", plural: "roles", singular: "role", ..NAMES };
    const FIELDS: &'static Message = &Message {
        name: "Role",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            objects("rules", 2, &POLICY_RULE),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Created At", "When it was created.", |o, _| created_at(&o.metadata)),
    ];

    fn validate(&self, _old: Option<&Self>, errors: &mut Errors) {
        rule::validate(&self.rules, true, errors);
    }
}
