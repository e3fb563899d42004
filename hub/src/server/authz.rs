//! What a request is to Kubernetes' rules: its verb, and the resource or the path that it is for. One function for every
//! path of the hub, asked before any handler is. It takes paths apart with the same functions as the handlers do, so that
//! what was allowed is what is done.
//!
//! | path | is |
//! |---|---|
//! | `/api/…`, `/apis/…` of objects | the resource, with its namespace, name and subresource |
//! | `/lichen/v1/explain/…` | `get` of the object that is explained |
//! | `/lichen/v1/devices/<name>/resume` | `create` of `nodes/resume` in the group `lichen.dev` |
//! | `/lichen/v1/devices/<name>/session` | `get` of `nodes/session` there |
//! | `/lichen/v1/backup` | `get` of `backups` there, which is as good as everything |
//! | `/lichen/v1/audit` | `get` of `audit` there |
//! | `/lichen/v1/trust` | `get` of `trust` there; `create` of `trust/rotate-ca` and `trust/rotate-signing-key` |
//! | `/lichen/v1/broker/…` | `create` of `brokers/certificate` there, which is as good as being the broker; `get` of `brokers/crl` |
//! | `/lichen/v1/images…`, `/v2/…` | `images` there, by the name without a tag; see [`of_registry`] |
//! | all others | a path that is no resource |

use axum::http::{Method, Uri};
use lichen_hub_core::{
    api::{Key, Kind},
    authorizer::{Attributes, ResourceTarget, Target},
};
use lichen_images::route::{Route, Wanted};

use super::{
    api::{FieldSelector, LichenPath, ObjectPath, Query, lichen_path, object_path},
    registry,
};

/// Lichen's own group.
const LICHEN: &str = "lichen.dev";

/// What somebody must be allowed to send a request: all of these, and there is at least one.
pub(crate) fn wanted(method: &Method, uri: &Uri) -> Vec<Attributes> {
    let path = uri.path();
    if path.starts_with("/api/") || path.starts_with("/apis/") {
        if let Some(target) = object_path(path) {
            return of_objects(method, target, &Query::parse(uri.query()));
        }
    } else if path.starts_with("/lichen/v1/") {
        if let Some(attributes) = lichen_path(path).and_then(|own| of_lichen(method, own)) {
            return vec![attributes];
        }
    } else if let Some(route) = registry::route(path) {
        return vec![of_registry(method, &route)];
    }
    vec![Attributes::path(method_word(method), path)]
}

/// HEAD is GET whose answer nobody wants.
fn method_word(method: &Method) -> String {
    if *method == Method::HEAD { "get".to_owned() } else { method.as_str().to_ascii_lowercase() }
}

fn of_objects(method: &Method, target: ObjectPath, query: &Query) -> Vec<Attributes> {
    let (kind, namespace, name, subresource) = match target {
        ObjectPath::Collection { kind, namespace } => {
            // Who asks for one by a selector of its name needs to be allowed that name.
            let fields =
                FieldSelector::parse(kind, query.text("fieldSelector").unwrap_or_default());
            let name = fields.ok().and_then(|fields| fields.name().map(str::to_owned));
            let name = name.filter(|_| is_read(method)).unwrap_or_default();
            let verb = match *method {
                Method::GET | Method::HEAD if query.flag("watch") => "watch",
                Method::GET | Method::HEAD => "list",
                Method::DELETE => "deletecollection",
                _ => verb(method),
            };
            let key = Key::new(kind, namespace.as_deref().unwrap_or_default(), &name);
            return vec![Attributes::on(verb, &key)];
        }
        ObjectPath::Object { kind, namespace, name, subresource } => {
            (kind, namespace, name, subresource)
        }
    };
    let key = Key::new(kind, &namespace, &name);
    let below = subresource.unwrap_or_default();
    let one = |verb: &'static str| {
        let mut attributes = Attributes::on(verb, &key);
        if let Target::Resource(resource) = &mut attributes.target {
            resource.subresource = below.clone().into();
            // A namespace is in itself: whoever rules it may see it.
            if kind == Kind::Namespace {
                resource.namespace.clone_from(&name);
            }
        }
        attributes
    };
    let mut wanted = vec![one(verb(method))];
    // Lichen's own: what is not there is created.
    if *method == Method::PUT && query.flag("create") {
        wanted.push(one("create"));
    }
    wanted
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Of one object.
fn verb(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        // Only rules for every verb allow what has no name.
        _ => "",
    }
}

