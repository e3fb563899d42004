//! Work on Pods: as in `work`, each function starts a task that answers with one message. Most waits for its turn, so that
//! threads are left for starting what is ready.

use std::{sync::Arc, time::Duration};

use firmware_compat::{
    id::PodId,
    v1::owned::{Handler, Moment, Purpose, RuntimeClass},
};
use lichen_agent_core::{
    ContainerId, Event, PodSpec,
    event::{Answer, Failure, Health},
};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
};

use super::work::answer;
use crate::{
    asking::{Network, Question},
    message::{Message, Sender},
    pod_dir::{ContainerDir, PodDir},
    runtime::{Containers, Launcher, PrepareError, Ready},
    supervise::{Ends, Watch, Watcher, how_to_stop, orphan},
};

/// As [`answer`], but waits for its turn: whoever waits here holds no thread that a start could use.
fn answer_in_turn<F>(slots: Arc<Semaphore>, messages: Sender, work: F)
where
    F: FnOnce() -> Message + Send + 'static,
{
    tokio::spawn(async move {
        let Ok(_slot) = slots.acquire().await else { return };
        if let Ok(message) = spawn_blocking(work).await {
            let _loop_gone = messages.send(message).await;
        }
    });
}

/// What preparing one start of a container needs.
pub(super) struct Prepare {
    pub(super) launcher: Arc<Launcher>,
    pub(super) containers: Arc<Containers>,
    pub(super) pod: Arc<PodSpec>,
    pub(super) container: ContainerId,
    pub(super) attempt: u32,
}

pub(super) fn make_sandbox(
    launcher: Arc<Launcher>,
    pod: Arc<PodSpec>,
    slots: Arc<Semaphore>,
    messages: Sender,
) {
    answer_in_turn(slots, messages, move || {
        let id = pod.id;
        Message::Happened(match launcher.make_sandbox(&pod) {
            Ok(()) => Event::SandboxReady { pod: id },
            Err(failure) => Event::SandboxFailed { pod: id, failure },
        })
    });
}

pub(super) fn prepare(job: Prepare, slots: Arc<Semaphore>, messages: Sender) {
    answer_in_turn(slots, messages, move || {
        let Prepare { launcher, containers, pod, container, attempt } = job;
        let id = pod.id;
        let prepared = launcher.prepare(&pod, container, attempt, &containers);
        match prepared {
            Ok(ready) => Message::Prepared { pod: id, container, ready: Box::new(ready) },
            Err(PrepareError { failure, missing }) => {
                Message::Happened(Event::PrepareFailed { pod: id, container, failure, missing })
            }
        }
    });
}

/// Starts a container and watches it. Answers with `Started` or `StartFailed`, and with `Exited` at its end.
pub(super) fn start(
    launcher: Arc<Launcher>,
    (pod, container): (PodId, ContainerId),
    attempt: u32,
    ready: Box<Ready>,
    messages: Sender,
) -> Watcher {
    let dir = PodDir::new(&launcher.run, pod);
    let (own, record) = (dir.container(container), dir.record().ok().flatten());
    let run = own.attempt(attempt);
    let watch = Watch {
        pod,
        container,
        run: run.clone(),
        stop: how_to_stop(record.as_ref(), &own),
        ends: Ends::of(record.as_ref(), &own),
        shim: launcher.shim.clone(),
        messages,
    };
    watch.start(async move {
        let started = spawn_blocking(move || launcher.start(&run, &ready)).await;
        started.unwrap_or_else(|error| {
            Err(Failure { reason: String::new(), message: error.to_string() })
        })
    })
}

/// One run of a container.
pub(super) struct Of {
    pub(super) pod: Arc<PodSpec>,
    pub(super) container: ContainerId,
    pub(super) attempt: u32,
}

impl Of {
    fn question(
        &self,
        launcher: &Launcher,
        handler: &Handler,
        timeout: Option<Duration>,
    ) -> Question {
        let dir = PodDir::new(&launcher.run, self.pod.id);
        let is_boxed = self.pod.runtime_class == RuntimeClass::Container;
        Question {
            handler: handler.clone(),
            timeout,
            network: match is_boxed && !self.pod.host_network {
                true => Network::Own(dir.network()),
                false => Network::Device,
            },
            run: dir.container(self.container).attempt(self.attempt),
            shim: launcher.shim.clone(),
            is_hook: false,
        }
    }
}

/// Asks a container how it is.
pub(super) fn probe(
    launcher: &Launcher,
    of: Of,
    purpose: Purpose,
    slots: &Arc<Semaphore>,
    messages: &Sender,
) {
    let spec = of.container.of(&of.pod);
    let probe = spec.and_then(|spec| spec.supervision.probes.iter().find(|p| p.purpose == purpose));
    let question = probe.map(|probe| {
        let timeout = Duration::from_secs(probe.timeout_s.max(1).into());
        of.question(launcher, &probe.action, Some(timeout))
    });
    let (slots, messages) = (slots.clone(), messages.clone());
    tokio::spawn(async move {
        let answer = match question {
            Some(question) => question.ask(Some(slots)).await,
            None => Answer::Unknown("there is no such probe".to_owned()),
        };
        let (pod, container, attempt) = (of.pod.id, of.container, of.attempt);
        let event = Event::Probed { pod, container, attempt, purpose, answer };
        let _loop_gone = messages.send(Message::Happened(event)).await;
    });
}

