//! What this device is and can do. Whatever can't be found out becomes a reason, never a failure.

use std::path::Path;

use firmware_compat::{
    capacity::full as capacity,
    id::{AgentId, BootId},
    v1::owned::{Hello, List, Runtime, RuntimeClass, Storage, Text, WasmSupport},
};
use lichen_oci::runtime::{Findings, Search};
use lichen_wasm_host::{Class, profile};

use crate::{claims, options::Options};

/// What every Hello says, apart from what the core fills in and what [`containers`] finds.
#[must_use]
pub fn hello(options: &Options, agent: AgentId) -> Hello {
    let uname = rustix::system::uname();
    let labels = options.labels.clone().try_into();
    Hello {
        agent,
        boot: BootId(boot_id().map_or([0; 16], |boot| boot.0)),
        version: Text::cut(env!("CARGO_PKG_VERSION")),
        arch: Text::cut(architecture()),
        os: Text::cut("linux"),
        kernel: Text::cut(&uname.release().to_string_lossy()),
        cpu_features: cpu_features(),
        cpu_milli: cpu_milli(),
        memory_bytes: memory_bytes(),
        disk_bytes: disk_bytes(&options.state),
        storage: storage(&options.state),
        runtimes: runtimes(None).try_into().unwrap_or_default(),
        wasm: Some(wasm_support()),
        labels: labels.expect("options hold no more labels than the wire"),
        assignment: None,
        clock_ms: 0,
        max_assignment_bytes: capacity::ASSIGNMENT_BYTES as u32,
        keys: List::default(),
        conditions: List::default(),
    }
}

/// Where the data of claims is. Nothing holds a claim to its size.
fn storage(state: &Path) -> Storage {
    let state = state.canonicalize().unwrap_or_else(|_| state.to_owned());
    Storage { claims: Text::cut(&claims::data(&state).to_string_lossy()), sizes_enforced: false }
}

/// The kernel's boot id.
#[must_use]
pub fn boot_id() -> Option<lichen_shim::BootId> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    lichen_shim::BootId::parse(&text)
}

/// Where container runtimes are looked for. `forced` is the one that the operator named.
#[must_use]
pub fn search(forced: Option<String>, state: &Path) -> Search {
    let path = std::env::var_os("PATH");
    Search { forced, path, scratch: state.to_owned(), exhaustive: false }
}

/// Every engine as the hub is told. Without findings, containers are not mentioned.
#[must_use]
pub fn runtimes(findings: Option<&Findings>) -> Vec<Runtime> {
    let mut all = vec![wasm_runtime()];
    let Some(findings) = findings else { return all };
    all.extend(findings.usable.iter().map(|found| Runtime {
        runtime_class: RuntimeClass::Container,
        name: Text::cut(&found.name),
        version: Text::cut(&found.version),
        usable: true,
        limits_enforced: found.limits_enforced && found.lacks == Default::default(),
        reason: Text::cut(found.limits_problem.as_deref().unwrap_or_default()),
    }));
    all.extend(findings.refused.iter().map(|refused| Runtime {
        runtime_class: RuntimeClass::Container,
        name: Text::cut(&refused.name),
        version: Text::default(),
        usable: false,
        limits_enforced: false,
        reason: Text::cut(&refused.reason),
    }));
    all.truncate(capacity::RUNTIMES);
    all
}

/// What compiled Wasm must match.
#[must_use]
pub fn wasm_support() -> WasmSupport {
    let class = Class::of_this_machine();
    WasmSupport {
        class: Text::cut(class.as_str()),
        compatibility: Text::cut(&lichen_wasm_host::compatibility(class)),
    }
}

fn wasm_runtime() -> Runtime {
    let description = profile::description(Class::of_this_machine());
    let version = description.split("wasmtime ").nth(1).and_then(|rest| rest.split(',').next());
    Runtime {
        runtime_class: RuntimeClass::Wasm,
        name: Text::cut("wasmtime"),
        version: Text::cut(version.unwrap_or_default()),
        usable: true,
        limits_enforced: false,
        reason: Text::cut("memory limits are enforced, CPU limits are not"),
    }
}

/// Kubernetes' (and Go's) name of the architecture.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// Features beyond the baseline that Wasm is compiled for, of those that make compiled Wasm faster.
fn cpu_features() -> List<Text<{ capacity::WORD }>, { capacity::CPU_FEATURES }> {
    let mut list = List::default();
    for name in detected() {
        // Far fewer than fit.
        let _ = list.push(Text::cut(name));
    }
    list
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Vec<&'static str> {
    macro_rules! detect {
        ($($name:tt),*) => { [$(($name, std::arch::is_x86_feature_detected!($name))),*] };
    }
    let all = detect![
        "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "bmi1", "bmi2", "lzcnt",
        "fma"
    ];
    all.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

#[cfg(target_arch = "aarch64")]
fn detected() -> Vec<&'static str> {
    macro_rules! detect {
        ($($name:tt),*) => { [$(($name, std::arch::is_aarch64_feature_detected!($name))),*] };
    }
    let all = detect!["lse", "fp16", "dotprod", "paca"];
    all.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> Vec<&'static str> {
    Vec::new()
}

pub(crate) fn cpu_milli() -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cpus).unwrap_or(u32::MAX).saturating_mul(1000)
}

pub(crate) fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    (info.totalram as u64).saturating_mul(info.mem_unit.into())
}

pub(crate) fn disk_bytes(state: &Path) -> u64 {
    rustix::fs::statvfs(state).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use lichen_oci::runtime::{Found, Refused};

    use super::*;

    #[test]
    fn every_runtime_that_was_looked_for_is_reported_with_its_reason() {
        let found = Found {
            name: "runc".into(),
            path: "/usr/sbin/runc".into(),
            version: "1.1.5".into(),
            args: Vec::new(),
            limits_enforced: false,
            lacks: Default::default(),
            limits_problem: Some("no memory controller".into()),
            private_cgroup2: false,
            cgroup: Default::default(),
            seccomp: true,
        };
        let refused = Refused { name: "crun".into(), reason: "not installed".into() };
        let findings = Findings { usable: vec![found], refused: vec![refused] };
        let all = runtimes(Some(&findings));
        let told: Vec<_> = all
            .iter()
            .map(|runtime| (&runtime.name[..], runtime.usable, &runtime.reason[..]))
            .collect();
        assert_eq!(
            told[1..],
            [("runc", true, "no memory controller"), ("crun", false, "not installed")]
        );
        assert_eq!(told[0].0, "wasmtime");
        assert!(all[0].version.starts_with(|c: char| c.is_ascii_digit()), "{:?}", all[0].version);
    }

    #[test]
    fn this_machine_has_memory_and_a_processor() {
        assert!(cpu_milli() >= 1000);
        assert!(memory_bytes() > 1 << 20);
        assert!(disk_bytes(Path::new("/")) > 1 << 20);
        assert!(boot_id().is_some());
    }
}
