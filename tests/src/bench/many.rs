//! A device with many Pods: what the agent holds in memory, and how soon after its start everything runs again.

use std::{fs, thread};

use super::{
    Bench, DEVICE, Plan,
    figures::{Row, mebibytes, median, milliseconds},
    idle::{SAMPLE, pss},
    latency::sleeper,
};
use crate::{footprint::start_ticks, samples::pod_spec, wait::wait_within};

/// How many Pods a device has while it is measured, and the goal.
const COUNTS: [(usize, &str); 3] = [(0, "≤ 2.5 MiB"), (10, ""), (50, "")];
/// How many Pods come back after a power cut.
const BOOTED: usize = 10;
/// Looks at the memory of each.
const SAMPLES: usize = 15;
/// Clock ticks per second in `/proc`.
const TICKS: f64 = 100.0;

/// Everything about many Pods.
#[must_use]
pub fn all(plan: &Plan) -> Vec<Row> {
    let mut bench = Bench::around(|hub| {
        let mut agent = crate::agent::Agent::start_with(DEVICE, hub, &["--runtime", "runc"])
            .with_own_programs();
        agent.stop();
        agent.start_again();
        agent
    });
    if let Some(why) = &bench.no_containers {
        let row = |what: &str| Row::new(what, "not measured".into(), "", why.clone());
        return vec![row("agent with many containers"), row("boot with many containers")];
    }
    let api = bench.hub.api();
    let mut workload = sleeper("many");
    pod_spec(&mut workload)["nodeName"] = DEVICE.into();
    let mut rows = Vec::new();
    for (count, goal) in COUNTS {
        scale(&bench, &mut workload, count);
        thread::sleep(plan.settle);
        let (mut agent, mut shims) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            thread::sleep(SAMPLE);
            agent.extend(pss(bench.agent.pid()));
            shims.push(shims_of(&bench));
        }
        let how = format!("PSS of `/proc/PID/smaps_rollup`, median of {SAMPLES}");
        let what = format!("agent with {count} containers");
        rows.push(Row::new(&what, mebibytes(median(&agent)), goal, how.clone()));
        if count > 0 {
            let what = format!("all shims of {count} containers");
            rows.push(Row::new(&what, mebibytes(median(&shims)), "≤ 1 MiB each", how));
        }
    }
    scale(&bench, &mut workload, BOOTED);
    api.until_ready(DEVICE);
    bench.hub.kill();
    let took: Vec<f64> = (0..plan.boots).map(|_| boot(&mut bench)).collect();
    let how = format!(
        "after a power cut, without the hub: from the start of the agent's process to that of the last container's, {} boots, runc, image in the page cache",
        plan.boots
    );
    let what = format!("cold boot, {BOOTED} containers running");
    rows.push(Row::new(&what, milliseconds(&took), "≤ 2 s", how));
    rows
}

fn scale(bench: &Bench, workload: &mut serde_json::Value, count: usize) {
    workload["spec"]["replicas"] = count.into();
    bench.hub.api().apply("deployments", workload);
    wait_within(std::time::Duration::from_secs(120), "as many containers run", || {
        let uids = bench.agent.pods();
        let running = uids.iter().filter(|uid| bench.agent.pid_of(uid).is_some()).count();
        let is_so = uids.len() == count && running == count;
        is_so.then_some(()).ok_or_else(|| format!("{running} of {}", uids.len()))
    });
}

/// Milliseconds from the start of the agent until the last container has a process.
fn boot(bench: &mut Bench) -> f64 {
    bench.agent.lose_power();
    bench.agent.start_again();
    let agent = start_ticks(bench.agent.pid()).unwrap_or_default();
    let last = wait_within(std::time::Duration::from_secs(120), "all containers run", || {
        let uids = bench.agent.pods();
        let pids: Vec<u32> = uids.iter().filter_map(|uid| bench.agent.pid_of(uid)).collect();
        let last = pids.iter().filter_map(|pid| start_ticks(*pid)).max();
        last.filter(|_| pids.len() == BOOTED).ok_or_else(|| format!("{} run", pids.len()))
    });
    #[expect(clippy::cast_precision_loss, reason = "a boot is short")]
    let ticks = last.saturating_sub(agent) as f64;
    ticks / TICKS * 1000.0
}

/// What all shims of the device hold together.
fn shims_of(bench: &Bench) -> f64 {
    let is_shim = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "lichen-shim"
    };
    bench.agent.processes().into_iter().filter(is_shim).filter_map(pss).sum()
}
