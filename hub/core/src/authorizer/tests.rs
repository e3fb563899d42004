//! Decisions as tables; and that nothing is allowed which no rule allows.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{Attributes, ResourceTarget, Rules, Target, check_grant, defaults};
use crate::{
    actor::{Actor, MASTERS, Origin, service_account_name},
    api::{Kind, Object, rbac::PolicyRule},
    registry::accept_new,
};

fn object(json: &Value) -> Arc<Object> {
    let kind = Kind::parse(json["kind"].as_str().expect("a kind")).expect("a kind");
    let object = Object::from_value(kind, json.clone()).expect("an object");
    let mut accepted = accept_new(object).expect("it can be stored").object;
    accepted.meta_mut().uid = String::from("1");
    Arc::new(accepted)
}

fn role(namespace: &str, name: &str, rules: &Value) -> Arc<Object> {
    let kind = if namespace.is_empty() { "ClusterRole" } else { "Role" };
    object(
        &json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "rules": rules}),
    )
}

/// A binding; the subject is `User NAME`, `Group NAME` or `ServiceAccount NAMESPACE/NAME`.
fn bind(namespace: &str, name: &str, role: &str, subject: &str) -> Arc<Object> {
    let kind = if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
    let (role_kind, role) = role.split_once(' ').expect("kind and name");
    let (of, who) = subject.split_once(' ').expect("kind and name");
    let subject = match who.split_once('/') {
        Some((namespace, name)) => json!({"kind": of, "name": name, "namespace": namespace}),
        None => json!({"kind": of, "name": who}),
    };
    object(&json!({
        "kind": kind, "metadata": {"name": name, "namespace": namespace}, "subjects": [subject],
        "roleRef": {"kind": role_kind, "name": role},
    }))
}

fn rules(objects: &[Arc<Object>]) -> Rules {
    let mut rules = Rules::default();
    objects.iter().for_each(|object| rules.put(object));
    rules
}

fn user(name: &str, groups: &[&str]) -> Actor {
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    Actor::user(name, &groups, Origin::Hub)
}

/// `VERB RESOURCE[/SUBRESOURCE][.GROUP] [NAMESPACE/][NAME]`, or `VERB /PATH`.
fn asked(text: &str) -> Attributes {
    let mut words = text.split(' ');
    let verb = words.next().expect("a verb").to_string();
    let what = words.next().expect("a resource or a path");
    if what.starts_with('/') {
        return Attributes::path(verb, what);
    }
    let (resource, group) = what.split_once('.').unwrap_or((what, ""));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let place = words.next().unwrap_or_default();
    let (namespace, name) = place.split_once('/').unwrap_or(("", place));
    let target = ResourceTarget {
        group: group.to_string().into(),
        resource: resource.to_string().into(),
        subresource: subresource.to_string().into(),
        namespace: namespace.to_string(),
        name: name.to_string(),
    };
    Attributes { verb: verb.into(), target: Target::Resource(target) }
}

#[track_caller]
fn check(rules: &Rules, actor: &Actor, yes: &[&str], no: &[&str]) {
    for (texts, expected) in [(yes, true), (no, false)] {
        for text in texts {
            assert_eq!(
                rules.decide(actor, &asked(text)).is_allowed(),
                expected,
                "{}: {text}",
                actor.name
            );
        }
    }
}

#[test]
fn a_rule_is_read_as_kubernetes_reads_it() {
    for (rule, yes, no) in [
        (
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}),
            &["get pods a/x", "get pods a/"][..],
            &[
                "list pods a/x",
                "get pods/log a/x",
                "get pods.apps a/x",
                "get secrets a/x",
                "get /pods",
            ][..],
        ),
        (
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
            &["get pods a/x", "sing moss.lichen.dev a/x", "create pods/exec a/x"],
            &["get /metrics"],
        ),
        (
            json!({"verbs": ["update"], "apiGroups": ["apps"], "resources": ["*/scale"]}),
            &["update deployments/scale.apps a/x"],
            &[
                "update deployments.apps a/x",
                "update deployments/status.apps a/x",
                "update pods/scale a/x",
            ],
        ),
        (
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]}),
            &["get pods/log a/x"],
            &["get pods a/x", "get pods/exec a/x"],
        ),
        (
            json!({"verbs": ["get", "list", "create"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["x", "y"]}),
            // A list of one by its name, as with a field selector, is a list of that name.
            &["get configmaps a/x", "get configmaps a/y", "list configmaps a/x"],
            &["get configmaps a/z", "list configmaps a/", "create configmaps a/"],
        ),
    ] {
        let everywhere = [role("", "r", &json!([rule])), bind("", "b", "ClusterRole r", "User u")];
        check(&rules(&everywhere), &user("u", &[]), yes, no);
    }
}

