//! What is asked of access reviews, and the answer.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::api::{
    ApiError,
    field::{Message, instead, object, text},
};

/// A request for a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceAttributes {
    /// Empty: in every namespace, or of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `get`, `list`…
    #[serde(skip_serializing_if = "String::is_empty")]
    pub verb: String,
    /// Empty: the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// No rule looks at it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// `pods`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// `log`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// Empty: all of them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A request for a path that is no resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NonResourceAttributes {
    /// `/metrics`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// `get`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub verb: String,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessStatus {
    /// Whether it may be done.
    pub allowed: bool,
    /// Which rule allows it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The fields of [`ResourceAttributes`].
pub(super) const RESOURCE_ATTRIBUTES: Message = Message {
    name: "ResourceAttributes",
    fields: &[
        text("namespace", 1),
        text("verb", 2),
        text("group", 3),
        text("version", 4),
        text("resource", 5),
        text("subresource", 6),
        text("name", 7),
        instead("fieldSelector", 8, SELECTORS),
        instead("labelSelector", 9, SELECTORS),
    ],
};
const SELECTORS: &str = "no rule looks at selectors";

/// The fields of [`NonResourceAttributes`].
pub(super) const NON_RESOURCE_ATTRIBUTES: Message =
    Message { name: "NonResourceAttributes", fields: &[text("path", 1), text("verb", 2)] };

/// The fields of what one may ask about oneself.
pub(super) const SELF_SUBJECT_ACCESS_REVIEW_SPEC: Message = Message {
    name: "SelfSubjectAccessReviewSpec",
    fields: &[
        object("resourceAttributes", 1, &RESOURCE_ATTRIBUTES).optional(),
        object("nonResourceAttributes", 2, &NON_RESOURCE_ATTRIBUTES).optional(),
    ],
};

/// What is asked: one of two.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A resource.
    Resource(&'a ResourceAttributes),
    /// A path.
    Path(&'a NonResourceAttributes),
}

impl<'a> Asked<'a> {
    /// The one that is given.
    ///
    /// # Errors
    /// None is, or both are.
    pub fn one_of(
        resource: Option<&'a ResourceAttributes>,
        path: Option<&'a NonResourceAttributes>,
    ) -> Result<Self, ApiError> {
        match (resource, path) {
            (Some(resource), None) => Ok(Self::Resource(resource)),
            (None, Some(path)) => Ok(Self::Path(path)),
            _ => Err(ApiError::BadRequest(
                "exactly one of spec.resourceAttributes and spec.nonResourceAttributes must be given"
                    .into(),
            )),
        }
    }
}
