//! The operators' port with curl: without a token, with one of few rights, with one that leaked and was ended.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use lichen_tests::{clock::Clock, hub::Hub};
use serde_json::{Value, json};

use super::card::{Answer, Card, curl};

const SECRET: &str = "fennel-and-thyme";

/// A hub with two namespaces, a Secret in the one, and somebody who may `edit` the other.
struct Scene {
    hub: Hub,
    curl: Card,
    token: String,
}

impl Scene {
    fn new() -> Self {
        let hub = Hub::start();
        let named = |kind: &str, namespace: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}});
        let mut secret = named("Secret", "farm", "herbs");
        secret["stringData"] = json!({"word": SECRET});
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "ci", "namespace": "shop"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "ServiceAccount", "name": "ci", "namespace": "shop"}],
        });
        let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        hub.cli().apply(&[
            &namespace("shop"),
            &namespace("farm"),
            &named("ServiceAccount", "shop", "ci"),
            &named("ServiceAccount", "farm", "boss"),
            &secret,
            &binding,
        ]);
        let token = hub.cli().run(&["create", "token", "ci", "-n", "shop"]).well();
        Self { curl: Card::none(&hub), token: token.trim().to_owned(), hub }
    }

    /// Asks the operators' port as nobody.
    fn ask(&self, path: &str, words: &[&str]) -> Answer {
        let url = format!("https://localhost:{}{path}", self.hub.address().port());
        curl(self.curl.dir.path(), &[words, &[&url[..]][..]].concat())
    }

    /// Asks with the token.
    fn ask_as_ci(&self, path: &str, words: &[&str]) -> Answer {
        let header = format!("authorization: Bearer {}", self.token);
        self.ask(path, &[&["-H", &header[..]][..], words].concat())
    }

    /// Sends an object with the token.
    fn send_as_ci(&self, method: &str, path: &str, object: &Value) -> Answer {
        fs::write(self.curl.path("object.json"), object.to_string()).unwrap();
        let kind = "content-type: application/json";
        self.ask_as_ci(path, &["-X", method, "-H", kind, "--data-binary", "@object.json"])
    }
}

fn tells_the_secret(answer: &Answer) -> bool {
    answer.body.contains(SECRET) || answer.body.contains(&BASE64.encode(SECRET))
}

#[test]
#[ignore = "needs curl: run by make test"]
fn whoever_shows_nothing_or_nonsense_reads_and_changes_nothing() {
    let scene = Scene::new();
    assert_eq!(scene.ask("/version", &[]).status, 200, "what everybody may know");
    let alike = scene.token.chars().rev().collect::<String>();
    let none = scene.token.rsplit_once('.').unwrap().0;
    // An unsigned one, with the payload of the good one.
    let payload = scene.token.split('.').nth(1).unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let headers = [
        "x: y",
        "authorization: Bearer ",
        "authorization: Bearer x",
        &format!("authorization: Bearer {alike}"),
        &format!("authorization: Bearer {none}."),
        &format!("authorization: Bearer {unsigned}"),
        "authorization: Basic YWRtaW46YWRtaW4=",
        "x-remote-user: system:admin",
        "x-forwarded-for: 127.0.0.1",
        "forwarded: for=127.0.0.1",
    ];
    for header in headers {
        for path in [
            "/api/v1/namespaces/farm/secrets/herbs",
            "/api/v1/secrets?watch=true",
            "/api/v1/nodes",
            "/apis/lichen.dev/v1/jointokens",
            "/lichen/v1/trust",
            "/lichen/v1/backup",
            "/metrics",
            "/v2/",
        ] {
            let answer = scene.ask(path, &["-H", header]);
            assert!(matches!(answer.status, 401 | 403), "{header}: {path}: {answer:?}");
            assert!(!tells_the_secret(&answer), "{header}: {path}: {answer:?}");
        }
        for (method, path) in [
            ("POST", "/lichen/v1/jointokens"),
            ("DELETE", "/api/v1/namespaces/farm"),
            ("POST", "/lichen/v1/trust/rotate-ca"),
            ("POST", "/lichen/v1/devices/pi/resume"),
            ("POST", "/api/v1/namespaces/farm/serviceaccounts/boss/token"),
        ] {
            let answer = scene.ask(path, &["-X", method, "-H", header]);
            assert!(matches!(answer.status, 401 | 403), "{header}: {path}: {answer:?}");
        }
    }
}

