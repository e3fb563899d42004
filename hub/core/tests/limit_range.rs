//! LimitRanges of namespaces: what they fill in and refuse, and that a change of one restarts nothing.

mod world;

use lichen_hub_core::api::{Key, Kind, Object};
use serde_json::{Value, json};
use world::World;

fn world() -> World {
    let mut world = World::new();
    world.join("a", &[]);
    world.push_image("web:1", "web");
    world
}

fn range(world: &mut World, limits: &Value) -> Result<(), String> {
    let object = json!({
        "metadata": {"name": "usual", "namespace": "default"}, "spec": {"limits": limits},
    });
    world.apply(Kind::LimitRange, &object).map(drop)
}

fn deploy(world: &mut World, replicas: u32, resources: &Value) -> Result<(), String> {
    let labels = json!({"app": "web"});
    let object = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [
                {"name": "main", "image": "web:1", "resources": resources}
            ]}},
        },
    });
    world.apply(Kind::Deployment, &object).map(drop)
}

/// Uid and resources of each Pod as the API shows it.
fn pods(world: &mut World) -> Vec<(String, Value)> {
    let shown = |object: Object| {
        let pod = serde_json::to_value(&object).expect("JSON");
        let resources = pod["spec"]["containers"][0]["resources"].clone();
        (object.meta().uid.clone(), resources)
    };
    world.list(Kind::Pod).into_iter().map(shown).collect()
}

#[test]
fn pods_get_what_their_manifest_leaves_out_and_keep_it() {
    let mut world = world();
    range(&mut world, &json!([{"type": "Container", "default": {"memory": "64Mi"}}]))
        .expect("good");
    deploy(&mut world, 1, &json!({})).expect("good");
    let filled = json!({"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}});
    let before = pods(&mut world);
    assert_eq!(before.len(), 1);
    assert_eq!(before[0].1, filled);
    // What an operator wrote stays as it was written.
    let key = Key::new(Kind::Deployment, "default", "web");
    let stored = world.list(Kind::Deployment).into_iter().find(|object| object.key() == key);
    let stored = serde_json::to_value(stored).expect("JSON");
    assert!(stored.pointer("/spec/template/spec/containers/0/resources").is_none(), "{stored}");

    // Another range is for what is written later: neither a restart of the hub nor more replicas change what is there.
    range(&mut world, &json!([{"type": "Container", "default": {"memory": "32Mi"}}]))
        .expect("good");
    world.restart();
    world.pass(60);
    deploy(&mut world, 2, &json!({})).expect("good");
    let after = pods(&mut world);
    assert_eq!(after.len(), 2);
    assert!(after.contains(&before[0]), "{after:?}");
    assert!(after.iter().all(|(_, resources)| *resources == filled), "{after:?}");

    deploy(&mut world, 1, &json!({"limits": {"cpu": "1"}})).expect("good");
    let newest = pods(&mut world).pop().expect("one").1;
    assert_eq!(newest["limits"], json!({"cpu": "1", "memory": "32Mi"}), "{newest}");
}

#[test]
fn what_a_namespace_does_not_allow_is_refused_when_it_is_written() {
    let mut world = world();
    deploy(&mut world, 1, &json!({})).expect("good");
    range(
        &mut world,
        &json!([
            {"type": "Container", "max": {"memory": "64Mi"}},
            {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
        ]),
    )
    .expect("good");
    let said = deploy(&mut world, 1, &json!({"limits": {"memory": "1Gi"}})).expect_err("too much");
    assert!(
        said.contains(
            "container main: maximum memory usage per Container is 64Mi, but limit is 1024Mi"
        ),
        "{said}"
    );
    // What was there before can still be scaled.
    deploy(&mut world, 2, &json!({})).expect("good");
    assert_eq!(pods(&mut world).len(), 2);
    let claim = json!({
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    });
    let said = world.apply(Kind::PersistentVolumeClaim, &claim).map(drop).expect_err("too much");
    assert!(said.contains("maximum storage usage per PersistentVolumeClaim is 1Gi"), "{said}");
}

#[test]
fn a_range_that_says_nothing_sound_is_refused() {
    let mut world = world();
    for (limits, cause) in [
        (json!([{"type": "Box"}]), "spec.limits[0].type: must be one of Container, Pod"),
        (
            json!([{"type": "Container", "max": {"cpu": "lots"}}]),
            "spec.limits[0].max[cpu]: \"lots\" is not a quantity",
        ),
        (
            json!([{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}]),
            "spec.limits[0].min[cpu]: 2 is more than the defaultRequest, 1",
        ),
        (
            json!([{"type": "Pod", "default": {"cpu": "1"}}]),
            "spec.limits[0].default: may not be given for a Pod",
        ),
        (
            json!([{"type": "Container", "max": {"storage": "1Gi"}}]),
            "spec.limits[0].max[storage]: of a Container, cpu and memory can be bounded",
        ),
    ] {
        let said = range(&mut world, &limits).expect_err("not sound");
        assert!(said.contains(cause), "{said}");
    }
}
