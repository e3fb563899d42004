//! A Pod's state in the hub's words: phase, reason, message. Whatever does not run has a reason.

use alloc::{
    format,
    string::{String, ToString},
};
use core::time::Duration;

use firmware_compat::{
    id::Hash,
    v1::owned::{Phase, Pod, PodStatus, RuntimeClass, Text},
};

use super::{Context, Match, Slot, State, again_in};
use crate::{event::Failure, fetch};

struct Standing {
    phase: Phase,
    reason: String,
    message: String,
}

impl Slot {
    /// What the hub is told.
    pub fn status(&self, context: &Context<'_>) -> PodStatus {
        let (pid, started_ms) = match self.state {
            State::Running { pid, started_ms, .. } => (pid, started_ms),
            _ => (0, 0),
        };
        let Standing { phase, reason, message } = self.standing(context);
        PodStatus {
            id: self.id,
            identity: self.shown_identity(),
            phase,
            reason: Text::cut(&reason),
            message: Text::cut(&message),
            restarts: self.restarts,
            pid,
            started_ms,
            last_exit: self.last_exit.clone(),
        }
    }

    /// Of the spec that it runs, or is to run.
    fn shown_identity(&self) -> Hash {
        let held = self.holds.as_ref().and_then(|holds| holds.identity);
        let wanted = self.wanted.as_ref().map(|wanted| wanted.identity);
        held.or(wanted).unwrap_or(Hash([0; 32]))
    }

    fn standing(&self, context: &Context<'_>) -> Standing {
        let is_going = matches!(self.relation(), Match::Gone | Match::Other);
        match &self.state {
            State::Running { .. } => match self.files.failure() {
                Some(failure) => stand(Phase::Running, &failure.reason, &failure.message),
                None => stand(Phase::Running, "", ""),
            },
            State::Preparing => {
                stand(Phase::Fetching, "Preparing", "layers and volumes are being made ready")
            }
            State::Starting { .. } => {
                stand(Phase::Starting, "Starting", "its process is being started")
            }
            State::Stopping { overdue_at: Some(_) } => {
                stand(Phase::Stopping, self.why_going(context), "it was asked to stop")
            }
            State::Stopping { overdue_at: None } => {
                stand(Phase::Stopping, "StopOverdue", "it was told to stop and still runs")
            }
            State::Unclean { .. } => {
                let phase = if is_going { Phase::Stopping } else { Phase::Waiting };
                failed(phase, self.failure.as_ref(), "CleanFailed")
            }
            State::Cleaning { .. } | State::Lost if is_going && !context.hold => stand(
                Phase::Stopping,
                self.why_going(context),
                "what is left of it is being removed",
            ),
            _ if context.hold => stand(
                Phase::Waiting,
                "NoAssignment",
                "the device has no assignment and leaves what it found as it is",
            ),
            State::Cleaning { .. } | State::Lost => {
                stand(Phase::Waiting, "Recovering", "what its last run left is being removed")
            }
            State::Ended { .. } | State::Backoff { .. } => self.backing_off(),
            State::Done => {
                let code = self.last_exit.as_ref().map_or(-1, |exit| exit.code);
                let phase = if code == 0 { Phase::Succeeded } else { Phase::Failed };
                stand(phase, &self.end_reason(), &self.how_it_ended())
            }
            State::Unprepared { .. } => match self.waiting_for(context) {
                Some(waiting) if self.failure.is_none() => waiting,
                _ => failed(Phase::Waiting, self.failure.as_ref(), "PrepareFailed"),
            },
            State::Absent if is_going => stand(
                Phase::Stopping,
                self.why_going(context),
                "what is left of it is being removed",
            ),
            State::Absent => self.waiting_for(context).unwrap_or_else(|| {
                stand(Phase::Waiting, "Pending", "everything is there; its turn comes next")
            }),
        }
    }

