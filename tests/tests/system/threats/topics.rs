//! A device that was taken over, towards the others: by MQTT, with its own certificate and Mosquitto's clients.

use std::fs;

use lichen_tests::hub::Hub;
use serde_json::Value;

use super::card::Card;
use crate::site::{DEVICE, Site};

const BAD: &str = "mallory";

/// A device `pi` with a Pod, and one that tries things.
struct Scene {
    site: Site,
    bad: Card,
    pid: u32,
    before: Value,
}

impl Scene {
    fn new() -> Self {
        let site = Site::new();
        let pod = site.run_hello("web");
        let (bad, pid) = (Card::joined(BAD, &site.hub), site.pid_of(&pod));
        let before = node(&site.hub);
        Self { site, bad, pid, before }
    }

    /// Nothing was done to the other device: not at the hub, and not on it.
    fn assert_untouched(&self) {
        assert_eq!(node(&self.site.hub), self.before);
        let pod = self.site.api().until_one_runs("web");
        assert_eq!((self.site.pid_of(&pod), pod.restarts), (self.pid, 0));
        let log = self.site.agent.log();
        assert_eq!(log.matches("INFO connected").count(), 1, "its session was not disturbed");
        assert!(!log.contains("was refused"), "and it was told nothing strange: {log}");
    }
}

/// What the hub shows of the device, but for when it was heard.
fn node(hub: &Hub) -> Value {
    let mut node = hub.api().get(&format!("/api/v1/nodes/{DEVICE}")).unwrap();
    node["metadata"]["resourceVersion"].take();
    for condition in node["status"]["conditions"].as_array_mut().unwrap() {
        condition["lastHeartbeatTime"].take();
    }
    node
}

#[test]
#[ignore = "needs mosquitto_pub, curl and openssl: run by make test"]
fn a_device_says_nothing_in_anothers_name_nor_in_the_hubs() {
    let scene = Scene::new();
    let own = scene.bad.publish("lichen/1/mallory/up/event", &[]);
    assert!(own.contains("RC:0)"), "what is its own it may say: {own}");
    let up = ["hello", "status", "event", "reply", "want", "gone"];
    let mut topics: Vec<String> = up.iter().map(|kind| format!("lichen/1/pi/up/{kind}")).collect();
    topics.extend(
        [
            "lichen/1/pi/down/head",
            "lichen/1/pi/down/command",
            "lichen/1/all/down/time",
            "lichen/1/all/down/report",
            "lichen/1/mallory/down/head",
            "lichen/1/mallory/../pi/up/status",
            "lichen/1/mallory/up/status/../../../pi/up/status",
            "lichen/1/mallory/up/",
            "lichen/1/mallory/up/status/",
            "lichen/1//up/status",
            "lichen/1/PI/up/status",
            "lichen/1/pi\u{200b}/up/status",
            "lichen/2/pi/up/status",
            "/lichen/1/pi/up/status",
            "$SYS/broker/uptime",
            "$share/group/lichen/1/pi/up/status",
        ]
        .map(str::to_owned),
    );
    // Two of them, since one that connects so often would be refused for that.
    let second = Card::joined("mallory-2", &scene.site.hub);
    for topic in &topics {
        for (card, kept) in [(&scene.bad, &[][..]), (&second, &["-r"])] {
            let said = card.publish(topic, kept);
            assert!(said.contains("RC:135)"), "{topic} {kept:?}: {said}");
        }
    }
    // Nor is anything kept for who comes later, on its own topics either.
    let said = scene.bad.publish("lichen/1/mallory/up/hello", &["-r"]);
    assert!(said.contains("RC:135)"), "{said}");
    scene.assert_untouched();
}

#[test]
#[ignore = "needs mosquitto_pub, curl and openssl: run by make test"]
fn a_device_is_nobody_else_whatever_its_connection_claims() {
    let scene = Scene::new();
    let topic = "lichen/1/mallory/up/event";
    for (claim, refusal) in [
        (&["-u", "pi"][..], "CONNACK (135)"),
        (&["-u", "pi", "-P", "secret"], "CONNACK (135)"),
        (&["--will-topic", "lichen/1/pi/up/gone", "--will-payload", "x"], "CONNACK (135)"),
        (
            &["--will-topic", "lichen/1/pi/down/head", "--will-payload", "x", "--will-retain"],
            "CONNACK (135)",
        ),
        (&["--will-topic", "lichen/1/all/down/report", "--will-payload", "x"], "CONNACK (135)"),
        (&["--will-topic", "lichen/1/mallory/up/hello", "--will-payload", "x"], "CONNACK (135)"),
    ] {
        let said = scene.bad.publish(topic, claim);
        assert!(said.contains(refusal), "{claim:?}: {said}");
    }
    for name in ["pi", "hub", "lichen-hub", "all", "#", "+", "mallory/../pi", "MALLORY"] {
        let words = ["-i", name, "--cert", "card.pem", "--key", "key.pem", "-t", topic, "-m", "x"];
        let said = scene.bad.mosquitto_as("mosquitto_pub", &words);
        assert!(said.contains("CONNACK (133)"), "{name}: {said}");
    }
    scene.assert_untouched();
}

#[test]
#[ignore = "needs mosquitto_sub, curl and openssl: run by make test"]
fn a_device_hears_nothing_that_is_for_another() {
    let scene = Scene::new();
    // The head for `pi` is retained: whoever could subscribe to it would have it at once.
    let filters = [
        "#",
        "+/+/+/+/+",
        "lichen/#",
        "lichen/1/#",
        "lichen/1/+/down/head",
        "lichen/1/pi/down/head",
        "lichen/1/pi/down/#",
        "lichen/1/pi/up/#",
        "lichen/1/mallory/up/#",
        "lichen/1/mallory/../pi/down/head",
        "lichen/1/all/up/#",
        "$SYS/#",
        "$share/group/lichen/1/pi/down/#",
        "$share/group/#",
        "$share/group/lichen/1/mallory/down/#",
    ];
    for filter in filters {
        let said = scene.bad.mosquitto("mosquitto_sub", &["-q", "1", "-t", filter, "-E"]);
        let refused = ["135", "158", "162"];
        let refused = refused.iter().any(|code| said.contains(&format!("(mid: 1): {code}\n")));
        assert!(refused && !said.contains("PUBLISH"), "{filter}: {said}");
    }
    scene.assert_untouched();
}

#[test]
#[ignore = "needs mosquitto_pub, curl and openssl: run by make test"]
fn a_device_that_says_too_much_or_nothing_sensible_harms_itself_alone() {
    let scene = Scene::new();
    for bytes in [40_000, 1 << 20, 64 << 20] {
        fs::write(scene.bad.path("large"), vec![7; bytes]).unwrap();
        let words = ["-q", "1", "-t", "lichen/1/mallory/up/status", "-f", "large"];
        let said = scene.bad.mosquitto("mosquitto_pub", &words);
        assert!(!said.contains("RC:0)"), "{bytes}: {said}");
    }
    let long = format!("lichen/1/mallory/up/{}", "x".repeat(60_000));
    let said = scene.bad.publish(&long, &[]);
    assert!(!said.contains("RC:0)"), "{said}");
    // Bytes that are no frame are taken, counted, and do nothing.
    for kind in ["hello", "status", "event", "reply", "want"] {
        let said = scene.bad.publish(&format!("lichen/1/mallory/up/{kind}"), &[]);
        assert!(said.contains("RC:0)"), "{kind}: {said}");
    }
    assert!(!scene.site.api().is_ready(BAD), "nobody there has said a sensible hello");
    scene.assert_untouched();
}
