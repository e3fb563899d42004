//! `authentication.k8s.io/v1` TokenReview: whose token is this? Programs that were shown one ask it.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{NAMES, UserInfo};
use crate::api::{
    field::{Message, object, text, texts, written},
    meta::{OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Names, Resource},
};

/// Whose token is this?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenReview {
    /// Nothing of it matters.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The question.
    pub spec: TokenReviewSpec,
    /// The answer.
    #[serde(default)]
    pub status: TokenReviewStatus,
}

/// The token, and for whom it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenReviewSpec {
    /// The token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// It is good if it is for one of these; for the hub, if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub audiences: Vec<String>,
}

/// Whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenReviewStatus {
    /// Whether it is good.
    pub authenticated: bool,
    /// Its owner.
    pub user: UserInfo,
    /// Those that were asked for and that it is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Why it is not good.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

impl Resource for TokenReview {
    const NAMES: Names =
        Names { kind: "TokenReview", plural: "tokenreviews", singular: "tokenreview", ..NAMES };
    const FIELDS: &'static Message = &Message {
        name: "TokenReview",
        fields: &[
            object("metadata", 1, &OBJECT_META),
            object("spec", 2, &TOKEN_REVIEW_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[];
}

/// The fields of [`TokenReviewSpec`].
const TOKEN_REVIEW_SPEC: Message =
    Message { name: "TokenReviewSpec", fields: &[text("token", 1), texts("audiences", 2)] };
