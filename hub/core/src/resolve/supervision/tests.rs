//! What templates mean. What is refused is told in `hub/tests/cli/problems/probes.yaml`.

use serde_json::{Value, json};

use super::*;
use crate::{
    api::core::pod::PodTemplate,
    resolve::{Resolved, resolve},
};

fn resolved(spec: &Value) -> Resolved {
    let template: PodTemplate = serde_json::from_value(json!({"spec": spec})).expect("a template");
    resolve("template", &template, RestartRule::Any).expect("it is understood")
}

#[test]
fn what_is_not_said_is_kubernetes_default_and_ports_are_found_by_their_names() {
    let resolved = resolved(&json!({"containers": [{
        "name": "a", "image": "a",
        "ports": [{"name": "http", "containerPort": 8080}],
        "livenessProbe": {"httpGet": {"port": "http", "path": "up"}, "failureThreshold": 0},
        "terminationMessagePath": "/dev/termination-log",
    }]}));
    let supervision = &resolved.containers[0].supervision;
    let Some(probe) = supervision.probes.first() else { panic!("a probe") };
    let Handler::HttpGet { host, port, path, tls, .. } = &probe.action else { panic!("HTTP") };
    assert_eq!((host.as_str(), *port, path.as_str(), *tls), ("", 8080, "/up", false));
    let numbers = (probe.initial_delay_s, probe.period_s, probe.timeout_s, probe.grace_ms);
    assert_eq!(numbers, (0, 10, 1, 0));
    assert_eq!((probe.success_threshold, probe.failure_threshold), (1, 3));
    assert_eq!(supervision.message_path.as_str(), "");
}

#[test]
fn a_sidecar_counts_with_the_containers_and_with_the_init_containers_after_it() {
    let of = |name: &str, cpu: &str, more: Value| {
        let mut container =
            json!({"name": name, "image": "a", "resources": {"requests": {"cpu": cpu}}});
        if let (Some(container), Some(more)) = (container.as_object_mut(), more.as_object()) {
            container.extend(more.clone());
        }
        container
    };
    let always = json!({"restartPolicy": "Always"});
    let init = |last: &str| {
        json!([
            of("first", "500m", json!({})),
            of("side", "100m", always.clone()),
            of("last", last, json!({})),
        ])
    };
    let asked = |last: &str| {
        let main = json!([of("main", "300m", json!({}))]);
        let spec = json!({"initContainers": init(last), "containers": main});
        resolved(&spec).requests.cpu_milli
    };
    assert_eq!(asked("10m"), 500, "the first one alone");
    assert_eq!(asked("450m"), 550, "the last one beside the sidecar");
    let spec = json!({"initContainers": [of("side", "100m", always)], "containers": [of("main", "300m", json!({}))]});
    assert_eq!(resolved(&spec).requests.cpu_milli, 400, "both together");
}
