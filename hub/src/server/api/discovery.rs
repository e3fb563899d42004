//! What the API has: groups, kinds and verbs, as kubectl and client libraries ask before anything else.

use axum::{http::StatusCode, response::Response};
use lichen_hub_core::api::Kind;
use serde_json::{Value, json};

use super::respond;

/// The Kubernetes version whose API conventions are followed; tools compare it with their own.
const KUBERNETES: (&str, &str) = ("1", "32");

/// The path in front of a kind's resources.
pub(crate) fn root(kind: Kind) -> String {
    match kind.api_version() {
        "v1" => "/api/v1".to_owned(),
        version => format!("/apis/{version}"),
    }
}

/// `/api`.
pub(crate) async fn core_versions() -> Response {
    ok(&json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
}

/// `/apis`.
pub(crate) async fn groups() -> Response {
    ok(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [apps()]}))
}

/// `/apis/apps`.
pub(crate) async fn apps_group() -> Response {
    let mut group = apps();
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    ok(&group)
}

/// `/api/v1`.
pub(crate) async fn core_resources() -> Response {
    ok(&resources("v1"))
}

/// `/apis/apps/v1`.
pub(crate) async fn apps_resources() -> Response {
    ok(&resources("apps/v1"))
}

/// `/version`.
pub(crate) async fn version() -> Response {
    let (major, minor) = KUBERNETES;
    let lichen = env!("CARGO_PKG_VERSION");
    ok(&json!({
        "major": major, "minor": minor, "gitVersion": format!("v{major}.{minor}.0+lichen-{lichen}"),
        "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }))
}

fn ok(value: &Value) -> Response {
    respond::json(StatusCode::OK, value)
}

fn apps() -> Value {
    let version = json!({"groupVersion": "apps/v1", "version": "v1"});
    json!({"name": "apps", "versions": [version], "preferredVersion": version})
}

fn resources(version: &str) -> Value {
    let kinds = Kind::EVERY.into_iter().filter(|kind| kind.api_version() == version);
    let mut resources: Vec<Value> = kinds.map(resource).collect();
    if version == "v1" {
        resources.push(json!({
            "name": "pods/log", "singularName": "", "namespaced": true, "kind": "Pod", "verbs": ["get"],
        }));
    }
    if version == "apps/v1" {
        resources.push(json!({
            "name": "deployments/scale", "singularName": "", "namespaced": true, "kind": "Scale",
            "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"],
        }));
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources})
}

fn resource(kind: Kind) -> Value {
    json!({
        "name": kind.plural(),
        "singularName": kind.as_str().to_lowercase(),
        "namespaced": kind.namespaced(),
        "kind": kind.as_str(),
        "verbs": verbs(kind),
        "shortNames": short_names(kind),
        "categories": if matches!(kind, Kind::Deployment | Kind::DaemonSet | Kind::Pod) { &["all"][..] } else { &[] },
    })
}

/// What an operator can do with a kind. Whether one request is allowed is the engine's to say.
fn verbs(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Namespace | Kind::ConfigMap | Kind::Deployment | Kind::DaemonSet => {
            &["create", "delete", "get", "list", "patch", "update", "watch"]
        }
        Kind::Node => &["delete", "get", "list", "patch", "update", "watch"],
        Kind::Pod => &["delete", "get", "list", "watch"],
        Kind::Event => &["get", "list", "watch"],
    }
}

fn short_names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Namespace => &["ns"],
        Kind::ConfigMap => &["cm"],
        Kind::Deployment => &["deploy"],
        Kind::DaemonSet => &["ds"],
        Kind::Node => &["no"],
        Kind::Pod => &["po"],
        Kind::Event => &["ev"],
    }
}
