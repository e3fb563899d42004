//! Objects over HTTP: create, read, list, replace, patch, delete, and every way to be refused.

use serde_json::{Value, json};

use crate::support::{DEPLOYMENTS, Hub, MAPS, config_map, deployment};

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_created_read_replaced_and_deleted() {
    let hub = Hub::start().await;
    let created = hub.put("POST", MAPS, &config_map("a", json!({}), json!({"x": "1"}))).await;
    let created = created.expect(201);
    assert_eq!(created["metadata"]["namespace"], "default");
    assert!(
        created["metadata"]["uid"].is_string()
            && created["metadata"]["creationTimestamp"].is_string()
    );

    let path = format!("{MAPS}/a");
    let read = hub.get(&path).await;
    assert_eq!(read.headers["content-type"], "application/json");
    assert_eq!(read.expect(200), created);

    let mut changed = created.clone();
    changed["data"]["x"] = "2".into();
    let replaced = hub.put("PUT", &path, &changed).await.expect(200);
    assert_eq!(replaced["data"]["x"], "2");
    assert_ne!(replaced["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    assert_eq!(replaced["metadata"]["uid"], created["metadata"]["uid"]);

    let stale = hub.put("PUT", &path, &created).await.refusal();
    assert!(
        stale.starts_with("409 Conflict: ConfigMap default/a has changed meanwhile"),
        "{stale}"
    );

    let deleted = hub.call("DELETE", &path).await.expect(200);
    assert_eq!((&deleted["kind"], &deleted["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(deleted["details"]["uid"], created["metadata"]["uid"]);
    assert_eq!(hub.get(&path).await.refusal(), "404 NotFound: configmaps \"a\" not found");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_selected_by_namespace_labels_and_fields() {
    let hub = Hub::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}});
    hub.put("POST", "/api/v1/namespaces", &namespace).await.expect(201);
    for (place, name, tier) in [("default", "a", "x"), ("default", "b", "y"), ("other", "c", "x")] {
        let path = format!("/api/v1/namespaces/{place}/configmaps");
        hub.put("POST", &path, &config_map(name, json!({"tier": tier}), json!({})))
            .await
            .expect(201);
    }
    for (path, expected) in [
        ("/api/v1/configmaps", vec!["a", "b", "c"]),
        (MAPS, vec!["a", "b"]),
        ("/api/v1/configmaps?labelSelector=tier%3Dx", vec!["a", "c"]),
        ("/api/v1/configmaps?labelSelector=tier%20in%20(y,z)", vec!["b"]),
        ("/api/v1/configmaps?labelSelector=!tier", vec![]),
        ("/api/v1/configmaps?fieldSelector=metadata.name%3Dc", vec!["c"]),
        ("/api/v1/configmaps?fieldSelector=metadata.namespace!%3Dother", vec!["a", "b"]),
    ] {
        let list = hub.get(path).await.expect(200);
        assert_eq!(names(&list), expected, "{path}");
        assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
        assert!(list["metadata"]["resourceVersion"].is_string());
    }
    let wrong = hub.get("/api/v1/configmaps?labelSelector=a%20b").await.refusal();
    assert!(wrong.starts_with("400 BadRequest: could not read the label selector"), "{wrong}");
    let wrong = hub.get("/api/v1/configmaps?fieldSelector=status.phase%3Dx").await.refusal();
    assert!(wrong.contains("ConfigMap can't be selected by the field"), "{wrong}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_unsupported_field_is_refused_at_once() {
    let hub = Hub::start().await;
    let mut wrong = deployment("web", "web:1");
    wrong["spec"]["replica"] = json!(2);
    wrong["spec"]["template"]["spec"]["containers"][0]["volumeDevices"] = json!([]);
    let reply = hub.put("POST", DEPLOYMENTS, &wrong).await;
    assert_eq!(
        reply.refusal(),
        "422 Invalid: Deployment \"web\" is invalid: spec.replica: Lichen does not support this field; did you \
         mean replicas?; spec.template.spec.containers[0].volumeDevices: Lichen does not support this field: there are \
         no block volumes; mount a device by hostPath"
    );
    let causes = reply.json()["details"]["causes"].clone();
    let fields: Vec<&str> = causes
        .as_array()
        .expect("causes")
        .iter()
        .filter_map(|cause| cause["field"].as_str())
        .collect();
    assert_eq!(fields, ["spec.replica", "spec.template.spec.containers[0].volumeDevices"]);
    assert_eq!(hub.get(&format!("{DEPLOYMENTS}/web")).await.code, 404);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_request_is_refused_in_kubernetes_words() {
    let hub = Hub::start().await;
    let map = config_map("a", json!({}), json!({}));
    hub.put("POST", MAPS, &map).await.expect(201);
    let a = format!("{MAPS}/a");
    let mut elsewhere = map.clone();
    elsewhere["metadata"]["namespace"] = "other".into();
    let calls = [
        ("POST", MAPS, map.clone()),
        ("POST", MAPS, elsewhere),
        ("POST", MAPS, deployment("a", "a")),
        ("POST", MAPS, json!([])),
        ("POST", MAPS, json!({"metadata": {"name": "A!"}})),
        ("POST", "/api/v1/configmaps", map.clone()),
        ("POST", "/api/v1/namespaces/absent/configmaps", map.clone()),
        ("PUT", "/api/v1/namespaces/default/configmaps/b", map.clone()),
        ("PUT", "/api/v1/namespaces/default/configmaps/c", json!({"metadata": {}})),
        ("POST", &a, map.clone()),
        ("DELETE", MAPS, json!({})),
        ("DELETE", &a, json!({"propagationPolicy": "None"})),
        ("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", map.clone()),
        ("GET", "/api/v1/services", json!(null)),
        ("GET", "/nothing", json!(null)),
        ("POST", "/healthz", json!(null)),
    ];
    let mut seen = String::new();
    for (method, path, body) in &calls {
        let refusal = hub.put(method, path, body).await.refusal();
        seen.push_str(&format!("{method} {path}\n  {refusal}\n"));
    }
    let expected = include_str!("refusals.txt");
    assert_eq!(seen, expected, "\n{seen}");

    let broken = hub.send("POST", MAPS, &[("content-type", "application/json")], b"{").await;
    assert!(broken.refusal().starts_with("400 BadRequest: the body is not valid JSON"));
    let cbor = [("content-type", "application/cbor")];
    let refusal = hub.send("POST", MAPS, &cbor, b"x").await.refusal();
    assert!(refusal.starts_with("415 UnsupportedMediaType"), "{refusal}");
    let large = hub.send("POST", MAPS, &[], &vec![b' '; (3 << 20) + 1]).await.refusal();
    assert!(large.starts_with("413 RequestEntityTooLarge"), "{large}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_in_yaml_is_taken_too() {
    let hub = Hub::start().await;
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: \"1\"\n";
    let reply = hub.send("POST", MAPS, &[("content-type", "application/yaml")], yaml).await;
    assert_eq!(reply.expect(201)["data"]["x"], "1");
    let wrong = hub.send("POST", MAPS, &[("content-type", "application/yaml")], b"a: [").await;
    assert!(wrong.refusal().starts_with("400 BadRequest: "), "{}", wrong.text());
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_change_what_they_name_and_nothing_else() {
    let hub = Hub::start().await;
    let mut web = deployment("web", "web:1");
    web["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "X", "value": "1"}]);
    hub.put("POST", DEPLOYMENTS, &web).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let patch = |kind: &'static str, body: Value| {
        let (hub, path) = (&hub, &path);
        async move {
            let kind = format!("application/{kind}");
            let body = body.to_string();
            hub.send("PATCH", path, &[("content-type", kind.as_str())], body.as_bytes()).await
        }
    };
    let merged = patch("merge-patch+json", json!({"spec": {"replicas": 3}})).await.expect(200);
    assert_eq!(merged["spec"]["replicas"], 3);
    let strategic = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "main", "image": "web:2", "env": [{"name": "Y", "value": "2"}]}
    ]}}}});
    let patched = patch("strategic-merge-patch+json", strategic.clone()).await.expect(200);
    assert_eq!(
        patched["spec"]["template"]["spec"]["containers"],
        json!([{"name": "main", "image": "web:2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}])
    );
    assert_eq!(patched["spec"]["replicas"], 3);
    let again = patch("strategic-merge-patch+json", strategic).await.expect(200);
    assert_eq!(again["metadata"]["generation"], patched["metadata"]["generation"]);

    let pinned = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 4}});
    assert_eq!(patch("merge-patch+json", pinned).await.code, 409);
    let unknown =
        patch("merge-patch+json", json!({"spec": {"template": {"spec": {"volumeClaim": true}}}}))
            .await
            .refusal();
    assert!(unknown.contains("volumeClaim: Lichen does not support this field"), "{unknown}");
    let apply = patch("apply-patch+yaml", json!({})).await.refusal();
    assert!(
        apply.starts_with("415 UnsupportedMediaType: Lichen has no server-side apply"),
        "{apply}"
    );
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_scaled_by_itself() {
    let hub = Hub::start().await;
    hub.put("POST", DEPLOYMENTS, &deployment("web", "web:1")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web/scale");
    let mut scale = hub.get(&path).await.expect(200);
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(1)));
    assert_eq!(scale["status"]["selector"], "app=web");
    scale["spec"]["replicas"] = 2.into();
    scale["metadata"]["resourceVersion"] = "1".into();
    assert_eq!(hub.put("PUT", &path, &scale).await.code, 409);
    scale["metadata"]["resourceVersion"] = Value::Null;
    assert_eq!(hub.put("PUT", &path, &scale).await.expect(200)["spec"]["replicas"], 2);
    let patch = [("content-type", "application/merge-patch+json")];
    let patched = hub.send("PATCH", &path, &patch, br#"{"spec":{"replicas":0}}"#).await;
    assert_eq!(patched.expect(200)["spec"]["replicas"], 0);
    assert_eq!(hub.get(&format!("{DEPLOYMENTS}/web")).await.expect(200)["spec"]["replicas"], 0);
    let refusal = hub.put("PUT", &path, &json!({"spec": {}})).await.refusal();
    assert!(refusal.starts_with("400 BadRequest: spec.replicas of a Scale"), "{refusal}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn put_with_create_makes_what_is_not_there() {
    let hub = Hub::start().await;
    let path = format!("{MAPS}/a");
    let map = config_map("a", json!({}), json!({"x": "1"}));
    assert_eq!(hub.put("PUT", &path, &map).await.code, 404);
    let created = hub.put("PUT", &format!("{path}?create=true"), &map).await.expect(201);
    let again = hub.put("PUT", &format!("{path}?create=true"), &map).await.expect(200);
    assert_eq!(created["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"]);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_gets_a_table() {
    let hub = Hub::start().await;
    hub.put("POST", DEPLOYMENTS, &deployment("web", "web:1")).await.expect(201);
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let table = hub.send("GET", DEPLOYMENTS, &accept, b"").await.expect(200);
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    assert_eq!(columns[..5], ["Name", "Ready", "Up-to-date", "Available", "Age"]);
    let row = &table["rows"][0];
    assert_eq!(row["cells"].as_array().expect("cells").len(), columns.len());
    assert_eq!((&row["cells"][0], &row["cells"][1]), (&json!("web"), &json!("0/1")));
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(row["object"]["metadata"]["name"], "web");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_has_can_be_discovered() {
    let hub = Hub::start().await;
    assert_eq!(hub.get("/api").await.expect(200)["versions"], json!(["v1"]));
    assert_eq!(hub.get("/apis").await.expect(200)["groups"][1]["name"], "apps");
    let core = hub.get("/api/v1").await.expect(200);
    let names: Vec<&str> = core["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .filter_map(|r| r["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "namespaces",
            "configmaps",
            "secrets",
            "serviceaccounts",
            "resourcequotas",
            "limitranges",
            "persistentvolumeclaims",
            "persistentvolumes",
            "nodes",
            "pods",
            "events",
            "serviceaccounts/token",
            "pods/log"
        ]
    );
    assert_eq!(
        hub.get("/apis/apps/v1").await.expect(200)["resources"][0]["shortNames"],
        json!(["deploy", "dep"])
    );
    assert_eq!(hub.get("/version").await.expect(200)["major"], "1");
    assert_eq!(hub.get("/openapi/v2").await.code, 404);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_figures_and_lichens_own_paths_answer() {
    let hub = Hub::start().await;
    for path in ["/healthz", "/livez"] {
        assert_eq!(hub.get(path).await.text(), "ok");
    }
    assert_eq!(hub.get("/readyz").await.text(), "ok");
    let metrics = hub.get("/metrics").await;
    assert!(metrics.text().contains("\nlichen_store_commits_total "), "{}", metrics.text());

    let token = hub.call("POST", "/lichen/v1/jointokens").await.expect(201);
    assert!(
        token["token"].as_str().is_some_and(|word| word.starts_with("lichen-join.")),
        "{token}"
    );
    let facts = hub.join("pi").await.facts;
    assert_eq!(facts["lineage"].as_str().map(str::len), Some(32));
    let keys = facts["signingKeys"].as_array().expect("a list");
    assert!(keys.len() == 1 && keys[0].as_str().map(str::len) == Some(64), "{facts}");
    assert_eq!(hub.call("POST", "/lichen/v1/devices/pi/resume").await.code, 404);
    hub.put("POST", DEPLOYMENTS, &deployment("web", "web:1")).await.expect(201);
    let explained = hub.get("/lichen/v1/explain/deployments/default/web").await.expect(200);
    assert!(explained["lines"][0]["text"].is_string(), "{explained}");
    let unknown = hub.get("/lichen/v1/explain/widgets/-/x").await.refusal();
    assert!(unknown.contains("there is nothing called widgets"), "{unknown}");
    assert_eq!(hub.get("/lichen/v1/nothing").await.code, 404);
    assert_eq!(hub.call("POST", "/lichen/v1/images").await.code, 405);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_can_change_nothing() {
    let hub = Hub::start().await;
    let map = config_map("a", json!({}), json!({})).to_string();
    let refusal =
        hub.send("POST", MAPS, &[("origin", "http://evil.example")], map.as_bytes()).await;
    assert!(refusal.refusal().starts_with("403 Forbidden: requests of the web page"));
    assert_eq!(hub.get(&format!("{MAPS}/a")).await.code, 404);
    hub.running.stop().await.expect("stop");
}
