//! More than one device: two with one name, and one that is lost and found.

use lichen_tests::{
    agent::Agent,
    api::Pod,
    hub::Hub,
    samples::{self, daemon_set, pod_spec, wasm_deployment},
    wait::wait_until,
};
use serde_json::json;

use crate::site::{DEVICE, Site, until_nothing_is_left};

/// Changes that the device in use must carry out, one after another, while the other one could get in the way.
const CHANGES: u32 = 5;

/// Gives the newer device work, one change after another, and asserts that the older one gets none of it.
fn assert_the_newer_works(site: &Site, newer: &Agent) {
    for count in 1..=CHANGES {
        site.api().apply("deployments", &wasm_deployment("web", "hello:1", count));
        let pods = site.api().until_running("web", usize::try_from(count).unwrap());
        for pod in pods {
            assert_eq!(pod.restarts, 0);
            assert!(newer.pid_of(&pod.uid).is_some(), "the newer one runs {}", pod.name);
            assert_eq!(site.agent.pid_of(&pod.uid), None);
        }
    }
}

#[test]
fn a_newcomer_with_a_known_name_is_told_what_to_do_and_disturbs_nobody() {
    let site = Site::new();
    let mut newer = Agent::new(DEVICE, &site.hub);
    newer.start_again();
    wait_until("it is told", || match newer.log() {
        log if log.contains("another board is enrolled as") && log.contains("--name") => Ok(()),
        log => Err(log),
    });
    site.api().apply("deployments", &wasm_deployment("web", "hello:1", 1));
    let pod = site.api().until_one_runs("web");
    assert!(site.agent.pid_of(&pod.uid).is_some());
    assert_eq!(site.agent.log().matches(" connected").count(), 1, "it was not disturbed");
}

#[test]
#[ignore = "needs root: run by make test"]
fn of_two_boards_with_one_card_one_works_and_the_other_is_kept_out_with_one_warning() {
    let mut site = Site::new();
    let mut copy = Agent::with_card_of(&site.agent);
    copy.start_again();
    wait_until("the copy looks like the board that came back", || match site.agent.log() {
        log if log.contains("replaced this connection") => Ok(()),
        log => Err(log),
    });
    site.agent.kill();
    site.agent.start_again();
    wait_until("there is one warning", || {
        match site.api().events("TwoBoards", DEVICE).as_slice() {
            [_] => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
    assert_the_newer_works(&site, &copy);
    assert_eq!(site.api().events("TwoBoards", DEVICE).len(), 1);
    assert_eq!(copy.log().matches(" connected").count(), 1, "the one that works was not disturbed");
}

#[test]
fn a_lost_device_is_replaced_and_when_it_is_back_the_declared_number_remains() {
    let hub = Hub::start();
    hub.cli().push(&samples::hello_module(), "hello:1");
    let mut devices = ["a", "b"].map(|name| Agent::start(name, &hub));
    let mut everywhere = daemon_set("everywhere", "hello:1");
    pod_spec(&mut everywhere)["runtimeClassName"] = json!("wasm");
    let mut web = wasm_deployment("web", "hello:1", 1);
    pod_spec(&mut web)["tolerations"] = json!([{
        "key": "node.kubernetes.io/unreachable",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 1,
    }]);
    hub.cli().apply(&[&everywhere, &web]);
    let first = hub.api().until_one_runs("web");
    let daemons = hub.api().until_running("everywhere", 2);
    let lost = usize::from(first.node == "b");

    devices[lost].lose_power();
    let second = hub.api().until_pods("it runs elsewhere", "web", |pods| {
        pods.len() == 1 && pods[0].ready && pods[0].node != first.node
    });
    let kept: Vec<Pod> = hub.api().pods_of("everywhere");
    assert_eq!(kept.len(), 2, "a DaemonSet's Pod waits for its device: {kept:?}");

    devices[lost].start_again();
    let left = hub.api().until_running("everywhere", 2);
    assert_eq!(names(&left), names(&daemons));
    wait_until("exactly the declared number is left", || match hub.api().pods() {
        pods if pods.len() == 3 && pods.iter().all(|pod| pod.ready && !pod.going) => Ok(()),
        pods => Err(format!("{pods:#?}")),
    });
    assert_eq!(hub.api().until_one_runs("web").name, second[0].name);
    assert_eq!(devices[lost].pid_of(&first.uid), None);

    hub.api().remove("deployments", "web");
    hub.api().remove("daemonsets", "everywhere");
    hub.api().until_no_pods();
    let pods: Vec<String> = daemons.into_iter().map(|pod| pod.uid).collect();
    devices.iter().for_each(|device| until_nothing_is_left(device, &pods));
}

fn names(pods: &[Pod]) -> Vec<&str> {
    let mut names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    names.sort_unstable();
    names
}
