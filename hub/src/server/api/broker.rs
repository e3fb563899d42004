//! `/lichen/v1/broker/…`: what a broker of the operator's needs of the hub's trust.

use axum::{body::Body, http::StatusCode, response::Response};
use lichen_hub_core::api::time::rfc3339;
use lichen_trust::TrustError;
use serde::Deserialize;
use serde_json::json;

use super::{Api, body, respond, status::Refusal};
use crate::{cli::error::chain, server::rotation::RotationError};

/// Bytes of a request.
const MAX_BYTES: usize = 8 << 10;
/// Names and addresses of one broker.
const MAX_NAMES: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    names: Vec<String>,
}

/// Makes a broker's key and certificate. The key is in this answer alone.
pub(super) async fn certificate(api: &Api, body: Body) -> Result<Response, Refusal> {
    let bytes = body::read(body, MAX_BYTES).await?;
    let Wanted { names } = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad_request(format!("write {{\"names\": [NAME]}}: {error}")))?;
    if names.len() > MAX_NAMES {
        return Err(Refusal::bad_request(format!("a broker has {MAX_NAMES} names at most")));
    }
    let broker = api.trust.broker(&names).map_err(|error| match error {
        TrustError::Name(_) | TrustError::OwnName(_) => Refusal::bad_request(error.to_string()),
        other => failed(&other),
    })?;
    let (revocations, _) = revocations(api).await?;
    let shown = json!({
        "certificate": broker.credentials.certificate,
        "key": broker.credentials.key,
        "notAfter": rfc3339(broker.not_after.saturating_mul(1000)),
        "ca": api.trust.bundle(),
        "crl": revocations,
    });
    Ok(respond::json(StatusCode::OK, &shown))
}

/// Shows the list of certificates that are worth nothing any more.
pub(super) async fn crl(api: &Api) -> Result<Response, Refusal> {
    let (crl, revoked) = revocations(api).await?;
    Ok(respond::json(StatusCode::OK, &json!({"crl": crl, "revoked": revoked})))
}

async fn revocations(api: &Api) -> Result<(String, usize), Refusal> {
    api.rotation.revocations().await.map_err(|error| match error {
        RotationError::Engine(error) => error.into(),
        RotationError::Trust(error) => failed(&error),
    })
}

fn failed(error: &TrustError) -> Refusal {
    Refusal::internal(format!("the hub could not issue what a broker needs: {}", chain(error)))
}
