//! `v1` ServiceAccount: a name for programs, which reach the API with tokens of it. No Pod gets one.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    cell,
    field::{Message, flag, object, objects, text, unsupported},
    meta::{OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Names, Resource, TOKEN},
    validate::{Errors, check_subdomain},
};

/// A name for programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccount {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Secrets that its Pods may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub secrets: Vec<NameReference>,
    /// Secrets that its Pods' images are pulled with.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub image_pull_secrets: Vec<NameReference>,
    /// Whether its Pods want a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
}

/// Names an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NameReference {
    /// Its name.
    pub name: String,
}

impl Resource for ServiceAccount {
    const NAMES: Names = Names {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short: &["sa"],
        subresources: &[TOKEN],
        apply_order: 15,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "ServiceAccount",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            objects("secrets", 2, &SECRET).merged_by("name"),
            objects("imagePullSecrets", 3, &PULL_SECRET).merged_by("name"),
            flag("automountServiceAccountToken", 4).optional(),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::number("Secrets", "How many it names.", |o, _| o.secrets.len().into()),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("Labels", "Its labels.", |o, _| cell::pairs(&o.metadata.labels)),
    ];

    fn validate(&self, _old: Option<&Self>, errors: &mut Errors) {
        let secrets = self.secrets.iter().map(|secret| ("secrets", secret));
        let pulls = self.image_pull_secrets.iter().map(|secret| ("imagePullSecrets", secret));
        for (field, secret) in secrets.chain(pulls) {
            errors.keep(check_subdomain(field, &secret.name, Names::CORE.longest_name));
        }
    }
}

/// A Secret by its name.
const SECRET: Message = Message {
    name: "ObjectReference",
    fields: &[
        unsupported("kind", 1),
        unsupported("namespace", 2),
        text("name", 3),
        unsupported("uid", 4),
        unsupported("apiVersion", 5),
        unsupported("resourceVersion", 6),
        unsupported("fieldPath", 7),
    ],
};

/// A Secret by its name.
const PULL_SECRET: Message = Message { name: "LocalObjectReference", fields: &[text("name", 1)] };