    /// What must happen before it can be started.
    fn waiting_for(&self, context: &Context<'_>) -> Option<Standing> {
        let wanted = self.wanted.as_ref()?;
        if !context.booted {
            let message = "the agent looks for examples of earlier runs first";
            return Some(stand(Phase::Waiting, "AgentStarting", message));
        }
        if context.draining {
            return Some(stand(Phase::Waiting, "Draining", "the agent is being drained"));
        }
        if !context.is_usable(wanted.engine) {
            let message = no_runtime(wanted.engine, context);
            return Some(stand(Phase::Waiting, "RuntimeUnavailable", &message));
        }
        fetching(wanted, context).or_else(|| {
            self.is_preceded(context.leaving).then(|| {
                let message =
                    "the copy whose place it takes still runs; it starts when that one has ended";
                stand(Phase::Waiting, "WaitingForPredecessor", message)
            })
        })
    }

    fn backing_off(&self) -> Standing {
        let delay = match &self.state {
            State::Backoff { delay, .. } | State::Ended { delay, .. } => *delay,
            _ => Duration::ZERO,
        };
        let reason = if self.ends <= 1 { self.end_reason() } else { "CrashLoopBackOff".into() };
        let message = format!("{}; {}", again_in(delay), self.how_it_ended());
        stand(Phase::Backoff, &reason, &message)
    }

    fn why_going(&self, context: &Context<'_>) -> &'static str {
        match self.relation() {
            Match::Gone => "Removed",
            Match::Other => "Replaced",
            Match::Same | Match::New if context.draining => "Draining",
            Match::Same | Match::New => "Restarting",
        }
    }

    fn end_reason(&self) -> String {
        match &self.last_exit {
            Some(exit) if !exit.reason.is_empty() => exit.reason.to_string(),
            Some(exit) if exit.code == 0 => "Completed".into(),
            Some(_) | None => "Error".into(),
        }
    }

    pub(super) fn how_it_ended(&self) -> String {
        let Some(exit) = &self.last_exit else { return "it ended, nobody knows how".into() };
        let (reason, message) = (self.end_reason(), exit.message.as_str());
        match (exit.code, message) {
            (code, "") => format!("ended with code {code} ({reason})"),
            (code, message) => format!("ended with code {code} ({reason}): {message}"),
        }
    }
}

fn fetching(wanted: &Pod, context: &Context<'_>) -> Option<Standing> {
    let lacking = context.fetches.lacking(wanted)?;
    let artefacts = match lacking.missing {
        1 => "1 artefact is".to_string(),
        many => format!("{many} artefacts are"),
    };
    Some(match lacking.failure {
        Some(failure) => {
            let message = format!("{artefacts} missing: {}", failure.message);
            stand(Phase::Fetching, fetch::usual(failure), &message)
        }
        None if context.link_up => {
            stand(Phase::Fetching, "Pulling", &format!("{artefacts} being fetched"))
        }
        None => {
            let message = format!("{artefacts} missing and the hub is not connected");
            stand(Phase::Fetching, "ArtefactMissing", &message)
        }
    })
}

fn no_runtime(engine: RuntimeClass, context: &Context<'_>) -> String {
    let of_engine = context.runtimes.iter().find(|runtime| runtime.engine == engine);
    match (of_engine, engine) {
        (Some(runtime), _) => format!("{} can't be used: {}", runtime.name, runtime.reason),
        (None, RuntimeClass::Container) => {
            "this device has no crun, runc or youki; install one".into()
        }
        (None, RuntimeClass::Wasm) => "this agent runs no Wasm".into(),
        (None, RuntimeClass::Firmware) => "firmware runs on microcontrollers only".into(),
    }
}

fn failed(phase: Phase, failure: Option<&Failure>, usual: &str) -> Standing {
    let reason = failure.map_or("", |f| f.reason.as_str());
    let reason = if reason.is_empty() { usual } else { reason };
    stand(phase, reason, failure.map_or("", |f| &f.message))
}

fn stand(phase: Phase, reason: &str, message: &str) -> Standing {
    Standing { phase, reason: reason.to_string(), message: message.to_string() }
}
