//! `rbac.authorization.k8s.io/v1` ClusterRole: what may be done, in one namespace or everywhere, as its bindings say.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{
    CLUSTER_NAMES, created_at,
    rule::{self, POLICY_RULE, PolicyRule},
};
use crate::api::{
    cell,
    field::{Message, instead, object, objects},
    meta::{OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Names, Resource},
    validate::Errors,
};

/// What may be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterRole {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Each of them allows something.
    #[serde(default, deserialize_with = "nullable")]
    pub rules: Vec<PolicyRule>,
}

impl Resource for ClusterRole {
    const NAMES: Names = Names {
        kind: "ClusterRole",
        plural: "clusterroles",
        singular: "clusterrole",
        ..CLUSTER_NAMES
    };
    const FIELDS: &'static Message = &Message {
        name: "ClusterRole",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            objects("rules", 2, &POLICY_RULE),
            instead("aggregationRule", 3, "write the rules themselves"),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in the hub.", |o, _| cell::name(&o.metadata)),
        Column::text("Created At", "When it was created.", |o, _| created_at(&o.metadata)),
    ];

    fn validate(&self, _old: Option<&Self>, errors: &mut Errors) {
        rule::validate(&self.rules, false, errors);
    }
}
