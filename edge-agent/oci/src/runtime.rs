//! Finds an OCI runtime on the device and finds out, by trying, what it can do here.
//!
//! A version number says little: cgroups may be mixed, a controller disabled on the kernel's command line, overlayfs
//! missing. So each candidate runs a real container (see `trial.rs`), first with limits, then without. The first that
//! enforces limits is taken and ends the search; otherwise the first that works.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{CgroupVersion, Host};
use crate::controllers::Lacks;
use crate::probe::{
    Version, host, kernel_has_seccomp, limits_hint, locate, mounted_cgroups, not_installed,
};
use crate::trial::{Trial, TrialError, new_id};

/// The runtimes that are looked for, in order of preference: crun is the smallest and fastest.
pub const KNOWN: [&str; 3] = ["crun", "runc", "youki"];
/// Longest time for one trial. A trial takes under 0.1 s on a PC and under 1 s on the smallest boards.
pub const TRIAL_DEADLINE: Duration = Duration::from_secs(10);
/// Where they are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The cgroup above all containers.
pub const CGROUP_PARENT: &str = "/lichen";

/// Removes the cgroup above all containers if no container of any agent is in it. For an agent that leaves the device.
pub fn remove_cgroup_parent() {
    let name = CGROUP_PARENT.trim_start_matches('/');
    let root = Path::new("/sys/fs/cgroup");
    // A cgroup with something in it refuses; that is the check.
    let _ = std::fs::remove_dir(root.join(name));
    for hierarchy in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let _ = std::fs::remove_dir(hierarchy.path().join(name));
    }
}

/// What to look for, and where trials may write.
#[derive(Debug, Clone)]
pub struct Search {
    /// A runtime by name or path, instead of all known ones.
    pub forced: Option<String>,
    /// The value of PATH.
    pub path: Option<OsString>,
    /// A directory on the file system that containers will run on; each trial makes and removes one in it.
    pub scratch: PathBuf,
    /// Try every candidate instead of ending at the first that enforces limits.
    pub exhaustive: bool,
}

/// A runtime that ran a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `crun`, `runc`, `youki` or the name of the forced program.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// Its version, or empty if it does not say.
    pub version: String,
    /// Arguments that must come before every command.
    pub args: Vec<String>,
    /// Limits were set and seen in force: those whose controllers are there.
    pub limits_enforced: bool,
    /// Controllers that are not.
    pub lacks: Lacks,
    /// Why they are not.
    pub limits_problem: Option<String>,
    /// It needs a cgroup2 mount of its own in the shim's mount namespace.
    pub private_cgroup2: bool,
    /// The cgroups that containers live in.
    pub cgroup: CgroupVersion,
    /// Seccomp filters were loaded.
    pub seccomp: bool,
}

impl Found {
    /// What [`crate::config::runtime_config`] needs to know about this device and runtime.
    pub fn host(&self) -> Host {
        host(self.cgroup, self.limits_enforced, self.seccomp, CGROUP_PARENT)
    }
}

/// A runtime that can't be used, with a reason for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The name or path that was looked for.
    pub name: String,
    /// Why, and what to do.
    pub reason: String,
}

/// The outcome of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Usable runtimes, best first.
    pub usable: Vec<Found>,
    /// The others.
    pub refused: Vec<Refused>,
}

impl Findings {
    /// The runtime to use.
    pub fn best(&self) -> Option<&Found> {
        self.usable.first()
    }

    /// Why containers can't run, in one line; for the case that nothing is usable. Runtimes with the same problem
    /// share a sentence.
    pub fn why_none(&self) -> String {
        let mut reasons: Vec<(String, &str)> = Vec::new();
        for Refused { name, reason } in &self.refused {
            match reasons.iter_mut().find(|(_, known)| known == reason) {
                Some((names, _)) => {
                    names.push_str(", ");
                    names.push_str(name);
                }
                None => reasons.push((name.clone(), reason)),
            }
        }
        let sentences: Vec<_> =
            reasons.into_iter().map(|(names, reason)| format!("{names}: {reason}")).collect();
        sentences.join("; ")
    }
}

/// Looks for runtimes and tries them. Blocks for the trials: call it off the agent's loop.
pub fn find(search: &Search) -> Findings {
    let mut findings = Findings::default();
    let names: Vec<&str> = match &search.forced {
        Some(name) => vec![name],
        None => KNOWN.to_vec(),
    };
    for name in names {
        match try_candidate(name, search) {
            Ok(found) => {
                let enough = found.limits_enforced && !search.exhaustive;
                // A controller that is off is off for every runtime.
                findings.usable.push(found);
                if enough {
                    break;
                }
            }
            Err(reason) => findings.refused.push(Refused { name: name.to_owned(), reason }),
        }
    }
    // A stable sort: the order of preference stays within each group.
    findings.usable.sort_by_key(|found| !found.limits_enforced);
    findings
}

/// The programs that [`find`] would try. Reads directories only: cheap enough to see now and then whether one was
/// installed.
pub fn installed(search: &Search) -> Vec<PathBuf> {
    let names: Vec<&str> = match &search.forced {
        Some(name) => vec![name],
        None => KNOWN.to_vec(),
    };
    names.into_iter().filter_map(|name| locate(name, search.path.as_deref())).collect()
}

