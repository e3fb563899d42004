//! `authorization.k8s.io/v1` SelfSubjectAccessReview: may I do something? `kubectl auth can-i` asks it.

use serde::{Deserialize, Serialize};

use super::{
    NAMES,
    access::{
        AccessStatus, NonResourceAttributes, ResourceAttributes, SELF_SUBJECT_ACCESS_REVIEW_SPEC,
    },
};
use crate::api::{
    field::{Message, object, written},
    meta::{OBJECT_META, ObjectMeta},
    resource::{Column, Names, Resource},
};

/// May I do something?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfSubjectAccessReview {
    /// Nothing of it matters.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The question.
    pub spec: SelfSubjectAccessReviewSpec,
    /// The answer.
    #[serde(default)]
    pub status: AccessStatus,
}

/// What.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfSubjectAccessReviewSpec {
    /// A request for a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_attributes: Option<ResourceAttributes>,
    /// A request for a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub non_resource_attributes: Option<NonResourceAttributes>,
}

impl Resource for SelfSubjectAccessReview {
    const NAMES: Names = Names {
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        ..NAMES
    };
    const FIELDS: &'static Message = &Message {
        name: "SelfSubjectAccessReview",
        fields: &[
            object("metadata", 1, &OBJECT_META),
            object("spec", 2, &SELF_SUBJECT_ACCESS_REVIEW_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[];
}
