//! The agent's one loop: events to the core, effects to the machine.
//!
//! What is here first is done first: the state directory, what earlier agents left running, then the saved
//! assignment, which starts without waiting for anything. The link comes last.

use std::{sync::Arc, time::Duration};

use firmware_compat::time::Instant;
use lichen_agent_core::{
    Agent, Config, Event,
    event::{Found, FoundPod},
};
use tokio::sync::mpsc;

use crate::{
    claims::Claims,
    content::Content,
    identity::{IdentityDir, IdentityError},
    known_time::KnownTime,
    link::{Link, LinkConfig},
    logbook::keeper::Keeper,
    membership::{Membership, keeper::Board},
    message::{self, Message},
    options::Options,
    probe,
    runtime::Launcher,
    sandbox,
    secrets::Secrets,
    signature,
    state::{StateDir, StateError},
    supervise::{self, Watch},
};

mod clock;
mod effects;
mod pods;
mod shell;
mod work;

use clock::Clock;
use shell::{Parts, Shell};

/// How often replies that wait for room on the link are tried again.
const STALLED_INTERVAL: Duration = Duration::from_millis(10);

/// Why an agent can't run at all. Everything else is reported and retried.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Nobody's device.
    #[error(
        "this device has not joined a hub yet (there is no identity in {state}). On the hub's machine run `lichen token \
         create`, and paste here what it prints: lichen-agent join TOKEN"
    )]
    NotJoined {
        /// The state directory.
        state: String,
    },
}

/// Runs an agent until `shutdown` resolves, and then until its Pods have stopped if the options ask for that.
/// Must be called on a tokio runtime with IO and time.
///
/// # Errors
/// See [`AgentError`].
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    let (sender, receiver) = mpsc::channel(message::CAPACITY);
    let state = Arc::new(StateDir::open(&options.state)?);
    let content = Content::open(&state);
    let mut shell = shell(&options, state, content, sender)?;
    let found = match supervise::scan(&shell.launcher, &shell.messages) {
        Ok(found) => {
            end_unknown(&shell, &found);
            found
        }
        Err(error) if error.passes() => return Err(error.into()),
        // Whose processes run is unknown then, so none is ended before its Pod starts again.
        Err(error) => {
            tracing::error!("what earlier agents left is unknown: {error}");
            Vec::new()
        }
    };
    let config = shell.link.config();
    tracing::info!(
        name = config.as_ref().map_or("?", |config| &config.name),
        state = %options.state.display(),
        hub = ?shell.link.hub().map(|hub| hub.addresses().to_vec()).unwrap_or_default(),
        version = env!("CARGO_PKG_VERSION"),
        "agent started"
    );
    begin(&mut shell, found, options.adopt_hub);
    pods::sweep_claims(shell.launcher.clone());
    shell.scrub();
    let _socket = shell.listen();
    drive(&mut shell, receiver, shutdown, options.drain_on_exit).await;
    let written = shell.state.written().bytes();
    shell.leave().await;
    tracing::info!(bytes_written = written, "agent ended");
    Ok(())
}

fn shell(
    options: &Options,
    state: Arc<StateDir>,
    content: Content,
    sender: message::Sender,
) -> Result<Shell, AgentError> {
    let agent_id = state.agent_id()?;
    let loaded = state.load_assignments()?;
    for damage in &loaded.damage {
        tracing::warn!(damage, "a saved assignment can't be used");
    }
    let known_time = KnownTime::load(&state)?;
    let hello = probe::hello(options, agent_id);
    let boot = hello.boot;
    let board = Board { agent: agent_id, boot };
    let has_assignment = !loaded.saved.is_empty();
    let membership = membership(options, &state, &known_time, has_assignment)?.map(Arc::new);
    let config = Config {
        hello,
        name: membership.as_ref().map(|membership| membership.name()).unwrap_or_default(),
        hub: membership.as_ref().map(|membership| membership.pinned()),
        verify: signature::verify,
        time_floor_ms: state.time_floor()?,
    };
    let logbook =
        Keeper::start(state.path().to_owned(), boot, state.written().clone(), membership.clone());
    let link = membership.map(|own| LinkConfig::new(own, board, options.keep_alive));
    let launcher = Launcher {
        agent: agent_id,
        run: state.run(),
        content,
        claims: Claims::of(&state, agent_id),
        secrets: Secrets::of(&IdentityDir::of(&state)),
        shim: options.shim.clone(),
        wasm_program: options.wasm_program.clone(),
        prepared: Default::default(),
    };
    Ok(Shell::new(Parts {
        agent: Agent::new(config, loaded, crate::random::number()),
        link: Link::new(link, sender.clone()),
        known_time,
        launcher,
        state,
        messages: sender,
        runtime: options.runtime.clone(),
        logbook,
    }))
}

