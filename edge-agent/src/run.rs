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
    content::{Content, ContentError},
    hub::Connect,
    known_time::KnownTime,
    link::{Link, LinkConfig},
    message::{self, Message},
    options::Options,
    pinned, probe,
    runtime::{Launcher, chain},
    sandbox,
    state::{StateDir, StateError},
    supervise::{self, Watch},
};

mod clock;
mod effects;
mod introduction;
mod pods;
mod shell;
mod work;

use clock::Clock;
use introduction::Introduction;
use shell::Shell;

/// How often replies that wait for room on the link are tried again.
const STALLED_INTERVAL: Duration = Duration::from_millis(10);

/// Why an agent can't run at all. Everything else is reported and retried.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store in it.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// Runs an agent until `shutdown` resolves, and then until its Pods have stopped if the options ask for that.
/// Must be called on a tokio runtime with IO and time.
///
/// # Errors
/// See [`AgentError`].
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    let (sender, receiver) = mpsc::channel(message::CAPACITY);
    let state = Arc::new(StateDir::open(&options.state)?);
    let content = Content::open(&state)?;
    let mut shell = shell(&options, state, content, sender)?;
    let found = supervise::scan(&shell.launcher, &shell.messages)?;
    end_unknown(&shell, &found);
    tracing::info!(
        name = options.name,
        state = %options.state.display(),
        hub = %options.hub,
        version = env!("CARGO_PKG_VERSION"),
        "agent started"
    );
    begin(&mut shell, found, options.adopt_hub);
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
    let (pinned, known_time) = (state.pinned_hub()?, KnownTime::load(&state)?);
    let config = Config {
        hello: probe::hello(options, agent_id),
        name: options.name.clone(),
        hub: pinned,
        verify: pinned::verify,
        time_floor_ms: state.time_floor()?,
    };
    let link = LinkConfig {
        name: options.name.clone(),
        agent: agent_id,
        boot: hello.boot,
        hub: options.hub.clone(),
        keep_alive: options.keep_alive,
    };
    let config = Config { hello, time_floor_ms: state.time_floor()? };
    let known = state.hub()?.and_then(|text| Connect::parse(&text).ok());
    let launcher = Launcher {
        agent: agent_id,
        run: state.run(),
        content,
        shim: options.shim.clone(),
        wasm_program: options.wasm_program.clone(),
    };
    Ok(Shell::new(
        Agent::new(config, loaded, crate::random::number()),
        Link::new(link, known, sender.clone()),
        launcher,
        state,
        (Introduction::new(pinned, options.adopt_hub), known_time),
        sender,
        options.runtime.clone(),
    ))
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
    let artefacts = shell.launcher.content.list().unwrap_or_else(|error| {
        tracing::warn!(
            error = chain(&error),
            "could not list the artefacts: they are fetched again"
        );
        Vec::new()
    });
    shell.probe();
    let now = shell.clock.now();
    shell.tell_clock(now);
    if adopt_hub {
        shell.agent.handle(Event::AdoptLineage, now);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{address::Address, options::KEEP_ALIVE};

    fn options(state: &std::path::Path) -> Options {
        Options {
            state: state.to_owned(),
            name: "pi".to_owned(),
            // Nobody listens there.
            hub: Address::parse_hub("http://127.0.0.1:9").expect("sound"),
            labels: Vec::new(),
            runtime: Some("no-such-runtime".to_owned()),
            keep_alive: KEEP_ALIVE,
            adopt_hub: false,
            drain_on_exit: true,
            shim: "/nowhere/lichen-shim".into(),
            wasm_program: "/nowhere/lichen-agent".into(),
        }
    }

    #[tokio::test]
    async fn an_agent_can_be_embedded_and_ends_when_asked_without_having_reached_anyone() {
        let state = tempfile::tempdir().expect("a directory");
        let agent = tokio::spawn(run(options(state.path()), std::future::ready(())));
        agent.await.expect("no panic").expect("a good end");
        let again = tokio::spawn(run(options(state.path()), std::future::ready(())));
        again.await.expect("no panic").expect("the lock is free again");
    }
}
