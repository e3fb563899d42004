//! The group `authentication.k8s.io/v1`: who am I, whose token is this, and a token for a ServiceAccount. They are
//! answered when they are created, and not kept.

pub mod self_subject_review;
pub mod token_request;
pub mod token_review;

use alloc::{string::String, vec::Vec};

pub use self_subject_review::SelfSubjectReview;
use serde::{Deserialize, Serialize};
pub use token_request::TokenRequest;
pub use token_review::TokenReview;

use super::resource::{Home, Names, Naming, Verb};
use crate::actor::Actor;

/// What the questions of this group share.
const NAMES: Names = Names {
    api_version: "authentication.k8s.io/v1",
    namespaced: false,
    verbs: &Verb::ASK,
    home: Home::Nowhere,
    naming: Naming::Nameless,
    ..Names::CORE
};

/// Who somebody is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserInfo {
    /// As rules name it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Of a ServiceAccount.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Groups that rules may name instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl From<&Actor> for UserInfo {
    fn from(actor: &Actor) -> Self {
        Self { username: actor.name.clone(), uid: actor.uid.clone(), groups: actor.groups.clone() }
    }
}
