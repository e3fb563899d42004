//! An installation that has nothing to do: what it holds in memory, what it sends, what it writes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Bench, Plan, QUIET,
    figures::{Row, mebibytes, median},
    latency::sleeper,
    traffic,
};
use crate::{agent::Agent, footprint::command_line, samples::wasm_deployment};

/// Between two looks at memory.
pub(super) const SAMPLE: Duration = Duration::from_secs(2);
/// A keep-alive that lets several exchanges fall into the time that is measured.
const SHORT_KEEP_ALIVE_S: u64 = 10;
/// Default keep-alives of an agent per month of 30 days.
const EXCHANGES_PER_MONTH: f64 = 30.0 * 24.0 * 3.0;

/// A process that is measured, and under which name.
struct Subject {
    pid: u32,
    role: &'static str,
}

/// Everything about idleness.
#[must_use]
pub fn all(plan: &Plan) -> Vec<Row> {
    let bench = Bench::around(|hub| {
        let (agent, _way) = traffic::counted_device(super::DEVICE, hub, &["--runtime", "runc"]);
        let mut agent = agent.with_own_programs();
        agent.start_again();
        hub.api().until_ready(super::DEVICE);
        agent
    });
    let api = bench.hub.api();
    let keep_alive = SHORT_KEEP_ALIVE_S.to_string();
    let (mut talker, _way) =
        traffic::counted_device("talker", &bench.hub, &["--keep-alive", &keep_alive]);
    talker.start_again();
    api.until_ready("talker");
    let others: Vec<Agent> =
        (2..plan.devices).map(|n| Agent::start(&format!("device-{n}"), &bench.hub)).collect();

    let mut quiet = wasm_deployment("quiet", QUIET, 1);
    pin(&mut quiet);
    api.apply("deployments", &quiet);
    let _running = api.until_one_runs("quiet");
    if bench.no_containers.is_none() {
        let mut sleeper = sleeper("sleeper");
        pin(&mut sleeper);
        api.apply("deployments", &sleeper);
        let _running = api.until_one_runs("sleeper");
    }
    thread::sleep(plan.settle);
    let rows = measure(plan, &bench, &talker);
    drop(others);
    rows
}

fn pin(workload: &mut serde_json::Value) {
    crate::samples::pod_spec(workload)["nodeName"] = super::DEVICE.into();
}

fn measure(plan: &Plan, bench: &Bench, talker: &Agent) -> Vec<Row> {
    let subjects = subjects(bench);
    let state = bench.agent.state();
    let (files, hub_files) = (modified(&state), modified(&bench.hub.state()));
    let written: Vec<u64> = subjects.iter().map(|s| written(s.pid)).collect();
    let passed = traffic::passed(bench.agent.pid());
    let talked = traffic::passed(talker.pid());
    let start = Instant::now();
    let mut memory: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    while start.elapsed() < plan.idle {
        thread::sleep(SAMPLE.min(plan.idle));
        for Subject { pid, role } in &subjects {
            memory.entry(role).or_default().extend(pss(*pid));
        }
    }
    let seconds = start.elapsed().as_secs_f64();

    let mut rows = memory_rows(plan, &memory);
    let now = traffic::passed(bench.agent.pid());
    rows.push(quiet_row(now.0 - passed.0, now.1 - passed.1, seconds));
    rows.push(talk_row(traffic::passed(talker.pid()).0 - talked.0, seconds));
    let grown = |role: &str| {
        let pairs = subjects.iter().zip(&written).filter(|(s, _)| s.role.starts_with(role));
        pairs.map(|(s, before)| self::written(s.pid) - before).sum::<u64>()
    };
    let changed = changed(&files, &modified(&state));
    let how =
        format!("`write_bytes` of `/proc/PID/io` over {seconds:.0} s; files changed: {changed}");
    let bytes = grown("agent") + grown("shim");
    rows.push(Row::new("device: bytes written when idle", bytes.to_string(), "0", how));
    let changed = self::changed(&hub_files, &modified(&bench.hub.state()));
    let how = format!("the same of the hub; files changed: {changed}");
    rows.push(Row::new("hub: bytes written when idle", grown("hub").to_string(), "0", how));
    rows
}

