//! What is taken of roles and bindings, and what is refused: Kubernetes' own rules.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use serde_json::{Value, json};

use crate::{
    api::{ApiError, Kind, Object},
    registry::{accept_change, accept_new},
};

fn object(kind: Kind, mut json: Value) -> Object {
    if json.get("metadata").is_none() {
        json["metadata"] = json!({"name": "x"});
    }
    Object::from_value(kind, json).expect("an object")
}

/// What is wrong with it; empty if nothing is.
fn wrong(kind: Kind, json: Value) -> String {
    match accept_new(object(kind, json)) {
        Ok(_) => String::new(),
        Err(ApiError::Invalid { causes, .. }) => {
            causes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        Err(other) => other.to_string(),
    }
}

#[test]
fn names_have_colons_and_no_slashes() {
    for (name, fits) in [
        ("system:discovery", true),
        ("Üser role", true),
        (".", false),
        ("..", false),
        ("a/b", false),
        ("a%2Fb", false),
        ("a\nb", false),
        ("", false),
        (&"x".repeat(254), false),
    ] {
        let said = wrong(Kind::ClusterRole, json!({"metadata": {"name": name}}));
        assert_eq!(said.is_empty(), fits, "{name:?}: {said}");
    }
}

#[test]
fn a_rule_says_verbs_and_resources_or_paths() {
    let pods = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    let path = json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]});
    for (kind, rule, expected) in [
        (Kind::Role, pods.clone(), ""),
        (Kind::ClusterRole, pods, ""),
        (Kind::ClusterRole, path.clone(), ""),
        (
            Kind::Role,
            path,
            "rules[0].nonResourceURLs: namespaced rules cannot apply to non-resource URLs; use a ClusterRole",
        ),
        (
            Kind::Role,
            json!({}),
            "rules[0].verbs: must contain at least one value; rules[0].apiGroups: resource rules must supply at least \
             one api group; \"\" is the core group; rules[0].resources: resource rules must supply at least one resource",
        ),
        (
            Kind::ClusterRole,
            json!({"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]}),
            "rules[0].nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs; write two rules",
        ),
    ] {
        assert_eq!(wrong(kind, json!({"rules": [rule]})), expected);
    }
}

#[test]
fn rules_are_bounded() {
    let words = |count: usize| (0..count).map(|i| format!("w{i}")).collect::<Vec<_>>();
    let rule = json!({"verbs": words(22), "apiGroups": words(22), "resources": words(22)});
    let said = wrong(Kind::Role, json!({"rules": [rule]}));
    assert!(said.starts_with("rules: they stand for 10648 combinations"), "{said}");
    let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    let said = wrong(Kind::Role, json!({"rules": vec![rule; 201]}));
    assert_eq!(said, "rules: at most 200 are taken; make two roles");
    let huge = words(3000);
    let rule = json!({"verbs": huge, "apiGroups": huge, "resources": huge, "resourceNames": huge});
    let said = wrong(Kind::Role, json!({"rules": vec![rule; 200]}));
    assert!(said.starts_with("rules: they stand for"), "{said}");
}

#[test]
fn a_binding_names_a_role_and_subjects_of_three_kinds() {
    let of = |kind: Kind, role: Value, subject: Value| {
        wrong(kind, json!({"roleRef": role, "subjects": [subject]}))
    };
    let view = || json!({"kind": "ClusterRole", "name": "view"});
    let ann = || json!({"kind": "User", "name": "ann"});
    for kind in [Kind::RoleBinding, Kind::ClusterRoleBinding] {
        for subject in [
            ann(),
            json!({"kind": "Group", "name": "system:masters"}),
            json!({"kind": "ServiceAccount", "name": "ci", "namespace": "shop"}),
        ] {
            assert_eq!(of(kind, view(), subject.clone()), "", "{subject}");
        }
        for (role, subject, expected) in [
            (
                view(),
                json!({"kind": "Robot", "name": "x"}),
                "subjects[0].kind: must be User, Group or ServiceAccount",
            ),
            (view(), json!({"kind": "User"}), "subjects[0].name: must be 1 to 1024 bytes"),
            (
                view(),
                json!({"kind": "User", "name": "x", "apiGroup": "x"}),
                "subjects[0].apiGroup: must be \"rbac.auth",
            ),
            (
                view(),
                json!({"kind": "ServiceAccount", "name": "x", "namespace": "a", "apiGroup": "rbac.authorization.k8s.io"}),
                "subjects[0].apiGroup: must be \"\" for a ServiceAccount",
            ),
            (
                view(),
                json!({"kind": "ServiceAccount", "name": "a/b", "namespace": "a"}),
                "subjects[0].name: \"a/b\" must",
            ),
            (json!({"kind": "ClusterRole", "name": ""}), ann(), "roleRef.name: \"\" must be"),
            (json!({"kind": "Pod", "name": "x"}), ann(), "roleRef.kind: must be "),
            (
                json!({"kind": "ClusterRole", "name": "x", "apiGroup": "x"}),
                ann(),
                "roleRef.apiGroup: must be",
            ),
        ] {
            let said = of(kind, role, subject);
            assert!(said.starts_with(expected), "{kind}: {said}");
        }
    }
    let local = json!({"kind": "Role", "name": "x"});
    assert_eq!(of(Kind::RoleBinding, local.clone(), ann()), "");
    assert_eq!(of(Kind::ClusterRoleBinding, local, ann()), "roleRef.kind: must be ClusterRole");
    let here = json!({"kind": "ServiceAccount", "name": "ci"});
    assert_eq!(of(Kind::RoleBinding, view(), here.clone()), "");
    let said = of(Kind::ClusterRoleBinding, view(), here);
    assert_eq!(said, "subjects[0].namespace: is missing: a ServiceAccount has one");
}

#[test]
fn a_binding_gives_the_same_role_for_ever() {
    let of = |role: &str, subject: &str| {
        object(
            Kind::RoleBinding,
            json!({"roleRef": {"kind": "Role", "name": role}, "subjects": [{"kind": "User", "name": subject}]}),
        )
    };
    let old = accept_new(of("a", "ann")).expect("accepted").object;
    let changed = accept_change(of("a", "ben"), &old).expect("other subjects are taken").object;
    let json = serde_json::to_value(&changed).expect("JSON");
    assert_eq!(
        (&json["roleRef"]["apiGroup"], &json["subjects"][0]["apiGroup"]),
        (&json!("rbac.authorization.k8s.io"), &json!("rbac.authorization.k8s.io")),
    );
    let said = accept_change(of("b", "ann"), &old).expect_err("refused").to_string();
    assert!(
        said.contains("roleRef: can't be changed; delete the binding and create another"),
        "{said}"
    );
}

#[test]
fn tables_show_what_kubectl_shows() {
    let binding = object(
        Kind::RoleBinding,
        json!({
            "metadata": {"name": "crew", "namespace": "shop", "creationTimestamp": "2020-09-13T12:20:00Z"},
            "roleRef": {"kind": "ClusterRole", "name": "view"},
            "subjects": [
                {"kind": "User", "name": "ann"}, {"kind": "User", "name": "ben"}, {"kind": "Group", "name": "crew"},
                {"kind": "ServiceAccount", "name": "ci", "namespace": "shop"},
            ],
        }),
    );
    let cells = binding.cells(1_600_000_000_000);
    assert_eq!(
        json!(cells),
        json!(["crew", "ClusterRole/view", "6m40s", "ann, ben", "crew", "shop/ci"])
    );
    let role = object(
        Kind::ClusterRole,
        json!({"metadata": {"name": "view", "creationTimestamp": "2020-09-13T12:20:00Z"}, "rules": null}),
    );
    assert_eq!(json!(role.cells(0)), json!(["view", "2020-09-13T12:20:00Z"]));
}
