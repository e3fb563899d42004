//! What a namespace's level lets in when a workload is created and changed, and what goes on under a level that came later.

mod world;

use lichen_hub_core::api::Kind;
use serde_json::{Value, json};
use world::World;

fn level(world: &mut World, level: &str) {
    let labels = json!({"pod-security.kubernetes.io/enforce": level});
    let json = json!({"metadata": {"name": "default", "labels": labels}});
    world.apply(Kind::Namespace, &json).expect("a level");
}

fn web(replicas: u32, labels: &Value, spec: &Value) -> Value {
    let app = json!({"app": "web"});
    let mut pod = json!({"containers": [{"name": "main", "image": "web:1"}]});
    for (field, value) in spec.as_object().expect("fields") {
        pod[field] = value.clone();
    }
    json!({
        "metadata": {"name": "web", "namespace": "default", "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": app},
            "template": {"metadata": {"labels": app}, "spec": pod}},
    })
}

fn apply(world: &mut World, object: &Value) -> String {
    world.apply(Kind::Deployment, object).err().unwrap_or_default()
}

#[test]
fn a_workload_over_the_level_is_refused_and_changes_nothing() {
    let mut world = World::new();
    world.push_image("web:1", "web");
    level(&mut world, "baseline");
    let host = json!({"hostPID": true});
    let expected = "deployments.apps \"web\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)";
    assert_eq!(apply(&mut world, &web(1, &json!({}), &host)), expected);
    assert!(world.list(Kind::Deployment).is_empty());
    assert_eq!(apply(&mut world, &web(1, &json!({}), &json!({}))), "");
    assert_eq!(apply(&mut world, &web(1, &json!({}), &host)), expected, "nor as a change");
    level(&mut world, "privileged");
    assert_eq!(apply(&mut world, &web(1, &json!({}), &host)), "");
}

#[test]
fn what_runs_under_a_level_that_came_later_makes_no_other_pods_and_no_more() {
    let mut world = World::new();
    world.push_image("web:1", "web");
    let host = json!({"hostPID": true});
    assert_eq!(apply(&mut world, &web(3, &json!({}), &host)), "");
    level(&mut world, "restricted");
    assert_eq!(apply(&mut world, &web(2, &json!({}), &host)), "", "fewer");
    assert_eq!(apply(&mut world, &web(2, &json!({"a": "b"}), &host)), "", "a label");
    assert!(apply(&mut world, &web(3, &json!({}), &host)).contains("restricted:latest"), "more");
    let other = json!({"hostPID": true, "terminationGracePeriodSeconds": 5});
    assert!(apply(&mut world, &web(2, &json!({}), &other)).contains("restricted:latest"), "others");
}

#[test]
fn a_namespace_with_a_label_that_says_no_level_is_refused() {
    let mut world = World::new();
    let labels = json!({"pod-security.kubernetes.io/enforce": "strict"});
    let json = json!({"metadata": {"name": "default", "labels": labels}});
    let said = world.apply(Kind::Namespace, &json).expect_err("refused");
    assert!(said.contains("must be one of privileged, baseline, restricted"), "{said}");
}
