//! What programs with few rights can and can't do: by namespace, verb and name; what they can't give themselves; and that a
//! right that is taken away is gone, for streams too.

use lichen_hub::store::RedbStore;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::support::{DEADLINE, Hub, MAPS, RBAC, Stream, config_map, deployment};

fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": resources})
}

fn maps(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_does_what_its_role_says_and_nothing_else() {
    let hub = Hub::start().await;
    let ci = hub.with_token(&hub.token_of("shop", "ci").await);
    hub.token_of("farm", "ci").await;
    let shop = "/apis/apps/v1/namespaces/shop/deployments";
    let web = deployment("web", "web:1");
    let refusal = ci.put("POST", shop, &web).await.refusal();
    assert_eq!(
        refusal,
        "403 Forbidden: deployments.apps is forbidden: User \"system:serviceaccount:shop:ci\" cannot create resource \
         \"deployments\" in API group \"apps\" in the namespace \"shop\""
    );
    hub.role(
        "shop",
        "deployer",
        json!([rule(&["get", "list", "create", "update"], "apps", &["deployments"])]),
    )
    .await;
    hub.bind("shop", "ci", "Role deployer", "ci").await;
    // Whoever was bound may begin at once.
    ci.put("POST", shop, &web).await.expect(201);
    assert_eq!(ci.get(shop).await.expect(200)["items"][0]["metadata"]["name"], "web");
    ci.put("PUT", &format!("{shop}/web"), &web).await.expect(200);
    for (method, path, what) in [
        ("DELETE", format!("{shop}/web"), "delete resource \"deployments\""),
        ("PATCH", format!("{shop}/web"), "patch resource \"deployments\""),
        ("GET", format!("{shop}/web/scale"), "get resource \"deployments/scale\""),
        ("GET", format!("{shop}?watch=true"), "watch resource \"deployments\""),
        ("GET", maps("shop"), "list resource \"configmaps\""),
        ("GET", "/apis/apps/v1/namespaces/farm/deployments".into(), "in the namespace \"farm\""),
        ("GET", "/apis/apps/v1/deployments".into(), "in API group \"apps\" at the cluster scope"),
        ("GET", "/api/v1/nodes".into(), "list resource \"nodes\""),
        ("GET", "/api/v1/namespaces/shop".into(), "get resource \"namespaces\""),
        (
            "POST",
            "/api/v1/namespaces/shop/serviceaccounts/ci/token".into(),
            "create resource \"serviceaccounts/token\"",
        ),
        ("GET", "/metrics".into(), "cannot get path \"/metrics\""),
        ("GET", "/lichen/v1/images".into(), "list resource \"images\" in API group \"lichen.dev\""),
        (
            "POST",
            "/lichen/v1/devices/pi/resume".into(),
            "create resource \"nodes/resume\" in API group \"lichen.dev\"",
        ),
        ("GET", "/lichen/v1/explain/pods/shop/x".into(), "get resource \"pods\""),
        (
            "POST",
            "/lichen/v1/jointokens".into(),
            "create resource \"jointokens\" in API group \"lichen.dev\"",
        ),
    ] {
        let refusal = ci.call(method, &path).await.refusal();
        assert!(
            refusal.starts_with("403 Forbidden: ") && refusal.contains(what),
            "{method} {path}: {refusal}"
        );
    }
    // What everybody may.
    for path in ["/api", "/apis/apps/v1", "/version", "/openapi/v3", "/healthz"] {
        assert_eq!(ci.get(path).await.code, 200, "{path}");
    }
    ci.get("/lichen/v1/explain/deployments/shop/web").await.expect(200);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_whole_needs_both_rights() {
    let hub = Hub::start().await;
    let ci = hub.with_token(&hub.token_of("shop", "ci").await);
    hub.role("shop", "changer", json!([rule(&["update"], "", &["configmaps"])])).await;
    hub.bind("shop", "ci", "Role changer", "ci").await;
    let path = format!("{}/a?create=true", maps("shop"));
    let map = config_map("a", json!({}), json!({"x": "1"}));
    let refusal = ci.put("PUT", &path, &map).await.refusal();
    assert!(refusal.contains("cannot create resource \"configmaps\""), "{refusal}");
    hub.role("shop", "maker", json!([rule(&["create"], "", &["configmaps"])])).await;
    hub.bind("shop", "ci-2", "Role maker", "ci").await;
    ci.put("PUT", &path, &map).await.expect(201);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_some_names_is_none_to_others() {
    let hub = Hub::start().await;
    let ci = hub.with_token(&hub.token_of("shop", "ci").await);
    for name in ["a", "b"] {
        hub.create(&maps("shop"), config_map(name, json!({}), json!({}))).await;
    }
    let verbs = ["get", "list", "watch", "update", "create"];
    let mut named = rule(&verbs, "", &["configmaps"]);
    named["resourceNames"] = json!(["a", "c"]);
    hub.role("shop", "named", json!([named])).await;
    hub.bind("shop", "ci", "Role named", "ci").await;
    let path = maps("shop");
    ci.get(&format!("{path}/a")).await.expect(200);
    assert_eq!(ci.get(&format!("{path}/b")).await.code, 403);
    assert_eq!(ci.get(&path).await.code, 403);
    let one = ci.get(&format!("{path}?fieldSelector=metadata.name%3Da")).await.expect(200);
    assert_eq!(one["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(ci.get(&format!("{path}?fieldSelector=metadata.name%3Db")).await.code, 403);
    // Two names are none that could be allowed, and what is not equal is not a name.
    let both = "metadata.name%3Da,metadata.name%3Db";
    assert_eq!(
        ci.get(&format!("{path}?fieldSelector={both}")).await.expect(200)["items"],
        json!([])
    );
    assert_eq!(ci.get(&format!("{path}?fieldSelector=metadata.name!%3Db")).await.code, 403);
    let mut watch = ci.watch(&format!("{path}?watch=true&fieldSelector=metadata.name%3Da")).await;
    assert_eq!(watch.change().await, "ADDED a");
    ci.put("PUT", &format!("{path}/a"), &config_map("a", json!({}), json!({"x": "1"})))
        .await
        .expect(200);
    assert_eq!(
        ci.put("PUT", &format!("{path}/b"), &config_map("b", json!({}), json!({}))).await.code,
        403
    );
    // As in Kubernetes, what is new has no name yet that a rule could name.
    assert_eq!(ci.put("POST", &path, &config_map("c", json!({}), json!({}))).await.code, 403);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_comes_and_goes_with_the_answer() {
    let hub = Hub::start().await;
    let ci = hub.with_token(&hub.token_of("shop", "ci").await);
    for round in 0..20 {
        hub.bind("shop", "ci", "ClusterRole view", "ci").await;
        assert_eq!(ci.get(&maps("shop")).await.code, 200, "round {round}");
        hub.call("DELETE", &format!("{RBAC}/namespaces/shop/rolebindings/ci")).await.expect(200);
        assert_eq!(ci.get(&maps("shop")).await.code, 403, "round {round}");
    }
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_themselves_what_they_do_not_have() {
    let hub = Hub::start().await;
    let boss = hub.with_token(&hub.token_of("shop", "boss").await);
    hub.bind("shop", "boss", "ClusterRole admin", "boss").await;
    let (roles, bindings) = ("namespaces/shop/roles", "namespaces/shop/rolebindings");
    let role = |rules: Value| json!({"metadata": {"name": "r"}, "rules": rules});
    let held = rule(&["get", "list"], "", &["pods", "secrets"]);
    boss.put("POST", &format!("{RBAC}/{roles}"), &role(json!([held]))).await.expect(201);
    let path = format!("{RBAC}/{roles}/r");
    for more in [
        rule(&["*"], "", &["pods"]),
        rule(&["get"], "", &["nodes"]),
        rule(&["get"], "*", &["*"]),
        rule(&["escalate"], "rbac.authorization.k8s.io", &["roles"]),
        rule(&["bind"], "rbac.authorization.k8s.io", &["clusterroles"]),
    ] {
        let rules = json!([held, more]);
        let attempts = [
            boss.put("PUT", &path, &role(rules.clone())).await,
            boss.put("PUT", &format!("{path}?create=true"), &role(rules.clone())).await,
            boss.put("PATCH", &path, &json!({"rules": rules})).await,
            boss.put(
                "POST",
                &format!("{RBAC}/{roles}"),
                &json!({"metadata": {"name": "new"}, "rules": rules}),
            )
            .await,
        ];
        for attempt in attempts {
            let refusal = attempt.refusal();
            assert!(
                refusal.contains("is attempting to grant RBAC permissions not currently held: "),
                "{more}: {refusal}"
            );
        }
    }
    assert_eq!(hub.get(&path).await.expect(200)["rules"], json!([held]));
    assert_eq!(hub.get(&format!("{RBAC}/{roles}/new")).await.code, 404);

    let bind = |role: &str| {
        let (kind, name) = role.split_once(' ').expect("kind and name");
        json!({
            "metadata": {"name": "b"}, "roleRef": {"kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "boss"}],
        })
    };
    for (role, expected) in [
        ("ClusterRole cluster-admin", "permissions not currently held: * * in API group \"*\""),
        ("ClusterRole lichen:device-operator", "permissions not currently held: "),
        ("ClusterRole system:auth-delegator", "permissions not currently held: "),
        (
            "ClusterRole later",
            "404 NotFound: clusterroles.rbac.authorization.k8s.io \"later\" not found",
        ),
    ] {
        let refusal = boss.put("POST", &format!("{RBAC}/{bindings}"), &bind(role)).await.refusal();
        assert!(refusal.contains(expected), "{role}: {refusal}");
    }
    boss.put("POST", &format!("{RBAC}/{bindings}"), &bind("ClusterRole edit")).await.expect(201);
    // What it gives can't be changed into more.
    let path = format!("{RBAC}/{bindings}/b");
    let refusal = boss.put("PUT", &path, &bind("ClusterRole cluster-admin")).await.refusal();
    assert!(
        refusal.starts_with("422 Invalid: ") && refusal.contains("roleRef: can't be changed"),
        "{refusal}"
    );
    for (method, path) in [
        ("POST", format!("{RBAC}/clusterroles")),
        ("POST", format!("{RBAC}/clusterrolebindings")),
        ("PATCH", format!("{RBAC}/clusterroles/view")),
        ("POST", format!("{RBAC}/namespaces/default/rolebindings")),
    ] {
        assert_eq!(boss.put(method, &path, &json!({})).await.code, 403, "{method} {path}");
    }
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_as_somebody_else() {
    let hub = Hub::start().await;
    for header in
        ["Impersonate-User", "impersonate-group", "Impersonate-Uid", "Impersonate-Extra-x"]
    {
        let refusal = hub.send("GET", "/api/v1/pods", &[(header, "ann")], b"").await.refusal();
        let expected = format!("leave out the header {}", header.to_lowercase());
        assert!(refusal.starts_with("403 Forbidden") && refusal.ends_with(&expected), "{refusal}");
    }
    hub.running.stop().await.expect("stop");
}

/// The stream ends, whatever came before.
async fn until_end(mut stream: Stream) {
    let end = async { while stream.next().await.is_some() {} };
    timeout(DEADLINE, end).await.expect("it ends in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_the_right_to_it() {
    let hub = Hub::start().await;
    let token = hub.token_of("shop", "ci").await;
    let ci = hub.with_token(&token);
    let path = format!("{}?watch=true", maps("shop"));
    let mut others = hub.watch(&path).await;
    let binding = format!("{RBAC}/namespaces/shop/rolebindings/ci");
    // The binding is deleted.
    hub.bind("shop", "ci", "ClusterRole view", "ci").await;
    let watch = ci.watch(&path).await;
    hub.call("DELETE", &binding).await.expect(200);
    until_end(watch).await;
    assert_eq!(ci.get(&path).await.code, 403);
    // The role allows less.
    hub.role("shop", "viewer", json!([rule(&["watch"], "", &["configmaps"])])).await;
    hub.bind("shop", "ci", "Role viewer", "ci").await;
    let watch = ci.watch(&path).await;
    let role =
        json!({"metadata": {"name": "viewer"}, "rules": [rule(&["get"], "", &["configmaps"])]});
    hub.put("PUT", &format!("{RBAC}/namespaces/shop/roles/viewer"), &role).await.expect(200);
    until_end(watch).await;
    // The binding is of somebody else.
    hub.call("DELETE", &binding).await.expect(200);
    hub.bind("shop", "ci", "ClusterRole view", "ci").await;
    let watch = ci.watch(&path).await;
    let subjects = json!({"subjects": [{"kind": "ServiceAccount", "name": "other"}]});
    let merge = [("content-type", "application/merge-patch+json")];
    hub.send("PATCH", &binding, &merge, subjects.to_string().as_bytes()).await.expect(200);
    until_end(watch).await;
    // The ServiceAccount is deleted.
    hub.call("DELETE", &binding).await.expect(200);
    hub.bind("shop", "ci", "ClusterRole view", "ci").await;
    let watch = ci.watch(&path).await;
    hub.call("DELETE", "/api/v1/namespaces/shop/serviceaccounts/ci").await.expect(200);
    until_end(watch).await;
    assert_eq!(ci.get(&path).await.code, 401);
    // Nobody else's has ended.
    hub.create(&maps("shop"), config_map("a", json!({}), json!({}))).await;
    assert_eq!(others.change().await, "ADDED a");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_while_one_of_two_rights_is_left() {
    let hub = Hub::start().await;
    let ci = hub.with_token(&hub.token_of("shop", "ci").await);
    hub.bind("shop", "one", "ClusterRole view", "ci").await;
    hub.bind("shop", "two", "ClusterRole edit", "ci").await;
    let mut watch = ci.watch(&format!("{}?watch=true", maps("shop"))).await;
    hub.call("DELETE", &format!("{RBAC}/namespaces/shop/rolebindings/one")).await.expect(200);
    hub.create(&maps("shop"), config_map("a", json!({}), json!({}))).await;
    assert_eq!(watch.change().await, "ADDED a");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_roles_come_back_and_nobody_is_locked_out() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let hub = Hub::start_on(RedbStore::open(dir.path()).expect("a store")).await;
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("items");
        items
            .iter()
            .filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned))
            .collect()
    };
    let before = names(&hub.get(&format!("{RBAC}/clusterroles")).await.expect(200));
    assert!(before.contains(&"lichen:device-operator".to_owned()), "{before:?}");
    for plural in ["clusterroles", "clusterrolebindings"] {
        for name in names(&hub.get(&format!("{RBAC}/{plural}")).await.expect(200)) {
            if name == "view" {
                let emptied = json!({"metadata": {"name": "view"}, "rules": []});
                hub.put("PUT", &format!("{RBAC}/{plural}/{name}"), &emptied).await.expect(200);
            } else {
                hub.call("DELETE", &format!("{RBAC}/{plural}/{name}")).await.expect(200);
            }
        }
    }
    // The machine's owner is no matter of rules.
    hub.get("/api/v1/nodes").await.expect(200);
    hub.get("/metrics").await;
    hub.running.stop().await.expect("stop");
    let hub = Hub::start_on(RedbStore::open(dir.path()).expect("a store")).await;
    assert_eq!(names(&hub.get(&format!("{RBAC}/clusterroles")).await.expect(200)), before);
    let view = hub.get(&format!("{RBAC}/clusterroles/view")).await.expect(200);
    assert!(view["rules"].as_array().is_some_and(|rules| rules.len() > 3), "{view}");
    assert_eq!(view["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_names_its_request_and_refusals_are_counted() {
    let hub = Hub::start().await;
    let ci = hub.with_token(&hub.token_of("shop", "ci").await);
    let (first, second) = (ci.get("/metrics").await, ci.get("/api/v1/pods").await);
    let id = |reply: &crate::support::Reply| reply.headers.get("audit-id").cloned().expect("an id");
    assert_ne!(id(&first), id(&second));
    hub.with_token("x").get("/api").await;
    let figures = hub.get("/metrics").await.text();
    for line in ["lichen_api_forbidden_total 2", "lichen_api_unauthorized_total 1"] {
        assert!(figures.lines().any(|other| other == line), "{line}: {figures}");
    }
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_came_with_a_certificate_of_a_ca_that_has_ended_is_not_believed_any_more() {
    let hub = Hub::start().await;
    let request = b"GET /version HTTP/1.1\r\nhost: hub\r\n\r\n";
    let mut kept = hub.connect().await;
    kept.write_all(request).await.expect("written");
    kept.flush().await.expect("written");
    let mut answer = vec![0; 16 << 10];
    let read = kept.read(&mut answer).await.expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", answer[..read].escape_ascii());
    let watch = hub.watch(&format!("{MAPS}?watch=true")).await;
    let path = "/lichen/v1/trust/rotate-ca";
    assert_eq!(hub.send("POST", path, &[], b"{\"overlapS\": 0}").await.code, 200);

    until_end(watch).await;
    kept.write_all(request).await.expect("written");
    kept.flush().await.expect("written");
    let mut rest = Vec::new();
    let end = kept.read_to_end(&mut rest);
    timeout(DEADLINE, end).await.expect("it ends in time").expect("read");
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("HTTP/1.1 401"), "{rest}");
    assert!(rest.contains("the certificate of system:admin has ended, or its CA has"), "{rest}");
}
