//! Finds out what became of a run, and tidies up after a shim that was killed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, ClientError, connect_in};
use crate::procfs;
use crate::protocol::Request;
use crate::run_dir::{RecordError, RunDir};
use crate::state::{BootId, Exit, Outcome, Phase, State, bounded_message};

/// How long a shim that holds the lock may take to open its socket or to leave.
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(5);

/// How often such a shim is looked for. Only a shim in its first or last milliseconds is waited for.
const ARRIVAL_INTERVAL: Duration = Duration::from_millis(2);

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The shim is there and answers.
    Running(State),
    /// The run has ended in an orderly way.
    Exited(Exit),
    /// The shim is gone and nobody saw how the run ended (or it never began). Call [`clean_up`].
    Lost,
}

/// Why a run could not be inspected or tidied up.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The run directory cannot be used.
    #[error(transparent)]
    RunDir(#[from] RecordError),
    /// The shim lives but does not answer.
    #[error("the shim of {} lives but does not answer", path.display())]
    Silent {
        /// The run directory.
        path: PathBuf,
        /// What happened on the last attempt.
        source: ClientError,
    },
    /// The shim's program did not start.
    #[error("could not run {}", program.display())]
    Program {
        /// The shim's program.
        program: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Something of the run is still there.
    #[error("could not clean up {}: {reason}", path.display())]
    Left {
        /// The run directory.
        path: PathBuf,
        /// What is left and why.
        reason: String,
    },
}

/// Finds out what became of the run in a directory. Blocks for one exchange of messages, normally well under
/// a millisecond.
pub fn inspect(run_dir: &Path) -> Result<Found, AdoptError> {
    inspect_within(run_dir, ARRIVAL_DEADLINE)
}

/// As [`inspect`], with so much patience for a shim that lives and does not answer.
pub fn inspect_within(run_dir: &Path, patience: Duration) -> Result<Found, AdoptError> {
    let run = RunDir::open(run_dir)?;
    let deadline = Instant::now() + patience;
    loop {
        if run.try_lock()? {
            run.unlock();
            return match run.exit() {
                Ok(exit) => Ok(exit.map_or(Found::Lost, Found::Exited)),
                Err(error) if error.passes() => Err(error.into()),
                Err(error) => Ok(Found::Exited(unreadable(&error))),
            };
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match ask(&run, left) {
            Ok(State { phase: Phase::Exited(exit), .. }) => return Ok(Found::Exited(exit)),
            Ok(state) => return Ok(Found::Running(state)),
            Err(source) if Instant::now() >= deadline => {
                return Err(AdoptError::Silent { path: run.path().to_owned(), source });
            }
            Err(_) => thread::sleep(ARRIVAL_INTERVAL),
        }
    }
}

fn ask(run: &RunDir, patience: Duration) -> Result<State, ClientError> {
    Client::with_patience(connect_in(run)?, patience)?.request(&Request::Status)
}

/// There is a record of its end, so it has ended; how, nobody knows any more.
fn unreadable(error: &RecordError) -> Exit {
    Exit {
        outcome: Outcome::Lost,
        oom_killed: false,
        started_at_ms: None,
        finished_at_ms: 0,
        // Of this boot, as far as anybody can tell: that it ended is known, unlike of one that was lost with the power.
        boot_id: procfs::boot_id().unwrap_or(BootId([0; 16])),
        message: bounded_message(&format!("it ended, and how can't be read: {error}")),
    }
}

/// Kills what a dead shim has left behind, lets the runtime delete the container, and stores an exit record
/// ([`crate::state::Outcome::Lost`]) if there is none, so that the run reads as ended from then on.
/// Returns the record. Does nothing for a run that has ended in an orderly way.
///
/// There is nothing to unmount: mounts live in the shim's namespace and go with the last process in it.
/// Blocks until all is gone, some tens of milliseconds for a container.
pub fn clean_up(shim_binary: &Path, run_dir: &Path) -> Result<Exit, AdoptError> {
    let run = RunDir::open(run_dir)?;
    let failed = |source| AdoptError::Program { program: shim_binary.to_owned(), source };
    let mut program = Command::new(shim_binary)
        .arg("clean-up")
        .arg(run.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut answer = String::new();
    let read = match program.stdout.take() {
        Some(stdout) => stdout.take(8 * 1024).read_to_string(&mut answer),
        None => Ok(0),
    };
    let status = program.wait().map_err(failed)?;
    read.map_err(failed)?;
    let left = |reason: String| AdoptError::Left { path: run.path().to_owned(), reason };
    if !status.success() {
        return Err(left(match answer.trim() {
            "" => format!("{} ended with {status}", shim_binary.display()),
            reason => reason.to_owned(),
        }));
    }
    run.exit()?.ok_or_else(|| left("no exit record was written".to_owned()))
}
