//! A container from an image that a stranger's tools have made, with crun and with runc.

use std::{collections::BTreeSet, fs};

use lichen_tests::{
    agent::Agent,
    api::Pod,
    hub::Hub,
    samples::{
        busybox_layout, config_map, daemon_set, deployment, pod_spec, set_command, set_variable,
    },
    wait::wait_until,
};
use serde_json::json;

use crate::site::{DEVICE, Site, assert_no_gap, counted};

/// A hub and a device that runs containers with `runtime`. The hub knows the image `busybox:1`.
pub fn site(runtime: &str) -> Site {
    let hub = Hub::start();
    let layout = busybox_layout(hub.scratch());
    hub.cli().push(&layout, "busybox:1");
    let agent = Agent::start_with(DEVICE, &hub, &["--runtime", runtime]);
    wait_until(&format!("{runtime} works"), || {
        let node = hub.api().get("/api/v1/nodes/pi").unwrap_or_default();
        let runtimes = node["status"]["runtimes"].as_array().cloned().unwrap_or_default();
        let usable = runtimes.iter().any(|r| r["class"] == "crun" && r["usable"] == true);
        if usable { Ok(()) } else { Err(format!("{runtimes:?}")) }
    });
    Site { agent, hub }
}

/// Runs, logs, is updated, survives its agent, and is deleted without a trace.
fn lives_and_leaves_nothing(runtime: &str) {
    let mut site = site(runtime);
    let mut web = deployment("web", "busybox:1", 1);
    set_variable(&mut web, "NAME", "moss");
    site.cli().apply(&[&web]);
    let pod = site.api().until_one_runs("web");
    let pid = site.pid_of(&pod);
    site.api().until_log("it counts", &pod.name, "", |log| {
        log.starts_with("hello from moss\n") && counted(log, "moss").len() > 2
    });

    site.agent.kill();
    site.api().until_away(DEVICE);
    site.agent.start_again();
    site.api().until_ready(DEVICE);
    let seen = counted(&site.api().log(&pod.name, "").unwrap(), "moss").len();
    let log = site
        .api()
        .until_log("it counts on", &pod.name, "", |log| counted(log, "moss").len() > seen + 5);
    assert_no_gap(&log, "moss");
    let adopted = site.api().until_one_runs("web");
    assert_eq!((adopted.restarts, site.pid_of(&adopted)), (0, pid));

    set_variable(&mut web, "NAME", "fern");
    site.cli().apply(&[&web]);
    let new = site.api().until_pods("the new one runs", "web", |pods| {
        pods.len() == 1 && pods[0].ready && pods[0].name != pod.name
    });
    site.api().until_log("it greets", &new[0].name, "", |log| log.starts_with("hello from fern\n"));

    site.cli().run(&["delete", "deployment", "web"]).well();
    site.api().until_no_pods();
    site.until_nothing_is_left(&[pod.uid, new[0].uid.clone()]);
}

#[test]
#[ignore = "needs root, crun, umoci and busybox-static: run by make test"]
fn a_container_under_crun_lives_and_leaves_nothing_behind() {
    lives_and_leaves_nothing("crun");
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn a_container_under_runc_lives_and_leaves_nothing_behind() {
    lives_and_leaves_nothing("runc");
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn a_container_sees_its_volumes_and_a_changed_config_map_in_place() {
    let site = site("runc");
    let mut web = daemon_set("web", "busybox:1");
    set_command(
        &mut web,
        &[
            "/bin/sh",
            "-c",
            "echo kept > /scratch/file; while :; do cat /config/moss; echo; sleep 0.1; done",
        ],
    );
    let spec = pod_spec(&mut web);
    spec["volumes"] = json!([
        {"name": "config", "configMap": {"name": "colours"}},
        {"name": "scratch", "emptyDir": {}},
    ]);
    spec["containers"][0]["volumeMounts"] = json!([
        {"name": "config", "mountPath": "/config"},
        {"name": "scratch", "mountPath": "/scratch"},
    ]);
    site.cli().apply(&[&config_map("colours", "moss", "green"), &web]);
    let pod = site.api().until_one_runs("web");
    let pid = site.pid_of(&pod);
    site.api().until_log("it reads", &pod.name, "", |log| log.contains("green"));
    site.cli().apply(&[&config_map("colours", "moss", "brown")]);
    site.api().until_log("it reads the change", &pod.name, "", |log| log.contains("brown"));
    assert_eq!(site.pid_of(&pod), pid);
    let volumes = site.agent.state().join("run").join(&pod.uid).join("volumes");
    assert_eq!(fs::read_to_string(volumes.join("scratch/file")).unwrap(), "kept\n");
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn containers_start_from_the_cache_after_a_power_loss_and_another_boot() {
    let mut site = site("runc");
    site.cli().apply(&[&deployment("web", "busybox:1", 2)]);
    let pods = site.api().until_running("web", 2);
    let before: Vec<_> = pods.iter().map(|pod| site.agent.run_dir(&pod.uid)).collect();
    site.agent.lose_power();
    site.hub.kill();

    // Another boot, as far as the agent can tell.
    let boot = site.hub.scratch().join("boot_id");
    fs::write(&boot, "11111111-2222-4333-8444-555555555555\n").unwrap();
    let mount = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
    site.agent.set_wrapper(&["unshare", "-m", "sh", "-c", mount, boot.to_str().unwrap()]);
    site.agent.start_again();
    for (pod, before) in pods.iter().zip(before) {
        wait_until(&format!("{} counts again", pod.name), || {
            let run = site.agent.run_dir(&pod.uid);
            let log =
                run.as_ref().map(|run| fs::read_to_string(run.join("log")).unwrap_or_default());
            let log = log.unwrap_or_default();
            if run != before && log.contains("busybox: 3") { Ok(()) } else { Err(log) }
        });
    }
    site.hub.start_again();
    let after = site.api().until_running_again("web", 2);
    let names = |pods: &[Pod]| pods.iter().map(|pod| pod.name.clone()).collect::<BTreeSet<_>>();
    assert_eq!(names(&after), names(&pods), "they are the same pods");

    site.api().remove("deployments", "web");
    site.api().until_no_pods();
    let pods: Vec<String> = pods.into_iter().map(|pod| pod.uid).collect();
    site.until_nothing_is_left(&pods);
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn a_container_that_ends_is_started_again_and_says_with_which_code() {
    let site = site("runc");
    let mut web = deployment("web", "busybox:1", 1);
    set_command(&mut web, &["/bin/sh", "-c", "echo leaving; exit 9"]);
    site.cli().apply(&[&web]);
    let pod = site
        .api()
        .until_pods("it is started again", "web", |pods| pods.iter().any(|pod| pod.restarts > 0));
    let shown = site.cli().run(&["describe", "pod", &pod[0].name]).well();
    let code = shown.lines().any(|line| line.trim() == "exitCode: 9");
    assert!(code, "the exit code is shown: {shown}");
    let log = site
        .api()
        .until_log("the run before", &pod[0].name, "previous=true", |log| !log.is_empty());
    assert_eq!(log, "leaving\n");
}
