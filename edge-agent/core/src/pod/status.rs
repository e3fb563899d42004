//! A Pod's state in the hub's words: phase, reason, message, and each container's state. Whatever does not run has a
//! reason.

use alloc::{
    format,
    string::{String, ToString},
};
use core::time::Duration;

use firmware_compat::{
    id::Hash,
    v1::owned::{
        Artefacts, ContainerState, ContainerStatus, List, Phase, PodStatus, RuntimeClass, Text,
    },
};

use super::{
    Container, Context, Match, Pod,
    container::{State, StopWhy},
    eviction, last_words,
    restart::{again_in, end_reason, how_it_ended},
    sandbox,
};
use crate::{
    artefacts::{self, Lacking},
    event::Failure,
    out::in_container,
};

struct Standing {
    phase: Phase,
    reason: String,
    message: String,
}

impl Pod {
    /// What the hub is told.
    pub fn status(&self, context: &Context<'_>) -> PodStatus {
        let standing = self.standing(context);
        let mut init_containers = List::default();
        let mut containers = List::default();
        for container in self.containers.values() {
            let status = self.container_status(container, &standing, context);
            // Their number is bounded by the spec's lists; of what was found beyond that nobody asks.
            let _ = match container.id.is_init() {
                true => init_containers.push(status),
                false => containers.push(status),
            };
        }
        let mut status = PodStatus {
            id: self.id,
            identity: self.shown_identity(),
            phase: standing.phase,
            reason: Text::cut(&standing.reason),
            message: Text::cut(&standing.message),
            init_containers,
            containers,
        };
        last_words::fit(&mut status);
        status
    }

    fn container_status(
        &self,
        container: &Container,
        of_pod: &Standing,
        context: &Context<'_>,
    ) -> ContainerStatus {
        let exit = container.last_exit.clone();
        let (state, last_exit) = match &container.state {
            State::Running { pid, started_ms, .. } | State::Stopping { pid, started_ms, .. } => {
                (ContainerState::Running { pid: *pid, started_ms: *started_ms }, exit)
            }
            State::Done => match exit {
                Some(exit) => (ContainerState::Terminated(exit), container.exit_before.clone()),
                None => (self.waiting(container, of_pod, context), None),
            },
            _ => (self.waiting(container, of_pod, context), exit),
        };
        let ready = match container.runs_along() {
            true => container.is_ready(),
            false => container.has_succeeded(),
        };
        ContainerStatus {
            name: Text::cut(&container.name),
            state,
            last_exit,
            restarts: container.restarts,
            ready,
            started: container.is_started(),
            image: self.image(container),
        }
    }

    /// Why it does not run. What the Pod's own message says is not said twice.
    fn waiting(
        &self,
        container: &Container,
        of_pod: &Standing,
        context: &Context<'_>,
    ) -> ContainerState {
        let own = match self.sandbox_standing(context) {
            Some(of_sandbox) => of_sandbox,
            None => self.standing_of(container, context),
        };
        let is_said = self.said(container, &own.message) == of_pod.message;
        let message = if is_said { "" } else { own.message.as_str() };
        ContainerState::Waiting { reason: Text::cut(&own.reason), message: Text::cut(message) }
    }

    /// What it runs, or is to run.
    fn image(&self, container: &Container) -> Hash {
        let held = self.holds.as_ref().and_then(|holds| holds.spec.as_ref());
        let spec = held.or(self.wanted.as_ref().filter(|_| self.relation() != Match::Other));
        match spec.and_then(|spec| container.id.of(spec)).map(|container| &container.artefacts) {
            Some(Artefacts::Image { config, .. }) => config.digest,
            Some(Artefacts::Wasm { module, .. }) => *module,
            Some(Artefacts::Firmware { image }) => image.digest,
            None => Hash([0; 32]),
        }
    }

    /// Of the spec that it runs, or is to run.
    fn shown_identity(&self) -> Hash {
        let held = self.holds.as_ref().and_then(|holds| holds.identity);
        let wanted = self.wanted.as_ref().map(|wanted| wanted.identity);
        held.or(wanted).unwrap_or(Hash([0; 32]))
    }

    /// Of the sandbox while it is what matters, else of the container that matters most.
    fn standing(&self, context: &Context<'_>) -> Standing {
        if let Some(of_sandbox) = self.sandbox_standing(context) {
            return of_sandbox;
        }
        if let Some(failure) = self.failed.as_ref().filter(|_| self.is_over() && !self.may_run()) {
            return stand(Phase::Failed, &failure.reason, &failure.message);
        }
        let Some(container) = self.deciding() else {
            return self.waiting_for(None, context).unwrap_or_else(pending);
        };
        let mut standing = self.standing_of(container, context);
        standing.message = self.said(container, &standing.message);
        if container.id.is_init() && !self.initialized && standing.phase == Phase::Running {
            standing.phase = Phase::Starting;
            standing.reason = "Initializing".into();
            let message = match container.sidecar {
                true => "it must come up before what follows starts",
                false => "it must end before the containers start",
            };
            standing.message = self.said(container, message);
        }
        standing
    }

