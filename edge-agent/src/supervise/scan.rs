//! Finds what earlier agents left: containers that run on, that ended meanwhile, or that nobody can tell about.

use std::{
    path::Path,
    time::Duration,
};

use firmware_compat::{id::PodId, v1::owned::Exit as WireExit};
use lichen_agent_core::event::{FoundContainer, FoundPod, FoundState};
use lichen_shim::{Client, Exit, Found, Outcome, Phase, Reply, Request, RunDir, Started};

use super::{StopHow, Watch, wire_exit};
use crate::{
    message::Sender,
    pod_dir::{ContainerDir, PodDir, Record},
    runtime::{Launcher, chain, signal},
    sandbox,
    state::StateError,
};

/// How long the scan waits for a container that is just being started.
const STARTING_DEADLINE: Duration = Duration::from_secs(2);

/// Finds what earlier agents left running or behind. Returns what the core is told, and the runs to adopt.
/// Pods that never got as far as a shim are removed. Nothing is ended here: what is lost is ended gently when the core
/// wants it cleaned. Blocks.
///
/// # Errors
/// Those of the system; trouble with one container is logged and reads as lost.
pub fn scan(
    launcher: &Launcher,
    messages: &Sender,
) -> Result<Vec<(FoundPod, Vec<Watch>)>, StateError> {
    let mut all = Vec::new();
    for (pod, dir) in PodDir::all(&launcher.run)? {
        let record = dir.record()?;
        let (mut containers, mut watches) = (Vec::new(), Vec::new());
        for (name, own) in dir.containers()? {
            let Some((container, run)) = look_at(&name, &own, record.as_ref())? else { continue };
            if let FoundState::Running { .. } = container.state {
                watches.push(Watch {
                    pod,
                    container: name,
                    stop: how_to_stop(record.as_ref(), &own),
                    run,
                    wasm: record.as_ref().is_some_and(|record| record.wasm),
                    shim: launcher.shim.clone(),
                    messages: messages.clone(),
                });
            }
            containers.push(container);
        }
        if containers.is_empty() {
            remove_unused(launcher, pod);
            continue;
        }
        let identity = record.as_ref().map(|record| record.identity);
        let sandbox = record.as_ref().is_some_and(sandbox::is_of_this_boot);
        all.push((FoundPod { pod, identity, sandbox, containers }, watches));
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

/// Nothing of it ran: what is prepared is prepared anew.
fn remove_unused(launcher: &Launcher, pod: PodId) {
    if let Err(failure) = launcher.remove(pod) {
        tracing::warn!(%pod, failure.message, "could not remove a Pod that never ran");
    }
}

/// What became of a container, and its newest run. `None` if it was never started.
fn look_at(
    name: &str,
    dir: &ContainerDir,
    record: Option<&Record>,
) -> Result<Option<(FoundContainer, std::path::PathBuf)>, StateError> {
    let runs = dir.runs()?;
    let Some(&attempt) = runs.first() else { return Ok(None) };
    let (run, wasm) = (dir.attempt(attempt), record.is_some_and(|record| record.wasm));
    let container = FoundContainer {
        name: name.to_owned(),
        restarts: attempt,
        state: look(&run, wasm),
        last_exit: runs.get(1).and_then(|before| exit_of(&dir.attempt(*before), wasm)),
    };
    Ok(Some((container, run)))
}

fn exit_of(run: &Path, wasm: bool) -> Option<WireExit> {
    let exit = RunDir::open(run).and_then(|run| run.exit()).ok().flatten();
    exit.map(|exit| wire_exit(&exit, run, wasm))
}

fn look(run: &Path, wasm: bool) -> FoundState {
    let exited = |exit: Exit| match exit.outcome {
        Outcome::Lost => FoundState::Lost,
        _ => FoundState::Exited(wire_exit(&exit, run, wasm)),
    };
    match lichen_shim::inspect(run) {
        Ok(Found::Exited(exit)) => exited(exit),
        Ok(Found::Running(state)) => match state.phase {
            Phase::Exited(exit) => exited(exit),
            Phase::Running(init) | Phase::Stopping(init) => running(init),
            Phase::Starting => running(wait_for_start(run)),
        },
        Ok(Found::Lost) => FoundState::Lost,
        Err(error) => {
            tracing::warn!(error = chain(&error), "could not tell what runs");
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
