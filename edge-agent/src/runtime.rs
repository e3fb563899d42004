//! Makes the containers of Pods ready and starts them: what the runtime classes share. [`container`] and [`wasm`] add
//! what differs; what the containers of one Pod share is [`crate::sandbox`]'s.
//!
//! Everything here blocks and runs off the agent's loop. A prepared container is a [`Spec`] for its shim; starting it is
//! one spawn. How it fares is `supervise`'s business.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use firmware_compat::{
    id::{AgentId, Hash, PodId},
    v1::owned::{Container, RuntimeClass},
};
use lichen_agent_core::{ContainerId, PodSpec, event::Failure};
use lichen_oci::{bundle::remove_run_dir, inventory::Depth};
use lichen_shim::{
    Client, ClientError, Found, Phase, Private, Reply, Request, Spec, clean_up, inspect,
};

use crate::{
    claims::Claims,
    content::{Content, ContentError},
    pod_dir::{ContainerDir, ContainerRecord, PodDir},
    sandbox,
    secrets::Secrets,
    volumes,
};

pub mod container;
mod environment;
mod security;
pub mod signal;
pub mod wasm;

pub use container::Containers;

/// How long a killed container and its shim may take to end.
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
    /// The data of claims.
    pub claims: Claims,
    /// Opens what is sealed to this device.
    pub secrets: Secrets,
    /// The program `lichen-shim`.
    pub shim: PathBuf,
    /// The program that runs Wasm.
    pub wasm_program: PathBuf,
    /// Containers that were made ready before, by this process: what starts again may have ended for what its image lacks.
    pub prepared: Mutex<BTreeSet<(PodId, ContainerId)>>,
}

/// Why a container, or its Pod's sandbox, could not be prepared.
#[derive(Debug, Default)]
pub struct PrepareError {
    /// Why.
    pub failure: Failure,
    /// Artefacts to fetch again.
    pub missing: Vec<Hash>,
}

/// What a runtime class makes of a container.
#[derive(Debug)]
pub struct Prepared {
    /// What its shim is to run.
    pub ready: Ready,
    /// What asks it to stop.
    pub stop_signal: i32,
}

/// A container that can be started.
#[derive(Debug)]
pub struct Ready {
    /// What its shim is to run.
    pub spec: Spec,
    /// What of it is to be on no disk. Held by this process alone: without it nothing is left of it.
    pub private: Option<Private>,
}

impl Launcher {
    /// Makes what the containers of a Pod share.
    ///
    /// # Errors
    /// In words.
    pub fn make_sandbox(&self, pod: &PodSpec) -> Result<(), Failure> {
        if pod.runtime_class == RuntimeClass::Firmware {
            return Err(failure(
                "firmware runs on microcontrollers, not on this device".to_owned(),
            ));
        }
        let dir = PodDir::new(&self.run, pod.id);
        dir.make().map_err(|error| crate::failure::failure(&error))?;
        self.claims.place(pod, &dir).map_err(|error| Failure {
            reason: error.reason().to_owned(),
            message: chain(&error),
        })?;
        sandbox::make(pod, &dir, self.content.written(), &self.secrets, &self.shim)
            .map_err(|error| crate::failure::failure(&error))
    }

    /// Makes a container of a Pod ready for its start number `attempt`. `containers` is what the probe found.
    ///
    /// # Errors
    /// See [`PrepareError`].
    pub fn prepare(
        &self,
        pod: &PodSpec,
        id: ContainerId,
        attempt: u32,
        containers: &Containers,
    ) -> Result<Ready, PrepareError> {
        let container = id.of(pod).ok_or_else(|| refuse("the pod has no such container"))?;
        let dir = PodDir::new(&self.run, pod.id);
        let own = dir.container(id);
        own.make().map_err(failed)?;
        self.make_room(&own, attempt).map_err(refuse)?;
        self.end_members(pod.id, id).map_err(refuse)?;
        let attempt_dir = own.attempt(attempt);
        let first =
            self.prepared.lock().unwrap_or_else(PoisonError::into_inner).insert((pod.id, id));
        let depth = if first { Depth::Sizes } else { Depth::Bytes };
        let job = Job { pod, id, container, dir: &dir, attempt_dir, depth, launcher: self };
        let prepared = match pod.runtime_class {
            RuntimeClass::Container => container::prepare(&job, containers)?,
            RuntimeClass::Wasm => wasm::prepare(&job)?,
            RuntimeClass::Firmware => {
                return Err(refuse("firmware runs on microcontrollers, not on this device"));
            }
        };
        let name = container.name.to_string();
        let forgotten = own.record().map_err(refuse)?.and_then(|record| record.forgotten);
        let record = ContainerRecord {
            name,
            stop_signal: prepared.stop_signal,
            message_from_log: container.supervision.message_from_log,
            forgotten,
        };
        own.set_record(&record).map_err(failed)?;
        Ok(prepared.ready)
    }