#[test]
#[ignore = "needs curl: run by make test"]
fn a_leaked_token_of_one_namespace_reaches_no_other_by_any_spelling() {
    let scene = Scene::new();
    assert_eq!(scene.ask_as_ci("/api/v1/namespaces/shop/secrets", &[]).status, 200, "its own");
    let secret = "/api/v1/namespaces/farm/secrets/herbs";
    for path in [
        secret.to_owned(),
        "/api/v1/namespaces/farm/secrets".into(),
        "/api/v1/secrets".into(),
        "/api/v1/secrets?fieldSelector=metadata.namespace%3Dshop".into(),
        "/api/v1/secrets?watch=true&timeoutSeconds=1".into(),
        "/api/v1/namespaces/farm/secrets?watch=true&timeoutSeconds=1".into(),
        "/api/v1/namespaces/shop/../farm/secrets/herbs".into(),
        "/api/v1/namespaces/shop/secrets/../../farm/secrets/herbs".into(),
        "/api/v1/namespaces/shop%2F..%2Ffarm/secrets/herbs".into(),
        "/api/v1/namespaces/shop/%2e%2e/farm/secrets/herbs".into(),
        "/api/v1/namespaces/shop/secrets/%2e%2e%2f%2e%2e%2ffarm%2fsecrets%2fherbs".into(),
        "/api/v1/namespaces/shop%00/../farm/secrets/herbs".into(),
        "/api/v1/namespaces/farm%00shop/secrets/herbs".into(),
        "/api/v1/namespaces/shop/secrets/herbs%00".into(),
        "/api/v1/namespaces/shop/secrets/herbs?namespace=farm".into(),
        "/api/v1//namespaces/farm/secrets/herbs".into(),
        "//api/v1/namespaces/farm/secrets/herbs".into(),
        "/api/v1/namespaces/farm/secrets/herbs/".into(),
        "/api/v1/namespaces/FARM/secrets/herbs".into(),
        "/api/v1/namespaces/farm;x=shop/secrets/herbs".into(),
        "/api/v1/namespaces/*/secrets/herbs".into(),
        "/lichen/v1/explain/secrets/farm/herbs".into(),
        "/lichen/v1/backup".into(),
        "/lichen/v1/images/../backup".into(),
        "/v2/../lichen/v1/backup".into(),
        "/healthz/../lichen/v1/backup".into(),
        "/version/..%2flichen/v1/backup".into(),
        "/artefacts/..%2f..%2fhub.redb".into(),
        "/artefacts/sha256:..%2f..%2ftrust%2fca.key".into(),
    ] {
        let answer = scene.ask_as_ci(&path, &[]);
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        assert!(!tells_the_secret(&answer), "{path}: {answer:?}");
    }
    for header in [
        "impersonate-user: system:admin",
        "impersonate-group: system:masters",
        "impersonate-extra-scopes: all",
        "x-http-method-override: GET",
        "x-original-url: /api/v1/namespaces/farm/secrets/herbs",
        "x-remote-group: system:masters",
        "host: farm",
    ] {
        let answer = scene.ask_as_ci(secret, &["-H", header]);
        assert!(matches!(answer.status, 400 | 403), "{header}: {answer:?}");
    }
    let masters = format!("localhost:{}", scene.hub.address().port());
    let answer =
        scene.ask_as_ci(secret, &["-u", "system:admin:x", "-H", &format!("host: {masters}")]);
    assert!(answer.status >= 400 && !tells_the_secret(&answer), "{answer:?}");
}

