//! The hub's keys change while everything runs: devices follow by themselves, over the connections that they have, and nothing
//! restarts.

use lichen_tests::{hub::Hub, wait::wait_until};
use serde_json::Value;

use crate::site::{DEVICE, Site};

fn trust(hub: &Hub) -> Value {
    hub.api().get("/lichen/v1/trust").unwrap()
}

fn until(what: &str, hub: &Hub, is_so: impl Fn(&Value) -> bool) {
    wait_until(what, || match trust(hub) {
        trust if is_so(&trust) => Ok(()),
        trust => Err(trust.to_string()),
    });
}

#[test]
fn a_device_renews_with_the_new_ca_and_the_old_one_ends_without_a_restart_or_a_lost_session() {
    // Certificates last so shortly that one is renewed within the overlap; and the overlap that it is soon over.
    let site = Site::around(Hub::start_with_flags(&["--certificate-lifetime", "15s"]));
    let web = site.run_hello("web");
    let pid = site.pid_of(&web);
    let old = trust(&site.hub)["authority"]["fingerprint"].clone();
    site.cli().run(&["hub", "rotate-ca", "--overlap", "30s"]).well();
    assert_ne!(trust(&site.hub)["authority"]["fingerprint"], old);
    until("the device has a certificate of the new CA", &site.hub, |trust| {
        trust["certificates"]["ofAuthority"] == 1
    });
    until("the old CA is given up", &site.hub, |trust| trust["previousAuthority"].is_null());
    assert!(site.api().is_ready(DEVICE));
    assert_eq!(site.api().events("NodeNotReady", DEVICE), [""; 0], "its session was not lost");
    assert_eq!(site.pid_of(&web), pid);
    // A connection that begins now is between two who know only the new one.
    let mut site = site;
    site.agent.kill();
    site.api().until_away(DEVICE);
    site.agent.start_again();
    site.api().until_ready(DEVICE);
    assert_eq!(site.pid_of(&web), pid);
}

#[test]
fn a_device_takes_the_new_signing_key_on_the_word_of_the_old_one_and_heeds_it_alone_then() {
    let site = Site::new();
    let web = site.run_hello("web");
    let pid = site.pid_of(&web);
    let old = trust(&site.hub)["signingKeys"][0].clone();
    site.cli().run(&["hub", "rotate-signing-key"]).well();
    until("the new key signs", &site.hub, |trust| {
        trust["signingKeys"].as_array().is_some_and(|keys| keys.len() == 1 && keys[0] != old)
    });
    assert_eq!(trust(&site.hub)["agents"]["withNewestKey"], 1);
    let _next = site.run_hello("next");
    assert_eq!(site.pid_of(&web), pid);
}
