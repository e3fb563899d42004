//! The last runtime that passed its trial, so that the next boot need not wait for another one. It counts as long as the kernel
//! and the program are the same.

use std::{os::unix::fs::MetadataExt, path::Path};

use lichen_oci::{
    config::CgroupVersion,
    controllers::Lacks,
    runtime::{Findings, Found, Search},
};
use serde::{Deserialize, Serialize};

use super::{StateDir, StateError, read_bounded};

/// The file.
const FILE: &str = "runtime";
/// Raised when it changes shape.
const VERSION: u8 = 1;
const MAX_BYTES: u64 = 8192;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    kernel: String,
    forced: Option<String>,
    program: Stamp,
    name: String,
    path: String,
    version: String,
    args: Vec<String>,
    limits_enforced: bool,
    lacks: [bool; 3],
    limits_problem: Option<String>,
    private_cgroup2: bool,
    cgroup: u8,
    seccomp: bool,
}

/// Length and time of the last change.
type Stamp = (u64, i64, i64);

impl StateDir {
    /// What the trial found the last time, if it still counts.
    #[must_use]
    pub fn last_runtime(&self, search: &Search) -> Option<Findings> {
        let bytes = read_bounded(&self.path().join(FILE), MAX_BYTES).ok()??;
        let (&VERSION, body) = bytes.split_first()? else { return None };
        let saved: Saved = postcard::from_bytes(body).ok()?;
        let is_same = saved.kernel == kernel()
            && saved.forced == search.forced
            && stamp(Path::new(&saved.path)) == Some(saved.program);
        is_same.then(|| Findings { usable: vec![saved.into()], refused: Vec::new() })
    }

    /// Keeps what the trial found. A runtime that works no more is forgotten.
    ///
    /// # Errors
    /// Those of the system.
    pub fn keep_runtime(&self, search: &Search, findings: &Findings) -> Result<(), StateError> {
        if self.is_read_only() {
            return Ok(());
        }
        let saved = findings.best().and_then(|found| Saved::of(search, found));
        match saved {
            Some(saved) => {
                let bytes = postcard::to_extend(&saved, vec![VERSION]).expect("it encodes");
                let before = read_bounded(&self.path().join(FILE), MAX_BYTES).ok().flatten();
                match before.as_ref() == Some(&bytes) {
                    true => Ok(()),
                    false => self.written().replace(&self.path().join(FILE), &bytes),
                }
            }
            None => {
                let _there_is_none = std::fs::remove_file(self.path().join(FILE));
                Ok(())
            }
        }
    }
}

impl Saved {
    fn of(search: &Search, found: &Found) -> Option<Self> {
        Some(Self {
            kernel: kernel(),
            forced: search.forced.clone(),
            program: stamp(&found.path)?,
            name: found.name.clone(),
            path: found.path.to_str()?.to_owned(),
            version: found.version.clone(),
            args: found.args.clone(),
            limits_enforced: found.limits_enforced,
            lacks: [found.lacks.memory, found.lacks.cpu, found.lacks.pids],
            limits_problem: found.limits_problem.clone(),
            private_cgroup2: found.private_cgroup2,
            cgroup: match found.cgroup {
                CgroupVersion::None => 0,
                CgroupVersion::V1 => 1,
                CgroupVersion::V2 => 2,
            },
            seccomp: found.seccomp,
        })
    }
}

impl From<Saved> for Found {
    fn from(saved: Saved) -> Self {
        let [memory, cpu, pids] = saved.lacks;
        Self {
            name: saved.name,
            path: saved.path.into(),
            version: saved.version,
            args: saved.args,
            limits_enforced: saved.limits_enforced,
            lacks: Lacks { memory, cpu, pids },
            limits_problem: saved.limits_problem,
            private_cgroup2: saved.private_cgroup2,
            cgroup: match saved.cgroup {
                1 => CgroupVersion::V1,
                2 => CgroupVersion::V2,
                _ => CgroupVersion::None,
            },
            seccomp: saved.seccomp,
        }
    }
}

fn kernel() -> String {
    let name = rustix::system::uname();
    format!("{} {}", name.release().to_string_lossy(), name.version().to_string_lossy())
}

fn stamp(program: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(program).ok()?;
    Some((found.len(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_runtime_that_passed_counts_until_its_program_is_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(&dir.path().join("state")).expect("a state directory");
        let program = dir.path().join("crun");
        fs::write(&program, "one").expect("writable");
        let search =
            Search { forced: None, path: None, scratch: dir.path().to_owned(), exhaustive: false };
        assert_eq!(state.last_runtime(&search), None);
        let found = Found {
            name: "crun".into(),
            path: program.clone(),
            version: "1.8".into(),
            args: vec!["--cgroup-manager=disabled".into()],
            limits_enforced: true,
            lacks: Lacks { memory: true, ..Lacks::default() },
            limits_problem: Some("no memory controller".into()),
            private_cgroup2: true,
            cgroup: CgroupVersion::V2,
            seccomp: true,
        };
        let findings = Findings { usable: vec![found], refused: Vec::new() };
        state.keep_runtime(&search, &findings).expect("writable");
        assert_eq!(state.last_runtime(&search), Some(findings.clone()));
        let other = Search { forced: Some("runc".into()), ..search.clone() };
        assert_eq!(state.last_runtime(&other), None, "the operator wants another one");
        fs::write(state.path().join(FILE), [VERSION, 9]).expect("writable");
        assert_eq!(state.last_runtime(&search), None, "damaged");
        state.keep_runtime(&search, &findings).expect("writable");
        fs::write(&program, "another").expect("writable");
        assert_eq!(state.last_runtime(&search), None, "it was upgraded");
        state.keep_runtime(&search, &Findings::default()).expect("removable");
        assert!(!state.path().join(FILE).exists());
    }
}
