//! One trial of a runtime: a container that prints `ok`, made and removed the way the shim does it.
//!
//! A trial runs on a thread with a mount namespace of its own, so that its overlay (and, where asked for, its cgroup2
//! mount) vanish with it. Every wait has the trial's deadline. What is left behind on a failure is removed by
//! name: the container through the runtime, its cgroups by their directories, its files by [`remove_tree`].

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

use crate::bundle::{Overlay, RunDir};
use crate::child::{MAX_OUTPUT_BYTES, read_until_end, wait};
use crate::config::{CgroupVersion, ContainerSpec, Host, Network, Resources, runtime_config};
use crate::etc::Names;
use crate::image::ImageConfig;
use crate::tree::remove_tree;
use crate::trial_program::{OUTPUT, elf};

/// The limit that a trial sets and looks for: enough for every runtime's own start in the container's cgroup.
const MEMORY_LIMIT_BYTES: u64 = 128 << 20;
const PIDS_LIMIT: u64 = 128;
/// A whole core's share.
const CPU_REQUEST_MILLI: u64 = 1000;
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// What to try.
#[derive(Debug, Clone)]
pub(crate) struct Trial<'a> {
    /// The runtime's program.
    pub runtime: &'a Path,
    /// Arguments before `--root`.
    pub args: &'a [String],
    /// Mount a cgroup2 of its own before the runtime runs.
    pub private_cgroup2: bool,
    /// What `config.json` is written for. With `limits_enforced`, the limits must be found in force.
    pub host: Host,
    /// A directory for the trial alone; removed afterwards.
    pub directory: PathBuf,
    /// When to give up.
    pub deadline: Instant,
    /// The container's name, from [`new_id`].
    pub id: String,
}

/// A name for a container that no other trial on the device has, whichever agent runs it: its cgroup has the name, too.
pub(crate) fn new_id() -> String {
    static TRIALS: AtomicU64 = AtomicU64::new(0);
    let number = TRIALS.fetch_add(1, Ordering::Relaxed);
    format!("{ID_PREFIX}{}-{number}", std::process::id())
}

const ID_PREFIX: &str = "lichen-trial-";

