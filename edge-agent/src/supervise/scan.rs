//! Finds what earlier agents left: containers that run on, that ended meanwhile, or that nobody can tell about.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use firmware_compat::v1::owned::Exit as WireExit;
use lichen_agent_core::{
    ContainerId,
    event::{Failure, FoundContainer, FoundPod, FoundState},
};
use lichen_shim::{
    AdoptError, Client, Exit, Found, Orphan, Outcome, Phase, Reply, Request, RunDir, Started,
};

use super::{Ends, StopHow, Watch, wire_exit};
use crate::{
    message::Sender,
    pod_dir::{ContainerDir, PodDir, Record},
    runtime::{Launcher, chain, signal},
    sandbox,
    state::StateError,
};

/// How long the scan waits for a container that is just being started.
const STARTING_DEADLINE: Duration = Duration::from_secs(2);
/// How long the scan waits, in all, for shims that live and don't answer. A board that boots under load is slow; one whose
/// shims hang must not wait for each of them.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits for each after that.
const LEAST_PATIENCE: Duration = Duration::from_millis(50);

/// Finds what earlier agents left running or behind. Returns what the core is told, and the runs to adopt: among
/// them containers that outlived their shims, which their watchers ask to end. Blocks.
///
/// # Errors
/// That the Pods' directories can't be listed; trouble with one of them is logged, and what can't be read is unknown.
pub fn scan(
    launcher: &Launcher,
    messages: &Sender,
) -> Result<Vec<(FoundPod, Vec<Watch>)>, StateError> {
    let until = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    for (pod, dir) in PodDir::all(&launcher.run)? {
        let record = or_unknown(dir.record()).flatten();
        let wasm = match &record {
            Some(record) => record.wasm,
            None => !dir.ipc().exists(),
        };
        let (mut containers, mut watches) = (Vec::new(), Vec::new());
        for (container, own) in or_unknown(dir.containers()).unwrap_or_default() {
            let ends = Ends { wasm, ..Ends::of(record.as_ref(), &own) };
            let look = Look { shim: &launcher.shim, ends, until };
            let Some((found, run)) = or_unknown(look.at(container, &own)) else { continue };
            if let (FoundState::Running { .. }, Some(run)) = (&found.state, run) {
                let stop = how_to_stop(record.as_ref(), &own);
                let (shim, messages) = (launcher.shim.clone(), messages.clone());
                watches.push(Watch { pod, container, run, stop, ends, shim, messages });
            }
            containers.push(found);
        }
        let identity = record.as_ref().map(|record| record.identity);
        let running = |found: &FoundContainer| match found.state {
            FoundState::Running { pid, .. } => Some(pid),
            _ => None,
        };
        let pids: Vec<u32> = containers.iter().filter_map(running).collect();
        let age = record.as_ref().map_or(Duration::ZERO, sandbox::age);
        let failed = record.as_ref().and_then(|record| record.failed.clone());
        let failed = failed.map(|(reason, message)| Failure { reason, message });
        let record = record.or_else(|| sandbox::assumed(&dir, wasm, &pids));
        let sandbox = record.is_some_and(|record| sandbox::stands(&dir, &record, &pids));
        all.push((FoundPod { pod, identity, sandbox, age, failed, containers }, watches));
    }
    Ok(all)
}

/// How a container of a Pod is asked to stop. Without records, as Kubernetes does.
pub fn how_to_stop(pod: Option<&Record>, container: &ContainerDir) -> StopHow {
    const DEFAULT_GRACE: Duration = Duration::from_secs(30);
    let own = container.record().ok().flatten();
    StopHow {
        signal: own.map_or(signal::TERM, |record| record.stop_signal),
        grace: pod.map_or(DEFAULT_GRACE, |record| Duration::from_millis(record.grace_ms.into())),
    }
}

/// What can't be read is told and unknown.
fn or_unknown<T>(read: Result<T, StateError>) -> Option<T> {
    read.inspect_err(|error| tracing::warn!("{error}: what it says is unknown")).ok()
}

/// How containers of one Pod are looked at.
#[derive(Clone, Copy)]
struct Look<'a> {
    shim: &'a Path,
    ends: Ends,
    /// Until then a shim may take its time.
    until: Instant,
}

