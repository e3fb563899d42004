//! `authorization.k8s.io/v1` SubjectAccessReview: may somebody do something?.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    NAMES,
    access::{
        AccessStatus, NON_RESOURCE_ATTRIBUTES, NonResourceAttributes, RESOURCE_ATTRIBUTES,
        ResourceAttributes,
    },
};
use crate::api::{
    field::{Message, object, text, texts, unless_empty, written},
    meta::{OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Names, Resource},
};

/// May somebody do something?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubjectAccessReview {
    /// Nothing of it matters.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The question.
    pub spec: SubjectAccessReviewSpec,
    /// The answer.
    #[serde(default)]
    pub status: AccessStatus,
}

/// Who, and what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubjectAccessReviewSpec {
    /// A request for a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_attributes: Option<ResourceAttributes>,
    /// A request for a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub non_resource_attributes: Option<NonResourceAttributes>,
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The groups.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub groups: Vec<String>,
    /// No rule looks at it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The fields of [`SubjectAccessReviewSpec`].
pub(super) const SUBJECT_ACCESS_REVIEW_SPEC: Message = Message {
    name: "SubjectAccessReviewSpec",
    fields: &[
        object("resourceAttributes", 1, &RESOURCE_ATTRIBUTES).optional(),
        object("nonResourceAttributes", 2, &NON_RESOURCE_ATTRIBUTES).optional(),
        text("user", 3),
        texts("groups", 4),
        unless_empty("extra", 5, "no rule looks at it"),
        text("uid", 6),
    ],
};

impl Resource for SubjectAccessReview {
    const NAMES: Names = Names {
        kind: "SubjectAccessReview",
        plural: "subjectaccessreviews",
        singular: "subjectaccessreview",
        ..NAMES
    };
    const FIELDS: &'static Message = &Message {
        name: "SubjectAccessReview",
        fields: &[
            object("metadata", 1, &OBJECT_META),
            object("spec", 2, &SUBJECT_ACCESS_REVIEW_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[];
}
