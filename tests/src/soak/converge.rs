//! The end of a soak: waits until what runs is what is declared, takes everything down, and looks at what is left.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde_json::Value;

use super::{
    fleet::Fleet,
    ledger::{Ledger, Object},
    leftovers::leftovers,
    operator::{compare, path},
    workloads::{self, ALL, CONFIG, Workload},
};
use crate::{
    agent::Agent,
    api::{Api, Pod},
    wait::try_within,
};

/// How long everything may take to be as it is declared. A Pod that was killed thrice is started again after 20 s, an
/// agent may wait for a minute before it looks for its hub, and the hub reminds a device after 40 s at most by then.
const CONVERGENCE: Duration = Duration::from_secs(240);
/// How long the end of processes that were told to end may take.
const ENDING: Duration = Duration::from_secs(60);

/// The processes of the workloads that nothing may disturb, by Pod.
pub type Still = BTreeMap<String, u32>;

/// Waits until what runs is what is declared. Returns the processes of the workloads that nothing may disturb.
///
/// # Errors
/// What was last seen instead.
pub fn converge(fleet: &Fleet) -> Result<Still, String> {
    let api = fleet.hub.api();
    try_within(CONVERGENCE, "what runs is what is declared", || {
        let wrong = differences(fleet, &api);
        if wrong.is_empty() { Ok(still(fleet, &api)) } else { Err(wrong.join("\n  ")) }
    })
}

/// What differs between what is declared and what runs.
fn differences(fleet: &Fleet, api: &Api) -> Vec<String> {
    let (nodes, pods) = (api.list("/api/v1/nodes"), api.list("/api/v1/pods"));
    let config = api.get(&path(&Object::new("configmaps", CONFIG))).unwrap_or_default();
    let config = config["data"]["turn"].as_str().unwrap_or_default().to_owned();
    let mut wrong: Vec<String> = fleet
        .agents
        .iter()
        .filter(|a| !api.is_ready(a.name()))
        .map(|a| format!("{} is away", a.name()))
        .collect();
    for workload in &ALL {
        wrong.extend(of_workload(api, workload, &nodes, &pods));
    }
    let pods: Vec<Pod> = pods.iter().map(Pod::read).collect();
    for agent in &fleet.agents {
        let here: Vec<&Pod> = pods.iter().filter(|pod| pod.node == agent.name()).collect();
        wrong.extend(on_device(fleet, agent, &here, &config));
    }
    wrong
}

fn of_workload(api: &Api, workload: &Workload, nodes: &[Value], pods: &[Value]) -> Vec<String> {
    let name = workload.name;
    let object = Object::new(workload.kind, name);
    let declared = api.get(&path(&object)).ok().map(|shown| workloads::fields(&object, &shown));
    let chosen = nodes.iter().filter(|node| {
        name != "turn-set"
            || node.pointer("/metadata/labels/soak").is_some_and(|value| value == "on")
    });
    let wanted = match (&declared, workload.kind) {
        (None, _) => 0,
        (Some(fields), "deployments") => fields["replicas"].parse().unwrap_or(0),
        (Some(_), _) => chosen.count(),
    };
    let turn = declared.as_ref().map_or("", |fields| fields["turn"].as_str());
    let own = pods
        .iter()
        .filter(|pod| pod.pointer("/metadata/labels/app").is_some_and(|app| app == name));
    let own: Vec<&Value> = own.collect();
    let mut wrong = Vec::new();
    if own.len() != wanted {
        wrong.push(format!("{name} has {} Pods, not {wanted}", own.len()));
    }
    for shown in own {
        let pod = Pod::read(shown);
        let its_turn = shown.pointer("/spec/containers/0/env/0/value").and_then(Value::as_str);
        if !pod.ready || pod.going || its_turn != Some(turn) {
            wrong.push(format!("{name} should be at turn {turn}, not {its_turn:?}: {pod:?}"));
        }
    }
    wrong
}

