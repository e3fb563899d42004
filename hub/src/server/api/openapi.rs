//! The little of OpenAPI that kubectl asks for before it sends a manifest: that the hub checks fields itself. The
//! documents describe the paths' parameters and no schema; what a kind may hold is told by the error that names the
//! field.

use axum::{http::StatusCode, response::Response};
use lichen_hub_core::api::Kind;
use serde_json::{Map, Value, json};

use super::{discovery::root, respond, status::group};

/// `/openapi/v3`: which documents there are.
pub(crate) async fn index() -> Response {
    let document = |path: &str| json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
    let paths = json!({"api/v1": document("api/v1"), "apis/apps/v1": document("apis/apps/v1")});
    respond::json(StatusCode::OK, &json!({"paths": paths}))
}

/// The core group.
pub(crate) async fn core() -> Response {
    respond::json(StatusCode::OK, &document("v1"))
}

/// The group `apps`.
pub(crate) async fn apps() -> Response {
    respond::json(StatusCode::OK, &document("apps/v1"))
}

fn document(version: &str) -> Value {
    let kinds = Kind::EVERY.into_iter().filter(|kind| kind.api_version() == version);
    let mut paths = Map::new();
    for kind in kinds {
        let place = if kind.namespaced() { "/namespaces/{namespace}" } else { "" };
        let collection = format!("{}{place}/{}", root(kind), kind.plural());
        paths.insert(
            format!("{collection}/{{name}}"),
            json!({"patch": operation(kind, "patch"), "put": operation(kind, "put")}),
        );
        paths.insert(collection, json!({"post": operation(kind, "post")}));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Lichen", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
    })
}

fn operation(kind: Kind, action: &str) -> Value {
    json!({
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group(kind), "version": "v1", "kind": kind.as_str()},
        "parameters": [{
            "name": "fieldValidation", "in": "query",
            "description": "Whatever it says: a field that Lichen does not support is refused by name.",
            "schema": {"type": "string", "uniqueItems": true},
        }],
        "responses": {"200": {"description": "OK"}},
    })
}