/// Why a trial failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialError {
    #[error("there is no trial program for the architecture {0}")]
    Architecture(&'static str),
    #[error("could not {what}: {cause}")]
    Io { what: &'static str, cause: io::Error },
    #[error("could not mount an overlay below {directory}: {cause} (is overlayfs in the kernel, and the directory on a \
             local file system such as ext4?)", directory = directory.display())]
    Overlay { directory: PathBuf, cause: io::Error },
    #[error("\"{step}\" failed: {complaint}")]
    Refused { step: &'static str, complaint: String },
    #[error("\"{step}\" did not end in time")]
    TimedOut { step: &'static str },
    #[error("the container printed {0:?} instead of \"ok\"")]
    Output(String),
    #[error("the limit was accepted but is not in force")]
    LimitNotInForce,
}

impl Trial<'_> {
    /// Runs the trial and removes everything that it made.
    pub(crate) fn run(&self) -> Result<(), TrialError> {
        self.remove_leftovers();
        let result = std::thread::scope(|scope| {
            let inside = std::thread::Builder::new().name("runtime-trial".to_owned());
            let thread = inside.spawn_scoped(scope, || self.run_in_own_mounts());
            let thread =
                thread.map_err(|cause| TrialError::Io { what: "start a thread", cause })?;
            thread.join().unwrap_or(Err(TrialError::Output("a panic".to_owned())))
        });
        self.remove_leftovers();
        result
    }

    fn run_in_own_mounts(&self) -> Result<(), TrialError> {
        let io =
            |what| move |error: rustix::io::Errno| TrialError::Io { what, cause: error.into() };
        // SAFETY: the call must not unshare FILES, which would invalidate descriptors of other threads. It unshares
        // only the mount namespace (and with it this thread's working directory), and the thread ends with the trial.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
            .map_err(io("make a mount namespace"))?;
        let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", propagation).map_err(io("keep mounts to itself"))?;
        if self.private_cgroup2 {
            mount("none", CGROUP_ROOT, "cgroup2", MountFlags::empty(), None)
                .map_err(io("mount cgroup2"))?;
        }
        let run = RunDir::new(self.directory.join("run"));
        self.lay_out(&run)?;
        let result = self.live(&run);
        self.delete_container(&self.state());
        result
    }

    /// The container's life: create, check the limits, start, read its output.
    fn live(&self, run: &RunDir) -> Result<(), TrialError> {
        let (mut output, stdout) =
            io::pipe().map_err(|cause| TrialError::Io { what: "make a pipe", cause })?;
        let bundle = run.bundle();
        let pid_file = self.directory.join("pid");
        let mut create = self.command("create", &self.state());
        create.arg("--bundle").arg(&bundle).arg("--pid-file").arg(&pid_file).arg(&self.id);
        create.stdout(stdout);
        self.finish("create", create)?;
        if self.host.limits_enforced {
            self.check_limit(&pid_file)?;
        }
        let mut start = self.command("start", &self.state());
        start.arg(&self.id).stdout(Stdio::null());
        self.finish("start", start)?;
        let printed = read_until_end(&mut output, self.deadline)
            .map_err(|cause| TrialError::Io { what: "read the container's output", cause })?
            .ok_or(TrialError::TimedOut { step: "start" })?;
        if printed == OUTPUT {
            return Ok(());
        }
        let complaint = self.complaint();
        let text = String::from_utf8_lossy(&printed);
        Err(TrialError::Output(format!("{}{complaint}", text.escape_debug())))
    }

    fn lay_out(&self, run: &RunDir) -> Result<(), TrialError> {
        let io = |what| move |cause| TrialError::Io { what, cause };
        let bundle = |error: crate::bundle::BundleError| TrialError::Io {
            what: "lay out the trial",
            cause: io::Error::other(error),
        };
        let program =
            elf(self.host.architecture).ok_or(TrialError::Architecture(self.host.architecture))?;
        let lower = self.directory.join("lower");
        run.create().map_err(bundle)?;
        fs::create_dir(&lower).map_err(io("create a directory"))?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o755);
        let written = options.open(lower.join("ok")).and_then(|mut file| file.write_all(&program));
        written.map_err(io("write the trial program"))?;
        let names = Names { hostname: "trial".to_owned(), ..Names::default() };
        let spec = ContainerSpec {
            id: self.id.clone(),
            cgroup: self.id.clone(),
            hostname: names.hostname.clone(),
            command: vec!["/ok".to_owned()],
            resources: Resources {
                // Or a busy device gives the trial next to no time.
                cpu_request_milli: Some(CPU_REQUEST_MILLI),
                memory_limit_bytes: Some(MEMORY_LIMIT_BYTES),
                pids_limit: Some(PIDS_LIMIT),
                ..Resources::default()
            },
            etc: crate::etc::write(&self.directory.join("etc"), &Network::Private, &names)
                .map_err(bundle)?,
            ..ContainerSpec::default()
        };
        let config =
            runtime_config(&spec, &ImageConfig::default(), &self.host).map_err(|error| {
                TrialError::Io { what: "write config.json", cause: io::Error::other(error) }
            })?;
        run.write_config(&config).map_err(bundle)?;
        mount_overlay(&run.overlay(vec![lower]))
            .map_err(|cause| TrialError::Overlay { directory: self.directory.clone(), cause })
    }

    /// Whether a limit, of memory if that can be limited, stands in the cgroup of the container's process.
    fn check_limit(&self, pid_file: &Path) -> Result<(), TrialError> {
        let io = |cause| TrialError::Io { what: "read the container's limit", cause };
        let pid = fs::read_to_string(pid_file).map_err(io)?;
        let cgroups = fs::read_to_string(format!("/proc/{}/cgroup", pid.trim())).map_err(io)?;
        let expected = match (self.host.lacks.memory, self.host.lacks.pids) {
            (false, _) => ("memory", "memory.limit_in_bytes", "memory.max", MEMORY_LIMIT_BYTES),
            (true, false) => ("pids", "pids.max", "pids.max", PIDS_LIMIT),
            // The share of a processor is in force or not: there is nothing to read that would differ.
            (true, true) => return Ok(()),
        };
        let (controller, first, second, limit) = expected;
        let file = limit_file(&cgroups, self.host.cgroup, controller, [first, second]);
        let found = fs::read_to_string(file.ok_or(TrialError::LimitNotInForce)?).map_err(io)?;
        match found.trim().parse::<u64>() {
            Ok(found) if limit == found => Ok(()),
            Ok(_) | Err(_) => Err(TrialError::LimitNotInForce),
        }
    }

    /// Runs one command of the runtime to its end.
    fn finish(&self, step: &'static str, mut command: Command) -> Result<(), TrialError> {
        let mut child =
            command.spawn().map_err(|cause| TrialError::Io { what: "run it", cause })?;
        drop(command); // with its end of the output pipe
        let status = wait(&mut child, self.deadline)
            .map_err(|cause| TrialError::Io { what: "wait for it", cause })?;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(_) => Err(TrialError::Refused { step, complaint: self.complaint() }),
            None => Err(TrialError::TimedOut { step }),
        }
    }

    fn command(&self, verb: &str, state: &Path) -> Command {
        let mut command = Command::new(self.runtime);
        command.args(self.args).arg("--root").arg(state).arg(verb);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut options = OpenOptions::new();
        if let Ok(file) = options.create(true).append(true).open(self.directory.join("stderr")) {
            command.stderr(file);
        }
        command
    }

    /// What the runtime said on its way, in one line.
    fn complaint(&self) -> String {
        let mut bytes = Vec::new();
        let file = File::open(self.directory.join("stderr"));
        let read = file.and_then(|file| file.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes));
        match read {
            Ok(0) | Err(_) => "it gave no reason".to_owned(),
            Ok(_) => one_line(&String::from_utf8_lossy(&bytes)),
        }
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    fn delete_container(&self, state: &Path) {
        let names =
            fs::read_dir(state).into_iter().flatten().flatten().map(|entry| entry.file_name());
        for name in names.filter(|name| name.as_encoded_bytes().starts_with(ID_PREFIX.as_bytes())) {
            let mut delete = self.command("delete", state);
            delete.arg("--force").arg(&name);
            // A failure here is followed by the removal of everything by name.
            if let Ok(mut child) = delete.spawn() {
                let _ = wait(&mut child, Instant::now() + Duration::from_secs(2));
            }
        }
    }

    /// Removes the trial's directory and cgroups: its own, and those of an agent that ended in the middle of one.
    fn remove_leftovers(&self) {
        self.delete_container(&self.state());
        let _ = remove_tree(&self.directory);
        let _ = fs::create_dir_all(self.directory.parent().unwrap_or(Path::new("/")));
        for hierarchy in fs::read_dir(CGROUP_ROOT).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(&self.id));
        }
        let _ = fs::remove_dir(Path::new(CGROUP_ROOT).join(&self.id));
    }
}

