//! Finds an OCI runtime on the device and finds out, by trying, what it can do here.
//!
//! A version number says little: cgroups may be mixed, a controller disabled on the kernel's command line, overlayfs
//! missing. So each candidate runs a real container (see `trial.rs`), first with limits, then without. The first that
//! enforces limits is taken and ends the search; otherwise the first that works.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::config::{CgroupVersion, Host};
use crate::trial::{Trial, TrialError, read_until_end, wait};

/// The runtimes that are looked for, in order of preference: crun is the smallest and fastest.
pub const KNOWN: [&str; 3] = ["crun", "runc", "youki"];
/// Longest time for one trial. A trial takes under 0.1 s on a PC and under 1 s on the smallest boards.
pub const TRIAL_DEADLINE: Duration = Duration::from_secs(10);
/// The cgroup above all containers.
pub const CGROUP_PARENT: &str = "/lichen";
/// Where system programs are when PATH is that of a plain user or a thin service.
const MORE_PLACES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

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
    /// Limits were set and seen in force.
    pub limits_enforced: bool,
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

    /// Why containers can't run, in one line; for the case that nothing is usable.
    pub fn why_none(&self) -> String {
        let reasons: Vec<_> = self
            .refused
            .iter()
            .map(|refused| format!("{}: {}", refused.name, refused.reason))
            .collect();
        reasons.join("; ")
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

fn try_candidate(name: &str, search: &Search) -> Result<Found, String> {
    let path = locate(name, search).ok_or_else(|| not_installed(name))?;
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
    for mode in modes(kind, mounted_cgroups(Path::new("/sys/fs/cgroup"))) {
        let mut seccomp = version.seccomp && kernel_has_seccomp();
        let mut outcome = mode.attempt(&path, seccomp, search);
        if seccomp && matches!(&outcome, Err(error) if error.to_string().contains("seccomp")) {
            seccomp = false;
            outcome = mode.attempt(&path, seccomp, search);
        }
        match outcome {
            Ok(()) => {
                return Ok(Found {
                    name: if search.forced.is_some() { short } else { name.to_owned() },
                    path,
                    version: version.number,
                    args: mode.args,
                    limits_enforced: mode.limits,
                    limits_problem,
                    private_cgroup2: mode.private_cgroup2,
                    cgroup: mode.cgroup,
                    seccomp,
                });
            }
            Err(error) => {
                let problem = error.to_string();
                if mode.limits {
                    limits_problem = Some(format!("{problem}{}", memory_hint()));
                }
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
    }
    Err(problems.join("; then "))
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
        };
        trial.run()
    }
}

/// The ways to try, best first: with limits; without; and, for crun where cgroups are mixed (it refuses those),
/// without limits in front of a cgroup2 mount of its own.
fn modes(kind: &str, cgroup: CgroupVersion) -> Vec<Mode> {
    let unmanaged: Vec<String> = match kind {
        "crun" => vec!["--cgroup-manager=disabled".to_owned()],
        _ => Vec::new(),
    };
    let mut modes = Vec::new();
    if cgroup != CgroupVersion::None {
        modes.push(Mode { args: Vec::new(), limits: true, private_cgroup2: false, cgroup });
    }
    modes.push(Mode { args: unmanaged.clone(), limits: false, private_cgroup2: false, cgroup });
    if kind == "crun" && cgroup != CgroupVersion::V2 {
        let cgroup = CgroupVersion::V2;
        modes.push(Mode { args: unmanaged, limits: false, private_cgroup2: true, cgroup });
    }
    modes
}

fn host(cgroup: CgroupVersion, limits_enforced: bool, seccomp: bool, parent: &str) -> Host {
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    Host {
        cgroup,
        limits_enforced,
        seccomp,
        mqueue: filesystems.lines().any(|line| line.ends_with("\tmqueue")),
        architecture: std::env::consts::ARCH,
        cgroup_parent: parent.to_owned(),
    }
}

/// The program of that name in PATH or the usual places; a name with a slash is a path.
fn locate(name: &str, search: &Search) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return std::path::absolute(name).ok().filter(is_program);
    }
    let path = search.path.clone().unwrap_or_default();
    let places = std::env::split_paths(&path).chain(MORE_PLACES.map(PathBuf::from));
    places.filter(|place| place.is_absolute()).map(|place| place.join(name)).find(is_program)
}