impl Look<'_> {
    /// What became of a container, and its newest run if it was ever started.
    fn at(
        self,
        container: ContainerId,
        dir: &ContainerDir,
    ) -> Result<(FoundContainer, Option<PathBuf>), StateError> {
        let (runs, record) = (dir.runs()?, dir.record()?);
        let run = runs.first().map(|attempt| dir.attempt(*attempt));
        let forgotten = record.as_ref().and_then(|record| record.forgotten);
        let is_forgotten = runs.first().is_some_and(|newest| forgotten >= Some(*newest));
        let found = FoundContainer {
            container,
            name: record.map(|record| record.name).unwrap_or_default(),
            restarts: runs.first().copied().unwrap_or(0),
            last_exit: runs.get(1).and_then(|before| exit_of(&dir.attempt(*before), self.ends)),
            state: match &run {
                None => FoundState::Created,
                Some(_) if is_forgotten => FoundState::Lost,
                Some(run) => self.into_run(run),
            },
            health: runs.first().and_then(|newest| dir.health(*newest)),
            age: run.as_deref().map_or(Duration::ZERO, age),
        };
        Ok((found, run))
    }

    fn into_run(self, run: &Path) -> FoundState {
        let patience = self.until.saturating_duration_since(Instant::now()).max(LEAST_PATIENCE);
        match lichen_shim::inspect_within(run, patience) {
            Ok(Found::Exited(exit)) => exited(&exit, run, self.ends),
            Ok(Found::Running(state)) => match state.phase {
                Phase::Exited(exit) => exited(&exit, run, self.ends),
                Phase::Running(init) | Phase::Stopping(init) => running(init),
                Phase::Starting => running(wait_for_start(run)),
            },
            Ok(Found::Lost) => orphaned(run, self.shim, self.ends),
            // It holds its run, so what it supervises may run: its watcher waits for its word.
            Err(AdoptError::Silent { path, source }) => {
                let error = chain(&source);
                tracing::warn!(run = %path.display(), error, "a shim lives and does not answer yet");
                running(recorded(run))
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "could not tell what runs");
                FoundState::Lost
            }
        }
    }
}

/// How long ago the process of a run was started. By the wall clock, which may be wrong: it only decides how much of an initial
/// delay is left.
fn age(run: &Path) -> Duration {
    let started = RunDir::open(run).and_then(|run| run.pid()).ok().flatten();
    let started = started.map(|record| UNIX_EPOCH + Duration::from_millis(record.at_ms));
    started.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or(Duration::ZERO)
}

fn exit_of(run: &Path, ends: Ends) -> Option<WireExit> {
    let exit = RunDir::open(run).and_then(|run| run.exit()).ok().flatten();
    exit.map(|exit| wire_exit(&exit, run, ends))
}

/// The process that a shim has written down, if it has.
fn recorded(run: &Path) -> Started {
    let pid = RunDir::open(run).and_then(|run| run.pid()).ok().flatten();
    pid.map_or(Started { pid: 0, at_ms: 0 }, |pid| Started { pid: pid.pid, at_ms: pid.at_ms })
}

/// A loss in this boot is an end like others, with its reason. In another one it says no more than that the device was
/// switched off.
fn exited(exit: &Exit, run: &Path, ends: Ends) -> FoundState {
    match exit.outcome {
        Outcome::Lost if Some(exit.boot_id) != crate::probe::boot_id() => FoundState::Lost,
        _ => FoundState::Exited(wire_exit(exit, run, ends)),
    }
}

/// The shim is gone. A container that outlived it runs, and its watcher asks it to end; otherwise what is left is removed.
fn orphaned(run: &Path, shim: &Path, ends: Ends) -> FoundState {
    let dir = RunDir::open(run);
    let spec = dir.ok().and_then(|dir| dir.spec().ok().flatten());
    if spec.is_none_or(|spec| Some(spec.boot_id) != crate::probe::boot_id()) {
        // After a reboot nothing can be left, and no process need be started to make sure.
        return FoundState::Lost;
    }
    if let Ok(Some(_)) = Orphan::find(run) {
        return running(recorded(run));
    }
    match lichen_shim::clean_up(shim, run) {
        Ok(exit) => exited(&exit, run, ends),
        Err(error) => {
            tracing::warn!(error = chain(&error), "could not clean up after a lost shim");
            FoundState::Lost
        }
    }
}

fn running(init: Started) -> FoundState {
    FoundState::Running { pid: u32::try_from(init.pid).unwrap_or(0), started_ms: init.at_ms }
}

/// An agent was killed while a container was being started. Its process id is worth a moment; without it, it is 0.
fn wait_for_start(run: &Path) -> Started {
    let wait = || -> Result<Reply, lichen_shim::ClientError> {
        let mut client = Client::open(run)?;
        let state = client.request(&Request::Follow)?;
        match state.phase {
            Phase::Running(init) | Phase::Stopping(init) => Ok(Reply::Started(init)),
            _ => client.wait_for_push(STARTING_DEADLINE),
        }
    };
    match wait() {
        Ok(Reply::Started(init)) => init,
        _ => Started { pid: 0, at_ms: 0 },
    }
}