fn of_lichen(method: &Method, path: LichenPath) -> Option<Attributes> {
    Some(match path {
        LichenPath::JoinTokens => Attributes::on(verb(method), &Key::new(Kind::JoinToken, "", "")),
        LichenPath::Resume(name) => below_node(verb(method), name, "resume"),
        LichenPath::Explain { plural, namespace, name } => {
            let kind = Kind::of_plural(&plural)?;
            Attributes::on(verb(method), &Key::new(kind, &namespace, &name))
        }
        LichenPath::Backup => own(verb(method), "backups", "", String::new()),
        LichenPath::Audit | LichenPath::AuditCheck => own(verb(method), "audit", "", String::new()),
        LichenPath::Trust => own(verb(method), "trust", "", String::new()),
        LichenPath::RotateAuthority => own(verb(method), "trust", "rotate-ca", String::new()),
        LichenPath::RotateSigningKey => {
            own(verb(method), "trust", "rotate-signing-key", String::new())
        }
        LichenPath::BrokerCertificate => own(verb(method), "brokers", "certificate", String::new()),
        LichenPath::BrokerCrl => own(verb(method), "brokers", "crl", String::new()),
        LichenPath::Images if is_read(method) => image("list", String::new()),
        LichenPath::Images => image(verb(method), String::new()),
        LichenPath::Image(reference) => {
            let name = lichen_images::Reference::parse(&reference);
            image(verb(method), name.map_or(reference, |reference| reference.name.to_string()))
        }
    })
}

fn below_node(verb: &'static str, name: String, subresource: &'static str) -> Attributes {
    let target = ResourceTarget {
        group: LICHEN.into(),
        resource: Kind::Node.plural().into(),
        subresource: subresource.into(),
        namespace: String::new(),
        name,
    };
    Attributes { verb: verb.into(), target: Target::Resource(target) }
}

fn image(verb: &'static str, name: String) -> Attributes {
    own(verb, "images", "", name)
}

/// What is no kind.
fn own(
    verb: &'static str,
    resource: &'static str,
    subresource: &'static str,
    name: String,
) -> Attributes {
    let target = ResourceTarget {
        group: LICHEN.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        name,
        ..ResourceTarget::default()
    };
    Attributes { verb: verb.into(), target: Target::Resource(target) }
}