    /// Starts what was prepared. Returns when the shim listens.
    ///
    /// # Errors
    /// The shim's, in words.
    pub fn start(&self, run: &Path, ready: &Ready) -> Result<(), Failure> {
        let started =
            lichen_shim::spawn_private(&self.shim, run, &ready.spec, ready.private.as_ref());
        started.map(drop).map_err(|error| crate::failure::failure(&error))
    }

    /// Writes a Pod's configMap and secret volumes again.
    ///
    /// # Errors
    /// In words.
    pub fn update_files(&self, pod: &PodSpec) -> Result<(), Failure> {
        let dir = PodDir::new(&self.run, pod.id);
        volumes::update_files(pod, &dir.volumes(), self.content.written(), &self.secrets)
            .map_err(|error| crate::failure::failure(&error))
    }

    /// Removes what is left of a container that does not run: processes, mounts, cgroup, root file system. Its logs and
    /// records stay.
    ///
    /// # Errors
    /// In words, naming what is left.
    pub fn clean_container(&self, pod: PodId, container: ContainerId) -> Result<(), Failure> {
        let dir = PodDir::new(&self.run, pod).container(container);
        self.strip_all(&dir).and_then(|()| self.end_members(pod, container)).map_err(failure)
    }

    /// Removes the sandbox of a Pod of which no container runs, and the Pod's directory. With `keep_volumes` its volumes,
    /// logs and records stay, but for how its init containers ended: they run again.
    ///
    /// # Errors
    /// In words, naming what is left.
    pub fn remove_sandbox(&self, pod: PodId, keep_volumes: bool) -> Result<(), Failure> {
        let dir = PodDir::new(&self.run, pod);
        for (id, container) in dir.containers().map_err(|error| crate::failure::failure(&error))? {
            self.strip_all(&container).map_err(failure)?;
            if id.is_init() && keep_volumes {
                container.forget_ends().map_err(|error| crate::failure::failure(&error))?;
            }
        }
        let cgroup = sandbox::cgroup(self.agent, pod);
        let removed = match keep_volumes {
            true => sandbox::take_down(&dir, &cgroup, self.content.written()),
            false => sandbox::remove(&dir, &cgroup),
        };
        if !keep_volumes {
            let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
            prepared.retain(|(other, _)| *other != pod);
        }
        removed.map_err(|error| crate::failure::failure(&error))
    }

    /// Kills who is in the cgroup of a container that does not run, as far as its files tell: they may be gone.
    fn end_members(&self, pod: PodId, container: ContainerId) -> Result<(), String> {
        lichen_shim::cgroup::remove(&format!("{}/{container}", sandbox::cgroup(self.agent, pod)))
    }

    fn strip_all(&self, container: &ContainerDir) -> Result<(), String> {
        for attempt in container.attempts().map_err(|error| error.to_string())? {
            let run = container.attempt(attempt);
            self.settle(&run)?;
            strip(&run)?;
        }
        Ok(())
    }

    /// Keeps the last run for its log, without its file system, and removes older ones and a former try of this one.
    fn make_room(&self, dir: &ContainerDir, attempt: u32) -> Result<(), String> {
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

/// One container on its way to a [`Spec`].
#[derive(Debug)]
pub struct Job<'a> {
    /// Its Pod.
    pub pod: &'a PodSpec,
    /// Which of the Pod's containers.
    pub id: ContainerId,
    /// What it is to run.
    pub container: &'a Container,
    /// The Pod's directory.
    pub dir: &'a PodDir,
    /// The run directory of this start. Not there yet.
    pub attempt_dir: PathBuf,
    /// How closely its image is looked at.
    pub depth: Depth,
    /// Where artefacts and programs are.
    pub launcher: &'a Launcher,
}

impl Job<'_> {
    /// What people see in the process list.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", sandbox::label(self.pod), self.container.name)
    }
}

fn failure(message: String) -> Failure {
    Failure { reason: String::new(), message }
}

/// A failure with the step's usual reason.
pub(crate) fn refuse(cause: impl ToString) -> PrepareError {
    PrepareError {
        failure: Failure { reason: String::new(), message: cause.to_string() },
        missing: Vec::new(),
    }
}

/// A failure with the step's usual reason, unless the disk is full.
pub(crate) fn failed(error: impl std::error::Error + 'static) -> PrepareError {
    PrepareError { failure: crate::failure::failure(&error), missing: Vec::new() }
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
            ContentError::Missing(digest) | ContentError::Damaged { digest, .. } => vec![digest],
            _ => Vec::new(),
        };
        Self { missing, ..failed(error) }
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
