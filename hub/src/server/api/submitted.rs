//! A submitted object, held against the path that it was sent to.

use lichen_hub_core::api::{FieldError, Key, Object};
use serde_json::Value;

use super::status::Refusal;
use crate::manifest;

/// Reads an object. The path fills in what the body leaves open, and must agree with what it says. A key without a name
/// is that of a collection: any name will do.
pub(super) fn decode(mut value: Value, path: &Key) -> Result<Object, Refusal> {
    let kind = path.kind;
    let Value::Object(fields) = &mut value else {
        return Err(Refusal::bad_request("the body must be a JSON object"));
    };
    for (field, expected) in [("apiVersion", kind.api_version()), ("kind", kind.as_str())] {
        match fields.get(field).and_then(Value::as_str) {
            None | Some("") => drop(fields.insert(field.to_owned(), expected.into())),
            Some(found) if found == expected => {}
            Some(found) => {
                return Err(Refusal::bad_request(format!(
                    "the {field} of the body is {found}, but the path is for {kind} of {}",
                    kind.api_version()
                )));
            }
        }
    }
    let shown = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or(&path.name);
    let shown = shown.to_owned();
    let mut object =
        manifest::decode(&value).map_err(|causes| Refusal::invalid(kind, &shown, &causes))?;
    let meta = object.meta_mut();
    if !path.name.is_empty() {
        agree(&mut meta.name, &path.name, "name")?;
    }
    if kind.namespaced() {
        agree(&mut meta.namespace, &path.namespace, "namespace")?;
    } else if !meta.namespace.is_empty() {
        let cause = format!("a {kind} belongs to no namespace; leave the field out");
        let cause = FieldError::new("metadata.namespace", cause);
        return Err(Refusal::invalid(kind, &shown, &[cause]));
    }
    Ok(object)
}

fn agree(field: &mut String, path: &str, what: &str) -> Result<(), Refusal> {
    if field.is_empty() {
        path.clone_into(field);
    }
    if field == path {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "the {what} of the body is \"{field}\", but that of the path is \"{path}\""
    )))
}
