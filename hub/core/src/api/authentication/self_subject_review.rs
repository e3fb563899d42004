//! `authentication.k8s.io/v1` SelfSubjectReview: who am I? `kubectl auth whoami` asks it.

use serde::{Deserialize, Serialize};

use super::{NAMES, UserInfo};
use crate::api::{
    field::{Message, object, written},
    meta::{OBJECT_META, ObjectMeta},
    resource::{Column, Names, Resource},
};

/// Who am I?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfSubjectReview {
    /// Nothing of it matters.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The answer.
    #[serde(default)]
    pub status: SelfSubjectReviewStatus,
}

/// You are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelfSubjectReviewStatus {
    /// Whoever asked.
    pub user_info: UserInfo,
}

impl Resource for SelfSubjectReview {
    const NAMES: Names = Names {
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        ..NAMES
    };
    const FIELDS: &'static Message = &Message {
        name: "SelfSubjectReview",
        fields: &[object("metadata", 1, &OBJECT_META), written("status", 2)],
    };
    const COLUMNS: &'static [Column<Self>] = &[];
}
