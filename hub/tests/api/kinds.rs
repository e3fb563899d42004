//! What is the same for every kind: discovery, tables, deletions, owners, bounds, and patches that come at once.

use serde_json::{Value, json};

use crate::support::{DEPLOYMENTS, Hub, MAPS, config_map, deployment};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn words<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let items = list.as_array().expect("a list");
    items.iter().map(|item| item[field].as_str().expect("a text")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_is_made_of_the_kinds_and_a_slash_at_its_end_says_nothing() {
    let hub = Hub::start().await;
    for path in ["/api", "/apis", "/apis/apps", "/api/v1", "/apis/apps/v1", "/version"] {
        let plain = hub.get(path).await.expect(200);
        assert_eq!(hub.get(&format!("{path}/")).await.expect(200), plain, "{path}");
    }
    assert_eq!(hub.get("/apis/policy").await.code, 404);
    assert_eq!(hub.get("/apis/apps/v2").await.code, 404);
    let apps = hub.get("/apis/apps").await.expect(200);
    assert_eq!(apps["preferredVersion"]["groupVersion"], "apps/v1");
    let resources = hub.get("/apis/apps/v1").await.expect(200)["resources"].clone();
    let names = [
        "deployments",
        "daemonsets",
        "statefulsets",
        "replicasets",
        "controllerrevisions",
        "deployments/scale",
        "statefulsets/scale",
    ];
    assert_eq!(words(&resources, "name"), names);
    assert_eq!(resources[0]["shortNames"], json!(["deploy", "dep"]));
    assert_eq!(
        (&resources[5]["kind"], &resources[5]["group"]),
        (&json!("Scale"), &json!("autoscaling"))
    );

    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let core = hub.send("GET", "/api", &[("accept", accept)], b"").await;
    assert_eq!(core.headers["content-type"], accept);
    let version = core.expect(200)["items"][0]["versions"][0].clone();
    let pods = version["resources"].as_array().expect("resources").iter();
    let pods = pods.clone().find(|kind| kind["resource"] == "pods").expect("pods").clone();
    assert_eq!(pods["subresources"][0]["subresource"], "log");
    assert_eq!(
        pods["verbs"],
        json!(["create", "delete", "get", "list", "patch", "update", "watch"])
    );
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_has_the_fields_and_the_keys_of_lists() {
    let hub = Hub::start().await;
    let index = hub.get("/openapi/v3").await.expect(200);
    let url =
        index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("a URL").to_owned();
    let document = hub.get(&url).await.expect(200);
    let schema = &document["components"]["schemas"]["lichen.apps.v1.Deployment"];
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Deployment");
    let ports = schema
        .pointer("/properties/spec/properties/template/properties/spec/properties/containers/items/properties/ports");
    let ports = ports.expect("ports");
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    let pod = "/properties/spec/properties/template/properties/spec/properties";
    assert!(schema.pointer(&format!("{pod}/hostNetwork")).is_some());
    assert!(schema.pointer(&format!("{pod}/schedulingGates")).is_none(), "not supported");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passive_kind_is_created_listed_changed_and_deleted() {
    let hub = Hub::start().await;
    let robot = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"},
        "secrets": [{"name": "a"}], "imagePullSecrets": [{"name": "b"}], "automountServiceAccountToken": false});
    let created = hub.put("POST", ACCOUNTS, &robot).await.expect(201);
    assert_eq!(
        (&created["kind"], &created["apiVersion"]),
        (&json!("ServiceAccount"), &json!("v1"))
    );
    assert_eq!(created["automountServiceAccountToken"], false);
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = hub.send("GET", ACCOUNTS, &accept, b"").await.expect(200);
    assert_eq!(words(&table["columnDefinitions"], "name"), ["Name", "Secrets", "Age", "Labels"]);
    assert_eq!(
        (&table["rows"][0]["cells"][0], &table["rows"][0]["cells"][1]),
        (&json!("robot"), &json!(1))
    );
    let patch = [("content-type", "application/strategic-merge-patch+json")];
    let path = format!("{ACCOUNTS}/robot");
    let patched =
        hub.send("PATCH", &path, &patch, br#"{"secrets":[{"name":"c"}]}"#).await.expect(200);
    assert_eq!(words(&patched["secrets"], "name"), ["a", "c"]);
    let mut wrong = robot.clone();
    wrong["metadata"]["name"] = "other".into();
    wrong["secrets"][0] = json!({"name": "a", "kind": "Secret"});
    let refusal = hub.put("POST", ACCOUNTS, &wrong).await.refusal();
    assert!(refusal.contains("secrets[0].kind: Lichen does not support this field"), "{refusal}");
    hub.call("DELETE", &path).await.expect(200);
    assert_eq!(hub.get(&path).await.code, 404);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deletion_asks_for_is_done_or_refused_by_name_wherever_it_stands() {
    let hub = Hub::start().await;
    hub.put("POST", DEPLOYMENTS, &deployment("web", "web:1")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    for (name, text, value) in [
        ("propagationPolicy", "Orphan", json!("Orphan")),
        ("propagationPolicy", "Foreground", json!("Foreground")),
        ("gracePeriodSeconds", "0", json!(0)),
        ("orphanDependents", "true", json!(true)),
        ("preconditions", "x", json!({"uid": "x"})),
    ] {
        let in_query = hub.call("DELETE", &format!("{path}?{name}={text}")).await.refusal();
        let in_body = hub.put("DELETE", &path, &json!({name: value})).await.refusal();
        assert_eq!(in_query, in_body);
        assert!(in_query.starts_with("400 BadRequest: Lichen does not support"), "{in_query}");
        hub.get(&path).await.expect(200);
    }
    hub.call("DELETE", &format!("{path}?propagationPolicy=Background")).await.expect(200);
    assert_eq!(hub.get(&path).await.code, 404);
    hub.put("POST", MAPS, &config_map("a", json!({}), json!({}))).await.expect(201);
    hub.call("DELETE", &format!("{MAPS}/a?propagationPolicy=Orphan&gracePeriodSeconds=0"))
        .await
        .expect(200);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_and_kinds_that_operators_do_not_make_are_refused_with_the_reason() {
    let hub = Hub::start().await;
    let mut owned = config_map("a", json!({}), json!({}));
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1"}]);
    let refusal = hub.put("POST", MAPS, &owned).await.refusal();
    assert!(refusal.contains("metadata.ownerReferences: can't be written by hand"), "{refusal}");
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "x"}});
    let refusal = hub.put("POST", SETS, &set).await.refusal();
    let wanted = "405 MethodNotAllowed: replicasets can't be written by hand";
    assert!(refusal.starts_with(wanted), "{refusal}");
    let refusal = hub.put("PATCH", &format!("{SETS}/x"), &json!({})).await.refusal();
    assert!(refusal.starts_with(wanted), "{refusal}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_waits_is_deleted_and_shown() {
    let hub = Hub::start().await;
    hub.put("POST", DEPLOYMENTS, &deployment("web", "web:1")).await.expect(201);
    let pods = hub.get(PODS).await.expect(200);
    let name = pods["items"][0]["metadata"]["name"].as_str().expect("a Pod").to_owned();
    let gone = hub.call("DELETE", &format!("{PODS}/{name}")).await.expect(200);
    assert_eq!((&gone["kind"], &gone["metadata"]["name"]), (&json!("Pod"), &json!(name)));
    assert_eq!(hub.get(&format!("{PODS}/{name}")).await.code, 404);
    let other = hub.get(PODS).await.expect(200);
    assert_ne!(other["items"][0]["metadata"]["name"], name, "the Deployment makes another");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_that_come_at_once_are_all_done() {
    let hub = Hub::start().await;
    hub.put("POST", DEPLOYMENTS, &deployment("web", "web:1")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let patch = |number: usize| {
        let (hub, path) = (&hub, &path);
        async move {
            let body = json!({"metadata": {"labels": {format!("n{number}"): "x"}}}).to_string();
            let kind = [("content-type", "application/merge-patch+json")];
            hub.send("PATCH", path, &kind, body.as_bytes()).await.expect(200)
        }
    };
    futures_util::future::join_all((0..40).map(patch)).await;
    let web = hub.get(&path).await.expect(200);
    assert_eq!(web["metadata"]["labels"].as_object().map(|labels| labels.len()), Some(40));
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_means_the_same_is_the_same_revision() {
    let hub = Hub::start().await;
    let revision = || async {
        let pods = hub.get(PODS).await.expect(200);
        let labels = &pods["items"][0]["metadata"]["labels"];
        labels["pod-template-hash"].as_str().expect("a hash").to_owned()
    };
    let mut web = deployment("web", "web:1");
    let container = "/spec/template/spec/containers/0";
    web.pointer_mut(container).expect("a container")["resources"] =
        json!({"limits": {"cpu": "0.5", "memory": "64Mi"}});
    hub.put("POST", DEPLOYMENTS, &web).await.expect(201);
    let before = revision().await;
    web.pointer_mut(container).expect("a container")["resources"] =
        json!({"limits": {"cpu": "500m", "memory": "65536Ki"}, "requests": {"cpu": 0.5}});
    web.pointer_mut("/spec/template/spec").expect("a spec")["restartPolicy"] = "Always".into();
    hub.put("PUT", &format!("{DEPLOYMENTS}/web"), &web).await.expect(200);
    assert_eq!(revision().await, before);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_full_says_so() {
    let hub = Hub::start().await;
    let most = lichen_hub_core::api::Kind::Namespace.names().most;
    let namespace = |number: usize| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("n{number}")}});
    // One of them is there from the start.
    for number in 1..most {
        hub.put("POST", "/api/v1/namespaces", &namespace(number)).await.expect(201);
    }
    let refusal = hub.put("POST", "/api/v1/namespaces", &namespace(most)).await.refusal();
    assert!(refusal.starts_with("403 Forbidden: this hub has 1000 namespaces"), "{refusal}");
    hub.running.stop().await.expect("stop");
}
