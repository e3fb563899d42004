//! Questions to the device about runtimes, cgroups and the kernel. Answers are hints; a trial decides.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::child::{read_until_end, wait};
use crate::config::{CgroupVersion, Host};
use crate::controllers::Lacks;

/// Where system programs are when PATH is that of a plain user or a thin service.
const MORE_PLACES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Longest time for `--version`.
const VERSION_DEADLINE: Duration = Duration::from_secs(5);

/// What `config.json` is written for on this device.
pub(crate) fn host(
    cgroup: CgroupVersion,
    limits_enforced: bool,
    seccomp: bool,
    parent: &str,
) -> Host {
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    Host {
        cgroup,
        limits_enforced,
        lacks: Lacks::below(Path::new("/sys/fs/cgroup"), cgroup),
        seccomp,
        mqueue: filesystems.lines().any(|line| line.ends_with("\tmqueue")),
        architecture: std::env::consts::ARCH,
        cgroup_parent: parent.to_owned(),
    }
}

/// The program of that name in PATH or the usual places; a name with a slash is a path.
pub(crate) fn locate(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return std::path::absolute(name).ok().filter(is_program);
    }
    let places =
        std::env::split_paths(path.unwrap_or_default()).chain(MORE_PLACES.map(PathBuf::from));
    places.filter(|place| place.is_absolute()).map(|place| place.join(name)).find(is_program)
}

pub(crate) fn not_installed(name: &str) -> String {
    match name {
        "crun" | "runc" => format!("not installed (Debian and Ubuntu: apt install {name})"),
        "youki" => "not installed (see https://github.com/youki-dev/youki/releases)".to_owned(),
        _ => "not an executable program; give the path or the name of an installed OCI runtime"
            .to_owned(),
    }
}

/// How cgroups are mounted. Mixed ones count as version 1: that is where the controllers are.
pub(crate) fn mounted_cgroups(root: &Path) -> CgroupVersion {
    if root.join("cgroup.controllers").exists() {
        CgroupVersion::V2
    } else if root.join("memory").is_dir() || root.join("pids").is_dir() {
        CgroupVersion::V1
    } else {
        CgroupVersion::None
    }
}

/// What to do about limits that can't be set, where the runtime's own words don't say it.
pub(crate) fn limits_hint(problem: &str) -> &'static str {
    if problem.contains("hybrid") {
        return " (cgroup versions 1 and 2 are mixed here; install runc, which works with that, or start the kernel \
                with systemd.unified_cgroup_hierarchy=1)";
    }
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let has_memory = match v2 {
        Ok(controllers) => controllers.split_whitespace().any(|name| name == "memory"),
        Err(_) => Path::new("/sys/fs/cgroup/memory").is_dir(),
    };
    // Raspberry Pi OS starts with the memory controller off, which no runtime's message explains.
    if has_memory {
        ""
    } else {
        " (the memory controller is off; add \"cgroup_enable=memory cgroup_memory=1\" to the kernel's command line, \
         on a Raspberry Pi in /boot/firmware/cmdline.txt, and restart)"
    }
}

pub(crate) fn kernel_has_seccomp() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Seccomp:"))
}

/// What `--version` tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub number: String,
    /// Built with seccomp, as far as it says; a trial decides.
    pub seccomp: bool,
}

impl Version {
    pub(crate) fn ask(program: &Path) -> io::Result<Self> {
        let deadline = Instant::now() + VERSION_DEADLINE;
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
}