#[test]
fn paths_are_allowed_by_beginnings_and_by_bindings_of_everywhere_alone() {
    let path = |url: &str| json!([{"verbs": ["get"], "nonResourceURLs": [url]}]);
    for (url, yes, no) in [
        ("/metrics", &["get /metrics"][..], &["get /metrics/x", "post /metrics", "get /"][..]),
        ("/v2/*", &["get /v2/", "get /v2/a/b"], &["get /v2"]),
        ("/v*", &["get /v2", "get /version"], &["get /metrics"]),
        ("*", &["get /", "get /x"], &["get pods a/x"]),
    ] {
        let role = role("", "r", &path(url));
        let bound = rules(&[role.clone(), bind("", "b", "ClusterRole r", "User u")]);
        check(&bound, &user("u", &[]), yes, no);
        let local = rules(&[role, bind("a", "b", "ClusterRole r", "User u")]);
        check(&local, &user("u", &[]), &[], yes);
    }
}

#[test]
fn a_binding_counts_in_its_namespace_and_for_whom_it_names() {
    let pods = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["pods", "nodes", "namespaces"]}]);
    let there = rules(&[
        role("a", "r", &pods),
        role("", "c", &pods),
        bind("a", "local", "Role r", "User ann"),
        bind("b", "other", "ClusterRole c", "Group crew"),
        bind("b", "nothing", "Role r", "User ben"),
        bind("a", "program", "Role r", "ServiceAccount ci"),
        bind("a", "foreign", "Role r", "ServiceAccount b/ci"),
        bind("", "all", "ClusterRole c", "User eve"),
    ]);
    check(
        &there,
        &user("ann", &[]),
        &["list pods a/"],
        &["list pods b/", "list pods", "list nodes"],
    );
    check(&there, &user("x", &["crew"]), &["list pods b/"], &["list pods a/", "list pods"]);
    check(&there, &user("crew", &["ann"]), &[], &["list pods a/", "list pods b/"]);
    check(&there, &user("ben", &[]), &[], &["list pods a/", "list pods b/"]);
    check(
        &there,
        &user("eve", &[]),
        &["list pods a/", "list pods", "list nodes"],
        &["get pods a/x"],
    );
    let program = |namespace: &str| Actor::service_account(namespace, "ci", "1", Origin::Hub);
    check(&there, &program("a"), &["list pods a/"], &["list pods b/"]);
    check(&there, &program("b"), &["list pods a/"], &["list pods b/"]);
    check(&there, &program("c"), &[], &["list pods a/"]);
    check(&there, &user("ci", &[]), &[], &["list pods a/"]);
}

#[test]
fn what_is_taken_away_is_gone() {
    let pods = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]);
    let (of, to) = (role("a", "r", &pods), bind("a", "b", "Role r", "User u"));
    let mut there = rules(&[of.clone(), to.clone()]);
    check(&there, &user("u", &[]), &["list pods a/"], &[]);
    there.remove(&of.key());
    check(&there, &user("u", &[]), &[], &["list pods a/"]);
    there.put(&of);
    there.put(&bind("a", "b", "Role r", "User other"));
    check(&there, &user("u", &[]), &[], &["list pods a/"]);
    check(&there, &user("other", &[]), &["list pods a/"], &[]);
    there.remove(&to.key());
    there.remove(&of.key());
    assert_eq!(there, Rules::default(), "nothing stays behind");
}

