//! Starts a shim that nothing of the agent's fate can touch.
//!
//! The agent runs `lichen-shim launch`, which starts `lichen-shim supervise` and leaves. So the shim is a
//! child of init from its first moment, in a session of its own: a killed agent takes nothing along, and a
//! restarted one has no zombies to reap. The agent takes the run directory's lock before the spawn and the shim
//! inherits it, so there is no moment in which two could be started or a starting one be missed.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::private::Private;
use crate::procfs;
use crate::run_dir::{RecordError, RunDir, SpecRecord};
use crate::spec::{Spec, SpecError};

/// The variables that a shim and the runtime keep: runtimes look programs up and find their session's bus.
/// Everything else stays with the agent, which may hold secrets.
const KEPT_VARIABLES: [&str; 4] = ["PATH", "HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// Bound of what a failing shim may say.
const MAX_ANSWER: u64 = 8 * 1024;

/// The word in front of the pid in the shim's first and only output.
pub(crate) const READY: &str = "ready ";

/// A shim that listens on its socket; the container is being started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spawned {
    /// Process id of the shim, for humans. Everything else goes by the run directory.
    pub shim_pid: i32,
}

/// Why no shim was started. Nothing is left running after any of these.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The spec cannot be run.
    #[error("the container's specification is not usable")]
    Spec(#[from] SpecError),
    /// The run directory cannot be used.
    #[error(transparent)]
    RunDir(#[from] RecordError),
    /// There is a shim.
    #[error("{} already has a shim: inspect it instead of starting another", .0.display())]
    AlreadySupervised(PathBuf),
    /// One directory is one run.
    #[error("{} holds a run that has ended: use a fresh directory for every run", .0.display())]
    AlreadyEnded(PathBuf),
    /// The shim's program did not start.
    #[error("could not run {}", program.display())]
    Program {
        /// The shim's program.
        program: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// What is on no disk was given and not asked for, or the other way round.
    #[error("the container's specification and what it is given in memory do not belong together")]
    Private,
    /// The shim gave up before it was ready.
    #[error("the shim did not become ready: {0}")]
    NotReady(String),
}

/// Stores the spec in the run directory, which must exist, and starts its shim.
/// Returns when the shim's socket is there; how the container fares is told there and in the exit record.
///
/// Blocks for a few milliseconds (two short process starts).
pub fn spawn(shim_binary: &Path, run_dir: &Path, spec: &Spec) -> Result<Spawned, SpawnError> {
    spawn_private(shim_binary, run_dir, spec, None)
}

/// As [`spawn`], and hands the shim what is on no disk.
pub fn spawn_private(
    shim_binary: &Path,
    run_dir: &Path,
    spec: &Spec,
    private: Option<&Private>,
) -> Result<Spawned, SpawnError> {
    spec.validate()?;
    if spec.kind.is_private() != private.is_some() {
        return Err(SpawnError::Private);
    }
    let run = RunDir::open(run_dir)?;
    if !run.try_lock()? {
        return Err(SpawnError::AlreadySupervised(run.path().to_owned()));
    }
    if run.exit()?.is_some() {
        return Err(SpawnError::AlreadyEnded(run.path().to_owned()));
    }
    let boot_id = procfs::boot_id().map_err(|source| RecordError::Io {
        action: "read",
        path: "/proc/sys/kernel/random/boot_id".into(),
        source,
    })?;
    run.store_spec(&SpecRecord { boot_id, spec: spec.clone() })?;
    launch(shim_binary, &run, &spec.label, private)
}

fn launch(
    shim_binary: &Path,
    run: &RunDir,
    label: &str,
    private: Option<&Private>,
) -> Result<Spawned, SpawnError> {
    let failed = |source| SpawnError::Program { program: shim_binary.to_owned(), source };
    let private = private.map(Private::share).transpose().map_err(failed)?;
    let mut launcher = Command::new(shim_binary)
        .arg("launch")
        .arg(run.path())
        .arg(label.replace('\0', ""))
        .env_clear()
        .envs(KEPT_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .stdin(Stdio::from(run.try_clone_fd()?))
        .stdout(Stdio::piped())
        .stderr(private.map_or_else(Stdio::null, Stdio::from))
        .spawn()
        .map_err(failed)?;
    let mut answer = String::new();
    let read = match launcher.stdout.take() {
        Some(stdout) => stdout.take(MAX_ANSWER).read_to_string(&mut answer),
        None => Ok(0),
    };
    launcher.wait().map_err(failed)?;
    read.map_err(failed)?;
    match answer.trim().strip_prefix(READY).map(str::parse) {
        Some(Ok(shim_pid)) => Ok(Spawned { shim_pid }),
        _ if answer.trim().is_empty() => Err(SpawnError::NotReady(format!(
            "{} ended without a word: is it the lichen-shim of this version?",
            shim_binary.display()
        ))),
        _ => Err(SpawnError::NotReady(answer.trim().to_owned())),
    }
}
