//! The roles and bindings that every hub has: Kubernetes' own, with what is Lichen's added, and `lichen:device-operator`.
//! A hub brings them up to date when it starts, unless their annotation says otherwise.
//!
//! Rules name kinds that this hub does not have yet where Kubernetes' roles do: a newer hub gives no more and no less.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};

use super::escalation::covers;
use crate::{
    actor::{AUTHENTICATED, MASTERS, UNAUTHENTICATED},
    api::{
        Object, ObjectMeta,
        meta::Map,
        rbac::{
            ClusterRole, ClusterRoleBinding, GROUP, PolicyRule, RoleRef, Subject, subject::USERS,
        },
        resource::{Names, Resource},
    },
};

/// On a default: `false` keeps the hub from bringing it up to date.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// On a default: the hub made it.
const BOOTSTRAPPING: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");
/// A group whose members may read the hub's figures.
const MONITORING: &str = "system:monitoring";

const LICHEN: &str = "lichen.dev";
const AUTHORIZATION: &str = "authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
const COORDINATION: &str = "coordination.k8s.io";

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const CREATE: &[&str] = &["create"];
const ALL: &[&str] = &["*"];

/// Verbs on resources of a group.
type Line = (&'static [&'static str], &'static str, &'static [&'static str]);

/// What `view` may read. No Secrets: they would let it act as others.
const VIEW: &[Line] = &[
    (
        READ,
        "",
        &[
            "configmaps",
            "endpoints",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "serviceaccounts",
            "services",
            "services/status",
            "bindings",
            "events",
            "limitranges",
            "namespaces/status",
            "pods/log",
            "pods/status",
            "resourcequotas",
            "resourcequotas/status",
            "namespaces",
        ],
    ),
    (READ, "discovery.k8s.io", &["endpointslices"]),
    (
        READ,
        "apps",
        &[
            "controllerrevisions",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
    ),
    (READ, "autoscaling", &["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
    (READ, "batch", &["cronjobs", "cronjobs/status", "jobs", "jobs/status"]),
    (READ, "policy", &["poddisruptionbudgets", "poddisruptionbudgets/status"]),
    (READ, "networking.k8s.io", &["ingresses", "ingresses/status", "networkpolicies"]),
    (READ, LICHEN, &["images"]),
];

/// What `edit` may do besides.
const EDIT: &[Line] = &[
    (
        READ,
        "",
        &[
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "secrets",
            "services/proxy",
        ],
    ),
    (&["impersonate"], "", &["serviceaccounts"]),
    (
        WRITE,
        "",
        &[
            "pods",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "configmaps",
            "events",
            "persistentvolumeclaims",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ],
    ),
    (CREATE, "", &["pods/eviction", "serviceaccounts/token"]),
    (
        WRITE,
        "apps",
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
    ),
    (WRITE, "autoscaling", &["horizontalpodautoscalers"]),
    (WRITE, "batch", &["cronjobs", "jobs"]),
    (WRITE, "policy", &["poddisruptionbudgets"]),
    (WRITE, "networking.k8s.io", &["ingresses", "networkpolicies"]),
    (READ, COORDINATION, &["leases"]),
    (WRITE, COORDINATION, &["leases"]),
    (WRITE, LICHEN, &["images"]),
];

/// What `admin` may do besides.
const ADMIN: &[Line] = &[
    (CREATE, AUTHORIZATION, &["localsubjectaccessreviews"]),
    (READ, GROUP, &["rolebindings", "roles"]),
    (WRITE, GROUP, &["rolebindings", "roles"]),
    (READ, LICHEN, &["enrolments", "jointokens"]),
    (WRITE, LICHEN, &["enrolments", "jointokens"]),
];

/// What it takes to look after devices.
const DEVICE_OPERATOR: &[Line] = &[
    (READ, "", &["nodes", "nodes/status", "pods", "pods/log", "events"]),
    (&["delete", "patch", "update"], "", &["nodes"]),
    (CREATE, LICHEN, &["nodes/resume"]),
    (&["get"], LICHEN, &["nodes/session"]),
    (READ, LICHEN, &["enrolments", "jointokens"]),
    (WRITE, LICHEN, &["enrolments", "jointokens"]),
];

/// What everybody may ask about themselves.
const BASIC_USER: &[Line] = &[
    (CREATE, AUTHORIZATION, &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
    (CREATE, AUTHENTICATION, &["selfsubjectreviews"]),
];

/// What a program may ask about others that passes requests on.
const AUTH_DELEGATOR: &[Line] = &[
    (CREATE, AUTHENTICATION, &["tokenreviews"]),
    (CREATE, AUTHORIZATION, &["subjectaccessreviews"]),
];

/// Which kinds there are, and whether there is a registry.
const DISCOVERY: &[&str] = &[
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/v2",
    "/v2/",
    "/version",
    "/version/",
];
/// Whether the hub lives, and which it is.
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version", "/version/"];
/// How the hub is.
const FIGURES: &[&str] = &["/healthz", "/livez", "/metrics", "/readyz"];

/// Every default, roles first.
#[must_use]
pub fn all() -> Vec<Object> {
    let anything = PolicyRule {
        verbs: words(ALL),
        api_groups: words(ALL),
        resources: words(ALL),
        ..PolicyRule::default()
    };
    let editor = || rules(&[VIEW, EDIT]);
    let admin = || rules(&[VIEW, EDIT, ADMIN]);
    let anyone = &[AUTHENTICATED, UNAUTHENTICATED];
    Vec::from([
        role("cluster-admin", Vec::from([anything, paths(ALL, ALL)])),
        role("view", rules(&[VIEW])),
        role("edit", editor()),
        role("admin", admin()),
        role("lichen:device-operator", rules(&[DEVICE_OPERATOR])),
        role("system:auth-delegator", rules(&[AUTH_DELEGATOR])),
        role("system:basic-user", rules(&[BASIC_USER])),
        role("system:discovery", Vec::from([paths(&["get"], DISCOVERY)])),
        role("system:monitoring", Vec::from([paths(&["get"], FIGURES)])),
        role("system:public-info-viewer", Vec::from([paths(&["get"], PUBLIC)])),
        binding("cluster-admin", &[MASTERS]),
        binding("system:basic-user", &[AUTHENTICATED]),
        binding("system:discovery", &[AUTHENTICATED]),
        binding("system:monitoring", &[MONITORING]),
        binding("system:public-info-viewer", anyone),
    ])
}

/// A default that is there, brought up to date: what it lacks is added, what operators added stays. `None` if it lacks
/// nothing, or is not to be touched.
#[must_use]
pub fn updated(there: &Object, default: &Object) -> Option<Object> {
    if there.meta().annotations.get(AUTO_UPDATE).is_some_and(|value| value == "false") {
        return None;
    }
    let mut updated = there.clone();
    match (&mut updated, default) {
        (Object::ClusterRole(role), Object::ClusterRole(default)) => {
            let held: Vec<&PolicyRule> = default.rules.iter().collect();
            // What a default of an older hub said is in the newer one, or stays.
            let own = role.rules.iter().filter(|rule| !covers(&held, rule)).cloned();
            role.rules = default.rules.iter().cloned().chain(own).collect();
        }
        (Object::ClusterRoleBinding(binding), Object::ClusterRoleBinding(default)) => {
            binding.role_ref.clone_from(&default.role_ref);
            for subject in &default.subjects {
                if !binding.subjects.contains(subject) {
                    binding.subjects.push(subject.clone());
                }
            }
        }
        _ => return None,
    }
    let meta = updated.meta_mut();
    let wanted = default.meta();
    let missing = |there: &Map, wanted: &Map| -> Map {
        let of = wanted.iter().filter(|(key, _)| !there.contains_key(*key));
        of.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let (labels, annotations) =
        (missing(&meta.labels, &wanted.labels), missing(&meta.annotations, &wanted.annotations));
    meta.labels.extend(labels);
    meta.annotations.extend(annotations);
    Some(updated).filter(|updated| updated != there)
}

fn role(name: &str, rules: Vec<PolicyRule>) -> Object {
    ClusterRole { metadata: meta(name), rules }.into()
}

/// Gives a role of the same name to groups.
fn binding(name: &str, groups: &[&str]) -> Object {
    let subject = |group: &&str| Subject {
        kind: USERS.to_owned(),
        api_group: GROUP.to_owned(),
        name: (*group).to_owned(),
        namespace: String::new(),
    };
    ClusterRoleBinding {
        metadata: meta(name),
        subjects: groups.iter().map(subject).collect(),
        role_ref: RoleRef {
            api_group: GROUP.to_owned(),
            kind: ROLE.kind.to_owned(),
            name: name.to_owned(),
        },
    }
    .into()
}

const ROLE: Names = ClusterRole::NAMES;

fn meta(name: &str) -> ObjectMeta {
    let one = |(key, value): (&str, &str)| Map::from([(key.to_owned(), value.to_owned())]);
    ObjectMeta {
        name: name.to_owned(),
        generation: 1,
        labels: one(BOOTSTRAPPING),
        annotations: one((AUTO_UPDATE, "true")),
        ..ObjectMeta::default()
    }
}

fn rules(lines: &[&[Line]]) -> Vec<PolicyRule> {
    let lines = lines.iter().copied().flatten();
    lines
        .map(|(verbs, group, resources)| PolicyRule {
            verbs: words(verbs),
            api_groups: words(&[group]),
            resources: words(resources),
            ..PolicyRule::default()
        })
        .collect()
}

fn paths(verbs: &[&str], urls: &[&str]) -> PolicyRule {
    PolicyRule { verbs: words(verbs), non_resource_urls: words(urls), ..PolicyRule::default() }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}