#[test]
fn masters_are_allowed_whatever_the_rules_say() {
    let admin = Actor::admin(Origin::Hub);
    check(
        &Rules::default(),
        &admin,
        &["delete nodes x", "get /metrics", "escalate roles a/x"],
        &[],
    );
    let device = Actor::device("pi", Origin::Hub);
    let anyone = Actor::anonymous(Origin::Hub);
    let every = rules(&defaults::all().into_iter().map(Arc::new).collect::<Vec<_>>());
    check(&every, &device, &[], &["get /api", "get /version", "get nodes pi", "list pods"]);
    check(&every, &anyone, &["get /version"], &["get /api", "get /metrics", "list pods a/"]);
}

#[test]
fn an_answer_says_why() {
    let pods = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]);
    let there = rules(&[
        role("", "c", &pods),
        bind("a", "b", "ClusterRole c", "ServiceAccount ci"),
        bind("", "d", "ClusterRole c", "Group crew"),
    ]);
    let why = |actor: &Actor| there.decide(actor, &asked("list pods a/")).reason();
    assert_eq!(
        why(&Actor::service_account("a", "ci", "1", Origin::Hub)),
        "RBAC: allowed by RoleBinding \"b/a\" of ClusterRole \"c\" to ServiceAccount \"ci/a\""
    );
    assert_eq!(
        why(&user("u", &["crew"])),
        "RBAC: allowed by ClusterRoleBinding \"d\" of ClusterRole \"c\" to Group \"crew\""
    );
    assert_eq!(why(&Actor::hub()), "whoever is in system:masters may do everything");
    assert_eq!(why(&user("u", &[])), "");
    for (text, expected) in [
        (
            "list pods a/",
            "pods is forbidden: User \"u\" cannot list resource \"pods\" in API group \"\" in the namespace \"a\"",
        ),
        (
            "update deployments/scale.apps a/web",
            "deployments.apps \"web\" is forbidden: User \"u\" cannot update resource \"deployments/scale\" in API \
             group \"apps\" in the namespace \"a\"",
        ),
        (
            "list nodes",
            "nodes is forbidden: User \"u\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
        ),
        ("get /metrics", "forbidden: User \"u\" cannot get path \"/metrics\""),
    ] {
        assert_eq!(asked(text).refusal(&user("u", &[])), expected);
    }
}

fn refused(rules: &Rules, actor: &Actor, object: &Arc<Object>) -> String {
    check_grant(rules, actor, object).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn nobody_writes_a_role_that_allows_more_than_they_have() {
    let held = json!([
        {"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods", "*/scale"]},
        {"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["x", "y"]},
        {"verbs": ["get"], "nonResourceURLs": ["/v2/*"]},
    ]);
    let mine = [role("", "mine", &held), bind("", "b", "ClusterRole mine", "User u")];
    let there = rules(&mine);
    let may = |rule: Value| refused(&there, &user("u", &[]), &role("", "new", &json!([rule])));
    for rule in [
        json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}),
        json!({"verbs": ["list", "get"], "apiGroups": ["apps", ""], "resources": ["deployments/scale", "pods"], "resourceNames": ["z"]}),
        json!({"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["y"]}),
        json!({"verbs": ["get"], "nonResourceURLs": ["/v2/a", "/v2/a*"]}),
    ] {
        assert_eq!(may(rule.clone()), "", "{rule}");
    }
    for (rule, missing) in [
        (
            json!({"verbs": ["get", "delete"], "apiGroups": [""], "resources": ["pods"]}),
            "delete pods in API group \"\"",
        ),
        (
            json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]}),
            "* pods in API group \"\"",
        ),
        (
            json!({"verbs": ["get"], "apiGroups": ["*"], "resources": ["pods"]}),
            "get pods in API group \"*\"",
        ),
        (
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["*"]}),
            "get * in API group \"\"",
        ),
        (
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec"]}),
            "get pods/exec in API group \"\"",
        ),
        (
            json!({"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"]}),
            "update configmaps in API group \"\"",
        ),
        (
            json!({"verbs": ["update"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["x", "z"]}),
            "update configmaps \"z\" in API group \"\"",
        ),
        (json!({"verbs": ["get"], "nonResourceURLs": ["/v2/a", "/v*"]}), "get path \"/v*\""),
        (json!({"verbs": ["post"], "nonResourceURLs": ["/v2/a"]}), "post path \"/v2/a\""),
    ] {
        let said = may(rule.clone());
        let expected = format!(
            "clusterroles.rbac.authorization.k8s.io \"new\" is forbidden: user \"u\" (groups=[\"system:authenticated\"]) is \
             attempting to grant RBAC permissions not currently held: {missing}"
        );
        assert_eq!(said, expected, "{rule}");
    }
    assert!(refused(&there, &user("other", &[]), &mine[0]).contains("; and more"));
    assert_eq!(refused(&there, &Actor::hub(), &mine[0]), "");
}

