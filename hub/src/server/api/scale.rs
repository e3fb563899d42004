//! `…/deployments/<name>/scale`: the number of Pods by itself, as `kubectl scale` asks for it.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};
use lichen_hub_core::{
    actor::Actor,
    api::{
        ApiError, Key,
        field::{Message, count, object, text},
        meta::OBJECT_META,
        selector::LabelSelector,
    },
};
use serde_json::{Value, json};

use super::{
    Api, body,
    change::{change, is_pinned},
    objects::read,
    patch::Patching,
    respond,
    status::Refusal,
};

/// The fields of a Scale.
const SCALE: Message = Message {
    name: "Scale",
    fields: &[
        object("metadata", 1, &OBJECT_META),
        object("spec", 2, &SCALE_SPEC),
        text("status", 3),
    ],
};
const SCALE_SPEC: Message = Message { name: "ScaleSpec", fields: &[count("replicas", 1)] };

/// Reads or changes the number of Pods.
pub(super) async fn serve(
    api: &Api,
    actor: &Arc<Actor>,
    method: &Method,
    key: &Key,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let media_type = body::media_type(headers);
    let object = match *method {
        Method::GET => read(api, key)?,
        Method::PUT => {
            let new = body::parse(&media_type, &body::read(body, body::MAX_BODY_BYTES).await?)?;
            change(api, actor, key, move |before| rescaled(before, &new)).await?
        }
        Method::PATCH => {
            let patching = Patching::of(&media_type)?;
            let patch = body::parse_json(&body::read(body, body::MAX_BODY_BYTES).await?)?;
            let alter = move |before: &Value| {
                rescaled(before, &patching.apply(&scale(before), &patch, &SCALE)?)
            };
            change(api, actor, key, alter).await?
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
fn rescaled(deployment: &Value, scale: &Value) -> Result<Value, ApiError> {
    let replicas = &scale["spec"]["replicas"];
    if !replicas.is_u64() {
        return Err(ApiError::BadRequest(format!(
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
    let selector = deployment["spec"]["selector"].clone();
    let selector = serde_json::from_value::<LabelSelector>(selector).unwrap_or_default();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"], "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": {"replicas": deployment["spec"].get("replicas").cloned().unwrap_or(1.into())},
        "status": {"replicas": deployment["status"]["replicas"], "selector": selector.to_string()},
    })
}
