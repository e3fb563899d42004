//! Questions about access, as `kubectl auth` and programs ask them.

use serde_json::{Value, json};

use crate::support::{Hub, RBAC};

const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";
const AUTHENTICATION: &str = "/apis/authentication.k8s.io/v1";

fn resource(verb: &str, resource: &str, namespace: &str) -> Value {
    json!({"resourceAttributes": {"verb": verb, "resource": resource, "namespace": namespace}})
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_ask_about_themselves() {
    let hub = Hub::start().await;
    let token = hub.token_of("shop", "ci").await;
    let ci = hub.with_token(&token);
    hub.bind("shop", "ci", "ClusterRole view", "ci").await;
    let path = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
    for (verb, of, namespace, allowed) in [
        ("list", "pods", "shop", true),
        ("list", "secrets", "shop", false),
        ("list", "pods", "farm", false),
        ("list", "pods", "", false),
    ] {
        let review = ci
            .put("POST", &path, &json!({"spec": resource(verb, of, namespace)}))
            .await
            .expect(201);
        assert_eq!(review["status"]["allowed"], allowed, "{verb} {of} {namespace}: {review}");
        assert_eq!(review["kind"], "SelfSubjectAccessReview");
        assert_eq!(review["spec"]["resourceAttributes"]["verb"], verb);
    }
    let rules = format!("{AUTHORIZATION}/selfsubjectrulesreviews");
    let review = ci.put("POST", &rules, &json!({"spec": {"namespace": "shop"}})).await.expect(201);
    let text = review["status"]["resourceRules"].to_string();
    assert!(text.contains("pods/log") && text.contains("selfsubjectreviews"), "{text}");
    assert!(!text.contains("secrets"), "{text}");
    let me = format!("{AUTHENTICATION}/selfsubjectreviews");
    let review = ci.put("POST", &me, &json!({})).await.expect(201);
    let user = &review["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:shop:ci");
    assert_eq!(user["uid"].as_str().map(str::len), Some(36));
    let admin = hub.put("POST", &me, &json!({"kind": "SelfSubjectReview"})).await.expect(201);
    let groups = json!(["system:masters", "system:authenticated"]);
    assert_eq!(admin["status"]["userInfo"], json!({"username": "system:admin", "groups": groups}));
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_asks_about_others() {
    let hub = Hub::start().await;
    let token = hub.token_of("shop", "ci").await;
    let ci = hub.with_token(&token);
    let mut spec = resource("get", "pods", "shop");
    spec["user"] = "system:serviceaccount:shop:ci".into();
    let local = format!("{AUTHORIZATION}/namespaces/shop/localsubjectaccessreviews");
    let (subject, whose) =
        (format!("{AUTHORIZATION}/subjectaccessreviews"), format!("{AUTHENTICATION}/tokenreviews"));
    let review = json!({"spec": {"token": token}});
    for (path, body) in [
        (&subject, json!({"spec": spec})),
        (&local, json!({"spec": spec})),
        (&whose, review.clone()),
    ] {
        assert_eq!(ci.put("POST", path, &body).await.code, 403, "{path}");
    }
    hub.bind("shop", "ci", "ClusterRole admin", "ci").await;
    let answer = ci.put("POST", &local, &json!({"spec": spec})).await.expect(201);
    assert_eq!(answer["status"]["allowed"], true, "{answer}");
    assert_eq!(ci.put("POST", &subject, &json!({"spec": spec})).await.code, 403);
    let mut elsewhere = spec.clone();
    elsewhere["resourceAttributes"]["namespace"] = "farm".into();
    let refusal = ci.put("POST", &local, &json!({"spec": elsewhere})).await.refusal();
    assert!(refusal.contains("must be \"shop\", that of the path"), "{refusal}");

    let answer = hub.put("POST", &subject, &json!({"spec": spec})).await.expect(201);
    assert!(
        answer["status"]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("RoleBinding \"ci/shop\""))
    );
    let answer = hub.put("POST", &whose, &review).await.expect(201);
    assert_eq!(answer["status"]["authenticated"], true, "{answer}");
    assert_eq!(answer["status"]["user"]["username"], "system:serviceaccount:shop:ci");
    let answer =
        hub.put("POST", &whose, &json!({"spec": {"token": format!("{token}x")}})).await.expect(201);
    assert_eq!(answer["status"]["authenticated"], false);
    assert!(
        answer["status"]["error"].as_str().is_some_and(|error| error.starts_with("the token ")),
        "{answer}"
    );
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_not_kept() {
    let hub = Hub::start().await;
    let path = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
    for (method, path) in [
        ("GET", path.clone()),
        ("GET", format!("{path}?watch=true")),
        ("GET", format!("{path}/x")),
        ("PUT", format!("{path}/x")),
        ("DELETE", format!("{path}/x")),
    ] {
        let refusal = hub.call(method, &path).await.refusal();
        assert!(
            refusal.starts_with("405 MethodNotAllowed: a SelfSubjectAccessReview is a question"),
            "{refusal}"
        );
    }
    for (body, why) in [
        (json!({}), "spec: is missing"),
        (
            json!({"spec": {}}),
            "exactly one of spec.resourceAttributes and spec.nonResourceAttributes",
        ),
        (json!({"spec": {"resourceAttribute": {}}}), "did you mean resourceAttributes?"),
        (
            json!({"spec": {"resourceAttributes": {"fieldSelector": {}}}}),
            "no rule looks at selectors",
        ),
    ] {
        let refusal = hub.put("POST", &path, &body).await.refusal();
        assert!(refusal.contains(why), "{refusal}");
    }
    let discovered = hub.get(AUTHORIZATION).await.expect(200);
    assert_eq!(discovered["resources"][0]["verbs"], json!(["create"]));
    let document = hub.get("/openapi/v3/apis/authorization.k8s.io/v1").await.expect(200);
    let paths = document["paths"].as_object().expect("paths");
    let collection = &paths["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"];
    assert_eq!(collection.as_object().map(|methods| methods.len()), Some(1), "{collection}");
    assert!(!paths.keys().any(|path| path.ends_with("{name}")), "{paths:?}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_shown_as_kubectl_shows_them() {
    let hub = Hub::start().await;
    hub.token_of("shop", "ci").await;
    hub.bind("shop", "ci", "ClusterRole view", "ci").await;
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let rows = |path: String| {
        let hub = &hub;
        async move {
            let table = hub.send("GET", &path, &table, b"").await.expect(200);
            let names: Vec<String> = table["columnDefinitions"]
                .as_array()
                .expect("columns")
                .iter()
                .filter_map(|column| column["name"].as_str().map(str::to_owned))
                .collect();
            (names.join(" | "), table["rows"][0]["cells"].clone())
        }
    };
    let (names, cells) = rows(format!("{RBAC}/namespaces/shop/rolebindings")).await;
    assert_eq!(names, "Name | Role | Age | Users | Groups | ServiceAccounts");
    assert_eq!(
        (&cells[0], &cells[1], &cells[5]),
        (&json!("ci"), &json!("ClusterRole/view"), &json!("/ci"))
    );
    let (names, cells) = rows(format!("{RBAC}/clusterroles")).await;
    assert_eq!((names.as_str(), &cells[0]), ("Name | Created At", &json!("admin")));
    hub.running.stop().await.expect("stop");
}
