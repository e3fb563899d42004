//! Kubernetes' REST paths, taken apart. What the method does with them is the caller's.
//!
//! ```text
//! /api/v1/<plural>                              cluster kinds; or a namespaced kind in every namespace
//! /api/v1/<plural>/<name>                       one object of a cluster kind
//! /api/v1/namespaces/<namespace>/<plural>[/<name>[/<subresource>]]
//! /apis/apps/v1/...                             the same for the other group
//! ```

use lichen_hub_core::api::Kind;
use percent_encoding::percent_decode_str;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// All objects of a kind, in one namespace or, without one, everywhere.
    Collection {
        /// The kind.
        kind: Kind,
        /// Where; always `None` for kinds of the cluster.
        namespace: Option<String>,
    },
    /// One object, or one of its subresources such as a Pod's `log`.
    Object {
        /// The kind.
        kind: Kind,
        /// Empty for kinds of the cluster.
        namespace: String,
        /// Its name.
        name: String,
        /// What comes after the name.
        subresource: Option<String>,
    },
}

/// Reads a path; `None` if it names nothing that could exist.
pub(crate) fn parse(path: &str) -> Option<Target> {
    let (version, rest) = match path.strip_prefix("/api/v1/") {
        Some(rest) => ("v1", rest),
        None => ("apps/v1", path.strip_prefix("/apis/apps/v1/")?),
    };
    let segments: Vec<String> = rest.split('/').map(decoded).collect::<Option<_>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    match segments.as_slice() {
        // `namespaces/<name>` is a Namespace, whatever kinds live in it.
        ["namespaces", name] if version == "v1" => object(Kind::Namespace, "", name, None),
        ["namespaces", namespace, plural] => {
            if let Some(kind) = kind(version, plural).filter(|kind| kind.namespaced()) {
                return Some(Target::Collection { kind, namespace: Some((*namespace).to_owned()) });
            }
            (version == "v1").then(|| object(Kind::Namespace, "", namespace, Some(plural)))?
        }
        ["namespaces", namespace, plural, name, rest @ ..] => {
            let kind = kind(version, plural).filter(|kind| kind.namespaced())?;
            object(kind, namespace, name, subresource(rest)?)
        }
        [plural] => Some(Target::Collection { kind: kind(version, plural)?, namespace: None }),
        [plural, name, rest @ ..] => {
            let kind = kind(version, plural).filter(|kind| !kind.namespaced())?;
            object(kind, "", name, subresource(rest)?)
        }
        [] => None,
    }
}

fn object(kind: Kind, namespace: &str, name: &str, subresource: Option<&str>) -> Option<Target> {
    Some(Target::Object {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.map(str::to_owned),
    })
}

/// `None` if the path goes on beyond a subresource.
fn subresource<'a>(rest: &[&'a str]) -> Option<Option<&'a str>> {
    match rest {
        [] => Some(None),
        [one] => Some(Some(one)),
        _ => None,
    }
}

fn kind(version: &str, plural: &str) -> Option<Kind> {
    Kind::EVERY.into_iter().find(|kind| kind.api_version() == version && kind.plural() == plural)
}

/// A segment without its percent signs; `None` if that is not text, or hides a slash.
pub(crate) fn decoded(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.contains('/')).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(path: &str, expected: &str) {
        let shown = match parse(path) {
            None => "nothing".to_owned(),
            Some(Target::Collection { kind, namespace }) => {
                format!("every {kind} in {}", namespace.as_deref().unwrap_or("*"))
            }
            Some(Target::Object { kind, namespace, name, subresource }) => {
                format!("{kind} {namespace}/{name} {}", subresource.unwrap_or_default())
            }
        };
        assert_eq!(shown.trim_end(), expected, "{path}");
    }

    #[test]
    fn every_form_of_path_is_understood() {
        check("/api/v1/nodes", "every Node in *");
        check("/api/v1/nodes/pi", "Node /pi");
        check("/api/v1/nodes/pi/status", "Node /pi status");
        check("/api/v1/pods", "every Pod in *");
        check("/api/v1/namespaces", "every Namespace in *");
        check("/api/v1/namespaces/a", "Namespace /a");
        check("/api/v1/namespaces/a/status", "Namespace /a status");
        check("/api/v1/namespaces/a/pods", "every Pod in a");
        check("/api/v1/namespaces/a/pods/b", "Pod a/b");
        check("/api/v1/namespaces/a/pods/b/log", "Pod a/b log");
        check("/api/v1/namespaces/pods/pods/pods", "Pod pods/pods");
        check("/apis/apps/v1/deployments", "every Deployment in *");
        check("/apis/apps/v1/namespaces/a/daemonsets/b", "DaemonSet a/b");
        check("/api/v1/namespaces/a/pods/b%2Ec", "Pod a/b.c");
    }

    #[test]
    fn what_could_not_exist_is_nothing() {
        for path in [
            "/",
            "/api/v1/",
            "/api/v1//",
            "/api/v1/secrets",
            "/api/v1/deployments",
            "/api/v1/pods/b",
            "/api/v1/namespaces/a/nodes/b",
            "/api/v1/namespaces//pods",
            "/api/v1/namespaces/a/pods/b/log/c",
            "/apis/apps/v1/pods",
            "/apis/apps/v1/namespaces/a",
            "/apis/apps/v1/namespaces/a/pods",
            "/apis/apps/v2/deployments",
            "/api/v1/nodes/a%2Fb",
            "/api/v1/nodes/%ff",
        ] {
            check(path, "nothing");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_harm(path in "(/api/v1|/apis/apps/v1)?(/[a-z%0-9]{0,12}){0,6}|.{0,40}") {
            let _ = parse(&path);
        }
    }
}
