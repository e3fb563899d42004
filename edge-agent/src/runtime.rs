//! Makes Pods ready and starts them: what the engines share. [`container`] and [`wasm`] add what differs.
//!
//! Everything here blocks and runs off the agent's loop. A prepared Pod is a [`Spec`] for its shim; starting it is
//! one spawn. How it fares is `supervise`'s business.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use firmware_compat::{
    id::{AgentId, Hash, PodId},
    v1::owned::{Container, Pod, RuntimeClass},
};
use lichen_agent_core::event::Failure;
use lichen_oci::bundle::remove_run_dir;
use lichen_shim::{Client, ClientError, Found, Phase, Reply, Request, Spec, clean_up, inspect};

use crate::{
    content::{Content, ContentError},
    pod_dir::{PodDir, Record},
    volumes,
};

pub mod container;
pub mod signal;
pub mod wasm;

pub use container::Containers;

/// How long a killed Pod and its shim may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Runs kept on disk: the newest, and the one before it for its log.
const KEPT_RUNS: usize = 2;

/// What preparing and starting needs.
#[derive(Debug)]
pub struct Launcher {
    /// Of the state directory: keeps containers of several agents on one machine apart.
    pub agent: AgentId,
    /// Where run directories are.
    pub run: PathBuf,
    /// Where artefacts and layers are.
    pub content: Content,
    /// The program `lichen-shim`.
    pub shim: PathBuf,
    /// The program that runs Wasm.
    pub wasm_program: PathBuf,
}

/// Why a Pod could not be prepared.
#[derive(Debug, Default)]
pub struct PrepareError {
    /// Why.
    pub failure: Failure,
    /// Artefacts to fetch again.
    pub missing: Vec<Hash>,
}

/// What an engine makes of a Pod.
#[derive(Debug)]
pub struct Prepared {
    /// What its shim is to run.
    pub spec: Spec,
    /// What asks it to stop.
    pub stop_signal: i32,
}

impl Launcher {
    /// Makes a Pod ready for its start number `attempt`. `containers` is what the probe found.
    ///
    /// # Errors
    /// See [`PrepareError`].
    pub fn prepare(
        &self,
        pod: &Pod,
        attempt: u32,
        containers: &Containers,
    ) -> Result<Spec, PrepareError> {
        let program = only_container(pod)?;
        let dir = PodDir::new(&self.run, pod.id);
        dir.make().map_err(refuse)?;
        self.make_room(&dir, attempt).map_err(refuse)?;
        volumes::place(pod, &dir.volumes(), self.content.written()).map_err(refuse)?;
        let job =
            Job { pod, program, dir: &dir, attempt_dir: dir.attempt(attempt), launcher: self };
        let prepared = match pod.engine {
            RuntimeClass::Container => container::prepare(&job, containers)?,
            RuntimeClass::Wasm => wasm::prepare(&job)?,
            RuntimeClass::Firmware => {
                return Err(refuse("firmware runs on microcontrollers, not on this device"));
            }
        };
        let record = Record {
            identity: pod.identity,
            label: label(pod),
            stop_signal: prepared.stop_signal,
            wasm: pod.engine == RuntimeClass::Wasm,
        };
        dir.set_record(&record).map_err(refuse)?;
        Ok(prepared.spec)
    }