#[test]
fn the_verb_escalate_lifts_that_where_it_is_held() {
    let escalate = json!([{"verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}]);
    let there = rules(&[role("a", "e", &escalate), bind("a", "b", "Role e", "User u")]);
    let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    assert_eq!(refused(&there, &user("u", &[]), &role("a", "new", &all)), "");
    assert_ne!(refused(&there, &user("u", &[]), &role("b", "new", &all)), "");
    assert_ne!(refused(&there, &user("u", &[]), &role("", "new", &all)), "");
}

#[test]
fn nobody_binds_a_role_that_allows_more_than_they_have_there() {
    let pods = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]}]);
    let more = json!([{"verbs": ["list", "delete"], "apiGroups": [""], "resources": ["pods"]}]);
    let bind_more = json!([{
        "verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
        "resourceNames": ["more"],
    }]);
    let there = rules(&[
        role("", "pods", &pods),
        role("", "more", &more),
        role("a", "binder", &bind_more),
        bind("a", "x", "ClusterRole pods", "User u"),
        bind("a", "y", "Role binder", "User binder"),
    ]);
    let u = user("u", &[]);
    assert_eq!(refused(&there, &u, &bind("a", "new", "ClusterRole pods", "User friend")), "");
    for (namespace, role) in [("a", "more"), ("b", "pods"), ("", "pods")] {
        let said =
            refused(&there, &u, &bind(namespace, "new", &format!("ClusterRole {role}"), "User u"));
        assert!(said.contains("attempting to grant"), "{namespace} {role}: {said}");
    }
    let missing = refused(&there, &u, &bind("a", "new", "ClusterRole later", "User u"));
    assert_eq!(missing, "ClusterRole later not found");
    let missing = refused(&there, &u, &bind("a", "new", "Role pods", "User u"));
    assert_eq!(
        missing, "Role a/pods not found",
        "a role of the cluster is no role of the namespace"
    );
    let binder = user("binder", &[]);
    assert_eq!(refused(&there, &binder, &bind("a", "new", "ClusterRole more", "User binder")), "");
    assert_ne!(refused(&there, &binder, &bind("b", "new", "ClusterRole more", "User binder")), "");
    assert_ne!(refused(&there, &binder, &bind("a", "new", "ClusterRole pods", "User binder")), "");
}