/// Does what is to be done at the start or the end of a container.
pub(super) fn run_hook(
    launcher: &Launcher,
    of: Of,
    moment: Moment,
    timeout_ms: Option<u32>,
    messages: &Sender,
) {
    let spec = of.container.of(&of.pod);
    let hook = spec.and_then(|spec| spec.supervision.hooks.iter().find(|h| h.moment == moment));
    let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
    let question =
        hook.map(|hook| Question { is_hook: true, ..of.question(launcher, &hook.action, timeout) });
    let messages = messages.clone();
    tokio::spawn(async move {
        let answer = match question {
            Some(question) => question.ask(None).await,
            None => Answer::Good,
        };
        let failure = match answer {
            Answer::Good => None,
            Answer::Bad(message) | Answer::Unknown(message) => Some(message),
        };
        let (pod, container, attempt) = (of.pod.id, of.container, of.attempt);
        let event = Event::HookEnded { pod, container, attempt, moment, failure };
        let _loop_gone = messages.send(Message::Happened(event)).await;
    });
}

/// One small file, written when it changes: not worth a thread.
pub(super) fn keep_health(
    launcher: &Launcher,
    (pod, container): (PodId, ContainerId),
    attempt: u32,
    health: Health,
) {
    let dir = PodDir::new(&launcher.run, pod).container(container);
    if let Err(error) = dir.set_health(attempt, health) {
        tracing::warn!(%pod, %container, %error, "could not keep what is known of a container");
    }
}

/// Once in the life of a Pod, and before anybody is told.
pub(super) fn keep_failure(launcher: &Launcher, pod: PodId, failure: &Failure) {
    let dir = PodDir::new(&launcher.run, pod);
    if let Err(error) = dir.set_failed(failure, launcher.content.written()) {
        tracing::warn!(%pod, %error, "could not keep that a Pod has failed");
    }
}

pub(super) fn update_files(launcher: Arc<Launcher>, pod: Arc<PodSpec>, messages: Sender) {
    answer(messages, move || {
        let id = pod.id;
        Message::Happened(match launcher.update_files(&pod) {
            Ok(()) => Event::FilesUpdated { pod: id },
            Err(failure) => Event::FilesUpdateFailed { pod: id, failure },
        })
    });
}

/// Ends and removes what is left of a container.
pub(super) fn clean_container(
    launcher: Arc<Launcher>,
    pod: PodId,
    container: ContainerId,
    slots: Arc<Semaphore>,
    messages: Sender,
) {
    tokio::spawn(async move {
        let dir = PodDir::new(&launcher.run, pod);
        end_orphans(&dir, vec![dir.container(container)]).await;
        answer_in_turn(slots, messages, move || {
            Message::Happened(match launcher.clean_container(pod, container) {
                Ok(()) => Event::ContainerCleaned { pod, container },
                Err(failure) => Event::ContainerCleanFailed { pod, container, failure },
            })
        });
    });
}

/// Ends and removes what is left of a Pod.
pub(super) fn remove_sandbox(
    launcher: Arc<Launcher>,
    pod: PodId,
    keep_volumes: bool,
    slots: Arc<Semaphore>,
    messages: Sender,
) {
    tokio::spawn(async move {
        let dir = PodDir::new(&launcher.run, pod);
        let left = dir.containers().unwrap_or_default();
        end_orphans(&dir, left.into_iter().map(|(_, own)| own).collect()).await;
        answer_in_turn(slots, messages, move || {
            Message::Happened(match launcher.remove_sandbox(pod, keep_volumes) {
                Ok(()) => {
                    sweep(&launcher);
                    Event::SandboxRemoved { pod }
                }
                Err(failure) => Event::SandboxRemoveFailed { pod, failure },
            })
        });
    });
}

/// Removes the data of claims that were deleted, as far as no Pod has it any more.
pub(super) fn sweep_claims(launcher: Arc<Launcher>) {
    spawn_blocking(move || sweep(&launcher));
}

fn sweep(launcher: &Launcher) {
    match launcher.claims.sweep() {
        Ok(removed) => {
            for claim in removed {
                tracing::info!(%claim, "removed the data of a deleted claim");
            }
        }
        Err(error) => tracing::warn!("could not remove the data of a deleted claim: {error}"),
    }
}

/// Asks containers whose shims were killed to end, all at once, and waits for them without holding a thread.
async fn end_orphans(pod: &PodDir, containers: Vec<ContainerDir>) {
    let record = pod.record().ok().flatten();
    let mut ending = JoinSet::new();
    for container in containers {
        let Some(attempt) = container.runs().unwrap_or_default().first().copied() else { continue };
        let (how, run) = (how_to_stop(record.as_ref(), &container), container.attempt(attempt));
        ending.spawn(async move { (orphan::ask_to_end(&run, how, None).await, run) });
    }
    while let Some(ended) = ending.join_next().await {
        match ended {
            Ok((Ok(Some(how)), run)) => {
                tracing::warn!(run = %run.display(), how, "a container outlived its shim");
            }
            Ok((Err(error), run)) => {
                tracing::warn!(run = %run.display(), error, "could not look for what is left");
            }
            Ok((Ok(None), _)) | Err(_) => {}
        }
    }
}
