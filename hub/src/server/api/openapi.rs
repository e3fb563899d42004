//! OpenAPI 3 documents of the kinds, made from their tables of fields: `kubectl explain` reads them, and before it sends
//! a manifest kubectl looks there whether the hub checks fields itself.

use axum::{http::StatusCode, response::Response};
use lichen_hub_core::api::{
    KINDS, Kind,
    field::{Field, Message, Shape},
    resource::Verb,
};
use serde_json::{Map, Value, json};

use super::{
    discovery::{root, version_root, versions},
    respond,
};

/// The path in front of the documents.
const ROOT: &str = "/openapi/v3";

/// Answers a path under [`ROOT`]; `None` if there is no such document.
pub(super) fn answer(path: &str) -> Option<Response> {
    let path = path.strip_prefix(ROOT)?;
    let value = match path.trim_end_matches('/') {
        "" => index(),
        path => document(versions().into_iter().find(|version| version_root(version) == path)?),
    };
    Some(respond::json(StatusCode::OK, &value))
}

fn index() -> Value {
    let paths: Map<String, Value> = versions()
        .into_iter()
        .map(|version| {
            let path = version_root(version);
            let url = format!("{ROOT}{path}");
            (path.trim_start_matches('/').to_owned(), json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

fn document(version: &str) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for kind in KINDS.iter().copied().filter(|kind| kind.api_version() == version) {
        let place = if kind.namespaced() { "/namespaces/{namespace}" } else { "" };
        let collection = format!("{}{place}/{}", root(kind), kind.plural());
        let one = [
            ("get", Verb::Get, "get"),
            ("patch", Verb::Patch, "patch"),
            ("put", Verb::Update, "put"),
        ];
        let all = [("get", Verb::List, "list"), ("post", Verb::Create, "post")];
        for (path, on) in [(format!("{collection}/{{name}}"), &one[..]), (collection, &all[..])] {
            let operations = operations(kind, on);
            if !operations.is_empty() {
                paths.insert(path, Value::Object(operations));
            }
        }
        schemas.insert(format!("lichen.{}.{kind}", version.replace('/', ".")), schema(kind));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Lichen", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// What can be done with a kind on a path: the method, the verb, and what Kubernetes calls it.
fn operations(kind: Kind, on: &[(&str, Verb, &str)]) -> Map<String, Value> {
    let allowed = on.iter().filter(|(_, verb, _)| kind.names().allows(*verb));
    allowed.map(|(method, _, action)| ((*method).to_owned(), operation(kind, action))).collect()
}

fn operation(kind: Kind, action: &str) -> Value {
    json!({
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(kind),
        "parameters": [{
            "name": "fieldValidation", "in": "query",
            "description": "Whatever it says: a field that Lichen does not support is refused by name.",
            "schema": {"type": "string", "uniqueItems": true},
        }],
        "responses": {"200": {"description": "OK"}},
    })
}

fn gvk(kind: Kind) -> Value {
    let names = kind.names();
    json!({"group": names.group(), "version": names.version(), "kind": names.kind})
}

fn schema(kind: Kind) -> Value {
    let mut schema = object(kind.fields());
    schema["description"] = format!("{kind}, with the fields that Lichen supports.").into();
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
    schema
}

fn object(table: &'static Message) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    table.each(&mut |field| {
        if field.supported() {
            properties.insert(field.name.to_owned(), property(field));
        }
        required.extend(Some(field.name).filter(|_| field.required));
    });
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

fn property(field: &'static Field) -> Value {
    let mut value = value(&field.shape);
    if let Some(why) = field.no_effect {
        value["description"] = format!("Accepted without effect: {why}.").into();
    }
    if !field.list {
        return value;
    }
    let mut list = json!({"type": "array", "items": value});
    if let Some(key) = field.merge {
        let keys: Vec<&str> =
            [key].into_iter().chain(field.merge_also.map(|(also, _)| also)).collect();
        list["x-kubernetes-list-type"] = "map".into();
        list["x-kubernetes-list-map-keys"] = keys.into();
        list["x-kubernetes-patch-strategy"] = "merge".into();
        list["x-kubernetes-patch-merge-key"] = key.into();
    }
    list
}

fn value(shape: &'static Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Data => json!({"type": "string", "format": "byte"}),
        Shape::Count => json!({"type": "integer", "minimum": 0}),
        Shape::Integer => json!({"type": "integer", "format": "int32"}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Object(table) | Shape::Inline(table) => object(table),
        Shape::Map(shape) => json!({"type": "object", "additionalProperties": value(shape)}),
        Shape::Quantity => json!({"type": "string", "format": "quantity"}),
        Shape::CountOrPercent | Shape::NumberOrName => {
            json!({"type": "string", "format": "int-or-string"})
        }
        Shape::Written | Shape::Unsupported(_) | Shape::UnsupportedUnlessEmpty(_) => json!({}),
    }
}
