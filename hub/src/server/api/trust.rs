//! `/lichen/v1/trust`: the hub's keys, and changing them.

use axum::{body::Body, http::StatusCode, response::Response};
use lichen_trust::TrustError;
use serde::Deserialize;
use serde_json::Value;

use super::{Api, body, respond, status::Refusal};
use crate::{cli::error::chain, server::rotation::RotationError};

/// Bytes of a request.
const MAX_BYTES: usize = 4 << 10;
/// The longest overlap: a century, in seconds. Beyond it is a slip of the finger.
const LONGEST_S: u64 = 100 * 366 * 24 * 3600;

/// What is to be changed.
#[derive(Clone, Copy)]
pub(super) enum What {
    Authority,
    SigningKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rotate {
    overlap_s: u64,
}

/// Shows what counts.
pub(super) async fn show(api: &Api) -> Result<Response, Refusal> {
    answer(api.rotation.show().await)
}

/// Changes keys.
pub(super) async fn rotate(api: &Api, what: What, body: Body) -> Result<Response, Refusal> {
    let bytes = body::read(body, MAX_BYTES).await?;
    let Rotate { overlap_s } = serde_json::from_slice(&bytes).map_err(|error| {
        Refusal::bad_request(format!("write {{\"overlapS\": SECONDS}}: {error}"))
    })?;
    if overlap_s > LONGEST_S {
        return Err(Refusal::bad_request(format!("the longest overlap is {LONGEST_S} s")));
    }
    answer(match what {
        What::Authority => api.rotation.rotate_authority(overlap_s).await,
        What::SigningKey => api.rotation.rotate_signing_key(overlap_s).await,
    })
}

fn answer(shown: Result<Value, RotationError>) -> Result<Response, Refusal> {
    match shown {
        Ok(shown) => Ok(respond::json(StatusCode::OK, &shown)),
        Err(RotationError::Engine(error)) => Err(error.into()),
        Err(RotationError::Trust(error @ TrustError::Rotating(_))) => {
            Err(Refusal::new(StatusCode::CONFLICT, "Conflict", error.to_string()))
        }
        Err(RotationError::Trust(error)) => Err(Refusal::internal(format!(
            "the hub's keys could not be changed: {}",
            chain(&error)
        ))),
    }
}
