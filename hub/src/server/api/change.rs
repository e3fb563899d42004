//! Changes of an object as it is now: patches, and all else that reads, alters and writes back. The engine does it in one
//! step: nothing comes between reading and writing, however busy the object's status is.

use std::sync::Arc;

use lichen_hub_core::{
    actor::Actor,
    api::{ApiError, Key, Object},
    event::{Alter, Request},
};
use serde_json::Value;

use super::{Api, objects::object_of, status::Refusal, submitted::decode};

/// Alters the object's JSON. A change that names a `resourceVersion` is refused if the object has another.
pub(super) async fn change(
    api: &Api,
    actor: &Arc<Actor>,
    key: &Key,
    alter: impl Fn(&Value) -> Result<Value, ApiError> + Send + Sync + 'static,
) -> Result<Arc<Object>, Refusal> {
    let path = key.clone();
    let alter = Alter::new(move |object| {
        let before = serde_json::to_value(object).map_err(|error| {
            ApiError::Unavailable(format!("could not write the object as JSON: {error}"))
        })?;
        let after = alter(&before)?;
        if after == before { Ok(object.clone()) } else { decode(after, &path) }
    });
    let Key { kind, namespace, name } = key.clone();
    let answer = api.engine.ask(actor, Request::Alter { kind, namespace, name, alter }).await?;
    object_of(answer).map(|(object, _)| object)
}

/// Whether a patch or a scale names the version that it is meant for.
pub(super) fn is_pinned(body: &Value) -> bool {
    let version = body.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    version.is_some_and(|version| !version.is_empty())
}
