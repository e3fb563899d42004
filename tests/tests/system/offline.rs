//! A device on its own: it starts what it last acknowledged, without hub, broker or a right clock, and catches up later.

use std::fs;

use lichen_tests::{
    api::Pod,
    clock::Clock,
    footprint::command_line,
    samples::{set_variable, wasm_deployment},
    wait::wait_until,
};

use crate::site::{DEVICE, Site};

/// Waits until a Pod has written a line that `wanted` accepts in a run after `before`.
fn until_written(site: &Site, pod: &Pod, before: &str, wanted: &str) {
    wait_until(&format!("{} writes {wanted:?}", pod.name), || {
        let run = site.agent.run_dir(&pod.uid).ok_or("there is no run")?;
        let log = fs::read_to_string(run.join("log")).unwrap_or_default();
        let is_new = run.to_str().is_some_and(|run| run != before);
        if is_new && log.contains(wanted) {
            Ok(())
        } else {
            Err(format!("{}: {log}", run.display()))
        }
    });
}

fn run_dir(site: &Site, pod: &Pod) -> String {
    site.agent.run_dir(&pod.uid).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_cold_boot_without_hub_or_broker_starts_everything_from_the_cache() {
    let mut site = Site::new();
    let pods: Vec<Pod> = ["one", "two", "three"].map(|name| site.run_hello(name)).into();
    let before: Vec<String> = pods.iter().map(|pod| run_dir(&site, pod)).collect();
    site.agent.lose_power();
    site.hub.kill();

    site.agent.start_again();
    for (pod, before) in pods.iter().zip(&before) {
        until_written(&site, pod, before, "hello from lichen");
    }

    site.hub.start_again();
    for (name, before) in ["one", "two", "three"].into_iter().zip(&pods) {
        let pod = site.api().until_running_again(name, 1);
        assert_eq!(pod[0].name, before.name, "it is the same pod, started again");
    }
}

#[test]
#[ignore = "needs faketime: run by make test"]
fn a_cold_boot_with_the_clock_at_1970_starts_everything_too() {
    let mut site = Site::new();
    let pod = site.run_hello("web");
    let before = run_dir(&site, &pod);
    site.agent.lose_power();
    site.hub.kill();

    site.agent.set_clock(&Clock::at(1970));
    site.agent.start_again();
    until_written(&site, &pod, &before, "hello from lichen");
    let log = site.agent.log();
    assert!(log.contains("1970-01-02T00:00:"), "the agent believes in 1970: {log}");

    site.hub.start_again();
    let after = site.api().until_running_again("web", 1);
    assert_eq!(after[0].name, pod.name);
    site.api().apply("deployments", &wasm_deployment("second", "hello:1", 1));
    let _second = site.api().until_one_runs("second");
}

#[test]
fn what_was_deleted_while_a_device_was_off_is_gone_when_it_is_back() {
    let mut site = Site::new();
    let stays = site.run_hello("stays");
    let goes = site.run_hello("goes");
    site.agent.lose_power();
    site.api().until_away(DEVICE);
    site.api().remove("deployments", "goes");

    site.agent.start_again();
    wait_until("only one is left", || match site.api().pods() {
        pods if pods.len() == 1 && pods[0].ready && pods[0].name == stays.name => Ok(()),
        pods => Err(format!("{pods:#?}")),
    });
    assert_eq!(site.agent.pid_of(&goes.uid), None);
    assert_eq!(site.agent.pods(), [stays.uid]);
}

#[test]
fn what_was_deleted_while_only_the_agent_was_away_stops_when_it_is_back() {
    let mut site = Site::new();
    let goes = site.run_hello("goes");
    let pid = site.pid_of(&goes);
    site.agent.kill();
    site.api().until_away(DEVICE);
    site.api().remove("deployments", "goes");
    assert_eq!(site.agent.pid_of(&goes.uid), Some(pid), "nobody has told it");

    site.agent.start_again();
    site.api().until_no_pods();
    site.until_nothing_is_left(&[goes.uid]);
}

#[test]
fn what_was_changed_while_a_device_was_off_runs_when_it_is_back() {
    let mut site = Site::new();
    let old = site.run_hello("web");
    site.agent.lose_power();
    site.api().until_away(DEVICE);
    let mut web = wasm_deployment("web", "hello:1", 1);
    set_variable(&mut web, "NAME", "fern");
    site.api().apply("deployments", &web);

    site.agent.start_again();
    let new = site.api().until_pods("the new one runs", "web", |pods| {
        pods.len() == 1 && pods[0].ready && pods[0].template != old.template
    });
    site.api().until_log("it greets", &new[0].name, "", |log| log.starts_with("hello from fern\n"));
    wait_until("the old one is gone", || match site.agent.pods() {
        left if left == [new[0].uid.clone()] => Ok(()),
        left => Err(format!("{left:?}")),
    });
    let running = site.agent.processes();
    let programs = running.iter().filter(|pid| command_line(**pid).contains("wasm-run"));
    assert_eq!(programs.count(), 1);
}
