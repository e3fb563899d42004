//! `…/deployments/<name>/scale`: the number of copies by itself, as `kubectl scale` asks for it.

use axum::{
    body::Body,
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};
use lichen_hub_core::api::Key;
use serde_json::{Value, json};

use super::{
    Api, body,
    change::{change, is_pinned},
    objects::read,
    patch::Patching,
    respond,
    status::Refusal,
};

/// Reads or changes the number of copies.
pub(super) async fn serve(
    api: &Api,
    method: &Method,
    key: &Key,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let media_type = body::media_type(headers);
    let object = match *method {
        Method::GET => read(api, key).await?,
        Method::PUT => {
            let new = body::parse(&media_type, &body::read(body, body::MAX_BODY_BYTES).await?)?;
            change(api, key, is_pinned(&new), |before| rescaled(before, &new)).await?
        }
        Method::PATCH => {
            let patching = Patching::of(&media_type)?;
            let patch = body::parse_json(&body::read(body, body::MAX_BODY_BYTES).await?)?;
            let alter = |before: &Value| rescaled(before, &patching.apply(&scale(before), &patch)?);
            change(api, key, is_pinned(&patch), alter).await?
        }
        _ => {
            return Err(Refusal::method(
                "a scale can be read (GET), replaced (PUT) and patched (PATCH)",
            ));
        }
    };
    Ok(respond::json(StatusCode::OK, &scale(&json!(*object))))
}

/// The Deployment with the replicas of a scale. Left out, they would be 0 for Kubernetes; here a mistake should not stop
/// everything.
fn rescaled(deployment: &Value, scale: &Value) -> Result<Value, Refusal> {
    let replicas = &scale["spec"]["replicas"];
    if !replicas.is_u64() {
        return Err(Refusal::bad_request(format!(
            "spec.replicas of a Scale must be a whole number of 0 or more, not {replicas}"
        )));
    }
    let mut deployment = deployment.clone();
    deployment["spec"]["replicas"] = replicas.clone();
    if is_pinned(scale) {
        deployment["metadata"]["resourceVersion"] = scale["metadata"]["resourceVersion"].clone();
    }
    Ok(deployment)
}

/// The scale of a Deployment.
fn scale(deployment: &Value) -> Value {
    let meta = &deployment["metadata"];
    let labels = deployment["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
    let selector: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"], "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": {"replicas": deployment["spec"].get("replicas").cloned().unwrap_or(1.into())},
        "status": {"replicas": deployment["status"]["replicas"], "selector": selector.join(",")},
    })
}
