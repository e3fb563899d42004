//! A hub that was lost goes on elsewhere, from a backup that was made while it worked: a device that knows better is paused
//! instead of being led back, and nothing on it restarts.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use lichen_tests::{
    agent::Agent,
    hub::Hub,
    samples::{self, config_map, wasm_deployment},
    wait::wait_until,
};
use serde_json::Value;

use crate::site::{DEVICE, Site};

/// What a condition of the device says, while it is so.
fn condition(hub: &Hub, kind: &str) -> Option<String> {
    let node = hub.api().get(&format!("/api/v1/nodes/{DEVICE}")).ok()?;
    let conditions = node["status"]["conditions"].as_array()?.clone();
    let so = |c: &Value| c["type"] == kind && c["status"] == "True";
    let found = conditions.into_iter().find(so)?;
    found["message"].as_str().map(str::to_owned)
}

#[test]
fn a_restored_hub_pauses_a_device_that_knows_better_until_it_is_told_to_resume() {
    let mut site = Site::new();
    let stays = site.run_hello("stays");
    let backup = site.hub.scratch().join("hub.tar.gz");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // What is saved while the hub is written to is as of one moment.
        scope.spawn(|| {
            let mut number = 0;
            while !done.load(Relaxed) {
                number += 1;
                site.api().apply("configmaps", &config_map("n", "n", &number.to_string()));
            }
        });
        let said = site.cli().run(&["hub", "backup", "-o", backup.to_str().unwrap()]);
        done.store(true, Relaxed);
        assert!(said.well().contains("1 device, "));
    });
    let later = site.run_hello("later");
    let pids = [site.pid_of(&stays), site.pid_of(&later)];
    site.hub.kill();

    let hub = Hub::restored(&backup);
    // The device is led to where its hub is now; it stays what it is.
    site.agent.kill();
    site.agent.set_token(&hub.token());
    site.agent.start_again();
    hub.api().until_ready(DEVICE);
    let message = wait_until("the device is paused", || {
        condition(&hub, "Paused").ok_or_else(|| "not yet".to_owned())
    });
    assert!(message.contains("newer than the hub's own"), "{message}");
    assert!(message.contains("restored from an older backup"), "{message}");
    assert!(message.contains(&format!("lichen resume {DEVICE}")), "{message}");
    let explained = hub.cli().run(&["explain", "node", DEVICE]).well();
    assert!(explained.contains("lichen resume"), "{explained}");
    // What is declared meanwhile waits, and nothing is taken away.
    hub.api().apply("deployments", &wasm_deployment("new", "hello:1", 1));
    let both = [&stays, &later].map(|pod| site.agent.pid_of(&pod.uid));
    assert_eq!(both, pids.map(Some), "nothing restarts and nothing stops");

    assert_eq!(
        hub.cli().run(&["resume", "--all"]).well(),
        format!("node/{DEVICE} resumed; this hub's assignment counts now\n")
    );
    let _new = hub.api().until_one_runs("new");
    wait_until("what this hub never heard of stops", || match site.agent.pods() {
        pods if pods.len() == 2 && pods.contains(&stays.uid) => Ok(()),
        pods => Err(format!("{pods:?}")),
    });
    assert_eq!(site.agent.pid_of(&stays.uid), Some(pids[0]), "what it did hear of runs on");
    assert_eq!(hub.api().until_one_runs("stays").name, stays.name);
    assert_eq!(condition(&hub, "Paused"), None);
    assert_eq!(hub.cli().run(&["resume", "--all"]).well(), "no device is paused\n");
}

#[test]
fn a_device_that_joined_after_the_backup_is_let_in_by_an_operator_and_goes_on() {
    let mut hub = Hub::start();
    let backup = hub.scratch().join("hub.tar.gz");
    hub.cli().run(&["hub", "backup", "-o", backup.to_str().unwrap()]).well();
    hub.cli().push(&samples::hello_module(), "hello:1");
    let mut agent = Agent::start(DEVICE, &hub);
    hub.api().apply("deployments", &wasm_deployment("web", "hello:1", 1));
    let web = hub.api().until_one_runs("web");
    let pid = agent.pid_of(&web.uid);
    hub.kill();

    let hub = Hub::restored(&backup);
    agent.kill();
    agent.set_token(&hub.token());
    agent.start_again();
    wait_until("it waits for a yes", || {
        let listed = hub.cli().run(&["device", "list"]).well();
        if listed.contains("Pending") { Ok(()) } else { Err(listed) }
    });
    hub.cli().run(&["device", "approve", DEVICE]).well();
    // It would come by itself, some minutes later.
    agent.kill();
    agent.start_again();
    hub.api().until_ready(DEVICE);
    assert!(pid.is_some() && agent.pid_of(&web.uid) == pid, "it runs on");
}
