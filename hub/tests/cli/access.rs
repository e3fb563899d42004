//! Who one is, what one may do, and tokens for programs.

use super::{
    compare::matches,
    support::{Hub, Said},
};

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: ci, namespace: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: ci, namespace: shop}
rules:
- {apiGroups: [apps], resources: [deployments], verbs: [get, create]}
- {apiGroups: ['', apps], resources: [configmaps], verbs: [get, update], resourceNames: [settings]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ci, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: ci}
subjects: [{kind: ServiceAccount, name: ci}]
";

/// A hub, and a token of `shop/ci`.
fn start() -> (Hub, String) {
    let hub = Hub::start();
    let file = hub.file("shop.yaml", SHOP);
    let said = hub.lichen(&format!("apply -f {file}")).well();
    assert_eq!(
        said,
        "namespace/shop created\nserviceaccount/ci created\nrole/ci created\nrolebinding/ci created\n"
    );
    let said = hub.lichen("create token ci -n shop --duration 2h");
    assert!(matches("good until ...Z; whoever has it is shop/ci", &said.err), "{said:?}");
    let token = said.well().trim_end().to_owned();
    (hub, token)
}

#[test]
fn one_is_whom_the_token_says() {
    let (hub, token) = start();
    let said = hub.lichen(&format!("auth whoami --token {token}")).well();
    let expected = "
ATTRIBUTE   VALUE
Username    system:serviceaccount:shop:ci
UID         ...
Groups      system:serviceaccounts, system:serviceaccounts:shop, system:authenticated";
    assert!(matches(expected.trim_start(), &said), "{said}");
    let said = hub.lichen("auth whoami").well();
    assert!(said.contains("system:admin") && !said.contains("UID"), "{said}");
    let said = hub.lichen("auth whoami --token x").failed();
    assert!(said.contains("(Unauthorized: the token is none of"), "{said}");
}

#[test]
fn can_i_answers_yes_or_no_and_scripts_see_it() {
    let (hub, token) = start();
    let asked = |words: &str| hub.lichen(&format!("auth can-i --token {token} {words}"));
    for words in [
        "create deploy -n shop",
        "get deployments.apps/web -n shop",
        "get cm settings -n shop",
        "get configmap/settings -n shop",
        "get /api",
    ] {
        let Said { out, code, err } = asked(words);
        assert_eq!((out.as_str(), code), ("yes\n", 0), "{words}: {err}");
        assert!(err.starts_with("RBAC: allowed by "), "{err}");
    }
    for words in [
        "create deploy",
        "get deploy -A",
        "get cm -n shop",
        "get cm other -n shop",
        "get deploy/web --subresource scale -n shop",
        "get nodes",
        "get /metrics",
        "* * -n shop",
    ] {
        assert_eq!(
            asked(words),
            Said { out: "no\n".into(), err: String::new(), code: 1 },
            "{words}"
        );
    }
    let said = asked("list sekrets -n shop");
    assert_eq!((said.out.as_str(), said.code), ("no\n", 1));
    assert_eq!(
        said.err,
        "warning: the hub has no kind \"sekrets\"; the rules are asked all the same\n"
    );
    assert_eq!(hub.lichen("auth can-i * * -A").well(), "yes\n");
    assert!(asked("get deploy/web x").failed().contains("names an object already"));
}

#[test]
fn everything_that_may_be_done_is_one_table() {
    let (hub, token) = start();
    let said = hub.lichen(&format!("auth can-i --list -n shop --token {token}")).well();
    let expected = "
RESOURCES                                       PATHS         NAMES      VERBS
                                                /api                     get
...
                                                /version/                get
configmaps                                                    settings   get,update
configmaps.apps                                               settings   get,update
deployments.apps                                                         create,get
selfsubjectaccessreviews.authorization.k8s.io                            create
selfsubjectreviews.authentication.k8s.io                                 create
selfsubjectrulesreviews.authorization.k8s.io                             create";
    assert!(matches(expected.trim_start(), &said), "{said}");
}

#[test]
fn a_program_applies_what_its_role_lets_it() {
    let (hub, token) = start();
    let file = hub.file(
        "settings.yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}, data: {a: b}}",
    );
    let apply = format!("apply -f {file}");
    // It may change what is there, and not create it.
    let said = hub.lichen(&format!("{apply} --token {token}")).failed();
    assert!(
        said.contains(
            "configmaps is forbidden: User \"system:serviceaccount:shop:ci\" cannot create"
        ),
        "{said}"
    );
    hub.lichen(&apply).well();
    assert_eq!(
        hub.lichen(&format!("{apply} --token {token}")).well(),
        "configmap/settings unchanged\n"
    );
    let said = hub.lichen(&format!("get pods -n shop --token {token}")).failed();
    assert!(said.starts_with("error: pods is forbidden: User"), "{said}");
}

#[test]
fn a_token_is_not_made_for_nobody() {
    let hub = Hub::start();
    let said = hub.lichen("create token ci -n shop").failed();
    assert!(
        said.contains("serviceaccount ci not found in namespace shop; make it with a manifest"),
        "{said}"
    );
    let file = hub.file("ci.yaml", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: ci}}");
    hub.lichen(&format!("apply -f {file}")).well();
    let said = hub.lichen("create token ci --duration 5m").failed();
    assert!(said.contains("spec.expirationSeconds: must be from 600 (10 minutes)"), "{said}");
}

/// Whoever may administer everything that is declared.
const ADMIN: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ci-admin}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: ci, namespace: shop}]
";

#[test]
fn the_hubs_keys_are_for_nobody_but_who_may_do_everything() {
    let (hub, token) = start();
    let file = hub.file("admin.yaml", ADMIN);
    hub.lichen(&format!("apply -f {file}")).well();
    let backup = hub.path().join("hub.tar.gz");
    for (line, what) in [
        (format!("hub backup -o {}", backup.display()), "backups"),
        ("hub trust".to_owned(), "trust"),
        ("hub rotate-ca".to_owned(), "trust/rotate-ca"),
        ("hub rotate-signing-key".to_owned(), "trust/rotate-signing-key"),
    ] {
        let said = hub.lichen(&format!("{line} --token {token}")).failed();
        assert!(said.contains("forbidden") && said.contains(what), "{line}: {said}");
        assert!(!backup.exists());
    }
    let before = hub.lichen("hub trust").well();
    assert!(!before.contains("until"), "nothing has changed: {before}");
}
