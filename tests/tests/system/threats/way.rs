//! Somebody on the way between a device and its hub, who sees and touches every byte.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use lichen_tests::{
    api::Pod,
    hub::Hub,
    relay::Relay,
    samples::wasm_deployment,
    wait::{DEADLINE, wait_for, wait_until},
};
use serde_json::Value;

use crate::site::{DEVICE, Site};

/// A device that reaches its hub by a relay alone, with a Pod and its process.
struct Scene {
    site: Site,
    relay: Relay,
    web: Pod,
    pid: u32,
}

impl Scene {
    fn new() -> Self {
        let relay = Relay::start();
        let hub = Hub::start_with_flags(&["--advertise", &relay.address().to_string()]);
        relay.lead_to(hub.device_address());
        let site = Site::around(hub);
        let web = site.run_hello("web");
        let pid = site.pid_of(&web);
        assert_ne!(relay.connections(), 0, "the device knows no other way");
        Self { site, relay, web, pid }
    }

    fn apply_later(&self) {
        self.site.api().apply("deployments", &wasm_deployment("later", "hello:1", 1));
    }

    /// The device runs what it ran, and nothing else.
    fn assert_nothing_has_changed(&self) {
        assert_eq!(self.site.agent.pods(), std::slice::from_ref(&self.web.uid));
        assert_eq!(self.site.agent.pid_of(&self.web.uid), Some(self.pid));
    }

    /// The device carries out what it is told, and what ran was not touched.
    fn assert_all_is_well(&self) {
        let _later = self.site.api().until_one_runs("later");
        let web = self.site.api().until_one_runs("web");
        assert_eq!((web.restarts, self.site.pid_of(&web)), (0, self.pid));
    }
}

#[test]
fn what_is_altered_on_the_way_ends_the_connection_and_does_nothing_else() {
    let scene = Scene::new();
    scene.relay.alter();
    scene.apply_later();
    wait_for("what the hub said was altered", || scene.relay.altered() > 0);
    scene.site.api().until_away(DEVICE);
    let before = scene.relay.connections();
    wait_for("the device tries again in vain", || scene.relay.connections() > before);
    assert!(!scene.site.api().is_ready(DEVICE));
    scene.assert_nothing_has_changed();
    scene.relay.pass();
    scene.assert_all_is_well();
}

#[test]
fn what_is_held_up_or_cut_off_on_the_way_is_made_up_for() {
    let scene = Scene::new();
    scene.relay.hold();
    scene.apply_later();
    wait_for("what the hub said is held up", || scene.relay.held() > 0);
    scene.assert_nothing_has_changed();
    scene.relay.cut();
    scene.relay.pass();
    scene.assert_all_is_well();
}

/// All that a replay could change at the hub.
fn standing(hub: &Hub) -> Value {
    let mut all = Vec::new();
    for path in ["/apis/lichen.dev/v1/enrolments", "/apis/lichen.dev/v1/jointokens", "/api/v1/pods"]
    {
        all.extend(hub.api().list(path));
    }
    let nodes = hub.api().list("/api/v1/nodes");
    all.extend(nodes.into_iter().map(|node| node["metadata"]["uid"].clone()));
    Value::Array(all)
}

#[test]
fn what_a_device_has_sent_is_worth_nothing_when_it_is_sent_again() {
    let scene = Scene::new();
    let before = standing(&scene.site.hub);
    // How it joined, with its token; how it fetched; its session.
    let sent = scene.relay.sent();
    assert!(sent.len() > 1, "{}", sent.len());
    for bytes in sent {
        let mut again = TcpStream::connect(scene.site.hub.device_address()).unwrap();
        again.set_read_timeout(Some(DEADLINE)).unwrap();
        // The hub may have hung up before it was all sent.
        let _ = again.write_all(&bytes);
        let mut answer = Vec::new();
        let end = again.read_to_end(&mut answer);
        let timed_out = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "the hub ends the connection");
    }
    assert_eq!(standing(&scene.site.hub), before);
    assert!(scene.site.api().is_ready(DEVICE));
    let log = scene.site.agent.log();
    assert_eq!(log.matches("INFO connected").count(), 1, "its session was not disturbed: {log}");
    assert_eq!(scene.site.api().events("TwoBoards", DEVICE), [""; 0]);
    scene.assert_nothing_has_changed();
}

#[test]
fn a_device_that_is_led_to_another_hub_tells_it_nothing_and_heeds_it_in_nothing() {
    let mut scene = Scene::new();
    let other = Hub::start();
    scene.relay.lead_to(other.device_address());
    scene.relay.cut();
    wait_until("the device finds somebody else", || match scene.site.agent.log() {
        log if log.contains("no hub is believed there") => Ok(()),
        log => Err(log),
    });
    assert_eq!(other.api().list("/apis/lichen.dev/v1/enrolments"), [Value::Null; 0]);
    assert_eq!(other.api().list("/api/v1/nodes"), [Value::Null; 0]);
    scene.assert_nothing_has_changed();
    scene.relay.lead_to(scene.site.hub.device_address());
    // It would try again by itself, some minutes later.
    scene.site.agent.kill();
    scene.site.agent.start_again();
    scene.apply_later();
    scene.assert_all_is_well();
}

#[test]
fn silence_before_and_within_a_handshake_keeps_nobody_out() {
    let scene = Scene::new();
    let mut silent = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(scene.site.hub.device_address()).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        // Nothing, half a header, or a header with nothing behind it.
        let beginning: [&[u8]; 3] = [b"", b"\x16\x03", b"\x16\x03\x01\x02\x00\x01"];
        stream.write_all(beginning[number % 3]).unwrap();
        silent.push(stream);
    }
    scene.relay.cut();
    scene.apply_later();
    scene.assert_all_is_well();
}
