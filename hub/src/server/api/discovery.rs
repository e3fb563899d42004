//! What the API has: groups, kinds and verbs, as kubectl and client libraries ask before anything else. All of it is
//! made from the kinds' own names.
//!
//! | path | answer |
//! |---|---|
//! | `/api`, `/apis` | the versions of the core group; the other groups. To newer clients, all kinds at once |
//! | `/apis/<group>` | the versions of a group |
//! | `/api/<version>`, `/apis/<group>/<version>` | the kinds of a version |
//! | `/version` | which Kubernetes this is like |

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use lichen_hub_core::api::{
    KINDS, Kind,
    resource::{Names, Subresource, Verb},
};
use serde_json::{Value, json};

use super::respond;

/// The Kubernetes version whose API conventions are followed; tools compare it with their own.
const KUBERNETES: (&str, &str) = ("1", "32");
/// What newer clients ask for: everything in one answer.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The path in front of a kind's resources.
pub(crate) fn root(kind: Kind) -> String {
    version_root(kind.names().api_version)
}

/// The path of a group and version.
pub(super) fn version_root(api_version: &str) -> String {
    let place = if api_version.contains('/') { "apis" } else { "api" };
    format!("/{place}/{api_version}")
}

/// Every group and version, once.
pub(super) fn versions() -> Vec<&'static str> {
    let mut versions: Vec<&str> = Vec::new();
    for kind in KINDS {
        if !versions.contains(&kind.api_version()) {
            versions.push(kind.api_version());
        }
    }
    versions
}

/// Answers a path that names no kind; `None` if it names nothing else either.
pub(super) fn answer(path: &str, headers: &HeaderMap) -> Option<Response> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let aggregated = accept.unwrap_or_default().split(',').any(|accepted| {
        AGGREGATED.split(';').all(|part| accepted.split(';').any(|given| given.trim() == part))
    });
    let segments: Vec<&str> = path.split('/').collect();
    let value = match segments.as_slice() {
        ["", "api"] if aggregated => return Some(all(true)),
        ["", "apis"] if aggregated => return Some(all(false)),
        ["", "api"] => {
            let core = versions().into_iter().filter(|version| !version.contains('/'));
            json!({"kind": "APIVersions", "versions": core.collect::<Vec<_>>(), "serverAddressByClientCIDRs": []})
        }
        ["", "apis"] => {
            let groups: Vec<Value> = groups().into_iter().map(group).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["", "apis", name] => {
            let mut group = group(groups().into_iter().find(|group| group == name)?);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            group
        }
        ["", "api", version] => resources(version)?,
        ["", "apis", group, version] => resources(&format!("{group}/{version}"))?,
        _ => return None,
    };
    Some(ok(&value))
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

/// The groups beside the core group.
fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> =
        versions().iter().filter_map(|version| Some(version.split_once('/')?.0)).collect();
    groups.dedup();
    groups
}

fn group(name: &str) -> Value {
    let of_group = versions().into_iter().filter_map(|api_version| {
        let (group, version) = api_version.split_once('/')?;
        (group == name).then(|| json!({"groupVersion": api_version, "version": version}))
    });
    let versions: Vec<Value> = of_group.collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

fn kinds_of(api_version: &str) -> impl Iterator<Item = &'static Names> {
    let of_version = move |names: &&Names| names.api_version == api_version;
    KINDS.iter().map(|kind| kind.names()).filter(of_version)
}

/// The kinds of a version; `None` if there is no such version.
fn resources(api_version: &str) -> Option<Value> {
    versions().into_iter().find(|known| *known == api_version)?;
    let kinds = kinds_of(api_version).map(|names| {
        json!({
            "name": names.plural,
            "singularName": names.singular,
            "namespaced": names.namespaced,
            "kind": names.kind,
            "verbs": words(names.verbs),
            "shortNames": names.short,
            "categories": names.categories,
        })
    });
    let beneath = kinds_of(api_version).flat_map(|names| {
        names.subresources.iter().map(|sub| {
            let (group, version) = of(sub);
            json!({
                "name": format!("{}/{}", names.plural, sub.name), "singularName": "",
                "namespaced": names.namespaced, "kind": sub.kind, "group": group, "version": version,
                "verbs": words(sub.verbs),
            })
        })
    });
    let resources: Vec<Value> = kinds.chain(beneath).collect();
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources,
    }))
}

/// Every kind of the core group, or of the others, in one answer.
fn all(core: bool) -> Response {
    let mut items: Vec<Value> = Vec::new();
    let names: Vec<&str> = if core { vec![""] } else { groups() };
    for name in names {
        let of_group =
            versions().into_iter().filter(|api| api.split_once('/').map_or("", |(g, _)| g) == name);
        let versions: Vec<Value> = of_group
            .map(|api_version| {
                let version = api_version.rsplit('/').next().unwrap_or_default();
                let resources: Vec<Value> = kinds_of(api_version).map(whole).collect();
                json!({"version": version, "freshness": "Current", "resources": resources})
            })
            .collect();
        items.push(
            json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": versions}),
        );
    }
    let mut response = ok(&json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
    response
}

fn whole(names: &'static Names) -> Value {
    let scope = if names.namespaced { "Namespaced" } else { "Cluster" };
    let beneath: Vec<Value> = names
        .subresources
        .iter()
        .map(|sub| {
            let (group, version) = of(sub);
            json!({
                "subresource": sub.name, "verbs": words(sub.verbs),
                "responseKind": {"group": group, "version": version, "kind": sub.kind},
            })
        })
        .collect();
    json!({
        "resource": names.plural, "singularResource": names.singular, "scope": scope,
        "responseKind": {"group": names.group(), "version": names.version(), "kind": names.kind},
        "verbs": words(names.verbs), "shortNames": names.short, "categories": names.categories,
        "subresources": beneath,
    })
}

fn of(sub: &Subresource) -> (&'static str, &'static str) {
    sub.api_version.split_once('/').unwrap_or(("", sub.api_version))
}

fn words(verbs: &[Verb]) -> Vec<&'static str> {
    verbs.iter().map(|verb| verb.as_str()).collect()
}
