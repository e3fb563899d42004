//! `authorization.k8s.io/v1` LocalSubjectAccessReview: may somebody do something in this namespace? Whoever rules the namespace may ask.

use serde::{Deserialize, Serialize};

use super::{
    NAMES,
    access::AccessStatus,
    subject_access_review::{SUBJECT_ACCESS_REVIEW_SPEC, SubjectAccessReviewSpec},
};
use crate::api::{
    field::{Message, object, written},
    meta::{OBJECT_META, ObjectMeta},
    resource::{Column, Names, Resource},
};

/// May somebody do something in this namespace?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalSubjectAccessReview {
    /// Its namespace.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The question.
    pub spec: SubjectAccessReviewSpec,
    /// The answer.
    #[serde(default)]
    pub status: AccessStatus,
}

impl Resource for LocalSubjectAccessReview {
    const NAMES: Names = Names {
        kind: "LocalSubjectAccessReview",
        plural: "localsubjectaccessreviews",
        singular: "localsubjectaccessreview",
        namespaced: true,
        ..NAMES
    };
    const FIELDS: &'static Message = &Message {
        name: "LocalSubjectAccessReview",
        fields: &[
            object("metadata", 1, &OBJECT_META),
            object("spec", 2, &SUBJECT_ACCESS_REVIEW_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[];
}