    /// Starts what was prepared. Returns when the shim listens.
    ///
    /// # Errors
    /// The shim's, in words.
    pub fn start(&self, pod: PodId, attempt: u32, spec: &Spec) -> Result<(), Failure> {
        let dir = PodDir::new(&self.run, pod).attempt(attempt);
        match lichen_shim::spawn(&self.shim, &dir, spec) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure { reason: String::new(), message: chain(&error) }),
        }
    }

    /// Writes a Pod's configMap volumes again.
    ///
    /// # Errors
    /// In words.
    pub fn update_files(&self, pod: &Pod) -> Result<(), Failure> {
        let dir = PodDir::new(&self.run, pod.id);
        volumes::update_files(pod, &dir.volumes(), self.content.written())
            .map_err(|error| Failure { reason: String::new(), message: error.to_string() })
    }

    /// Removes what is left of a Pod that does not run.
    ///
    /// # Errors
    /// In words, naming what is left.
    pub fn clean(&self, pod: PodId, keep_volumes: bool) -> Result<(), Failure> {
        let dir = PodDir::new(&self.run, pod);
        let clean = || -> Result<(), String> {
            for attempt in dir.attempts().map_err(|error| error.to_string())? {
                let attempt = dir.attempt(attempt);
                self.settle(&attempt)?;
                if keep_volumes {
                    strip(&attempt)?;
                }
            }
            if keep_volumes {
                return Ok(());
            }
            remove_run_dir(dir.path()).map_err(|error| error.to_string())
        };
        clean().map_err(|message| Failure { reason: String::new(), message })
    }

    /// Keeps the last run for its log, without its file system, and removes older ones and a former try of this one.
    fn make_room(&self, dir: &PodDir, attempt: u32) -> Result<(), String> {
        let attempts = dir.attempts().map_err(|error| error.to_string())?;
        let others = attempts.into_iter().filter(|&other| other != attempt);
        let mut kept = 1;
        for number in others {
            let other = dir.attempt(number);
            self.settle(&other)?;
            if number < attempt && kept < KEPT_RUNS {
                kept += 1;
                strip(&other)?;
            } else {
                remove_run_dir(&other).map_err(|error| error.to_string())?;
            }
        }
        let own = dir.attempt(attempt);
        if own.exists() {
            self.settle(&own)?;
            remove_run_dir(&own).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Makes sure that nothing of a run is left running.
    fn settle(&self, run: &Path) -> Result<(), String> {
        if !run.join(lichen_shim::run_dir::SPEC).exists() {
            return Ok(());
        }
        match inspect(run).map_err(|error| chain(&error))? {
            Found::Exited(_) => Ok(()),
            Found::Lost => clean_up(&self.shim, run).map(drop).map_err(|error| chain(&error)),
            // Only after trouble: the core lets nothing be cleaned that it knows to run.
            Found::Running(_) => kill(run).map_err(|error| chain(&error)),
        }
    }
}

/// One Pod on its way to a [`Spec`].
#[derive(Debug)]
pub struct Job<'a> {
    /// The Pod.
    pub pod: &'a Pod,
    /// Its only program.
    pub program: &'a Container,
    /// Its directory.
    pub dir: &'a PodDir,
    /// The run directory of this start. Not there yet.
    pub attempt_dir: PathBuf,
    /// Where artefacts and programs are.
    pub launcher: &'a Launcher,
}

/// What the operator calls a Pod.
#[must_use]
pub fn label(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// A failure with the step's usual reason.
pub(crate) fn refuse(cause: impl ToString) -> PrepareError {
    PrepareError {
        failure: Failure { reason: String::new(), message: cause.to_string() },
        missing: Vec::new(),
    }
}

/// A failure with a reason of its own.
pub(crate) fn refuse_as(reason: &str, cause: impl ToString) -> PrepareError {
    PrepareError {
        failure: Failure { reason: reason.to_owned(), message: cause.to_string() },
        missing: Vec::new(),
    }
}

impl From<ContentError> for PrepareError {
    fn from(error: ContentError) -> Self {
        let missing = match error {
            ContentError::Missing(digest) => vec![digest],
            _ => Vec::new(),
        };
        Self { missing, ..refuse(error) }
    }
}

fn only_container(pod: &Pod) -> Result<&Container, PrepareError> {
    match &pod.containers[..] {
        [program] => Ok(program),
        several => Err(refuse_as(
            "Unsupported",
            format!("the pod has {} containers; a Pod runs exactly one here", several.len()),
        )),
    }
}

/// Ends a run at once and waits until its shim says so.
fn kill(run: &Path) -> Result<(), ClientError> {
    let mut shim = Client::open(run)?;
    shim.request(&Request::Follow)?;
    if let Phase::Exited(_) = shim.request(&Request::Kill)?.phase {
        return Ok(());
    }
    loop {
        if let Reply::Exited(_) = shim.wait_for_push(KILL_DEADLINE)? {
            return Ok(());
        }
    }
}

/// Removes all of a finished run but its log and its exit record.
fn strip(run: &Path) -> Result<(), String> {
    for part in [container::DIR, lichen_shim::run_dir::OCI] {
        remove_run_dir(&run.join(part)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
