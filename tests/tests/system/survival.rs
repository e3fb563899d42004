//! What ends and comes back: agent, hub, broker. No Pod notices.

use lichen_tests::{
    api::{Pod, collection},
    hub::Hub,
    mosquitto::Mosquitto,
    samples::{config_map, wasm_deployment},
    wait::wait_for,
};

use crate::site::{DEVICE, Site, assert_no_gap, counted};

/// Asserts that a Pod is the very one that ran before.
fn assert_untouched(site: &Site, app: &str, before: &Pod, pid: u32) {
    let pod = site.api().until_one_runs(app);
    assert_eq!((&pod.name, pod.restarts), (&before.name, 0));
    assert_eq!(site.pid_of(&pod), pid);
}

#[test]
fn a_killed_agent_finds_its_pods_again_with_the_same_processes_and_no_gap_in_the_log() {
    let mut site = Site::new();
    let pod = site.run_hello("web");
    let pid = site.pid_of(&pod);
    let before = site.agent.processes();
    site.api().until_log("it counts", &pod.name, "", |log| log.contains("lichen: 1\n"));

    site.agent.kill();
    site.api().until_away(DEVICE);
    assert_eq!(site.agent.processes(), before, "nothing ends with the agent");
    site.agent.start_again();
    site.api().until_ready(DEVICE);
    let log = site.api().until_log("it counts on", &pod.name, "", |log| {
        counted(log, "lichen").last().is_some_and(|last| *last >= 3)
    });
    assert_no_gap(&log, "lichen");
    assert!(log.starts_with("hello from lichen\n") && log.matches("hello").count() == 1, "{log}");
    assert_untouched(&site, "web", &pod, pid);
    assert_eq!(site.agent.processes(), before);
}

#[test]
fn an_agent_that_is_stopped_leaves_its_pods_running() {
    let mut site = Site::new();
    let pod = site.run_hello("web");
    let pid = site.pid_of(&pod);
    assert!(site.agent.stop());
    site.api().until_away(DEVICE);
    site.agent.start_again();
    site.api().until_ready(DEVICE);
    assert_untouched(&site, "web", &pod, pid);
}

#[test]
fn an_agent_that_stands_still_is_not_ready_and_what_it_was_never_told_of_is_gone_at_once() {
    let site = Site::around(Hub::start_with_flags(&["--lost-after", "5s"]));
    let pod = site.run_hello("web");
    let pid = site.pid_of(&pod);
    site.agent.stand_still();
    // The first change it is told of, and reads when it goes on; of the others nothing was said.
    for _ in 0..10 {
        site.api().apply("deployments", &wasm_deployment("second", "hello:1", 1));
        site.api().remove("deployments", "second");
    }
    site.api().until_away(DEVICE);
    let left = site.api().pods_of("second");
    assert!(left.len() <= 1, "one Pod may have been told of, not {left:#?}");

    site.agent.go_on();
    site.api().until_ready(DEVICE);
    assert_untouched(&site, "web", &pod, pid);
    site.api().until_pods("nothing is left of the others", "second", <[Pod]>::is_empty);
}

#[test]
fn what_the_api_has_accepted_is_there_after_the_hub_was_killed() {
    let mut hub = Hub::start();
    for round in 0..20 {
        let name = format!("object-{round}");
        let (kind, object) = match round % 2 {
            0 => ("configmaps", config_map(&name, "round", &round.to_string())),
            _ => ("deployments", wasm_deployment(&name, "nowhere:1", 1)),
        };
        hub.api().post(&collection(kind), &object).unwrap();
        hub.kill();
        hub.start_api();
        let found = hub.api().get(&format!("{}/{name}", collection(kind)));
        let found = found.unwrap_or_else(|refused| panic!("round {round}: {refused:?}"));
        assert_eq!(found["metadata"]["name"], name.as_str());
    }
    assert_eq!(hub.api().list(&collection("configmaps")).len(), 10);
    assert_eq!(hub.api().list(&collection("deployments")).len(), 10);
    assert!(hub.stop(), "it still ends well");
}

#[test]
fn a_restarted_hub_restarts_nothing_and_a_change_made_at_once_arrives() {
    let mut site = Site::new();
    let pod = site.run_hello("web");
    let pid = site.pid_of(&pod);
    for crash in [false, true] {
        match crash {
            true => site.hub.kill(),
            false => assert!(site.hub.stop()),
        }
        site.hub.start_api();
        // Before any device can be back.
        let name = if crash { "second" } else { "first" };
        site.api().apply("deployments", &wasm_deployment(name, "hello:1", 1));
        let new = site.api().until_one_runs(name);
        assert_eq!(new.restarts, 0);
        assert_untouched(&site, "web", &pod, pid);
    }
}

#[test]
#[ignore = "needs mosquitto: run by make test"]
fn a_broker_that_lost_everything_restarts_nothing_and_a_change_made_meanwhile_arrives() {
    let mut mosquitto = Mosquitto::start();
    let site = Site::beside(&mosquitto);
    let pod = site.run_hello("web");
    let pid = site.pid_of(&pod);

    mosquitto.kill();
    wait_for("the hub notices", || site.api().text("/readyz").is_err());
    site.api().apply("deployments", &wasm_deployment("second", "hello:1", 1));
    mosquitto.start_again();
    let new = site.api().until_one_runs("second");
    assert_eq!(new.restarts, 0);
    site.api().until_ready(DEVICE);
    assert_untouched(&site, "web", &pod, pid);

    site.api().remove("deployments", "web");
    site.api().until_pods("it is gone", "web", <[Pod]>::is_empty);
    wait_for("its process is gone", || site.agent.pid_of(&pod.uid).is_none());
}
