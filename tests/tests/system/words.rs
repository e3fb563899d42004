//! What the command line says when something is wrong: the thing, the cause, and what to do.

use std::fs;

use lichen_tests::{cli::Cli, hub::Hub, samples::wasm_deployment};

struct Wrong {
    arguments: &'static [&'static str],
    /// Each of these is part of what is said.
    says: &'static [&'static str],
}

const fn wrong(arguments: &'static [&'static str], says: &'static [&'static str]) -> Wrong {
    Wrong { arguments, says }
}

/// One for each verb, against a hub that has nothing.
const WRONG: &[Wrong] = &[
    wrong(&["apply", "-f", "missing.yaml"], &["missing.yaml", "No such file"]),
    wrong(&["apply", "-f", "typo.yaml"], &["typo.yaml:5:", "replicsa", "replicas"]),
    wrong(&["apply", "-f", "service.yaml"], &["service.yaml:2:", "Service"]),
    wrong(&["delete", "deployment", "web"], &["web", "not found"]),
    wrong(&["delete", "nonsense", "web"], &["nonsense", "deployments"]),
    wrong(&["get", "nonsense"], &["nonsense", "deployments"]),
    wrong(&["get", "pod", "web"], &["web", "not found"]),
    wrong(&["describe", "node", "pi"], &["pi", "not found"]),
    wrong(&["explain", "deployment", "web"], &["web", "not found"]),
    wrong(&["logs", "web"], &["web", "not found"]),
    wrong(&["image", "push", "missing.wasm", "hello:1"], &["missing.wasm"]),
    wrong(&["image", "push", "typo.yaml", "hello:1"], &["typo.yaml"]),
    wrong(&["image", "rm", "hello:1"], &["hello:1"]),
    wrong(&["completion", "nonsense"], &["nonsense", "bash"]),
    wrong(
        &["hub", "--state", "hub", "--external-broker", "mqtt://192.0.2.1:1883"],
        &["192.0.2.1", "mqtts://"],
    ),
    wrong(&["nonsense"], &["nonsense", "help"]),
];

const TYPO: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicsa: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: hello:1}]}
";

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: key}
";

#[test]
fn every_wrong_command_says_what_is_wrong_and_what_to_do() {
    let hub = Hub::start();
    fs::write(hub.scratch().join("typo.yaml"), TYPO).unwrap();
    fs::write(hub.scratch().join("service.yaml"), SERVICE).unwrap();
    let mut failures = Vec::new();
    for Wrong { arguments, says } in WRONG {
        let said = hub.cli().run(arguments);
        let missing: Vec<_> = says.iter().filter(|part| !said.stderr.contains(**part)).collect();
        if said.success || !missing.is_empty() || said.stderr.contains("panicked") {
            failures.push(format!("{said:#?} lacks {missing:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn without_a_hub_every_command_says_how_to_start_or_name_one() {
    let dir = tempfile::tempdir().unwrap();
    let cli = Cli::new(&dir.path().join("no-kubeconfig"), dir.path());
    let file = dir.path().join("web.yaml");
    fs::write(&file, wasm_deployment("web", "hello:1", 1).to_string()).unwrap();
    fs::write(dir.path().join("empty.wat"), "(module (func (export \"_start\")))").unwrap();
    for arguments in [
        &["get", "pods"][..],
        &["apply", "-f", "web.yaml"],
        &["delete", "deployment", "web"],
        &["describe", "pod", "web"],
        &["explain", "deployment", "web"],
        &["logs", "web"],
        &["image", "list"],
        &["image", "push", "empty.wat", "empty:1"],
    ] {
        let said = cli.run(arguments);
        assert!(!said.success, "{said:?}");
        let helps = said.stderr.contains("no-kubeconfig");
        assert!(helps, "{said:#?}");
    }
}