#[test]
fn the_defaults_can_be_stored_and_grow_from_one_to_the_next() {
    let every: Vec<Arc<Object>> = defaults::all().into_iter().map(Arc::new).collect();
    for default in &every {
        accept_new(default.as_ref().clone()).expect("a default is an object as others");
        assert_eq!(defaults::updated(default, default), None, "{}", default.key());
    }
    let mut rules = rules(&every);
    for (number, name) in ["view", "edit", "admin", "lichen:device-operator"].iter().enumerate() {
        rules.put(&bind(
            "a",
            &format!("b{number}"),
            &format!("ClusterRole {name}"),
            &format!("User {name}"),
        ));
        rules.put(&bind(
            "",
            &format!("c{number}"),
            &format!("ClusterRole {name}"),
            &format!("User all-{name}"),
        ));
    }
    let may = |name: &str, yes: &[&str], no: &[&str]| check(&rules, &user(name, &[]), yes, no);
    may(
        "view",
        &["get pods a/x", "get pods/log a/x", "list deployments.apps a/", "get /api", "get /v2/"],
        &[
            "get secrets a/x",
            "list secrets a/",
            "create pods a/",
            "get roles.rbac.authorization.k8s.io a/x",
            "get pods b/x",
            "create serviceaccounts/token a/x",
            "get nodes x",
            "get /metrics",
            "create pods/exec a/x",
            "get jointokens.lichen.dev x",
        ],
    );
    may(
        "edit",
        &["get secrets a/x", "create deployments.apps a/", "create serviceaccounts/token a/ci"],
        &[
            "create roles.rbac.authorization.k8s.io a/",
            "create secrets b/",
            "patch namespaces a/a",
            "create jointokens.lichen.dev",
        ],
    );
    may(
        "admin",
        &["create rolebindings.rbac.authorization.k8s.io a/", "get secrets a/x"],
        &[
            "create clusterroles.rbac.authorization.k8s.io",
            "delete namespaces a/a",
            "escalate roles.rbac.authorization.k8s.io a/x",
        ],
    );
    may("all-edit", &["create images.lichen.dev x", "get secrets b/x"], &["delete nodes x"]);
    may(
        "all-admin",
        &["create jointokens.lichen.dev", "delete enrolments.lichen.dev x"],
        &["get /metrics", "delete nodes x"],
    );
    may(
        "all-lichen:device-operator",
        &["delete nodes x", "create nodes/resume.lichen.dev x", "create jointokens.lichen.dev"],
        &[
            "create deployments.apps a/",
            "get secrets a/x",
            "get configmaps a/x",
            "create serviceaccounts/token a/ci",
        ],
    );
    // Whoever has the greater role may grant the lesser.
    for (granter, name, yes) in [
        ("admin", "admin", true),
        ("admin", "edit", true),
        ("admin", "view", true),
        ("edit", "admin", false),
        ("admin", "cluster-admin", false),
        ("view", "edit", false),
        ("admin", "lichen:device-operator", false),
    ] {
        let binding = bind("a", "new", &format!("ClusterRole {name}"), "User friend");
        assert_eq!(
            refused(&rules, &user(granter, &[]), &binding).is_empty(),
            yes,
            "{granter} grants {name}"
        );
    }
}

#[test]
fn a_default_gets_back_what_it_lacks_and_keeps_what_was_added() {
    let default =
        defaults::all().into_iter().find(|object| object.meta().name == "view").expect("view");
    let rules = |object: &Object| match object {
        Object::ClusterRole(role) => role.rules.clone(),
        _ => panic!("a role"),
    };
    let with = |rules: Vec<PolicyRule>| match default.clone() {
        Object::ClusterRole(mut role) => {
            role.rules = rules;
            Object::ClusterRole(role)
        }
        _ => panic!("a role"),
    };
    let of = |verb: &str, resource: &str| PolicyRule {
        verbs: Vec::from([verb.to_string()]),
        api_groups: Vec::from([String::new()]),
        resources: Vec::from([resource.to_string()]),
        ..PolicyRule::default()
    };
    let emptied = defaults::updated(&with(Vec::new()), &default).expect("it is brought up to date");
    assert_eq!(rules(&emptied), rules(&default));
    // An older default's rule, and an operator's.
    let changed = with(Vec::from([of("get", "pods"), of("get", "moss")]));
    let updated = defaults::updated(&changed, &default).expect("it is brought up to date");
    let expected: Vec<PolicyRule> =
        rules(&default).into_iter().chain([of("get", "moss")]).collect();
    assert_eq!(rules(&updated), expected);
    assert_eq!(defaults::updated(&updated, &default), None);
    let mut own = with(Vec::new());
    let no = ("rbac.authorization.kubernetes.io/autoupdate".to_string(), "false".to_string());
    own.meta_mut().annotations.extend([no]);
    assert_eq!(defaults::updated(&own, &default), None);
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const VERBS: [&str; 4] = ["get", "list", "create", "*"];
const RESOURCES: [&str; 6] = ["pods", "pods/log", "nodes", "*/log", "*", "services"];

/// Some rules of a role, some of them of paths.
fn any_rules() -> impl Strategy<Value = Vec<Value>> {
    let words = |of: &'static [&'static str]| vec(select(of), 1..3);
    let rule = (
        words(&VERBS),
        words(&["", "apps", "*"]),
        words(&RESOURCES),
        vec(select(&NAMES[..]), 0..2),
        any::<u8>(),
    );
    let rule = rule.prop_map(|(verbs, groups, resources, names, path)| match path % 5 {
        0 => {
            let url = ["/a", "/a/*", "*"][usize::from(path) % 3];
            json!({"verbs": verbs, "nonResourceURLs": [url]})
        }
        _ => json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names}),
    });
    vec(rule, 1..4)
}

