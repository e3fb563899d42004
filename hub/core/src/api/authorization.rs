//! The group `authorization.k8s.io/v1`: questions about who may do what. They are answered when they are created, by
//! [`crate::review`], and not kept.

pub mod access;
pub mod local_subject_access_review;
pub mod self_subject_access_review;
pub mod self_subject_rules_review;
pub mod subject_access_review;

pub use access::{AccessStatus, NonResourceAttributes, ResourceAttributes};
pub use local_subject_access_review::LocalSubjectAccessReview;
pub use self_subject_access_review::SelfSubjectAccessReview;
pub use self_subject_rules_review::SelfSubjectRulesReview;
pub use subject_access_review::{SubjectAccessReview, SubjectAccessReviewSpec};

use super::resource::{Home, Names, Naming, Verb};

/// What the questions of this group share.
const NAMES: Names = Names {
    api_version: "authorization.k8s.io/v1",
    namespaced: false,
    verbs: &Verb::ASK,
    home: Home::Nowhere,
    naming: Naming::Nameless,
    ..Names::CORE
};
