//! Quotas of namespaces: what goes over one is not made, and is made when there is room again.

mod world;

use lichen_hub_core::{
    api::{Key, Kind, Object},
    event::Request,
};
use serde_json::{Value, json};
use world::World;

fn world(hard: &Value) -> World {
    let mut world = World::new();
    world.join("a", &[]);
    world.push_image("web:1", "web");
    quota(&mut world, hard).expect("it is good");
    world
}

fn quota(world: &mut World, hard: &Value) -> Result<(), String> {
    let object =
        json!({"metadata": {"name": "most", "namespace": "default"}, "spec": {"hard": hard}});
    world.apply(Kind::ResourceQuota, &object).map(drop)
}

fn apply(world: &mut World, kind: Kind, name: &str, replicas: u32, resources: &Value) {
    let labels = json!({"app": name});
    let mut object = json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [
                {"name": "main", "image": "web:1", "resources": resources}
            ]}},
        },
    });
    if kind == Kind::Deployment {
        object["spec"]["replicas"] = json!(replicas);
    }
    world.apply(kind, &object).expect("it is good");
}

fn delete(world: &mut World, kind: Kind, name: &str) {
    let namespace = "default".into();
    world.request(Request::Delete { kind, namespace, name: name.into() }).expect("it is there");
}

fn pods(world: &World, kind: Kind, name: &str) -> usize {
    let key = Key::new(kind, "default", name);
    world.engine.state().pods.of(&key).filter(|pod| pod.deleting.is_none()).count()
}

fn used(world: &mut World) -> Value {
    let quota = world.list(Kind::ResourceQuota).into_iter().next().expect("it is there");
    serde_json::to_value(quota).expect("JSON")["status"]["used"].clone()
}

fn events(world: &mut World, reason: &str) -> Vec<String> {
    let events = world.list(Kind::Event).into_iter().filter_map(|object| match object {
        Object::Event(event) if event.reason == reason => Some(event.message),
        _ => None,
    });
    events.collect()
}

#[test]
fn a_workload_has_as_many_pods_as_its_namespace_may_and_the_rest_when_there_is_room() {
    let mut world = world(&json!({"pods": 3}));
    apply(&mut world, Kind::Deployment, "one", 2, &json!({}));
    apply(&mut world, Kind::Deployment, "two", 2, &json!({}));
    assert_eq!(
        (pods(&world, Kind::Deployment, "one"), pods(&world, Kind::Deployment, "two")),
        (2, 1)
    );
    assert_eq!(used(&mut world), json!({"pods": "3"}));
    let said = events(&mut world, "FailedCreate");
    assert_eq!(said, ["exceeded quota: most, requested: pods=1, used: pods=3, limited: pods=3"]);
    apply(&mut world, Kind::Deployment, "one", 1, &json!({}));
    assert_eq!(
        (pods(&world, Kind::Deployment, "one"), pods(&world, Kind::Deployment, "two")),
        (1, 2)
    );
    quota(&mut world, &json!({"pods": 4})).expect("it is good");
    apply(&mut world, Kind::Deployment, "one", 2, &json!({}));
    assert_eq!(used(&mut world), json!({"pods": "4"}));
}

#[test]
fn a_higher_quota_or_none_lets_what_waited_go_on() {
    for is_removed in [false, true] {
        let mut world = world(&json!({"pods": 1}));
        apply(&mut world, Kind::Deployment, "one", 3, &json!({}));
        assert_eq!(pods(&world, Kind::Deployment, "one"), 1);
        match is_removed {
            true => delete(&mut world, Kind::ResourceQuota, "most"),
            false => quota(&mut world, &json!({"pods": 9})).expect("it is good"),
        }
        assert_eq!(pods(&world, Kind::Deployment, "one"), 3, "{is_removed}");
    }
}

#[test]
fn requests_and_limits_are_counted_and_must_be_said_then() {
    let mut world =
        world(&json!({"requests.cpu": "500m", "limits.memory": "128Mi", "requests.memory": "1Gi"}));
    let resources = json!({"requests": {"cpu": "200m"}, "limits": {"memory": "50Mi"}});
    apply(&mut world, Kind::Deployment, "web", 4, &resources);
    assert_eq!(pods(&world, Kind::Deployment, "web"), 2);
    assert_eq!(
        used(&mut world),
        json!({"requests.cpu": "400m", "limits.memory": "100Mi", "requests.memory": "100Mi"})
    );
    let said = events(&mut world, "FailedCreate");
    assert!(said[0].contains("requested: limits.memory=50Mi,requests.cpu=200m"), "{said:?}");
    apply(&mut world, Kind::DaemonSet, "each", 0, &json!({"requests": {"cpu": "1m"}}));
    assert_eq!(pods(&world, Kind::DaemonSet, "each"), 0);
    let said = events(&mut world, "FailedCreate").join("\n");
    assert!(
        said.contains("failed quota: most: must specify limits.memory, requests.memory of each"),
        "{said}"
    );
}

#[test]
fn objects_are_counted_by_kind() {
    let mut world = world(&json!({"configmaps": 1, "count/deployments.apps": 1}));
    let map = |name: &str| json!({"metadata": {"name": name, "namespace": "default"}});
    world.apply(Kind::ConfigMap, &map("a")).expect("the first");
    world.apply(Kind::ConfigMap, &map("a")).expect("the same");
    let said = world.apply(Kind::ConfigMap, &map("b")).expect_err("one too many");
    assert!(
        said.contains("exceeded quota: most, requested: configmaps=1, used: configmaps=1, limited: configmaps=1"),
        "{said}"
    );
    let elsewhere = json!({"metadata": {"name": "other"}});
    world.apply(Kind::Namespace, &elsewhere).expect("it is good");
    let other = json!({"metadata": {"name": "b", "namespace": "other"}});
    world.apply(Kind::ConfigMap, &other).expect("another namespace");
    apply(&mut world, Kind::Deployment, "one", 0, &json!({}));
    assert_eq!(used(&mut world), json!({"configmaps": "1", "count/deployments.apps": "1"}));
}

#[test]
fn a_bound_that_nobody_counts_is_refused() {
    let mut world = World::new();
    let said = quota(&mut world, &json!({"requests.nvidia.com/gpu": 1})).expect_err("refused");
    assert!(
        said.contains("spec.hard[requests.nvidia.com/gpu]: this is not bounded here"),
        "{said}"
    );
    let said = quota(&mut world, &json!({"pods": "many"})).expect_err("refused");
    assert!(said.contains("spec.hard[pods]: \"many\" is not a quantity"), "{said}");
}

#[test]
fn a_pod_without_a_workload_is_refused_over_a_quota_and_one_that_has_ended_uses_none() {
    let mut world = world(&json!({"pods": 1}));
    let pod = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "web:1"}]}})
    };
    world.apply(Kind::Pod, &pod("one")).expect("there is room");
    let refused = world.apply(Kind::Pod, &pod("two")).expect_err("there is none");
    let said = "Pod default/two is forbidden: exceeded quota: most, requested: pods=1";
    assert!(refused.contains(said), "{refused}");
    world.end("one", true);
    world.apply(Kind::Pod, &pod("two")).expect("there is room again");
    assert_eq!(used(&mut world), json!({"pods": "1"}));
}
