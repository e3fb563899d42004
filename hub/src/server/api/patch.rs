//! The kinds of PATCH, as pure functions from an object's JSON and a patch to the patched JSON.
//!
//! - [`merge`]: `application/merge-patch+json` (RFC 7386): maps are merged, lists are replaced.
//! - [`operations`]: `application/json-patch+json` (RFC 6902): a list of steps, all of them or none.
//! - [`strategic`]: `application/strategic-merge-patch+json`, kubectl's own: lists with a key are merged too.

mod merge;
mod operations;
mod strategic;

use lichen_hub_core::api::{ApiError, field::Message};
use serde_json::Value;

use super::status::Refusal;

/// The kinds that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patching {
    Merge,
    Operations,
    Strategic,
}

impl Patching {
    /// The kind that a media type names.
    pub(crate) fn of(media_type: &str) -> Result<Self, Refusal> {
        match media_type {
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/json-patch+json" => Ok(Self::Operations),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Err(Refusal::media_type(
                "Lichen has no server-side apply; use `lichen apply`, or kubectl apply without --server-side",
            )),
            other => Err(Refusal::media_type(format!(
                "Lichen does not know patches of the type {other:?}; send application/merge-patch+json, \
                 application/json-patch+json or application/strategic-merge-patch+json"
            ))),
        }
    }

    /// The object, which has these fields, with the patch applied.
    pub(crate) fn apply(
        self,
        current: &Value,
        patch: &Value,
        table: &'static Message,
    ) -> Result<Value, ApiError> {
        let patched = match self {
            Self::Merge => Ok(merge::merge(current, patch)),
            Self::Operations => operations::apply(current, patch),
            Self::Strategic => {
                strategic::merge(current, patch, table).map_err(|error| error.to_string())
            }
        };
        patched.map_err(|error| ApiError::BadRequest(format!("could not apply the patch: {error}")))
    }
}
