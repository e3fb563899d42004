//! Finds what earlier agents left: Pods that run on, that ended meanwhile, or that nobody can tell about.

use std::{path::Path, time::Duration};

use lichen_agent_core::event::{FoundPod, FoundState};
use lichen_shim::{Client, Exit, Found, Outcome, Phase, Reply, Request, RunDir, Started};

use super::{Watch, wire_exit};
use crate::{
    message::Sender,
    pod_dir::{PodDir, Record},
    runtime::chain,
    state::StateError,
};

/// How long the scan waits for a Pod that is just being started.
const STARTING_DEADLINE: Duration = Duration::from_secs(2);

/// Finds what earlier agents left running or behind. Returns what the core is told, and the runs to adopt.
/// Pods that never got as far as a shim are removed. Blocks.
///
/// # Errors
/// Those of the system; trouble with one Pod is logged and reads as lost.
pub fn scan(
    run: &Path,
    shim: &Path,
    messages: &Sender,
) -> Result<Vec<(FoundPod, Option<Watch>)>, StateError> {
    let mut all = Vec::new();
    for (pod, dir) in PodDir::all(run)? {
        let Some(&attempt) = dir.runs()?.first() else {
            // Nothing ran: what is prepared is prepared anew.
            if let Err(error) = lichen_oci::bundle::remove_run_dir(dir.path()) {
                tracing::warn!(%pod, %error, "could not remove a Pod that never ran");
            }
            continue;
        };
        let run = dir.attempt(attempt);
        let record = dir.record()?;
        let state = look(&run, shim, record.as_ref());
        let identity = record.as_ref().map(|record| record.identity);
        let watch = matches!(state, FoundState::Running { .. }).then(|| Watch {
            pod,
            run,
            record,
            shim: shim.to_owned(),
            messages: messages.clone(),
        });
        all.push((FoundPod { pod, identity, restarts: attempt, state }, watch));
    }
    Ok(all)
}

fn look(run: &Path, shim: &Path, record: Option<&Record>) -> FoundState {
    let wasm = record.is_some_and(|record| record.wasm);
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
        Ok(Found::Lost) if is_of_another_boot(run) => FoundState::Lost,
        Ok(Found::Lost) => {
            if let Err(error) = lichen_shim::clean_up(shim, run) {
                tracing::warn!(error = chain(&error), "could not clean up after a lost shim");
            }
            FoundState::Lost
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "could not tell what runs");
            FoundState::Lost
        }
    }
}

fn running(init: Started) -> FoundState {
    FoundState::Running { pid: u32::try_from(init.pid).unwrap_or(0), started_ms: init.at_ms }
}

/// An agent was killed while a Pod was being started. Its process id is worth a moment; without it, it is 0.
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

/// After a reboot nothing of a run can be left, and no process need be started to make sure.
fn is_of_another_boot(run: &Path) -> bool {
    let spec = RunDir::open(run).and_then(|run| run.spec()).ok().flatten();
    match (spec, crate::probe::boot_id()) {
        (Some(spec), Some(boot)) => spec.boot_id != boot,
        _ => false,
    }
}
