//! Pods without a workload and Jobs, as a client writes and reads them.

use serde_json::{Value, json};

use crate::support::{DEPLOYMENTS, Hub, deployment};

const PODS: &str = "/api/v1/namespaces/default/pods";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"run": name}},
        "spec": {"containers": [{"name": name, "image": "tool:1", "resources": {}}], "restartPolicy": "Never"}})
}

/// As `kubectl create job` sends it.
fn job(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "creationTimestamp": null},
        "spec": {"template": {"metadata": {"creationTimestamp": null}, "spec": {
            "containers": [{"name": name, "image": "tool:1", "resources": {}}], "restartPolicy": "Never"}}},
        "status": {}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_workload_is_written_relabelled_and_deleted() {
    let hub = Hub::start().await;
    let created = hub.put("POST", PODS, &pod("tool")).await.expect(201);
    assert_eq!(created["status"]["phase"], "Pending");
    assert_eq!(created["metadata"]["ownerReferences"], Value::Null);
    assert_eq!(created["metadata"]["labels"], json!({"run": "tool"}));
    let path = format!("{PODS}/tool");
    assert_eq!(hub.get(&path).await.expect(200)["metadata"]["uid"], created["metadata"]["uid"]);
    let taken = hub.put("POST", PODS, &pod("tool")).await.refusal();
    assert!(taken.contains("already exists"), "{taken}");

    let merge = [("content-type", "application/merge-patch+json")];
    let labels = br#"{"metadata":{"labels":{"tier":"x"},"annotations":{"note":"y"}}}"#;
    let labelled = hub.send("PATCH", &path, &merge, labels).await.expect(200);
    assert_eq!(labelled["metadata"]["labels"], json!({"run": "tool", "tier": "x"}));
    assert_eq!(labelled["metadata"]["uid"], created["metadata"]["uid"]);
    let selected = hub.get(&format!("{PODS}?labelSelector=tier%3Dx")).await.expect(200);
    assert_eq!(selected["items"].as_array().map(Vec::len), Some(1));
    let spec = br#"{"spec":{"terminationGracePeriodSeconds":1}}"#;
    let refused = hub.send("PATCH", &path, &merge, spec).await.refusal();
    assert!(refused.contains("spec: Forbidden: pod updates may not change"), "{refused}");

    hub.call("DELETE", &format!("{path}?gracePeriodSeconds=0")).await.expect(200);
    assert_eq!(hub.get(&path).await.code, 404);
    let again = hub.put("POST", PODS, &pod("tool")).await.expect(201);
    assert_ne!(again["metadata"]["uid"], created["metadata"]["uid"]);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_a_workload_is_changed_by_its_workload_alone() {
    let hub = Hub::start().await;
    hub.put("POST", DEPLOYMENTS, &deployment("web", "web:1")).await.expect(201);
    let pods = hub.get(PODS).await.expect(200);
    let name = pods["items"][0]["metadata"]["name"].as_str().expect("a name");
    let merge = [("content-type", "application/merge-patch+json")];
    let labels = br#"{"metadata":{"labels":{"tier":"x"}}}"#;
    let refused = hub.send("PATCH", &format!("{PODS}/{name}"), &merge, labels).await.refusal();
    assert!(refused.contains("the Pod is of ReplicaSet web-"), "{refused}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_made_of_its_beginning() {
    let hub = Hub::start().await;
    let mut one = pod("");
    one["metadata"] = json!({"generateName": "tool-"});
    one["spec"]["containers"][0]["name"] = "main".into();
    let mut names = Vec::new();
    for _ in 0..3 {
        let created = hub.put("POST", PODS, &one).await.expect(201);
        names.push(created["metadata"]["name"].as_str().expect("a name").to_owned());
        assert_eq!(created["metadata"]["generateName"], "tool-");
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| name.starts_with("tool-") && name.len() == 10), "{names:?}");
    let long = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x".repeat(300)}});
    let maps = "/api/v1/namespaces/default/configmaps";
    let created = hub.put("POST", maps, &long).await.expect(201);
    assert_eq!(created["metadata"]["name"].as_str().map(str::len), Some(253));
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_has_kubernetes_defaults_labels_and_columns() {
    let hub = Hub::start().await;
    let created = hub.put("POST", JOBS, &job("count")).await.expect(201);
    let uid = created["metadata"]["uid"].as_str().expect("a uid");
    let spec = &created["spec"];
    for (field, value) in [
        ("completions", json!(1)),
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ] {
        assert_eq!(spec[field], value, "{field}");
    }
    let selector = &spec["selector"]["matchLabels"];
    assert_eq!(selector, &json!({"batch.kubernetes.io/controller-uid": uid}));
    let pods = hub.get(&format!("{PODS}?labelSelector=job-name%3Dcount")).await.expect(200);
    let owner = &pods["items"][0]["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Job"), &json!(uid)));
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = hub.send("GET", JOBS, &accept, b"").await.expect(200);
    let cells = table["rows"][0]["cells"].as_array().expect("cells");
    assert_eq!(cells[..3], [json!("count"), json!("Running"), json!("0/1")]);
    let sets = hub.get("/apis/apps/v1/controllerrevisions").await.expect(200);
    assert_eq!(sets["items"], json!([]), "a Job has no revisions to show");

    // What was read can be written again, here and on another hub.
    let read = hub.get(&format!("{JOBS}/count")).await.expect(200);
    hub.put("PUT", &format!("{JOBS}/count"), &read).await.expect(200);
    let mut copy = created.clone();
    copy["metadata"] = json!({"name": "copy"});
    let copied = hub.put("POST", JOBS, &copy).await.expect(201);
    let labels = &copied["spec"]["template"]["metadata"]["labels"];
    assert_eq!(
        (&labels["job-name"], &labels["controller-uid"]),
        (&json!("copy"), &copied["metadata"]["uid"])
    );
    hub.call("DELETE", &format!("{JOBS}/count?propagationPolicy=Background")).await.expect(200);
    let left = hub.get(&format!("{PODS}?labelSelector=job-name%3Dcount")).await.expect(200);
    assert_eq!(left["items"], json!([]));
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_can_not_be_is_refused_by_name() {
    let hub = Hub::start().await;
    for (field, value, said) in [
        ("podFailurePolicy", json!({"rules": []}), "counts towards backoffLimit"),
        ("backoffLimitPerIndex", json!(1), "towards backoffLimit together"),
        ("maxFailedIndexes", json!(1), "fails as a whole"),
        ("successPolicy", json!({"rules": []}), "complete when all"),
        ("managedBy", json!("x/y"), "only one that rules Jobs"),
        ("manualSelector", json!(true), "knows its Pods by its uid"),
        ("podReplacementPolicy", json!("Failed"), "would never be replaced"),
        ("completionMode", json!("Other"), "must be \"NonIndexed\" or \"Indexed\""),
        ("parallelism", json!(10_001), "at most 10000 run at once"),
    ] {
        let mut wrong = job("wrong");
        wrong["spec"][field] = value;
        let refused = hub.put("POST", JOBS, &wrong).await.refusal();
        assert!(refused.contains(&format!("spec.{field}")), "{field}: {refused}");
        assert!(refused.contains(said), "{field}: {refused}");
    }
    let mut always = job("always");
    always["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
    let refused = hub.put("POST", JOBS, &always).await.refusal();
    assert!(
        refused.contains("spec.template.spec.restartPolicy: \"Always\" is not possible here"),
        "{refused}"
    );
    let mut indexed = job("indexed");
    indexed["spec"]["completionMode"] = "Indexed".into();
    indexed["spec"]["parallelism"] = 2.into();
    let refused = hub.put("POST", JOBS, &indexed).await.refusal();
    assert!(refused.contains("spec.completions: an Indexed Job says how many"), "{refused}");
    hub.running.stop().await.expect("stop");
}