fn any_objects() -> impl Strategy<Value = Vec<Arc<Object>>> {
    let namespaces = || select(&["", "a", "b"][..]);
    let role =
        (namespaces(), select(&NAMES[..]), any_rules()).prop_map(|(namespace, name, rules)| {
            let rules: Vec<Value> = rules
                .into_iter()
                .filter(|rule| namespace.is_empty() || rule.get("nonResourceURLs").is_none())
                .collect();
            role(namespace, name, &json!(rules))
        });
    let kinds = select(&["User", "Group", "ServiceAccount"][..]);
    let bound = (
        namespaces(),
        select(&NAMES[..]),
        any::<bool>(),
        select(&NAMES[..]),
        kinds,
        select(&NAMES[..]),
        namespaces(),
    );
    let bound = bound.prop_map(|(namespace, name, cluster, of, kind, who, home)| {
        let of = if cluster || namespace.is_empty() {
            format!("ClusterRole {of}")
        } else {
            format!("Role {of}")
        };
        let who = match (kind, home) {
            ("ServiceAccount", "") => format!("b/{who}"),
            ("ServiceAccount", home) => format!("{home}/{who}"),
            _ => who.to_string(),
        };
        bind(namespace, name, &of, &format!("{kind} {who}"))
    });
    vec(prop_oneof![role, bound], 0..24)
}

fn any_actor() -> impl Strategy<Value = Actor> {
    let groups = vec(select(&NAMES[..]), 0..3);
    (select(&NAMES[..]), groups, any::<bool>()).prop_map(|(name, groups, program)| match program {
        true => Actor::service_account("b", name, "1", Origin::Hub),
        false => user(name, &groups),
    })
}

fn any_request() -> impl Strategy<Value = Attributes> {
    let verb = select(&["get", "list", "create", "delete"][..]);
    let what = select(&["pods", "pods/log", "nodes", "services/log.apps", "pods.apps"][..]);
    let place = (select(&["", "a", "b"][..]), select(&["", "a", "b"][..]));
    (verb, what, place, any::<u8>()).prop_map(|(verb, what, (namespace, name), path)| {
        match path % 4 {
            0 => Attributes::path(verb, ["/a", "/a/b", "/c", "/a/*"][usize::from(path / 4) % 4]),
            _ => asked(&format!("{verb} {what} {namespace}/{name}")),
        }
    })
}

/// A rule with some words of each list of another, or another word.
fn cut_out(rule: &PolicyRule, cut: [u8; 6]) -> Value {
    let some = |list: &[String], by: u8, other: &str| -> Vec<String> {
        let word = list.get(usize::from(by) % (list.len() + 1)).map_or(other, String::as_str);
        Vec::from([word.to_string()])
    };
    let verbs = some(&rule.verbs, cut[0] | 1, "list");
    if !rule.non_resource_urls.is_empty() {
        return json!({"verbs": verbs, "nonResourceURLs": some(&rule.non_resource_urls, cut[1], "/a/b")});
    }
    let names = match rule.resource_names.len() {
        0 => Vec::new(),
        _ => some(&rule.resource_names, cut[4], "a"),
    };
    json!({
        "verbs": verbs, "resourceNames": names, "apiGroups": some(&rule.api_groups, cut[2], "apps"),
        "resources": some(&rule.resources, cut[3], "pods/log"),
    })
}

