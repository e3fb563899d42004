//! What the columns of several kinds show in the same way.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde_json::Value;

use super::{
    core::pod::PodSpec,
    meta::{Map, ObjectMeta},
    quantity::Amounts,
    selector::LabelSelector,
    time,
};

/// What an empty cell says.
pub const NONE: &str = "<none>";

/// The object's name.
pub fn name(meta: &ObjectMeta) -> Value {
    meta.name.as_str().into()
}

/// The time since the object was created.
pub fn age(meta: &ObjectMeta, now_ms: u64) -> Value {
    time::age(meta.creation_timestamp.as_deref(), now_ms).into()
}

/// Where an object stands that may linger.
pub fn phase(meta: &ObjectMeta, phase: &str) -> Value {
    if meta.deletion_timestamp.is_some() { "Terminating".into() } else { phase.into() }
}

/// How much storage there is; nothing while there is none.
pub fn storage(amounts: &Amounts) -> Value {
    amounts.get("storage").map_or("", |size| size.0.as_str()).into()
}

/// Names of a Pod's containers.
pub fn containers(spec: &PodSpec) -> Value {
    joined(spec.containers.iter().map(|container| container.name.as_str()))
}

/// Images of a Pod's containers.
pub fn images(spec: &PodSpec) -> Value {
    joined(spec.containers.iter().map(|container| container.image.as_str()))
}

/// Labels, as a selector.
pub fn pairs(map: &Map) -> Value {
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
    joined(pairs.iter().map(String::as_str))
}

/// A selector, as in a query.
pub fn selector(selector: &LabelSelector) -> Value {
    or_none(&selector.to_string())
}

/// Words with commas between them.
pub fn joined<'a>(words: impl Iterator<Item = &'a str>) -> Value {
    or_none(&words.collect::<Vec<_>>().join(","))
}

/// A text, or a word for its absence.
pub fn or_none(text: &str) -> Value {
    if text.is_empty() { NONE.into() } else { text.into() }
}
