//! Changes of an object as it is now: patches, and all else that reads, alters and writes back.

use std::sync::Arc;

use lichen_hub_core::{
    api::{Key, Object},
    event::Request,
};
use serde_json::Value;

use super::{
    Api,
    objects::{object_of, read},
    status::Refusal,
    submitted::decode,
};

/// How often a change is tried when others change the object meanwhile.
const ATTEMPTS: usize = 5;

/// Reads the object's JSON, alters it and writes it back. If somebody else was faster, all of that again: unless the
/// change is `pinned` to a version of the object.
pub(super) async fn change(
    api: &Api,
    key: &Key,
    pinned: bool,
    alter: impl Fn(&Value) -> Result<Value, Refusal>,
) -> Result<Arc<Object>, Refusal> {
    let mut attempt = 1;
    loop {
        let current = read(api, key).await?;
        let before = to_json(&current)?;
        let after = alter(&before)?;
        if after == before {
            return Ok(current);
        }
        let object = decode(after, key)?;
        let replaced = api.engine.ask(Request::Replace { object, create: false }).await;
        match replaced.map_err(Refusal::from).and_then(object_of) {
            Err(refusal) if refusal.is_conflict() && !pinned && attempt < ATTEMPTS => attempt += 1,
            done => return done.map(|(object, _)| object),
        }
    }
}

/// Whether a patch or a scale names the version that it is meant for.
pub(super) fn is_pinned(body: &Value) -> bool {
    let version = body.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    version.is_some_and(|version| !version.is_empty())
}

fn to_json(object: &Object) -> Result<Value, Refusal> {
    serde_json::to_value(object)
        .map_err(|error| Refusal::internal(format!("could not write the object as JSON: {error}")))
}