fn try_candidate(name: &str, search: &Search) -> Result<Found, String> {
    let path = locate(name, search.path.as_deref()).ok_or_else(|| not_installed(name))?;
    if !rustix::process::geteuid().is_root() {
        return Err("the agent does not run as root, which containers need; start it with sudo or as a service".into());
    }
    let version = Version::ask(&path)
        .map_err(|cause| format!("could not run {}: {cause}", path.display()))?;
    let short =
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let kind = KNOWN.into_iter().find(|known| short.starts_with(known)).unwrap_or("runc");
    let mut problems = Vec::new();
    let mut limits_problem = None;
    let cgroup = mounted_cgroups(Path::new(CGROUPS));
    for mode in modes(kind, cgroup, Lacks::below(Path::new(CGROUPS), cgroup)) {
        let mut seccomp = version.seccomp && kernel_has_seccomp();
        let mut outcome = mode.attempt(&path, seccomp, search);
        if seccomp && matches!(&outcome, Err(error) if error.to_string().contains("seccomp")) {
            seccomp = false;
            outcome = mode.attempt(&path, seccomp, search);
        }
        match outcome {
            Ok(()) => {
                let lacks = Lacks::below(Path::new(CGROUPS), mode.cgroup);
                return Ok(Found {
                    name: if search.forced.is_some() { short } else { name.to_owned() },
                    path,
                    version: version.number,
                    args: mode.args,
                    limits_enforced: mode.limits,
                    limits_problem: limits_problem.or_else(|| lacking(lacks)),
                    lacks,
                    private_cgroup2: mode.private_cgroup2,
                    cgroup: mode.cgroup,
                    seccomp,
                });
            }
            Err(error) => {
                let problem = error.to_string();
                if mode.limits {
                    limits_problem = Some(format!("{problem}{}", limits_hint(&problem)));
                }
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
    }
    Err(problems.join("; then "))
}

/// What is not enforced although the runtime can, and what to do.
fn lacking(lacks: Lacks) -> Option<String> {
    let names: Vec<&str> = lacks.names().collect();
    let hint = if lacks.memory { limits_hint("") } else { "" };
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!(
            "limits of {names} are not enforced, others are: no such controller in the kernel{hint}"
        )
    })
}

/// One way of running containers with a runtime.
struct Mode {
    args: Vec<String>,
    limits: bool,
    private_cgroup2: bool,
    cgroup: CgroupVersion,
}

impl Mode {
    fn attempt(&self, runtime: &Path, seccomp: bool, search: &Search) -> Result<(), TrialError> {
        let name = runtime.file_name().unwrap_or_default().to_string_lossy();
        let trial = Trial {
            runtime,
            args: &self.args,
            private_cgroup2: self.private_cgroup2,
            host: host(self.cgroup, self.limits, seccomp, ""),
            directory: search.scratch.join(format!("trial-{name}")),
            deadline: Instant::now() + TRIAL_DEADLINE,
            id: new_id(),
        };
        trial.run()
    }
}

/// The ways to try, best first: with limits; without; and, for crun where cgroups are mixed (it refuses those),
/// without limits in front of a cgroup2 mount of its own.
fn modes(kind: &str, cgroup: CgroupVersion, lacks: Lacks) -> Vec<Mode> {
    let unmanaged: Vec<String> = match kind {
        "crun" => vec!["--cgroup-manager=disabled".to_owned()],
        _ => Vec::new(),
    };
    let mut modes = Vec::new();
    if cgroup != CgroupVersion::None && !lacks.all() {
        modes.push(Mode { args: Vec::new(), limits: true, private_cgroup2: false, cgroup });
    }
    // crun without limits still wants cgroups that it knows, or none: with version 1 its own mount is needed anyway.
    if kind != "crun" || cgroup != CgroupVersion::V1 {
        modes.push(Mode { args: unmanaged.clone(), limits: false, private_cgroup2: false, cgroup });
    }
    if kind == "crun" && cgroup != CgroupVersion::V2 {
        let cgroup = CgroupVersion::V2;
        modes.push(Mode { args: unmanaged, limits: false, private_cgroup2: true, cgroup });
    }
    modes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_runtime_says_how_to_install_it() {
        let scratch = tempfile::tempdir().expect("scratch");
        let search = Search {
            forced: Some("no-such-runtime".to_owned()),
            path: None,
            scratch: scratch.path().to_owned(),
            exhaustive: false,
        };
        let findings = find(&search);
        assert_eq!(findings.best(), None);
        assert!(findings.why_none().starts_with("no-such-runtime: not an executable program"));
        assert!(not_installed("crun").contains("apt install crun"));
    }

    #[test]
    fn runtimes_with_one_problem_share_a_sentence() {
        let refused =
            |name: &str, reason: &str| Refused { name: name.into(), reason: reason.into() };
        let refused = vec![refused("crun", "a"), refused("runc", "b"), refused("youki", "a")];
        let findings = Findings { usable: Vec::new(), refused };
        assert_eq!(findings.why_none(), "crun, youki: a; runc: b");
    }

    #[test]
    fn only_crun_is_tried_with_cgroups_of_its_own() {
        let count = |kind, cgroup| modes(kind, cgroup, Lacks::default()).len();
        assert_eq!(count("crun", CgroupVersion::V1), 2);
        assert_eq!(count("crun", CgroupVersion::None), 2);
        assert_eq!(count("crun", CgroupVersion::V2), 2);
        assert_eq!(count("runc", CgroupVersion::V1), 2);
        assert_eq!(count("youki", CgroupVersion::None), 1);
    }
}
