//! Where Pods go whose template says more than labels and taints: affinity to devices and to other Pods, and spreading.

mod world;

use std::collections::BTreeMap;

use lichen_hub_core::{
    api::{Key, Kind, Object},
    event::Request,
};
use serde_json::{Value, json};
use world::World;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Four devices at two sites, `a` and `b` in the north, `c` and `d` in the south; and one that is nowhere.
fn world() -> World {
    let mut world = World::new();
    for (device, settings) in [
        ("a", &["site=north", "cores=2"][..]),
        ("b", &["site=north", "cores=4"]),
        ("c", &["site=south", "cores=8"]),
        ("d", &["site=south", "cores=many"]),
        ("e", &["no-wasm"]),
    ] {
        world.join(device, settings);
    }
    world.push_image("web:1", "web");
    world
}

fn deployment(name: &str, replicas: u32, spec: &Value) -> Value {
    let labels = json!({"app": name});
    let mut spec = spec.clone();
    spec["containers"] = json!([{"name": "main", "image": "web:1"}]);
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

fn apply(world: &mut World, name: &str, replicas: u32, spec: &Value) {
    let object = deployment(name, replicas, spec);
    world.apply(Kind::Deployment, &object).expect("it is good");
}

fn refusal(world: &mut World, spec: &Value) -> String {
    world.apply(Kind::Deployment, &deployment("web", 1, spec)).expect_err("it is refused")
}

/// The Pods of a Deployment by device; those without one under `-`.
fn on(world: &World, name: &str) -> BTreeMap<String, usize> {
    let mut on = BTreeMap::new();
    for pod in world.engine.state().pods.of(&Key::new(Kind::Deployment, "default", name)) {
        if pod.deleting.is_none() {
            *on.entry(pod.device.clone().unwrap_or_else(|| "-".into())).or_default() += 1;
        }
    }
    on
}

fn devices(world: &World, name: &str) -> String {
    on(world, name).into_keys().collect::<Vec<_>>().join(" ")
}

/// What is said of the first Pod that waits.
fn reason(world: &mut World) -> String {
    let pods = world.list(Kind::Pod);
    let message = pods.iter().find_map(|pod| match pod {
        Object::Pod(pod) if pod.spec.node_name.is_none() => Some(pod.status.message.clone()),
        _ => None,
    });
    message.expect("one waits")
}

fn expressions(key: &str, operator: &str, values: &[&str]) -> Value {
    let requirement = match values {
        [] => json!({"key": key, "operator": operator}),
        values => json!({"key": key, "operator": operator, "values": values}),
    };
    json!({"matchExpressions": [requirement]})
}

fn needs_node(terms: &[Value]) -> Value {
    json!({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}})
}

/// Affinity to the Pods of an app in the same place, or against them.
fn pods(kind: &str, app: &str, key: &str) -> Value {
    let selector = json!({"matchLabels": {"app": app}});
    json!({kind: {REQUIRED: [{"labelSelector": selector, "topologyKey": key}]}})
}

#[test]
fn node_affinity_has_every_operator_and_its_terms_are_alternatives() {
    for (terms, expected) in [
        (vec![expressions("site", "In", &["north"])], "a b"),
        (vec![expressions("site", "NotIn", &["north"])], "c d e"),
        (vec![expressions("site", "Exists", &[])], "a b c d"),
        (vec![expressions("site", "DoesNotExist", &[])], "e"),
        (vec![expressions("cores", "Gt", &["3"])], "b c"),
        (vec![expressions("cores", "Lt", &["4"])], "a"),
        (vec![expressions("cores", "Lt", &["4"]), expressions("site", "In", &["south"])], "a c d"),
        (
            vec![json!({"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["d"]}
            ]})],
            "d",
        ),
        (vec![json!({})], "-"),
    ] {
        let mut world = world();
        apply(&mut world, "web", 5, &needs_node(&terms));
        assert_eq!(devices(&world, "web"), expected, "{terms:?}");
    }
}

#[test]
fn a_daemon_set_follows_node_affinity() {
    let mut world = world();
    let mut set = deployment("web", 1, &needs_node(&[expressions("site", "In", &["south"])]));
    set["spec"].as_object_mut().expect("a spec").remove("replicas");
    world.apply(Kind::DaemonSet, &set).expect("it is good");
    assert_eq!((world.devices["c"].pods(), world.devices["a"].pods()), (1, 0));
    assert_eq!((world.devices["d"].pods(), world.devices["e"].pods()), (1, 0));
    set["spec"]["template"]["spec"]["topologySpreadConstraints"] = json!([
        {"maxSkew": 1, "topologyKey": "site", "whenUnsatisfiable": "DoNotSchedule"}
    ]);
    let said = world.apply(Kind::DaemonSet, &set).expect_err("it is refused");
    assert!(said.contains("topologySpreadConstraints: has no meaning for a DaemonSet"), "{said}");
}

