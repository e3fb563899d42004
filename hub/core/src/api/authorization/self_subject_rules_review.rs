//! `authorization.k8s.io/v1` SelfSubjectRulesReview: what may I do in a namespace? `kubectl auth can-i --list` asks it.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::NAMES;
use crate::api::{
    field::{Message, object, text, written},
    meta::{OBJECT_META, ObjectMeta},
    resource::{Column, Names, Resource},
};

/// What may I do in a namespace?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfSubjectRulesReview {
    /// Nothing of it matters.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The question.
    #[serde(default)]
    pub spec: SelfSubjectRulesReviewSpec,
    /// The answer.
    #[serde(default)]
    pub status: RulesStatus,
}

/// Where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SelfSubjectRulesReviewSpec {
    /// The namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// Everything that is allowed there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RulesStatus {
    /// On resources.
    pub resource_rules: Vec<ResourceRule>,
    /// On paths.
    pub non_resource_rules: Vec<NonResourceRule>,
    /// Always false: the rules are all there is.
    pub incomplete: bool,
}

/// Verbs on resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceRule {
    /// What may be done.
    pub verbs: Vec<String>,
    /// In these groups.
    pub api_groups: Vec<String>,
    /// With these resources.
    pub resources: Vec<String>,
    /// Only with objects of these names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
}

/// Verbs on paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct NonResourceRule {
    /// What may be done.
    pub verbs: Vec<String>,
    /// With these paths.
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

impl Resource for SelfSubjectRulesReview {
    const NAMES: Names = Names {
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        ..NAMES
    };
    const FIELDS: &'static Message = &Message {
        name: "SelfSubjectRulesReview",
        fields: &[
            object("metadata", 1, &OBJECT_META),
            object("spec", 2, &SELF_SUBJECT_RULES_REVIEW_SPEC),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[];
}

/// The fields of [`SelfSubjectRulesReviewSpec`].
const SELF_SUBJECT_RULES_REVIEW_SPEC: Message =
    Message { name: "SelfSubjectRulesReviewSpec", fields: &[text("namespace", 1)] };
