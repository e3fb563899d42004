//! A Pod with probes, hooks and a sidecar, as an operator sees it.

use std::fs;

use lichen_tests::{programs::repository, wait::wait_until};
use serde_json::Value;

use crate::container::site;

/// Ready, restarts and available replicas, in a few words.
fn state(pod: &Value, deployment: &Value) -> String {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|c| c["type"] == "Ready").cloned().unwrap_or_default();
    let door = &pod["status"]["containerStatuses"][0];
    let available = deployment["status"]["availableReplicas"].as_u64().unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (status, reason) = (word(&ready["status"]), word(&ready["reason"]));
    format!("{status} {reason} restarts {} available {available}", door["restartCount"])
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn probes_decide_what_is_available_and_what_is_started_again() {
    let site = site("runc");
    let manifest = repository("manifests/probes.yaml");
    let said = |arguments: &[&str]| site.cli().run(arguments).well();
    said(&["apply", "-f", manifest.to_str().unwrap()]);
    said(&["rollout", "status", "deployment/door"]);
    let [pod] = <[_; 1]>::try_from(site.api().pods_of("door")).unwrap();
    let until = |what: &str, expected: &str| {
        wait_until(what, || {
            let pods = site.api().get(&format!("/api/v1/namespaces/default/pods/{}", pod.name));
            let deployment = "/apis/apps/v1/namespaces/default/deployments/door";
            let deployment = site.api().get(deployment);
            let now = state(&pods.unwrap_or_default(), &deployment.unwrap_or_default());
            if now == expected { Ok(()) } else { Err(now) }
        });
    };
    until("it is ready", "True  restarts 0 available 1");
    let shown = said(&["get", "pods", "-l", "app=door"]);
    assert!(shown.contains("2/2"), "{shown}");

    let volume = site.agent.state().join("run").join(&pod.uid).join("volumes/door");
    let (open, lamp) = (volume.join("open"), volume.join("lamp"));
    assert_eq!(fs::read_to_string(&open).unwrap(), "yes\n", "its hook has run");
    fs::remove_file(&open).unwrap();
    until("it is not ready", "False ContainersNotReady restarts 0 available 0");
    let why = said(&["explain", "deployment/door"]);
    assert!(why.contains("containers with unready status: [door]"), "{why}");
    wait_until("its event is there", || {
        let events = said(&["get", "events"]);
        let failed = "Readiness probe failed: HTTP probe failed with statuscode: 404";
        if events.contains(failed) { Ok(()) } else { Err(events) }
    });

    // The next start makes it ready again, by its hook.
    fs::remove_file(&lamp).unwrap();
    wait_until("it is to be started again", || {
        let events = said(&["get", "events"]);
        let killed = "Container door failed liveness probe, will be restarted";
        if events.contains(killed) { Ok(()) } else { Err(events) }
    });
    fs::write(&lamp, "on").unwrap();
    until("it is ready again", "True  restarts 1 available 1");

    said(&["delete", "-f", manifest.to_str().unwrap()]);
    site.api().until_no_pods();
    site.until_nothing_is_left(&[pod.uid]);
}