#[test]
fn preferred_devices_come_first_while_they_have_room() {
    let mut world = world();
    let weight = |weight: u32, value: &str| {
        let preference = expressions("site", "In", &[value]);
        json!({"weight": weight, "preference": preference})
    };
    let preferred = json!({"affinity": {"nodeAffinity": {PREFERRED: [
        weight(10, "north"), weight(60, "south")
    ]}}});
    apply(&mut world, "web", 2, &preferred);
    assert_eq!(devices(&world, "web"), "c d");
}

#[test]
fn nodes_that_do_not_match_are_named_with_the_reason() {
    let mut world = world();
    apply(&mut world, "web", 1, &needs_node(&[expressions("site", "In", &["west"])]));
    assert_eq!(
        reason(&mut world),
        "0 of 5 devices can take it: a, b, c and 2 more (is none that nodeAffinity asks for)"
    );
}

#[test]
fn pods_go_where_the_others_are_and_the_first_of_a_kind_goes_anywhere() {
    let mut world = world();
    apply(&mut world, "cache", 1, &json!({"nodeName": "c"}));
    apply(&mut world, "web", 3, &json!({"affinity": pods("podAffinity", "cache", "site")}));
    assert!(["c", "c d"].contains(&&*devices(&world, "web")), "{:?}", on(&world, "web"));
    // Its own kind: the first has nobody to follow.
    apply(&mut world, "herd", 3, &json!({"affinity": pods("podAffinity", "herd", "site")}));
    let herd = devices(&world, "herd");
    assert!(["a b", "c d"].contains(&&*herd), "{herd}");
}

#[test]
fn a_pod_that_waits_for_another_is_placed_when_that_one_is() {
    let mut world = world();
    apply(&mut world, "web", 1, &json!({"affinity": pods("podAffinity", "cache", "site")}));
    assert_eq!(devices(&world, "web"), "-");
    let said = reason(&mut world);
    assert!(said.contains("has no Pod that podAffinity asks for in its site"), "{said}");
    assert!(said.contains("e (lacks label site, which tells places apart)"), "{said}");
    apply(&mut world, "cache", 1, &json!({"nodeName": "d"}));
    assert!(["c", "d"].contains(&&*devices(&world, "web")), "{:?}", on(&world, "web"));
}

#[test]
fn pods_that_keep_apart_take_a_place_each_and_the_rest_waits_for_one() {
    let mut world = world();
    let apart = pods("podAntiAffinity", "web", "kubernetes.io/hostname");
    apply(&mut world, "web", 7, &json!({"affinity": apart}));
    assert_eq!(on(&world, "web").get("-"), Some(&2));
    assert_eq!(devices(&world, "web"), "- a b c d e");
    let said = reason(&mut world);
    assert!(
        said.contains("has a Pod in its kubernetes.io/hostname that podAntiAffinity"),
        "{said}"
    );
    world.join("f", &[]);
    assert_eq!(on(&world, "web").get("-"), Some(&1));
}

#[test]
fn a_pod_there_keeps_others_away_that_say_nothing() {
    let mut world = world();
    let mut lonely = json!({"affinity": pods("podAntiAffinity", "web", "site")});
    lonely["nodeName"] = json!("a");
    apply(&mut world, "lonely", 1, &lonely);
    apply(&mut world, "web", 6, &json!({"nodeSelector": {"site": "north"}}));
    assert_eq!(devices(&world, "web"), "-");
    let said = reason(&mut world);
    assert!(said.contains("whose podAntiAffinity keeps this one away"), "{said}");
    let delete = Request::Delete {
        kind: Kind::Deployment,
        namespace: "default".into(),
        name: "lonely".into(),
    };
    world.request(delete).expect("it is there");
    assert_eq!(devices(&world, "web"), "a b");
}

#[test]
fn terms_look_into_other_namespaces_by_name_and_by_label() {
    for (term, expected) in [
        (json!({}), "-"),
        (json!({"namespaces": ["other"]}), "c"),
        (json!({"namespaceSelector": {"matchLabels": {"team": "x"}}}), "c"),
        (json!({"namespaceSelector": {}}), "c"),
        (json!({"namespaceSelector": {"matchLabels": {"team": "y"}}}), "-"),
    ] {
        let mut world = world();
        let namespace = json!({"metadata": {"name": "other", "labels": {"team": "x"}}});
        world.apply(Kind::Namespace, &namespace).expect("it is good");
        let mut cache = deployment("cache", 1, &json!({"nodeName": "c"}));
        cache["metadata"]["namespace"] = json!("other");
        world.apply(Kind::Deployment, &cache).expect("it is good");
        let mut affinity = pods("podAffinity", "cache", "kubernetes.io/hostname");
        for (field, value) in term.as_object().expect("an object") {
            affinity["podAffinity"][REQUIRED][0][field] = value.clone();
        }
        apply(&mut world, "web", 1, &json!({"affinity": affinity}));
        assert_eq!(devices(&world, "web"), expected, "{term}");
    }
}