#[test]
#[ignore = "needs curl: run by make test"]
fn a_leaked_token_makes_itself_no_more_rights() {
    let scene = Scene::new();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let me = json!([{"kind": "ServiceAccount", "name": "ci", "namespace": "shop"}]);
    let binding = |role: &str| {
        json!({
            "metadata": {"name": "more"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": me,
        })
    };
    let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    let object = |name: &str| json!({"metadata": {"name": name}});
    for (method, path, object) in [
        ("POST", format!("{rbac}/namespaces/shop/rolebindings"), binding("admin")),
        ("POST", format!("{rbac}/namespaces/shop/rolebindings"), binding("cluster-admin")),
        ("POST", format!("{rbac}/namespaces/farm/rolebindings"), binding("edit")),
        ("POST", format!("{rbac}/clusterrolebindings"), binding("cluster-admin")),
        ("PUT", format!("{rbac}/namespaces/shop/rolebindings/ci"), binding("admin")),
        ("PATCH", format!("{rbac}/clusterroles/edit"), json!({"rules": everything})),
        (
            "POST",
            format!("{rbac}/namespaces/shop/roles"),
            json!({"metadata": {"name": "more"}, "rules": everything}),
        ),
        ("POST", "/api/v1/namespaces/farm/serviceaccounts/boss/token".into(), json!({})),
        ("POST", "/api/v1/namespaces".into(), object("mine")),
        ("POST", "/lichen/v1/jointokens".into(), json!({})),
        ("POST", "/apis/lichen.dev/v1/enrolments".into(), object("mine")),
        ("POST", "/api/v1/namespaces/farm/configmaps".into(), object("mine")),
        // The path says one namespace, the object another.
        (
            "POST",
            "/api/v1/namespaces/shop/configmaps".into(),
            json!({"metadata": {"name": "mine", "namespace": "farm"}}),
        ),
        ("POST", "/lichen/v1/trust/rotate-ca".into(), json!({})),
        ("DELETE", "/api/v1/nodes/pi".into(), json!({})),
    ] {
        let answer = scene.send_as_ci(method, &path, &object);
        assert!(matches!(answer.status, 400 | 403 | 404 | 405), "{method} {path}: {answer:?}");
    }
    assert_eq!(scene.ask_as_ci("/api/v1/namespaces/farm/configmaps", &[]).status, 403);
    assert_eq!(scene.hub.api().list("/api/v1/namespaces/farm/configmaps"), [Value::Null; 0]);
}

#[test]
#[ignore = "needs curl and faketime: run by make test"]
fn a_leaked_token_that_has_ended_stays_so_when_the_hubs_clock_goes_back() {
    let mut scene = Scene::new();
    let own = "/api/v1/namespaces/shop/secrets";
    assert_eq!(scene.ask_as_ci(own, &[]).status, 200);
    for clock in [Clock::fast_by_days(1), Clock::right(), Clock::at(1970)] {
        scene.hub.kill();
        scene.hub.set_clock(&clock);
        scene.hub.start_again();
        assert_eq!(scene.ask_as_ci(own, &[]).status, 401, "{clock:?}");
    }
}

#[test]
#[ignore = "needs curl: run by make test"]
fn a_leaked_token_ends_with_its_account_also_for_what_is_open() {
    let scene = Scene::new();
    let own = "/api/v1/namespaces/shop/configmaps";
    assert_eq!(scene.ask_as_ci(own, &[]).status, 200);
    std::thread::scope(|scope| {
        // It would go on for an hour; curl ends with the stream.
        let watching =
            scope.spawn(|| scene.ask_as_ci(&format!("{own}?watch=true&timeoutSeconds=3600"), &[]));
        scene.hub.api().delete("/api/v1/namespaces/shop/serviceaccounts/ci").unwrap();
        watching.join().unwrap();
    });
    assert_eq!(
        scene.ask(own, &["-H", &format!("authorization: Bearer {}", scene.token)]).status,
        401
    );
    let again = json!({"metadata": {"name": "ci"}});
    scene.hub.api().post("/api/v1/namespaces/shop/serviceaccounts", &again).unwrap();
    assert_eq!(
        scene.ask_as_ci(own, &[]).status,
        401,
        "another one of the same name is another one"
    );
}
