//! The readers of what strangers send to the API, as functions of text and bytes alone. For the fuzz targets, which
//! live outside of this crate; the server itself uses what stands behind them. Not a stable interface.

use axum::http::Method;
use lichen_hub_core::{
    api::{Key, Kind, Object, meta::Map},
    authorizer::Attributes,
};
use serde_json::Value;

use super::{
    body,
    fields::FieldSelector,
    labels::LabelSelector,
    patch::Patching,
    path::{self, Target},
    protobuf,
    query::Query,
    status::Refusal,
    submitted,
    table::{self, Include},
};
use crate::server::{authn, authz};

/// Whether a label selector takes these labels; or why it is none.
///
/// # Errors
/// What the client is told.
pub fn label_selector(text: &str, labels: &Map) -> Result<bool, String> {
    let selector = LabelSelector::parse(text).map_err(|error| error.to_string())?;
    Ok(selector.selects(labels))
}

/// Whether a field selector takes an object; or why it is none.
///
/// # Errors
/// What the client is told.
pub fn field_selector(text: &str, object: &Object) -> Result<bool, String> {
    let selector = FieldSelector::parse(object.kind(), text).map_err(|error| error.to_string())?;
    Ok(selector.selects(object))
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The kind.
    pub kind: Kind,
    /// Empty for kinds of the cluster; absent for a collection of everywhere.
    pub namespace: Option<String>,
    /// Absent for a collection.
    pub name: Option<String>,
    /// What comes after the name.
    pub subresource: Option<String>,
}

/// What a path names.
#[must_use]
pub fn path(text: &str) -> Option<Named> {
    Some(match path::parse(text)? {
        Target::Collection { kind, namespace } => {
            Named { kind, namespace, name: None, subresource: None }
        }
        Target::Object { kind, namespace, name, subresource } => {
            Named { kind, namespace: Some(namespace), name: Some(name), subresource }
        }
    })
}

/// A parameter of a query: its text, whether it is set as a flag, and its number.
///
/// # Errors
/// What the client is told.
pub fn parameter(query: &str, name: &str) -> Result<(Option<String>, bool, Option<u64>), String> {
    let query = Query::parse(Some(query));
    let number = query.number(name).map_err(told)?;
    Ok((query.text(name).map(str::to_owned), query.flag(name), number))
}

/// What must be allowed for a request; `None` if there could be no such request.
#[must_use]
pub fn wanted(method: &str, path: &str) -> Option<Vec<Attributes>> {
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    Some(authz::wanted(&method, &path.parse().ok()?))
}

/// Whether an `Authorization` header shows anything.
///
/// # Errors
/// What the client is told: also of every token, for nobody has signed it.
pub fn authorization(text: &str) -> Result<bool, String> {
    authn::shows(text).map_err(|error| error.to_string())
}

/// The JSON that a body stands for.
///
/// # Errors
/// What the client is told.
pub fn body(media_type: &str, bytes: &[u8]) -> Result<Value, String> {
    body::parse(media_type, bytes).map_err(told)
}

/// The JSON that a protobuf body stands for.
///
/// # Errors
/// What the client is told.
pub fn protobuf(bytes: &[u8]) -> Result<Value, String> {
    protobuf::to_json(bytes).map_err(|error| error.to_string())
}

/// The object that a body submits under a path's key.
///
/// # Errors
/// What the client is told.
pub fn submitted(value: Value, key: &Key) -> Result<Object, String> {
    submitted::decode(value, key).map_err(|error| error.to_string())
}

/// An object of a kind, as a value, with a patch of this media type applied.
///
/// # Errors
/// What the client is told.
pub fn patched(
    media_type: &str,
    kind: Kind,
    current: &Value,
    patch: &Value,
) -> Result<Value, String> {
    let patching = Patching::of(media_type).map_err(told)?;
    patching.apply(current, patch, kind.fields()).map_err(|error| error.to_string())
}

/// An object as a row of `kubectl get`, as JSON.
#[must_use]
pub fn row(object: &Object, include: Option<&str>, now_ms: u64) -> Value {
    let table =
        table::table(object.kind(), &[object], Include::of(include), String::new(), true, now_ms);
    serde_json::to_value(table).unwrap_or_default()
}

/// A value as YAML.
#[must_use]
pub fn yaml(value: &Value) -> String {
    crate::cli::yaml::to_yaml(value)
}

fn told(refusal: Refusal) -> String {
    refusal.message().to_owned()
}