    /// The container whose standing is the Pod's: the first of those whose turn it is that does not run; one that runs
    /// only if all do; one that has ended only if no other is left.
    fn deciding(&self) -> Option<&Container> {
        if self.is_over()
            && let Some(left) = self.containers.values().rev().find(|c| c.may_run())
        {
            return Some(left);
        }
        let is_waiting_for_init = !self.initialized && !self.may_run_main();
        let init = || self.containers.values().filter(|c| c.id.is_init());
        if is_waiting_for_init && let Some(current) = init().find(|c| !c.is_past()) {
            return Some(current);
        }
        let main = || self.containers.values().filter(|c| !c.id.is_init());
        let runs = |c: &&Container| matches!(c.state, State::Running { .. });
        main()
            .find(|c| !runs(c) && !c.is_done())
            .or_else(|| main().find(runs))
            .or_else(|| main().find(|c| !c.has_succeeded()))
            .or_else(|| main().next())
    }

    fn may_run_main(&self) -> bool {
        self.containers.values().any(|c| !c.id.is_init() && c.may_run())
    }

    /// While no container runs or may, and the sandbox is not as it should be.
    fn sandbox_standing(&self, context: &Context<'_>) -> Option<Standing> {
        if self.may_run() || self.is_over() {
            return None;
        }
        if self.wanted.is_some()
            && !context.hold
            && let Some((phase, message)) = self.eviction.standing()
        {
            return Some(stand(phase, eviction::REASON, message));
        }
        let is_going = matches!(self.relation(), Match::Gone | Match::Other);
        let going = || {
            if context.doubt {
                let message = "the assignment in force does not name it and may not be the newest: it is kept until \
                               the hub assigns anew";
                return Some(stand(Phase::Waiting, "AssignmentUnreadable", message));
            }
            let message = "what is left of it is being removed";
            Some(stand(Phase::Stopping, self.why_going(context), message))
        };
        match self.sandbox.state {
            sandbox::State::Preparing => Some(stand(Phase::Fetching, "Preparing", PREPARING)),
            sandbox::State::Unremoved { .. } => {
                let phase = if is_going { Phase::Stopping } else { Phase::Waiting };
                Some(failed(phase, self.sandbox.failures.last(), "CleanFailed"))
            }
            _ if is_going && !context.hold => going(),
            _ if context.hold => {
                let message = "the device has no assignment and leaves what it found as it is";
                Some(stand(Phase::Waiting, "NoAssignment", message))
            }
            sandbox::State::Removing { .. } | sandbox::State::Lost => {
                Some(stand(Phase::Waiting, "Recovering", "what its last run left is being removed"))
            }
            sandbox::State::Unprepared { .. } => Some(
                self.waiting_for(None, context)
                    .filter(|_| self.sandbox.failures.last().is_none())
                    .unwrap_or_else(|| {
                        failed(Phase::Waiting, self.sandbox.failures.last(), "SandboxFailed")
                    }),
            ),
            sandbox::State::Absent => Some(self.waiting_for(None, context).unwrap_or_else(pending)),
            sandbox::State::Ready => None,
        }
    }

    fn standing_of(&self, container: &Container, context: &Context<'_>) -> Standing {
        match &container.state {
            State::Running { .. } => match self.files.failure() {
                Some(failure) => stand(Phase::Running, &failure.reason, &failure.message),
                None => stand(Phase::Running, "", ""),
            },
            State::Preparing => stand(Phase::Fetching, "Preparing", PREPARING),
            State::Starting { .. } => {
                stand(Phase::Starting, "Starting", "its process is being started")
            }
            State::Stopping { overdue_at: Some(_), why: StopWhy::Over, .. } => {
                stand(Phase::Stopping, "Completing", "its Pod has ended, and it was asked to stop")
            }
            State::Stopping { overdue_at: Some(_), .. } => {
                stand(Phase::Stopping, self.why_going(context), "it was asked to stop")
            }
            State::Stopping { overdue_at: None, .. } => {
                stand(Phase::Stopping, "StopOverdue", "it was told to stop and still runs")
            }
            State::Unclean { .. } => {
                failed(Phase::Waiting, container.failures.last(), "CleanFailed")
            }
            State::Cleaning | State::Lost => {
                stand(Phase::Waiting, "Recovering", "what its last run left is being removed")
            }
            State::Ended { delay, .. } | State::Backoff { delay, .. } => {
                backing_off(container, *delay)
            }
            State::Done => {
                let exit = container.last_exit.as_ref();
                let phase =
                    if container.has_succeeded() { Phase::Succeeded } else { Phase::Failed };
                stand(phase, &end_reason(exit), &how_it_ended(exit))
            }
            State::Unprepared { .. } => match self.waiting_for(Some(container), context) {
                Some(waiting) if container.failures.last().is_none() => waiting,
                _ => failed(Phase::Waiting, container.failures.last(), "PrepareFailed"),
            },
            State::Absent if !container.id.is_init() && !self.initialized => {
                stand(Phase::Waiting, "PodInitializing", "its Pod's init containers come first")
            }
            State::Absent => match self.files.failure() {
                Some(failure) => stand(Phase::Waiting, &failure.reason, &failure.message),
                None => self.waiting_for(Some(container), context).unwrap_or_else(pending),
            },
        }
    }