/// The same question, answered from the objects alone and in the plainest way.
fn allowed_plainly(objects: &[Arc<Object>], actor: &Actor, asked: &Attributes) -> bool {
    // The last of a name counts.
    let newest: BTreeSet<usize> = (0..objects.len())
        .filter(|at| !objects[at + 1..].iter().any(|later| later.key() == objects[*at].key()))
        .collect();
    let there =
        || newest.iter().map(|at| serde_json::to_value(objects[*at].as_ref()).expect("JSON"));
    let text = |value: &Value, path: &str| {
        value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_string()
    };
    for binding in there().filter(|object| object.get("roleRef").is_some()) {
        let namespace = text(&binding, "/metadata/namespace");
        let concerns = binding["subjects"].as_array().into_iter().flatten().any(|subject| {
            let name = text(subject, "/name");
            match text(subject, "/kind").as_str() {
                "User" => actor.name == name,
                "Group" => actor.groups.contains(&name),
                _ => actor.name == service_account_name(&text(subject, "/namespace"), &name),
            }
        });
        if !concerns {
            continue;
        }
        let of = binding["roleRef"].clone();
        let role = there().find(|object| {
            let place = if of["kind"] == "Role" { namespace.as_str() } else { "" };
            object["kind"] == of["kind"]
                && object["metadata"]["name"] == of["name"]
                && text(object, "/metadata/namespace") == place
        });
        for rule in
            role.iter().flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default())
        {
            let list = |field: &str| -> Vec<String> {
                let items = rule.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
                items.iter().filter_map(|item| item.as_str().map(String::from)).collect()
            };
            let has = |field: &str, word: &str| {
                list(field).iter().any(|item| item == "*" || item == word)
            };
            let fits = match &asked.target {
                Target::Path(path) => {
                    let urls = list("nonResourceURLs");
                    namespace.is_empty()
                        && urls.iter().any(|url| {
                            url == path
                                || url
                                    .strip_suffix('*')
                                    .is_some_and(|start| path.starts_with(start))
                        })
                }
                Target::Resource(target) => {
                    let names = list("resourceNames");
                    let below = format!("*/{}", target.subresource);
                    (namespace.is_empty() || namespace == target.namespace)
                        && has("apiGroups", &target.group)
                        && (has("resources", &target.combined())
                            || !target.subresource.is_empty() && list("resources").contains(&below))
                        && (names.is_empty() || names.contains(&target.name))
                }
            };
            if fits && has("verbs", &asked.verb) {
                return true;
            }
        }
    }
    false
}

proptest! {
    /// Nothing is allowed that no rule allows, and everything that one does.
    #[test]
    fn a_decision_is_what_the_rules_say(objects in any_objects(), actor in any_actor(), asked in any_request()) {
        let decided = rules(&objects).decide(&actor, &asked).is_allowed();
        prop_assert_eq!(decided, allowed_plainly(&objects, &actor, &asked));
    }

    /// Whoever may write a role gains nothing by being bound to it. What is wanted is anything, or cut out of what is held.
    #[test]
    fn a_role_that_may_be_written_allows_nothing_new(
        objects in any_objects(), actor in any_actor(), anything in any_rules(), cut in any::<[u8; 6]>(),
        requests in vec(any_request(), 1..20),
    ) {
        let before = rules(&objects);
        let held = before.held(&actor, "");
        let wanted = match held.get(usize::from(cut[5]) % 4) {
            Some(rule) => json!([cut_out(rule, cut)]),
            None => json!(anything),
        };
        let new = role("", "new", &wanted);
        // Whoever has every verb has that one too.
        let escalates = before.decide(&actor, &Attributes::on("escalate", &new.key())).is_allowed();
        if !escalates && check_grant(&before, &actor, &new).is_ok() {
            let mut after = before.clone();
            after.put(&new);
            after.put(&bind("", "new", "ClusterRole new", &format!("User {}", actor.name)));
            for asked in requests {
                let (had, has) = (before.decide(&actor, &asked), after.decide(&actor, &asked));
                prop_assert_eq!(had.is_allowed(), has.is_allowed(), "{:?}", asked);
            }
        }
    }

    /// The index is the same whichever way it came about.
    #[test]
    fn the_index_forgets_what_is_gone(objects in any_objects(), gone in any_objects()) {
        let mut there = rules(&gone);
        objects.iter().for_each(|object| there.put(object));
        let kept: BTreeSet<_> = objects.iter().map(|object| object.key()).collect();
        gone.iter().map(|object| object.key()).filter(|key| !kept.contains(key)).for_each(|key| there.remove(&key));
        prop_assert_eq!(there, rules(&objects));
    }

    /// Masters are not locked out by anything.
    #[test]
    fn masters_may_do_everything(objects in any_objects(), asked in any_request(), name in select(&NAMES[..])) {
        prop_assert!(rules(&objects).decide(&user(name, &[MASTERS]), &asked).is_allowed());
    }
}
