//! Makes the group of a plain process, with its limits, in every hierarchy that has one of them. For a container its runtime
//! does the same.
//!
//! A limit that the kernel does not have, or does not let be set, holds nothing up: which ones a device enforces is known
//! from the trial of its runtimes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::{ROOT, find};
use crate::spec::{Group, Limits};

/// Length of a CPU period in microseconds; Kubernetes' value.
const CPU_PERIOD_US: u64 = 100_000;
/// What is limited, by the names of the kernel's controllers.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Makes it. Whoever writes `0` to one of these files is in the group.
pub(crate) fn make(group: &Group) -> Vec<File> {
    make_below(Path::new(ROOT), group)
}

fn make_below(root: &Path, group: &Group) -> Vec<File> {
    let dirs: Vec<PathBuf> = match root.join("cgroup.controllers").exists() {
        true => make_v2(root, &group.path).into_iter().collect(),
        false => {
            let hierarchies = CONTROLLERS.iter().map(|controller| root.join(controller));
            let made = hierarchies.filter(|dir| dir.is_dir()).map(|dir| dir.join(&group.path));
            made.filter(|dir| fs::create_dir_all(dir).is_ok()).collect()
        }
    };
    for dir in &dirs {
        for (file, value) in settings(&group.limits) {
            // It belongs to another hierarchy, or this kernel has none of it.
            if dir.join(file).exists() {
                let _not_in_force = write(&dir.join(file), &value);
            }
        }
    }
    let members = dirs.iter().map(|dir| dir.join("cgroup.procs"));
    members.filter_map(|path| OpenOptions::new().write(true).open(path).ok()).collect()
}

/// In version 2 a group has the controllers that each one above it passes on.
fn make_v2(root: &Path, path: &str) -> Option<PathBuf> {
    let mut dir = root.to_owned();
    for part in path.split('/') {
        for controller in CONTROLLERS {
            let _not_there = write(&dir.join("cgroup.subtree_control"), &format!("+{controller}"));
        }
        dir.push(part);
    }
    fs::create_dir_all(&dir).ok()?;
    Some(dir)
}

/// Files and values, of both versions. The kubelet's formulas.
fn settings(limits: &Limits) -> Vec<(&'static str, String)> {
    let shares = (limits.cpu_request_milli.saturating_mul(1024) / 1000).clamp(2, 262_144);
    let weight = 1 + (shares - 2) * 9_999 / 262_142;
    let mut settings = vec![
        ("cpu.shares", shares.to_string()),
        ("cpu.weight", weight.to_string()),
        ("pids.max", limits.pids.to_string()),
    ];
    if limits.cpu_limit_milli > 0 {
        let quota = (limits.cpu_limit_milli.saturating_mul(CPU_PERIOD_US) / 1000).max(1000);
        settings.extend([
            ("cpu.cfs_period_us", CPU_PERIOD_US.to_string()),
            ("cpu.cfs_quota_us", quota.to_string()),
            ("cpu.max", format!("{quota} {CPU_PERIOD_US}")),
        ]);
    }
    if limits.memory_bytes > 0 {
        let bytes = limits.memory_bytes.to_string();
        settings.extend([("memory.limit_in_bytes", bytes.clone()), ("memory.max", bytes)]);
    }
    settings
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    use std::io::Write;
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// Whether the group is there, in any hierarchy.
#[must_use]
pub fn exists(path: &str) -> bool {
    !find(Path::new(ROOT), &[], path).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        Group {
            path: "lichen/p/main-0".into(),
            limits: Limits {
                cpu_request_milli: 100,
                cpu_limit_milli: 250,
                memory_bytes: 16 << 20,
                pids: 64,
            },
        }
    }

    #[test]
    fn each_hierarchy_of_version_1_is_given_what_it_limits() {
        let root = tempfile::tempdir().expect("a directory");
        for (controller, file) in [("cpu", "cpu.cfs_quota_us"), ("pids", "pids.max")] {
            let dir = root.path().join(controller).join("lichen/p/main-0");
            fs::create_dir_all(&dir).expect("a directory");
            for file in [file, "cgroup.procs"] {
                fs::write(dir.join(file), "").expect("a file");
            }
        }
        let read = |path: &str| fs::read_to_string(root.path().join(path)).expect("a file");
        assert_eq!(make_below(root.path(), &group()).len(), 2);
        assert_eq!(read("cpu/lichen/p/main-0/cpu.cfs_quota_us"), "25000");
        assert_eq!(read("pids/lichen/p/main-0/pids.max"), "64");
        assert!(!root.path().join("memory").exists());
    }

    #[test]
    fn version_2_passes_its_controllers_on_down_to_the_group() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("lichen/p/main-0");
        fs::create_dir_all(&dir).expect("a directory");
        for file in
            ["cgroup.controllers", "cgroup.subtree_control", "lichen/cgroup.subtree_control"]
        {
            fs::write(root.path().join(file), "").expect("a file");
        }
        for file in ["cpu.max", "cpu.weight", "memory.max", "cgroup.procs"] {
            fs::write(dir.join(file), "").expect("a file");
        }
        assert_eq!(make_below(root.path(), &group()).len(), 1);
        let read = |path: &str| fs::read_to_string(root.path().join(path)).expect("a file");
        assert_eq!(read("lichen/p/main-0/cpu.max"), "25000 100000");
        assert_eq!(read("lichen/p/main-0/cpu.weight"), "4");
        assert_eq!(read("lichen/p/main-0/memory.max"), "16777216");
        let passed_on = read("lichen/cgroup.subtree_control");
        assert!(passed_on.starts_with("+pids"), "the last one written: {passed_on}");
    }
}