fn spread(skew: u32, key: &str, when: &str) -> Value {
    json!({"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}}})
}

/// Pods in the north and in the south.
fn by_site(world: &World) -> (usize, usize) {
    let on = on(world, "web");
    let sum = |names: [&str; 2]| names.iter().filter_map(|name| on.get(*name)).sum();
    (sum(["a", "b"]), sum(["c", "d"]))
}

#[test]
fn hard_constraints_keep_sites_level_even_where_one_is_closed() {
    let mut world = world();
    let mut hard = json!({"topologySpreadConstraints": [spread(1, "site", "DoNotSchedule")]});
    apply(&mut world, "web", 6, &hard);
    assert_eq!(by_site(&world), (3, 3));
    // Only one site is open to it, so the other is not counted.
    hard["nodeSelector"] = json!({"site": "south"});
    let mut one = World::new();
    one.join("a", &["site=north"]);
    one.join("c", &["site=south"]);
    one.push_image("web:1", "web");
    apply(&mut one, "web", 4, &hard);
    assert_eq!(by_site(&one), (0, 4));
    hard["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
    let mut other = World::new();
    other.join("a", &["site=north"]);
    other.join("c", &["site=south"]);
    other.push_image("web:1", "web");
    apply(&mut other, "web", 4, &hard);
    assert_eq!(by_site(&other), (0, 1));
    let said = reason(&mut other);
    assert!(said.contains("c (would have too many of the Pods in its site"), "{said}");
}

#[test]
fn fewer_places_than_asked_for_hold_no_more_than_the_skew() {
    let mut world = world();
    let mut constraint = spread(1, "site", "DoNotSchedule");
    constraint["minDomains"] = json!(3);
    apply(&mut world, "web", 6, &json!({"topologySpreadConstraints": [constraint]}));
    assert_eq!(by_site(&world), (1, 1));
    world.join("w", &["site=west"]);
    assert_eq!((by_site(&world), on(&world, "web").get("w")), ((2, 2), Some(&2)));
}

#[test]
fn soft_constraints_level_as_far_as_there_is_room() {
    let mut world = World::new();
    for (device, site) in [("a", "north"), ("b", "north"), ("c", "south")] {
        world.join(device, &[&format!("site={site}")]);
    }
    world.push_image("web:1", "web");
    let soft = spread(1, "site", "ScheduleAnyway");
    apply(&mut world, "web", 4, &json!({"topologySpreadConstraints": [soft.clone()]}));
    assert_eq!(by_site(&world), (2, 2));
    let mut closed = json!({"topologySpreadConstraints": [soft]});
    closed["nodeSelector"] = json!({"site": "north"});
    apply(&mut world, "web", 4, &closed);
    assert_eq!(by_site(&world), (4, 0));
}

#[test]
fn what_can_have_no_meaning_is_refused_by_its_path() {
    for (spec, said) in [
        (needs_node(&[]), "nodeSelectorTerms: needs at least one term"),
        (needs_node(&[expressions("a", "Gt", &["x"])]), "values: Gt needs one whole number"),
        (
            needs_node(&[
                json!({"matchFields": [{"key": "spec.x", "operator": "In", "values": ["a"]}]}),
            ]),
            "matchFields[0].key: \"spec.x\" must be \"metadata.name\"",
        ),
        (json!({"affinity": pods("podAffinity", "web", "")}), "topologyKey: must name a label"),
        (
            json!({"topologySpreadConstraints": [spread(0, "site", "DoNotSchedule")]}),
            "topologySpreadConstraints[0].maxSkew: must be 1 or more",
        ),
        (
            json!({"topologySpreadConstraints": [spread(1, "site", "Never")]}),
            "whenUnsatisfiable: \"Never\" must be",
        ),
        (
            json!({"topologySpreadConstraints": [
                spread(1, "site", "DoNotSchedule"), spread(2, "site", "DoNotSchedule")
            ]}),
            "topologySpreadConstraints[1].topologyKey: \"site\" is there twice",
        ),
        (
            json!({"affinity": {"nodeAffinity": {PREFERRED: [
                {"weight": 101, "preference": expressions("a", "Exists", &[])}
            ]}}}),
            "weight: 101 must be 1 to 100",
        ),
    ] {
        let error = refusal(&mut world(), &spec);
        assert!(error.contains(said), "{said}: {error}");
    }
}
