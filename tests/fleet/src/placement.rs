//! The scheduler alone: many replicas over many devices with labels and taints, as a function call.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use firmware_compat::{
    id::AgentId,
    v1::owned::{Hello, Label, List, Runtime, RuntimeClass, Text},
};
use lichen_hub_core::{
    api::{
        core::{node::Taint, pod::PodTemplate},
        resource::RestartRule,
    },
    device::{Desired, Device, Operator, Presence, Told},
    engine::ReportRequest,
    pod::Revision,
    resolve::resolve,
    scheduler::{Load, Neighbours, place},
};
use serde_json::json;

use crate::{
    fleet,
    plan::Plan,
    report::{Figure, per_second},
    scenario::Outcome,
};

/// Workloads that the replicas belong to, each with a selector of its own.
const WORKLOADS: usize = 20;
/// Values of the label that they select by.
const TIERS: usize = 4;
/// Of so many devices, one has a taint; every second workload tolerates it.
const TAINTED: usize = 10;

/// Places every replica and checks that each went where it may.
///
/// # Errors
/// A replica found no place, or a wrong one.
pub fn run(plan: &Plan) -> Outcome {
    let devices = devices(plan.placement_devices);
    let by_name: BTreeMap<&str, &Device> = devices.iter().map(|d| (&*d.name, d)).collect();
    let mut taken: BTreeMap<&str, Load> = BTreeMap::new();
    let replicas = plan.placements / WORKLOADS;
    let mut placed = 0;
    let mut took = Duration::ZERO;
    for workload in 0..WORKLOADS {
        let revision = revision(workload)?;
        let load = |device: &Device| taken.get(&*device.name).cloned().unwrap_or_default();
        let start = Instant::now();
        let placement =
            place(replicas, &revision, devices.iter(), load, &|_| Ok(()), Neighbours::default());
        took += start.elapsed();
        placed += placement.devices.len();
        for name in placement.devices {
            check(by_name.get(name).ok_or("the scheduler made a device up")?, workload)?;
            let load = taken.entry(name).or_default();
            load.allocated.add(revision.resolved.requests);
            load.pods += 1;
        }
    }
    if placed != replicas * WORKLOADS {
        return Err(format!("{placed} of {} replicas were placed", replicas * WORKLOADS));
    }
    Ok(vec![Figure::new(
        "scheduler alone: replicas placed",
        format!("{}, {placed} over {} devices", per_second(placed, took), devices.len()),
        "≥ 100,000/s",
    )])
}

fn check(device: &Device, workload: usize) -> Result<(), String> {
    let tier = format!("tier-{}", workload % TIERS);
    let tolerates = workload.is_multiple_of(2);
    match device.label("tier") == Some(&*tier) && (tolerates || device.operator.taints.is_empty()) {
        true => Ok(()),
        false => Err(format!("{} must not take a replica of workload {workload}", device.name)),
    }
}

fn revision(workload: usize) -> Result<Revision, String> {
    let tolerations = match workload % 2 {
        0 => json!([{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}]),
        _ => json!([]),
    };
    let template = json!({
        "metadata": {"labels": {"app": format!("workload-{workload}")}},
        "spec": {
            "nodeSelector": {"tier": format!("tier-{}", workload % TIERS)},
            "tolerations": tolerations,
            "containers": [{
                "name": "main",
                "image": "hollow:1",
                "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
            }],
        },
    });
    let template: PodTemplate =
        serde_json::from_value(template).map_err(|error| error.to_string())?;
    let resolved = resolve("template", &template, RestartRule::Always)
        .map_err(|errors| format!("{errors:?}"))?;
    Ok(Revision::new(&template, resolved, BTreeMap::new()))
}

/// In the order of their names, as the hub keeps them.
fn devices(count: usize) -> Vec<Device> {
    let mut devices: Vec<Device> = (0..count).map(device).collect();
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    devices
}

fn device(number: usize) -> Device {
    let label = |key: &str, value: &str| Label { key: Text::cut(key), value: Text::cut(value) };
    let labels = vec![
        label("tier", &format!("tier-{}", number % TIERS)),
        label("lichen.dev/site", &format!("site-{}", number / 100)),
    ];
    let runtime = Runtime {
        runtime_class: RuntimeClass::Container,
        name: Text::cut("hollow"),
        version: Text::cut("1"),
        usable: true,
        limits_enforced: true,
        reason: Text::default(),
    };
    let facts = Hello {
        agent: AgentId([1; 16]),
        boot: firmware_compat::id::BootId([1; 16]),
        version: Text::default(),
        arch: Text::cut("arm64"),
        os: Text::cut("linux"),
        kernel: Text::default(),
        cpu_features: List::default(),
        cpu_milli: 4_000,
        memory_bytes: 4 << 30,
        disk_bytes: 32 << 30,
        storage: Default::default(),
        runtimes: vec![runtime].try_into().unwrap_or_default(),
        keys: List::default(),
        conditions: List::default(),
        wasm: None,
        labels: labels.try_into().unwrap_or_default(),
        assignment: None,
        clock_ms: 0,
        max_assignment_bytes: 1 << 22,
    };
    let taints = match (number / TIERS).is_multiple_of(TAINTED) {
        true => vec![Taint {
            key: "dedicated".to_owned(),
            value: "press".to_owned(),
            effect: "NoSchedule".to_owned(),
        }],
        false => Vec::new(),
    };
    Device {
        name: fleet::name(number),
        uid: String::new(),
        created_ms: 0,
        facts,
        operator: Operator { taints, ..Operator::default() },
        desired: Desired::default(),
        acknowledged: None,
        presence: Presence::Online { stamp: Default::default(), since_ms: 0 },
        conflict: None,
        boards: Default::default(),
        met: true,
        unfamiliar: false,
        unknown_pods: BTreeSet::new(),
        pending: false,
        told: Told::Heard,
        heard_whole: true,
        request: ReportRequest::default(),
        retransmit: None,
        watched_until: None,
        probe_at: None,
        heard_at: firmware_compat::time::Instant(0),
        resource_version: 0,
    }
}
