//! Bodies of requests: bounded in size and time, and read by their media type.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt;
use serde_json::Value;

use super::{protobuf, status::Refusal};
use crate::manifest;

/// Largest body of a request: what Kubernetes takes.
pub(crate) const MAX_BODY_BYTES: usize = 3 << 20;
/// A body that takes longer is given up; objects are small.
const MAX_BODY_TIME: Duration = Duration::from_secs(30);

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let all = async {
        let mut stream = body.into_data_stream();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| {
                Refusal::bad_request(format!("could not read the body: {error}"))
            })?;
            if bytes.len() + chunk.len() > limit {
                return Err(Refusal::too_large(limit));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Bytes::from(bytes))
    };
    let late = || {
        let message = format!("the body did not arrive within {} s", MAX_BODY_TIME.as_secs());
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    };
    tokio::time::timeout(MAX_BODY_TIME, all).await.map_err(|_| late())?
}

/// `Content-Type` in lower case and without its parameters; empty if there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default().split(';').next().unwrap_or_default();
    value.trim().to_ascii_lowercase()
}

/// Reads a body as JSON, YAML or Kubernetes' protobuf. Without a `Content-Type` it is JSON.
pub(crate) fn parse(media_type: &str, bytes: &[u8]) -> Result<Value, Refusal> {
    match media_type {
        "" | "application/json" => parse_json(bytes),
        "application/yaml" | "application/x-yaml" | "text/yaml" => parse_yaml(bytes),
        "application/vnd.kubernetes.protobuf" => protobuf::to_json(bytes).map_err(|error| {
            Refusal::bad_request(format!("the body is not valid protobuf of Kubernetes: {error}"))
        }),
        other => Err(Refusal::media_type(format!(
            "the body has the type {other:?}; send application/json or application/yaml"
        ))),
    }
}

/// Reads a body as JSON.
pub(crate) fn parse_json(bytes: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::bad_request(format!("the body is not valid JSON: {error}")))
}

fn parse_yaml(bytes: &[u8]) -> Result<Value, Refusal> {
    let wrong =
        |cause: String| Refusal::bad_request(format!("the body is not valid YAML: {cause}"));
    let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    manifest::value(text).map_err(wrong)
}