/// Pulling is `get`, and `list` for names and tags. Pushing is `get` for what is there already, `create` for bytes, and
/// `update` for a tag, since it may move from an older image to this one.
fn of_registry(method: &Method, route: &Route) -> Attributes {
    let reading = is_read(method);
    match route {
        Route::Root => Attributes::path(method_word(method), "/v2/"),
        Route::Catalogue if reading => image("list", String::new()),
        Route::Catalogue => image(verb(method), String::new()),
        Route::Tags(name) if reading => image("list", name.to_string()),
        Route::Uploads(name) | Route::Upload(name, _) => image("create", name.to_string()),
        Route::Manifest(name, Wanted::Digest(_)) if *method == Method::PUT => {
            image("create", name.to_string())
        }
        Route::Tags(name) | Route::Blob(name, _) | Route::Manifest(name, _) => {
            image(verb(method), name.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is wanted: `VERB RESOURCE.GROUP NAMESPACE/NAME`, or `VERB PATH`.
    fn check(request: &str, expected: &str) {
        let (method, uri) = request.split_once(' ').expect("method and path");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let shown: Vec<String> = wanted(&method, &uri.parse().expect("a path"))
            .iter()
            .map(|one| match &one.target {
                Target::Path(path) => format!("{} {path}", one.verb),
                Target::Resource(target) => {
                    let group = match target.group.as_ref() {
                        "" => String::new(),
                        group => format!(".{group}"),
                    };
                    let text = format!(
                        "{} {}{group} {}/{}",
                        one.verb,
                        target.combined(),
                        target.namespace,
                        target.name
                    );
                    text.trim_end_matches(" /").to_owned()
                }
            })
            .collect();
        assert_eq!(shown.join(" + "), expected, "{request}");
    }

    #[test]
    fn every_request_for_objects_has_kubernetes_verb() {
        for (request, expected) in [
            ("GET /api/v1/pods", "list pods"),
            ("HEAD /api/v1/pods", "list pods"),
            ("GET /api/v1/namespaces/a/pods/", "list pods a/"),
            ("GET /api/v1/namespaces/a/pods?watch=true", "watch pods a/"),
            ("GET /api/v1/namespaces/a/pods?watch=0", "list pods a/"),
            ("GET /api/v1/namespaces/a/pods/x?watch=true", "get pods a/x"),
            ("GET /api/v1/namespaces/a/pods/x/log?follow=true", "get pods/log a/x"),
            ("POST /api/v1/namespaces/a/pods/x/exec", "create pods/exec a/x"),
            (
                "GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name%3Dx",
                "list configmaps a/x",
            ),
            (
                "GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name!%3Dx",
                "list configmaps a/",
            ),
            (
                "GET /api/v1/namespaces/a/configmaps?watch&fieldSelector=metadata.name=x",
                "watch configmaps a/x",
            ),
            (
                "DELETE /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name=x",
                "deletecollection configmaps a/",
            ),
            ("POST /apis/apps/v1/namespaces/a/deployments", "create deployments.apps a/"),
            ("PUT /apis/apps/v1/namespaces/a/deployments/web", "update deployments.apps a/web"),
            (
                "PUT /apis/apps/v1/namespaces/a/deployments/web?create=true",
                "update deployments.apps a/web + create deployments.apps a/web",
            ),
            (
                "PATCH /apis/apps/v1/namespaces/a/deployments/web/scale",
                "patch deployments/scale.apps a/web",
            ),
            ("DELETE /apis/apps/v1/namespaces/a/deployments/web", "delete deployments.apps a/web"),
            ("BREW /apis/apps/v1/namespaces/a/deployments/web", " deployments.apps a/web"),
            ("GET /api/v1/nodes/pi", "get nodes /pi"),
            ("GET /api/v1/namespaces", "list namespaces"),
            ("GET /api/v1/namespaces/a", "get namespaces a/a"),
            (
                "POST /api/v1/namespaces/a/serviceaccounts/ci/token",
                "create serviceaccounts/token a/ci",
            ),
            (
                "GET /apis/rbac.authorization.k8s.io/v1/clusterroles/system:discovery",
                "get clusterroles.rbac.authorization.k8s.io /system:discovery",
            ),
            (
                "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                "create selfsubjectaccessreviews.authorization.k8s.io",
            ),
            ("GET /api/v1/namespaces/a/pods/b%2Ec", "get pods a/b.c"),
        ] {
            check(request, expected);
        }
    }

    #[test]
    fn lichens_own_paths_are_resources_too() {
        for (request, expected) in [
            ("GET /lichen/v1/explain/deployments/a/web", "get deployments.apps a/web"),
            ("GET /lichen/v1/explain/nodes/-/pi", "get nodes /pi"),
            ("GET /lichen/v1/explain/mosses/-/x", "get /lichen/v1/explain/mosses/-/x"),
            ("POST /lichen/v1/devices/pi/resume", "create nodes/resume.lichen.dev /pi"),
            ("GET /lichen/v1/backup?keys=only", "get backups.lichen.dev"),
            ("GET /lichen/v1/audit?refused", "get audit.lichen.dev"),
            ("GET /lichen/v1/audit/verify", "get audit.lichen.dev"),
            ("GET /lichen/v1/trust", "get trust.lichen.dev"),
            ("POST /lichen/v1/trust/rotate-ca", "create trust/rotate-ca.lichen.dev"),
            ("POST /lichen/v1/broker/certificate", "create brokers/certificate.lichen.dev"),
            ("GET /lichen/v1/broker/crl", "get brokers/crl.lichen.dev"),
            ("GET /lichen/v1/images", "list images.lichen.dev"),
            ("DELETE /lichen/v1/images/team/web:1", "delete images.lichen.dev /team/web"),
            ("DELETE /lichen/v1/images/team%2Fweb:1", "delete /lichen/v1/images/team%2Fweb:1"),
            ("POST /lichen/v1/jointokens", "create jointokens.lichen.dev"),
            ("GET /lichen/v1//lichen/v1/images", "get /lichen/v1//lichen/v1/images"),
            ("GET /v2/", "get /v2/"),
            ("GET /v2", "get /v2/"),
            ("GET /v2/_catalog", "list images.lichen.dev"),
            ("GET /v2/team/web/tags/list", "list images.lichen.dev /team/web"),
            ("GET /v2/team/web/manifests/1", "get images.lichen.dev /team/web"),
            ("PUT /v2/team/web/manifests/1", "update images.lichen.dev /team/web"),
            ("POST /v2/team/web/blobs/uploads/", "create images.lichen.dev /team/web"),
            ("PATCH /v2/team/web/blobs/uploads/u1", "create images.lichen.dev /team/web"),
            ("GET /v2/team/web/blobs/uploads/u1", "create images.lichen.dev /team/web"),
            ("DELETE /v2/team/web/manifests/1", "delete images.lichen.dev /team/web"),
            ("GET /v2/%74eam/web/manifests/1", "get images.lichen.dev /team/web"),
            ("GET /v2/-", "get /v2/-"),
        ] {
            check(request, expected);
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        check(&format!("HEAD /v2/web/blobs/{digest}"), "get images.lichen.dev /web");
        check(&format!("PUT /v2/web/manifests/{digest}"), "create images.lichen.dev /web");
        check(&format!("GET /artefacts/{digest}"), &format!("get /artefacts/{digest}"));
    }

    #[test]
    fn all_others_are_paths() {
        for (request, expected) in [
            ("GET /metrics", "get /metrics"),
            ("HEAD /metrics", "get /metrics"),
            ("GET /version/", "get /version/"),
            ("GET /api", "get /api"),
            ("GET /apis/apps/v1", "get /apis/apps/v1"),
            ("GET /openapi/v3/apis/apps/v1", "get /openapi/v3/apis/apps/v1"),
            ("POST /api/v1/sekrets", "post /api/v1/sekrets"),
            ("GET /api/v1/namespaces/a/pods/x/log/y", "get /api/v1/namespaces/a/pods/x/log/y"),
            ("GET /", "get /"),
        ] {
            check(request, expected);
        }
    }
}