fn not_installed(name: &str) -> String {
    match name {
        "crun" | "runc" => format!("not installed (Debian and Ubuntu: apt install {name})"),
        "youki" => "not installed (see https://github.com/youki-dev/youki/releases)".to_owned(),
        _ => "not an executable program; give the path or the name of an installed OCI runtime"
            .to_owned(),
    }
}

/// How cgroups are mounted. Mixed ones count as version 1: that is where the controllers are.
fn mounted_cgroups(root: &Path) -> CgroupVersion {
    if root.join("cgroup.controllers").exists() {
        CgroupVersion::V2
    } else if root.join("memory").is_dir() || root.join("pids").is_dir() {
        CgroupVersion::V1
    } else {
        CgroupVersion::None
    }
}

/// Raspberry Pi OS starts with the memory controller off, which no runtime's message explains.
fn memory_hint() -> &'static str {
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let off = match v2 {
        Ok(controllers) => !controllers.split_whitespace().any(|name| name == "memory"),
        Err(_) => !Path::new("/sys/fs/cgroup/memory").is_dir(),
    };
    if off {
        " (the memory controller is off; add \"cgroup_enable=memory cgroup_memory=1\" to the kernel's command line, \
         on a Raspberry Pi in /boot/firmware/cmdline.txt, and restart)"
    } else {
        ""
    }
}

fn kernel_has_seccomp() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Seccomp:"))
}

/// What `--version` tells.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    number: String,
    /// Built with seccomp, as far as it says; a trial decides.
    seccomp: bool,
}

impl Version {
    fn ask(program: &Path) -> io::Result<Self> {
        let deadline = Instant::now() + TRIAL_DEADLINE;
        let (mut output, stdout) = io::pipe()?;
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
        let mut child = command.spawn()?;
        drop(command); // with its end of the pipe
        let text = read_until_end(&mut output, deadline)?;
        match (text, wait(&mut child, deadline)?) {
            (Some(text), Some(_)) => Ok(Self::read(&String::from_utf8_lossy(&text))),
            _ => Err(io::Error::new(io::ErrorKind::TimedOut, "--version did not end in time")),
        }
    }

    fn read(text: &str) -> Self {
        let first = text.lines().next().unwrap_or_default();
        let number =
            first.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let silent = !text.contains("SECCOMP") && !text.contains("seccomp");
        let seccomp = text.contains("+SECCOMP")
            || text.contains("libseccomp")
            || silent && !first.starts_with("crun");
        Self { number: number.unwrap_or_default().chars().take(40).collect(), seccomp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_runtimes_print() {
        let version = |number: &str, seccomp| Version { number: number.to_owned(), seccomp };
        let crun = "crun version 1.8.1\ncommit: f8a0\nspec: 1.0.0\n+SYSTEMD +CAP +SECCOMP +YAJL\n";
        assert_eq!(Version::read(crun), version("1.8.1", true));
        assert_eq!(Version::read("crun version 1.8.1\n+CAP +YAJL\n"), version("1.8.1", false));
        let runc = "runc version 1.1.5+ds1\nspec: 1.0.2-dev\nlibseccomp: 2.5.4\n";
        assert_eq!(Version::read(runc), version("1.1.5+ds1", true));
        assert_eq!(Version::read("youki version 0.5.0\n"), version("0.5.0", true));
        assert_eq!(Version::read(""), version("", true));
    }

    #[test]
    fn mixed_cgroups_count_as_version_1() {
        let scratch = tempfile::tempdir().expect("scratch");
        assert_eq!(mounted_cgroups(scratch.path()), CgroupVersion::None);
        fs::create_dir_all(scratch.path().join("memory")).expect("memory");
        fs::create_dir_all(scratch.path().join("unified")).expect("unified");
        assert_eq!(mounted_cgroups(scratch.path()), CgroupVersion::V1);
        fs::write(scratch.path().join("cgroup.controllers"), "").expect("controllers");
        assert_eq!(mounted_cgroups(scratch.path()), CgroupVersion::V2);
    }

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
    fn only_crun_is_tried_with_cgroups_of_its_own() {
        let count = |kind, cgroup| modes(kind, cgroup).len();
        assert_eq!(count("crun", CgroupVersion::V1), 3);
        assert_eq!(count("crun", CgroupVersion::V2), 2);
        assert_eq!(count("runc", CgroupVersion::V1), 2);
        assert_eq!(count("youki", CgroupVersion::None), 1);
    }
}
