//! `POST …/serviceaccounts/<name>/token`: a token of a ServiceAccount, as `kubectl create token` asks for it.

use axum::{http::StatusCode, response::Response};
use lichen_hub_core::api::{FieldError, Key, authentication::TokenRequest, time::rfc3339};
use serde_json::{Value, json};

use super::{Api, objects::read, respond, status::Refusal};
use crate::manifest;

/// The kind of the request and of its answer.
const KIND: &str = "TokenRequest";

/// Makes a token.
pub(super) fn make(api: &Api, key: &Key, body: Value) -> Result<Response, Refusal> {
    let request = decode(body)?;
    let account = read(api, key)?;
    let (token, expires_ms) = api.access.issue(account.meta(), &request);
    let meta = account.meta();
    let answer = json!({
        "kind": KIND, "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": meta.name, "namespace": meta.namespace},
        "spec": {
            "audiences": request.spec.audiences, "expirationSeconds": request.lifetime_s(), "boundObjectRef": null,
        },
        "status": {"token": token, "expirationTimestamp": rfc3339(expires_ms)},
    });
    Ok(respond::json(StatusCode::CREATED, &answer))
}

/// Reads a request. An empty body is one that asks for nothing special.
fn decode(body: Value) -> Result<TokenRequest, Refusal> {
    let Value::Object(fields) = body else {
        return Err(Refusal::bad_request("the body must be a TokenRequest: a JSON object"));
    };
    let kind = fields.get("kind").and_then(Value::as_str).unwrap_or(KIND);
    if kind != KIND {
        return Err(Refusal::bad_request(format!(
            "the body is a {kind}, but the path is for a {KIND}"
        )));
    }
    let (read, mut causes) = manifest::read_fields(&fields, TokenRequest::FIELDS, false);
    if causes.is_empty() {
        match serde_json::from_value::<TokenRequest>(Value::Object(read)) {
            Ok(mut request) => {
                request.default_fields();
                causes = request.check().0;
                if causes.is_empty() {
                    return Ok(request);
                }
            }
            Err(error) => causes.push(FieldError::new("", error.to_string())),
        }
    }
    Err(Refusal::invalid_body(KIND, &causes))
}
