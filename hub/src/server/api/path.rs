//! Kubernetes' REST paths, taken apart. What the method does with them is the caller's.
//!
//! ```text
//! /api/v1/<plural>                              cluster kinds; or a namespaced kind in every namespace
//! /api/v1/<plural>/<name>                       one object of a cluster kind
//! /api/v1/namespaces/<namespace>/<plural>[/<name>[/<subresource>]]
//! /apis/<group>/<version>/...                   the same for the other groups
//! ```

use std::borrow::Cow;

use lichen_hub_core::api::{KINDS, Kind};
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

/// Reads a path; `None` if it names nothing that could exist. A slash at its end says nothing.
pub(crate) fn parse(path: &str) -> Option<Target> {
    let (group, version, rest) = versioned(path.strip_suffix('/').unwrap_or(path))?;
    let segments: Vec<Cow<'_, str>> = rest.split('/').map(decoded).collect::<Option<_>>()?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    let kind = |plural: &str| {
        let mut kinds = KINDS.iter().copied();
        kinds.find(|kind| {
            let names = kind.names();
            names.plural == plural && names.group() == group && names.version() == version
        })
    };
    let of_namespace = |plural: &str| kind(plural).filter(|kind| kind.namespaced());
    let of_cluster = |plural: &str| kind(plural).filter(|kind| !kind.namespaced());
    match segments.as_slice() {
        ["namespaces", namespace, plural] => match of_namespace(plural) {
            Some(kind) => {
                Some(Target::Collection { kind, namespace: Some((*namespace).to_owned()) })
            }
            // A Namespace, and what it has beneath it.
            None => object(of_cluster("namespaces")?, "", namespace, Some(plural)),
        },
        ["namespaces", namespace, plural, name, rest @ ..] => {
            object(of_namespace(plural)?, namespace, name, subresource(rest)?)
        }
        [plural] => Some(Target::Collection { kind: kind(plural)?, namespace: None }),
        [plural, name, rest @ ..] => object(of_cluster(plural)?, "", name, subresource(rest)?),
        [] => None,
    }
}

/// Group and version, and what comes after. The core group has no name, and the others have one.
fn versioned(path: &str) -> Option<(&str, &str, &str)> {
    if let Some(rest) = path.strip_prefix("/api/") {
        let (version, rest) = rest.split_once('/')?;
        return Some(("", version, rest));
    }
    let (group, rest) = path.strip_prefix("/apis/")?.split_once('/')?;
    let (version, rest) = rest.split_once('/')?;
    (!group.is_empty()).then_some((group, version, rest))
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

/// A segment without its percent signs; `None` if that is not text, or hides a slash.
pub(crate) fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.contains('/')).then_some(text)
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
        check("/api/v1/pods/", "every Pod in *");
    }

    #[test]
    fn what_could_not_exist_is_nothing() {
        for path in [
            "/",
            "/api/v1/",
            "/api/v1//",
            "/api/v1/endpoints",
            "/api/v1/deployments",
            "/api/v1/pods/b",
            "/api/v1/namespaces/a/nodes/b",
            "/api/v1/namespaces//pods",
            "/api/v1/namespaces/a/pods/b/log/c",
            "/apis/apps/v1/pods",
            "/apis/apps/v1/namespaces/a",
            "/apis/apps/v1/namespaces/a/pods",
            "/apis/apps/v2/deployments",
            "/apis//v1/pods",
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
