//! A WebAssembly workload from `apply` to its end: it runs, shows its log, changes, scales, and leaves nothing.

use std::{
    fs,
    io::{BufRead, BufReader},
};

use lichen_tests::{
    api::{Api, Seen},
    samples::{self, config_map, pod_spec, set_variable, wasm_deployment},
    wait::wait_until,
};
use serde_json::json;

use crate::site::Site;

#[test]
fn an_applied_module_runs_and_when_deleted_leaves_nothing_behind() {
    let site = Site::new();
    let mut web = wasm_deployment("web", "hello:1", 1);
    set_variable(&mut web, "NAME", "moss");
    let said = site.cli().apply(&[&web]);
    assert!(said.contains("web") && said.contains("created"), "{said}");
    let pod = site.api().until_one_runs("web");
    let shown = site.cli().run(&["get", "pods"]).well();
    assert!(shown.contains(&pod.name) && shown.contains("Running"), "{shown}");
    site.api().until_log("it greets", &pod.name, "", |log| log.starts_with("hello from moss\n"));
    assert!(site.pid_of(&pod) > 0);

    let said = site.cli().run(&["delete", "deployment", "web"]).well();
    assert!(said.contains("web") && said.contains("deleted"), "{said}");
    site.api().until_no_pods();
    site.until_nothing_is_left(&[pod.uid]);
}

#[test]
fn an_applied_component_runs() {
    let site = Site::new();
    site.cli().push(&samples::hello_component(), "component:1");
    let mut web = wasm_deployment("web", "component:1", 1);
    set_variable(&mut web, "NAME", "fern");
    site.cli().apply(&[&web]);
    let pod = site.api().until_one_runs("web");
    site.api().until_log("it greets", &pod.name, "", |log| log.starts_with("hello from fern\n"));
}

#[test]
fn logs_are_shown_from_the_end_as_they_come_and_of_the_run_before() {
    let site = Site::new();
    let pod = site.run_hello("web");
    site.api().until_log("it counts", &pod.name, "", |log| log.contains("lichen: 2\n"));
    let tail = site.cli().run(&["logs", "--tail", "1", &pod.name]).well();
    assert_eq!(tail.lines().count(), 1, "{tail}");

    let mut follower = site.cli().start(&["logs", "-f", &pod.name]);
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("hello from lichen"));
    let seen = lines.find(|line| line == "lichen: 4");
    assert!(seen.is_some(), "lines come as they are written");
    follower.kill().unwrap();
    follower.wait().unwrap();

    site.cli().push(&samples::exit_module(), "exit:1");
    site.api().apply("deployments", &wasm_deployment("job", "exit:1", 1));
    let crashed = site
        .api()
        .until_pods("it is started again", "job", |pods| pods.iter().any(|pod| pod.restarts > 0));
    let name = crashed[0].name.clone();
    let before = wait_until("the log of the run before", || {
        let said = site.cli().run(&["logs", "--previous", &name]);
        if said.success { Ok(said.stdout) } else { Err(format!("{said:?}")) }
    });
    assert_eq!(before, "leaving with 7\n");
}

#[test]
fn a_changed_template_replaces_pods_one_at_a_time() {
    let site = Site::new();
    let mut web = wasm_deployment("web", "hello:1", 3);
    site.api().apply("deployments", &web);
    let old = site.api().until_running("web", 3);
    let watch = site.api().watch("/api/v1/pods");

    set_variable(&mut web, "NAME", "fern");
    site.cli().apply(&[&web]);
    let new = site.api().until_pods("all are new and run", "web", |pods| {
        pods.len() == 3 && pods.iter().all(|pod| pod.ready && pod.template != old[0].template)
    });
    for pod in &new {
        site.api()
            .until_log("it greets", &pod.name, "", |log| log.starts_with("hello from fern\n"));
    }
    assert_at_least_ready(&watch.so_far(), 2);
    assert!(new.iter().all(|pod| pod.restarts == 0));
}

/// Replays what a watch showed, and asserts that so many were ready all the time once all that was there is shown.
fn assert_at_least_ready(seen: &[Seen], least: usize) {
    let mut ready = std::collections::BTreeSet::new();
    let mut reached = false;
    for line in seen {
        let pod = line.pod();
        match pod.ready && line.word != "DELETED" {
            true => ready.insert(pod.name.clone()),
            false => ready.remove(&pod.name),
        };
        reached |= ready.len() > least;
        assert!(!reached || ready.len() >= least, "only {ready:?} after {} {pod:?}", line.word);
    }
    assert!(reached, "{seen:?}");
}

#[test]
fn a_deployment_scales_up_and_down_without_touching_what_stays() {
    let site = Site::new();
    let one = site.run_hello("web");
    let pid = site.pid_of(&one);
    let scale = |count: u32| {
        site.api().apply("deployments", &wasm_deployment("web", "hello:1", count));
        site.api().until_running("web", usize::try_from(count).unwrap())
    };
    let three = scale(3);
    let stays = three.iter().find(|pod| pod.name == one.name).unwrap();
    assert_eq!((stays.restarts, site.pid_of(stays)), (0, pid));
    let left = scale(1).remove(0);
    assert_eq!(left.restarts, 0);
    let none = scale(0);
    assert_eq!(none.len(), 0);
    site.api().until_no_pods();
    let pods: Vec<String> = three.into_iter().map(|pod| pod.uid).collect();
    site.until_nothing_is_left(&pods);
}

#[test]
fn a_changed_config_map_reaches_a_running_pod_without_a_restart() {
    let site = Site::new();
    let mut web = wasm_deployment("web", "hello:1", 1);
    pod_spec(&mut web)["volumes"] = json!([{"name": "config", "configMap": {"name": "colours"}}]);
    pod_spec(&mut web)["containers"][0]["volumeMounts"] =
        json!([{"name": "config", "mountPath": "/config"}]);
    site.cli().apply(&[&config_map("colours", "moss", "green"), &web]);
    let pod = site.api().until_one_runs("web");
    let pid = site.pid_of(&pod);
    let file = site.agent.state().join("run").join(&pod.uid).join("volumes/config/moss");
    assert_eq!(fs::read_to_string(&file).unwrap(), "green");

    site.cli().apply(&[&config_map("colours", "moss", "brown")]);
    wait_until("the file changes", || match fs::read_to_string(&file) {
        Ok(text) if text == "brown" => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    assert_eq!(site.pid_of(&pod), pid);
    assert_eq!(the_same(&site.api(), "web"), (pod.name, 0));
}

fn the_same(api: &Api, app: &str) -> (String, u64) {
    let pod = api.until_one_runs(app);
    (pod.name, pod.restarts)
}

#[test]
fn a_workload_that_cannot_run_says_why() {
    let site = Site::new();
    site.api().apply("deployments", &wasm_deployment("web", "nowhere:1", 1));
    let seen = |what: &str, expected: &str| {
        wait_until(what, || {
            let said = site.cli().run(&["explain", "deployment", "web"]);
            if said.success && said.stdout.contains(expected) {
                Ok(())
            } else {
                Err(format!("{said:?}"))
            }
        });
    };
    seen("the image is named", "nowhere:1");
    let mut web = wasm_deployment("web", "hello:1", 1);
    pod_spec(&mut web)["nodeSelector"] = json!({"colour": "blue"});
    site.api().apply("deployments", &web);
    seen("the label is named", "colour");
}