/// The device's membership of its hub. One that is damaged keeps no Pod from starting, nor does one that is gone: the agent
/// runs without a hub, and says what to do.
fn membership(
    options: &Options,
    state: &StateDir,
    time: &KnownTime,
    has_assignment: bool,
) -> Result<Option<Membership>, AgentError> {
    let dir = IdentityDir::of(state);
    let identity = match dir.load() {
        Ok(Some(identity)) => identity,
        Ok(None) => {
            let error = AgentError::NotJoined { state: options.state.display().to_string() };
            if !has_assignment {
                return Err(error);
            }
            tracing::error!("its pods run on, and no hub is reached: {error}");
            return Ok(None);
        }
        Err(IdentityError::State(error)) if error.passes() => return Err(error.into()),
        Err(error) => {
            tracing::error!("no hub is reached: {error}");
            return Ok(None);
        }
    };
    match Membership::new(identity, dir, time.clone(), options.adopt_hub) {
        Ok(membership) => Ok(Some(membership)),
        Err(error) => {
            tracing::error!(%error, "could not prepare TLS with this device's identity; its pods run on");
            Ok(None)
        }
    }
}

/// A Pod whose directory somebody removed is found by its cgroup: it must not run beside its next copy.
fn end_unknown(shell: &Shell, found: &[(FoundPod, Vec<Watch>)]) {
    let known = |id| found.iter().any(|(pod, _)| pod.pod == id);
    for pod in sandbox::remove_unknown(shell.launcher.agent, known) {
        tracing::warn!(%pod, "ended processes of a Pod that has no directory any more");
    }
}

/// Tells the core what is there, which starts the saved assignment.
fn begin(shell: &mut Shell, found: Vec<(FoundPod, Vec<Watch>)>, adopt_hub: bool) {
    let mut pods = Vec::with_capacity(found.len());
    for (pod, watches) in found {
        for container in &pod.containers {
            tracing::info!(
                pod = %pod.pod,
                container = %container.container,
                name = container.name,
                state = ?container.state,
                "found a container of an earlier agent"
            );
        }
        watches.into_iter().for_each(|watch| shell.adopt(watch));
        pods.push(pod);
    }
    let artefacts = shell.launcher.content.list();
    let now = shell.clock.now();
    shell.tell_clock(now);
    shell.probe();
    if adopt_hub {
        shell.agent.handle(Event::AdoptLineage, now);
    }
    // First, so that the first Hello says everything.
    shell.measure_device(now);
    shell.agent.handle(Event::Found(Found { pods, artefacts }), now);
    shell.carry_out();
}

async fn drive(
    shell: &mut Shell,
    mut messages: mpsc::Receiver<Message>,
    shutdown: impl Future<Output = ()>,
    drain: bool,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut leaving = false;
    while !shell.is_done() {
        let wake = shell.agent.poll_timeout();
        let stalled = shell.has_stalled();
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => shell.take(message),
                None => return,
            },
            () = &mut shutdown, if !leaving => {
                leaving = true;
                tracing::info!(
                    "{}",
                    if drain { "ending; pods are stopped first" } else { "ending; pods run on" }
                );
                shell.handle(Event::Shutdown { drain });
            }
            () = sleep_until(&shell.clock, wake.map(|(at, _)| at)) => shell.wake(),
            () = tokio::time::sleep_until(shell.measure_at), if !shell.is_measuring => shell.measure(),
            () = tokio::time::sleep(STALLED_INTERVAL), if stalled => shell.retry_stalled(),
        }
        shell.carry_out();
    }
}

async fn sleep_until(clock: &Clock, at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(clock.now())).await,
        None => std::future::pending().await,
    }
}