/// Mounts the overlay as the shim does: directories are named by descriptor, so that no character in a path matters.
fn mount_overlay(overlay: &Overlay) -> io::Result<()> {
    let open = |path: &PathBuf| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty())
    };
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let layers = overlay.lower.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let (upper, work) = (open(&overlay.upper)?, open(&overlay.work)?);
    let target = open(&overlay.target)?;
    let lower: Vec<_> = layers.iter().map(name).collect();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), name(&upper), name(&work));
    let options = CString::new(options).map_err(io::Error::other)?;
    Ok(mount("overlay", name(&target), "overlay", MountFlags::NODEV, options.as_c_str())?)
}

/// The file with a controller's limit for a process whose `/proc/<pid>/cgroup` is given; its name is another one in each
/// version.
fn limit_file(
    cgroups: &str,
    version: CgroupVersion,
    controller: &str,
    [first, second]: [&str; 2],
) -> Option<PathBuf> {
    let path_of = |controller: &str| {
        cgroups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        })
    };
    let (controller, directory, file) = match version {
        CgroupVersion::V1 => (controller, controller, first),
        CgroupVersion::V2 => ("", "", second),
        CgroupVersion::None => return None,
    };
    let path = path_of(controller)?.trim_start_matches('/');
    Some(Path::new(CGROUP_ROOT).join(directory).join(path).join(file))
}

/// The last lines of a complaint as one line of readable length.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text: String = lines.join("; ").chars().filter(|c| !c.is_control()).collect();
    let skip = text.chars().count().saturating_sub(400);
    text.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_where_the_process_really_is() {
        let cgroups = "9:name=systemd:/x\n4:cpu,memory:/a/b\n0::/unified/c\n";
        let names = ["memory.limit_in_bytes", "memory.max"];
        let file = |version| {
            limit_file(cgroups, version, "memory", names).map(|path| path.display().to_string())
        };
        let v1 = "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes";
        assert_eq!(file(CgroupVersion::V1).as_deref(), Some(v1));
        assert_eq!(file(CgroupVersion::V2).as_deref(), Some("/sys/fs/cgroup/unified/c/memory.max"));
        assert_eq!(file(CgroupVersion::None), None);
    }

    #[test]
    fn complaints_become_one_bounded_line() {
        assert_eq!(one_line("a\n\n  b\u{1b}[0m \n"), "a; b[0m");
        assert_eq!(one_line(&"x".repeat(5000)).len(), 400);
    }
}