/// On a device there is a directory and a process for each of its Pods, and no other.
fn on_device(fleet: &Fleet, agent: &Agent, pods: &[&Pod], config: &str) -> Vec<String> {
    let device = agent.name();
    let mut wrong = Vec::new();
    for pod in pods {
        let Pod { name, uid, .. } = pod;
        if agent.pid_of(uid).is_none() {
            wrong.push(format!("{name} ({uid}) has no process on {device}"));
        }
        if (name.starts_with("turn-box") || name.starts_with("turn-wasm")) && !config.is_empty() {
            let file = agent.state().join("run").join(uid).join("volumes/config/turn");
            let found = fs::read_to_string(&file).unwrap_or_default();
            if found != config {
                wrong.push(format!(
                    "{name} ({uid}) sees turn {found:?} of {CONFIG}, not {config:?}"
                ));
            }
        }
    }
    let known = |uid: &str| pods.iter().any(|pod| pod.uid == uid);
    for uid in agent.pods() {
        if !known(&uid) {
            wrong.push(format!("{uid} has a directory on {device}, and nobody declared it"));
        }
    }
    for running in fleet.running_on(agent) {
        if !known(&running.uid) {
            wrong.push(format!(
                "{} ({}) runs on {device}, and nobody declared it",
                running.pod, running.uid
            ));
        }
    }
    wrong
}

fn still(fleet: &Fleet, api: &Api) -> Still {
    let pods = api.pods().into_iter().filter(|pod| pod.name.starts_with("still-"));
    pods.filter_map(|pod| {
        let agent = fleet.agents.iter().find(|agent| agent.name() == pod.node)?;
        Some((pod.uid.clone(), agent.pid_of(&pod.uid)?))
    })
    .collect()
}

/// Deletes everything, stops the devices and the hub, and says what is wrong with what is left. `pods` are the ids of
/// all that ever ran.
#[must_use]
pub fn take_down(fleet: &mut Fleet, ledger: &mut Ledger, pods: &[String]) -> Vec<String> {
    let api = fleet.hub.api();
    let mut findings = Vec::new();
    for object in
        ledger.objects().filter(|object| object.kind != "nodes").cloned().collect::<Vec<_>>()
    {
        match api.delete(&path(&object)) {
            Ok(_) => ledger.delete(&object),
            Err(refused) if refused.status == 404 => {}
            Err(refused) => findings.push(format!("{object} can't be deleted: {refused:?}")),
        }
    }
    let empty = try_within(CONVERGENCE, "nothing runs once all is deleted", || {
        let mut left: Vec<String> = api.pods().iter().map(|pod| format!("{pod:?}")).collect();
        for agent in &fleet.agents {
            left.extend(agent.pods().iter().map(|i| format!("{i} on {}", agent.name())));
            left.extend(
                agent.processes().iter().map(|p| format!("process {p} on {}", agent.name())),
            );
        }
        if left.is_empty() { Ok(()) } else { Err(left.join("\n  ")) }
    });
    findings.extend(empty.err());
    for agent in &mut fleet.agents {
        if !agent.stop() {
            findings.push(format!("the agent of {} did not end well", agent.name()));
        }
    }
    let clean = try_within(ENDING, "nothing is left of the devices", || {
        let left = leftovers(&fleet.states(), &fleet.marks(), pods);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n  ")) }
    });
    findings.extend(clean.err());
    findings.extend(reopen(fleet, ledger));
    findings.extend(panics(fleet));
    findings
}

/// The hub ends well, its store opens again, and holds what was accepted.
fn reopen(fleet: &mut Fleet, ledger: &Ledger) -> Vec<String> {
    let mut findings = Vec::new();
    if !fleet.hub.stop() {
        findings.push("the hub did not end well".to_owned());
    }
    fleet.hub.start_api();
    findings.extend(compare(&fleet.hub.api(), ledger));
    if fleet.hub.api().get("/api/v1/namespaces/default").is_err() {
        findings.push("the reopened store has no namespace `default`".to_owned());
    }
    if !fleet.hub.stop() {
        findings.push("the hub did not end well after it was opened again".to_owned());
    }
    findings
}

fn panics(fleet: &Fleet) -> Vec<String> {
    let mut logs = vec![("the hub".to_owned(), read(&fleet.hub.log_file()))];
    logs.extend(fleet.agents.iter().map(|agent| (agent.name().to_owned(), agent.log())));
    let mut findings = Vec::new();
    for (name, log) in logs {
        let lines = log.lines().filter(|line| line.contains("panicked at"));
        findings.extend(lines.map(|line| format!("{name}: {line}")));
    }
    findings
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
