//! A device that was taken over, towards the others: what the engine gives it of theirs.

mod world;

use lichen_hub_core::api::Kind;
use serde_json::{Value, json};
use world::World;

/// A world with `pi`, and `mallory`, which says what it likes; and a workload with a choice of devices.
fn world(settings: &[&str], choice: &Value) -> World {
    let mut world = World::new();
    world.push_image("web:1", "web");
    world.join("mallory", settings);
    world.join("pi", &[]);
    let labels = json!({"app": "web"});
    let mut spec = choice.clone();
    spec["containers"] = json!([{"name": "main", "image": "web:1"}]);
    let deployment = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    });
    world.apply(Kind::Deployment, &deployment).expect("it is good");
    world
}

#[test]
fn a_device_gets_the_parts_of_its_own_assignment_alone() {
    let mut world = world(&[], &json!({"nodeName": "pi"}));
    assert_eq!((world.devices["pi"].pods(), world.devices["mallory"].pods()), (4, 0));
    let hashes = world.hashes_of("pi");
    assert!(hashes.len() > 1, "a body and a part");
    for hash in hashes {
        assert_eq!(world.parts_for("mallory", hash), 0, "{hash:?}");
        assert_ne!(world.parts_for("pi", hash), 0, "{hash:?}");
    }
}

#[test]
fn a_device_goes_by_the_host_name_of_no_other() {
    let selector = |key: &str| json!({"nodeSelector": {key: "pi"}});
    let key = "kubernetes.io/hostname";
    let claimed = world(&["kubernetes.io/hostname=pi"], &selector(key));
    assert_eq!((claimed.devices["pi"].pods(), claimed.devices["mallory"].pods()), (4, 0));
    // A label of its own it may claim.
    let claimed = world(&["place=pi"], &selector("place"));
    assert_eq!((claimed.devices["pi"].pods(), claimed.devices["mallory"].pods()), (0, 4));
}