fn subjects(bench: &Bench) -> Vec<Subject> {
    let mut subjects = vec![
        Subject { pid: bench.hub.pid(), role: "hub" },
        Subject { pid: bench.agent.pid(), role: "agent" },
    ];
    for pid in bench.agent.processes() {
        let line = command_line(pid);
        let is_wasm = line.contains("default/quiet-");
        let role = match line {
            _ if line.contains("lichen-shim supervise") && is_wasm => "shim of a module",
            _ if line.contains("lichen-shim supervise") => "shim of a container",
            _ if line.contains("wasm-run") => "process of a module",
            _ => continue,
        };
        subjects.push(Subject { pid, role });
    }
    subjects
}

fn memory_rows(plan: &Plan, memory: &BTreeMap<&str, Vec<f64>>) -> Vec<Row> {
    let mut rows = Vec::new();
    let hub = format!("hub with its endpoint for devices, idle, {} devices", plan.devices);
    for (role, what, goal) in [
        ("agent", "agent, idle, one module and one container", "≤ 4 MiB"),
        ("shim of a module", "shim of a module", "≤ 1 MiB"),
        ("shim of a container", "shim of a container", "≤ 1 MiB"),
        ("process of a module", "process of a module that sleeps", ""),
        ("hub", &hub, "≤ 25 MiB"),
    ] {
        let samples = memory.get(role).map_or(&[][..], Vec::as_slice);
        let (figure, how) = match samples.is_empty() {
            true => ("not measured".to_owned(), "there was none".to_owned()),
            false => (
                mebibytes(median(samples)),
                format!("PSS of `/proc/PID/smaps_rollup`, median of {}", samples.len()),
            ),
        };
        rows.push(Row::new(what, figure, goal, how));
    }
    rows
}

#[expect(clippy::cast_precision_loss, reason = "an idle device sends little")]
fn quiet_row(bytes: u64, packets: u64, seconds: f64) -> Row {
    let figure = format!("{:.1} bytes/min", bytes as f64 * 60.0 / seconds);
    let how =
        format!("loopback counters of a network namespace over {seconds:.0} s: {packets} packets");
    Row::new("idle traffic per device, default keep-alive", figure, "", how)
}

#[expect(clippy::cast_precision_loss, reason = "an idle device sends little")]
fn talk_row(bytes: u64, seconds: f64) -> Row {
    let each = bytes as f64 * SHORT_KEEP_ALIVE_S as f64 / seconds;
    let month = each * EXCHANGES_PER_MONTH / 1_000_000.0;
    let figure = format!("{each:.0} bytes each, {month:.2} MB/month");
    let how = format!(
        "the same with `--keep-alive {SHORT_KEEP_ALIVE_S}` ({:.1} bytes/min); a month has {EXCHANGES_PER_MONTH} of 20 min",
        bytes as f64 * 60.0 / seconds
    );
    Row::new("keep-alive with TLS and all headers", figure, "≤ 1 MB/month", how)
}

/// Proportional set size in bytes.
pub(super) fn pss(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0)
}

/// Bytes that a process has caused to be written to disks.
fn written(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// When each file below a directory was last changed.
fn modified(dir: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => found.extend(modified(&path)),
            Ok(meta) => drop(meta.modified().map(|at| found.insert(path, at))),
            Err(_) => {}
        }
    }
    found
}

fn changed(
    before: &BTreeMap<PathBuf, SystemTime>,
    after: &BTreeMap<PathBuf, SystemTime>,
) -> String {
    let changed = after.iter().filter(|(path, at)| before.get(*path) != Some(*at));
    let mut names: Vec<&str> = changed.filter_map(|(path, _)| path.file_name()?.to_str()).collect();
    names.dedup();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
