//! Fields that are accepted and left out: what only a server writes, and what says nothing. The list is explicit, so
//! that no other field is ever dropped in silence.

use lichen_hub_core::api::Kind;
use serde_json::{Map, Value};

/// Metadata that the server writes.
const SERVER_METADATA: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "uid",
];

/// Fields that tools write as `{}` and that then say nothing, by the path of the object around them.
const SAY_NOTHING_EMPTY: [(&[&str], &str); 6] = [
    (&["spec"], "strategy"),
    (&["spec"], "updateStrategy"),
    (&["spec", "template", "spec"], "securityContext"),
    (&["spec", "template", "spec"], "affinity"),
    (&["spec", "template", "spec", "containers"], "resources"),
    (&["spec", "template", "spec", "containers"], "securityContext"),
];

/// The fields of an object without the harmless ones.
pub(super) fn without(kind: Kind, fields: &Map<String, Value>) -> Map<String, Value> {
    let mut fields = fields.clone();
    fields.remove("status");
    if kind == Kind::Namespace && fields.get("spec").is_some_and(is_empty) {
        fields.remove("spec");
    }
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        for name in SERVER_METADATA {
            metadata.remove(name);
        }
    }
    for (path, name) in SAY_NOTHING_EMPTY {
        remove_empty(&mut fields, path, name);
    }
    remove_nulls(&mut fields);
    fields
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Null) || value.as_object().is_some_and(Map::is_empty)
}

/// Follows a path, through every item of a list on it.
fn remove_empty(fields: &mut Map<String, Value>, path: &[&str], name: &str) {
    let Some((first, rest)) = path.split_first() else {
        if fields.get(name).is_some_and(is_empty) {
            fields.remove(name);
        }
        return;
    };
    match fields.get_mut(*first) {
        Some(Value::Object(inner)) => remove_empty(inner, rest, name),
        Some(Value::Array(items)) => {
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                remove_empty(item, rest, name);
            }
        }
        _ => {}
    }
}

/// Null means absent. In lists it stays, and is then refused by its type.
fn remove_nulls(fields: &mut Map<String, Value>) {
    fields.retain(|_, value| !value.is_null());
    for value in fields.values_mut() {
        remove_nulls_below(value);
    }
}

fn remove_nulls_below(value: &mut Value) {
    match value {
        Value::Object(fields) => remove_nulls(fields),
        Value::Array(items) => items.iter_mut().for_each(remove_nulls_below),
        _ => {}
    }
}
