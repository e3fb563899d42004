//! Who comes first when devices are full: classes of priority, and Pods that make way.

mod world;

use lichen_hub_core::{
    api::{Key, Kind, Object},
    event::Request,
};
use serde_json::{Value, json};
use world::World;

/// Two devices with a GiB of memory each.
fn world() -> World {
    let mut world = World::new();
    world.join("a", &[]);
    world.join("b", &[]);
    world.push_image("web:1", "web");
    for (name, value, policy) in [
        ("high", 1000, "PreemptLowerPriority"),
        ("patient", 1000, "Never"),
        ("low", -10, "PreemptLowerPriority"),
    ] {
        class(&mut world, name, &json!({"value": value, "preemptionPolicy": policy}))
            .expect("it is good");
    }
    world
}

fn class(world: &mut World, name: &str, more: &Value) -> Result<(), String> {
    let mut object = more.clone();
    object["metadata"] = json!({"name": name});
    world.apply(Kind::PriorityClass, &object).map(drop)
}

fn workload(name: &str, class: &str, memory: &str, more: &Value) -> Value {
    let labels = json!({"app": name});
    let mut spec = json!({"containers": [{"name": "main", "image": "web:1",
        "resources": {"requests": {"memory": memory}}}]});
    if !class.is_empty() {
        spec["priorityClassName"] = json!(class);
    }
    let mut object = json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

fn apply(world: &mut World, name: &str, class: &str, memory: &str, replicas: u32) {
    let object = workload(name, class, memory, &json!({"replicas": replicas}));
    world.apply(Kind::Deployment, &object).expect("it is good");
}

/// On which devices the Pods of a workload are that are not on their way out, and how many are on none.
fn places(world: &World, kind: Kind, name: &str) -> String {
    let key = Key::new(kind, "default", name);
    let pods = world.engine.state().pods.of(&key);
    let active = pods.filter(|pod| pod.deleting.is_none());
    let mut places: Vec<&str> = active
        .map(|pod| pod.device.as_deref().filter(|_| pod.supply.is_some()).unwrap_or("-"))
        .collect();
    places.sort_unstable();
    places.join(" ")
}

fn deployment(world: &World, name: &str) -> String {
    places(world, Kind::Deployment, name)
}

fn events(world: &mut World, reason: &str) -> Vec<String> {
    let events = world.list(Kind::Event).into_iter().filter_map(|object| match object {
        Object::Event(event) if event.reason == reason => Some(event.message),
        _ => None,
    });
    events.collect()
}

#[test]
fn a_pod_that_matters_more_takes_the_place_of_one_that_matters_less() {
    let mut world = world();
    apply(&mut world, "less", "low", "600Mi", 2);
    assert_eq!(deployment(&world, "less"), "a b");
    apply(&mut world, "more", "high", "600Mi", 1);
    assert_eq!((deployment(&world, "less").as_str(), &*deployment(&world, "more")), ("- b", "a"));
    let said = events(&mut world, "Preempted");
    assert_eq!(
        said,
        ["a has no room for a Pod of Deployment default/more, which has a higher priority"]
    );
    // Who made way waits for its turn, and has it.
    world.join("c", &[]);
    assert_eq!(deployment(&world, "less"), "b c");
}

#[test]
fn nobody_makes_way_for_an_equal_or_for_one_that_never_preempts_or_without_use() {
    for (class, memory) in [("", "600Mi"), ("low", "600Mi"), ("patient", "600Mi"), ("high", "2Gi")]
    {
        let mut world = world();
        apply(&mut world, "less", "", "600Mi", 2);
        apply(&mut world, "more", class, memory, 1);
        assert_eq!(deployment(&world, "less"), "a b", "{class} {memory}");
        assert_eq!(deployment(&world, "more"), "-", "{class} {memory}");
    }
}

#[test]
fn as_few_and_as_unimportant_as_possible_make_way() {
    let mut world = World::new();
    world.join("a", &[]);
    world.push_image("web:1", "web");
    for (name, value) in [("one", 1), ("two", 2), ("three", 3)] {
        class(&mut world, name, &json!({"value": value})).expect("it is good");
    }
    apply(&mut world, "first", "one", "300Mi", 1);
    apply(&mut world, "second", "two", "300Mi", 1);
    apply(&mut world, "none", "", "300Mi", 1);
    apply(&mut world, "third", "three", "300Mi", 1);
    assert_eq!(deployment(&world, "none"), "-", "it is enough that one goes");
    assert_eq!(deployment(&world, "first"), "a");
    assert_eq!(deployment(&world, "second"), "a");
    apply(&mut world, "fourth", "three", "300Mi", 1);
    assert_eq!((deployment(&world, "first").as_str(), &*deployment(&world, "second")), ("-", "a"));
}

#[test]
fn the_device_that_loses_least_is_chosen() {
    let mut world = world();
    class(&mut world, "mid", &json!({"value": 5})).expect("it is good");
    let on = |name: &str, class: &str, device: &str| {
        let mut object = workload(name, class, "600Mi", &json!({"replicas": 1}));
        object["spec"]["template"]["spec"]["nodeName"] = json!(device);
        object
    };
    for (name, class, device) in [("left", "mid", "a"), ("right", "low", "b")] {
        world.apply(Kind::Deployment, &on(name, class, device)).expect("it is good");
    }
    apply(&mut world, "more", "high", "600Mi", 1);
    assert_eq!((deployment(&world, "left").as_str(), &*deployment(&world, "more")), ("a", "b"));
}

#[test]
fn a_daemon_set_that_matters_gets_its_place_on_every_device() {
    let mut world = world();
    apply(&mut world, "less", "low", "600Mi", 2);
    let set = workload("watch", "system-node-critical", "600Mi", &json!({}));
    world.apply(Kind::DaemonSet, &set).expect("it is good");
    assert_eq!(places(&world, Kind::DaemonSet, "watch"), "a b");
    assert_eq!(deployment(&world, "less"), "- -");
}

#[test]
fn among_those_that_wait_the_first_place_is_for_who_matters_most() {
    let mut world = World::new();
    world.push_image("web:1", "web");
    class(&mut world, "high", &json!({"value": 1000})).expect("it is good");
    apply(&mut world, "a-late", "", "600Mi", 1);
    apply(&mut world, "z-first", "high", "600Mi", 1);
    world.join("a", &[]);
    assert_eq!(
        (deployment(&world, "a-late").as_str(), &*deployment(&world, "z-first")),
        ("-", "a")
    );
    assert!(events(&mut world, "Preempted").is_empty(), "nobody had to go");
}

#[test]
fn a_pods_priority_is_what_its_class_was_when_it_was_made() {
    let mut world = world();
    class(&mut world, "usual", &json!({"value": 7, "globalDefault": true})).expect("it is good");
    apply(&mut world, "web", "", "1Mi", 1);
    let priority = |world: &mut World| match world.list(Kind::Pod).first() {
        Some(Object::Pod(pod)) => pod.spec.priority,
        other => panic!("no Pod: {other:?}"),
    };
    assert_eq!(priority(&mut world), Some(7));
    let delete = Request::Delete {
        kind: Kind::PriorityClass,
        namespace: String::new(),
        name: "usual".into(),
    };
    world.request(delete).expect("it is there");
    world.restart();
    assert_eq!(priority(&mut world), Some(7));
}

#[test]
fn classes_are_checked_and_named_ones_must_be_there() {
    let mut world = world();
    let mut refused = |name: &str, more: &Value| class(&mut world, name, more).expect_err(name);
    let said = refused("system-mine", &json!({"value": 1}));
    assert!(said.contains("metadata.name: names that begin with \"system-\""), "{said}");
    let said = refused("huge", &json!({"value": 1_000_000_001}));
    assert!(said.contains("value: 1000000001 is over 1000000000"), "{said}");
    let said = refused("odd", &json!({"value": 1, "preemptionPolicy": "Always"}));
    assert!(said.contains("preemptionPolicy: \"Always\" must be"), "{said}");
    let said = refused("high", &json!({"value": 1001}));
    assert!(said.contains("can't be changed; make another class"), "{said}");
    let web = workload("web", "nobody", "1Mi", &json!({"replicas": 1}));
    let said = world.apply(Kind::Deployment, &web).expect_err("it is refused");
    assert!(said.contains("no PriorityClass with name nobody was found"), "{said}");
    let names: Vec<String> =
        world.list(Kind::PriorityClass).iter().map(|class| class.meta().name.clone()).collect();
    assert!(names.contains(&"system-node-critical".into()), "{names:?}");
}