    /// What must happen before it, or this container of it, can be started.
    fn waiting_for(
        &self,
        container: Option<&Container>,
        context: &Context<'_>,
    ) -> Option<Standing> {
        let wanted = self.wanted.as_ref()?;
        if !context.booted {
            let message = "the agent looks for Pods of earlier runs first";
            return Some(stand(Phase::Waiting, "AgentStarting", message));
        }
        if context.draining {
            return Some(stand(Phase::Waiting, "Draining", "the agent is being drained"));
        }
        if !context.is_usable(wanted.runtime_class) {
            let message = no_runtime(wanted.runtime_class, context);
            return Some(stand(Phase::Waiting, "RuntimeUnavailable", &message));
        }
        let lacking = match container {
            Some(container) => context.fetches.lacking(container.id.of(wanted).into_iter()),
            None => context.fetches.lacking(wanted.every_container()),
        };
        lacking.map(|lacking| fetching(lacking, context)).or_else(|| {
            self.is_preceded(context.leaving).then(|| {
                let message =
                    "the Pod whose place it takes still runs; it starts when that one has ended";
                stand(Phase::Waiting, "WaitingForPredecessor", message)
            })
        })
    }

    fn why_going(&self, context: &Context<'_>) -> &'static str {
        match self.relation() {
            Match::Gone => "Removed",
            Match::Other => "Replaced",
            Match::Same | Match::New if context.draining => "Draining",
            Match::Same if self.eviction.is_under_way() => eviction::REASON,
            Match::Same | Match::New => "Restarting",
        }
    }

    /// A sentence about a container, as the Pod says it.
    fn said(&self, container: &Container, message: &str) -> String {
        let name = (self.has_several() && !message.is_empty()).then_some(&*container.name);
        in_container(name, message).into_owned()
    }
}

/// Reasons of a container that waits for a step that is under way and soon leads further.
pub const ON_THE_WAY: [&str; 2] = ["Preparing", "Starting"];

/// One sentence for sandbox and container: two would be two reports.
const PREPARING: &str = "layers and volumes are being made ready";

fn backing_off(container: &Container, delay: Duration) -> Standing {
    let exit = container.last_exit.as_ref();
    let reason = if container.ends <= 1 { end_reason(exit) } else { "CrashLoopBackOff".into() };
    let message = format!("{}; {}", again_in(delay), how_it_ended(exit));
    stand(Phase::Backoff, &reason, &message)
}

fn fetching(lacking: Lacking<'_>, context: &Context<'_>) -> Standing {
    let artefacts = match lacking.missing {
        1 => "1 artefact is".to_string(),
        many => format!("{many} artefacts are"),
    };
    match lacking.failure {
        Some(failure) => {
            let message = format!("{artefacts} missing: {}", failure.message);
            stand(Phase::Fetching, artefacts::usual(failure), &message)
        }
        None if context.link_up => {
            stand(Phase::Fetching, "Pulling", &format!("{artefacts} being fetched"))
        }
        None => {
            let message = format!("{artefacts} missing and the hub is not connected");
            stand(Phase::Fetching, "ArtefactMissing", &message)
        }
    }
}

fn no_runtime(class: RuntimeClass, context: &Context<'_>) -> String {
    let of_class = context.runtimes.iter().find(|runtime| runtime.runtime_class == class);
    match (of_class, class) {
        (Some(runtime), _) => format!("{} can't be used: {}", runtime.name, runtime.reason),
        (None, RuntimeClass::Container) => {
            "this device has no crun, runc or youki; install one".into()
        }
        (None, RuntimeClass::Wasm) => "this agent runs no Wasm".into(),
        (None, RuntimeClass::Firmware) => "firmware runs on microcontrollers only".into(),
    }
}

fn pending() -> Standing {
    stand(Phase::Waiting, "Pending", "everything is there; its turn comes next")
}

fn failed(phase: Phase, failure: Option<&Failure>, usual: &str) -> Standing {
    let reason = failure.map_or("", |f| f.reason.as_str());
    let reason = if reason.is_empty() { usual } else { reason };
    stand(phase, reason, failure.map_or("", |f| &f.message))
}

fn stand(phase: Phase, reason: &str, message: &str) -> Standing {
    Standing { phase, reason: reason.to_string(), message: message.to_string() }
}
