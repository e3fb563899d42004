//! The life of one run as a state machine: no clock, no IO.
//!
//! [`Machine::handle`] takes what happened, [`Machine::drain`] gives what to do, in order. The shell around it
//! is in `shell.rs`. A process goes Starting, Running, (Stopping,) Ended. A container passes through the
//! runtime's `create` and `start` first and its `delete` last; at most one of these runs at a time.

use std::collections::VecDeque;

use crate::state::{BootId, Exit, Outcome, Phase, Started, bounded_message};

/// How long `create` or `start` may take; a slow card and a large image are well inside.
pub(crate) const RUNTIME_DEADLINE_MS: u64 = 120_000;

/// How long a runtime may still take when its container is to be stopped, whatever the grace: one that is killed
/// half way leaves cgroups behind.
pub(crate) const RUNTIME_MERCY_MS: u64 = 5_000;

/// How long `delete` may take.
pub(crate) const DELETE_DEADLINE_MS: u64 = 30_000;

const STOPPED_EARLY: &str = "stopped before it had started";
const TOO_SLOW: &str = "the runtime did not finish in time and was killed";

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// For deadlines: milliseconds that never go back.
    pub(crate) steady_ms: u64,
    /// For records: milliseconds since 1970.
    pub(crate) wall_ms: u64,
}

/// A command of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Start,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The process runs.
    Launched { pid: i32 },
    /// The process, or the preparation of the container, failed.
    LaunchFailed { reason: String },
    /// `create` succeeded and left this process waiting.
    Created { pid: i32 },
    /// `start` or `delete` succeeded.
    Did(Verb),
    /// A command of the runtime failed.
    Failed { verb: Verb, reason: String },
    /// The container's first process has ended.
    Ended { outcome: Outcome, oom_killed: bool },
    /// A client, or SIGTERM to the shim, wants it stopped.
    Stop { signal: i32, grace_ms: u64 },
    /// Nothing but time has passed.
    Timeout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start the process.
    Launch,
    /// Run a command of the runtime; its end is an event.
    Run(Verb),
    /// Kill the command of the runtime that runs now; its end is an event.
    KillRuntime,
    /// Store the pid of the container's first process.
    Record(Started),
    /// Tell followers that the container runs.
    Announce(Started),
    /// Signal the container's first process.
    Signal(i32),
    /// Kill the container: its process group and first process.
    KillContainer,
    /// Kill and reap every descendant that is left.
    KillRest,
    /// Store the exit record, tell followers, leave.
    Finish(Exit),
}

/// What is being run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Process,
    Container,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Launching,
    Creating { deadline: u64 },
    StartingUp { deadline: u64, init: Started, ended: Option<Exit> },
    Running { init: Started },
    Stopping { init: Started, kill_at: Option<u64> },
    Deleting { deadline: u64, init: Option<Started>, exit: Exit },
    Ended { exit: Exit },
}

#[derive(Clone, Copy, Debug)]
struct Stop {
    signal: i32,
    /// When the container is killed.
    kill_at: u64,
    /// Until when a command of the runtime is not killed.
    runtime_until: u64,
}

#[derive(Debug)]
pub(crate) struct Machine {
    shape: Shape,
    boot_id: BootId,
    step: Step,
    /// A stop that was asked for before the container ran.
    early_stop: Option<Stop>,
    /// Why a command of the runtime was killed, if it was.
    killed_runtime: Option<&'static str>,
    effects: VecDeque<Effect>,
}

impl Machine {
    /// A machine that has begun: its first effects are ready.
    pub(crate) fn begin(shape: Shape, boot_id: BootId, now: Now) -> Self {
        let (step, effect) = match shape {
            Shape::Process => (Step::Launching, Effect::Launch),
            Shape::Container => {
                let deadline = now.steady_ms + RUNTIME_DEADLINE_MS;
                (Step::Creating { deadline }, Effect::Run(Verb::Create))
            }
        };
        Self {
            shape,
            boot_id,
            step,
            early_stop: None,
            killed_runtime: None,
            effects: VecDeque::from([effect]),
        }
    }

    /// The next thing to do.
    pub(crate) fn drain(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Where the run is, in the words of the protocol.
    pub(crate) fn phase(&self) -> Phase {
        match &self.step {
            Step::Launching | Step::Creating { .. } | Step::StartingUp { .. } => Phase::Starting,
            Step::Running { init } => Phase::Running(*init),
            Step::Stopping { init, .. } => Phase::Stopping(*init),
            // Not told as an exit before the record is stored: a reader of both must never see them disagree.
            Step::Deleting { init, .. } => init.map_or(Phase::Starting, Phase::Stopping),
            Step::Ended { exit } => Phase::Exited(exit.clone()),
        }
    }

    /// When [`Event::Timeout`] is due, in steady milliseconds.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        let kill_at = self.early_stop.map(|stop| stop.kill_at.max(stop.runtime_until));
        match self.step {
            Step::Creating { deadline } | Step::StartingUp { deadline, .. }
                if self.killed_runtime.is_none() =>
            {
                Some(kill_at.map_or(deadline, |kill_at| kill_at.min(deadline)))
            }
            Step::Deleting { deadline, .. } if self.killed_runtime.is_none() => Some(deadline),
            Step::Stopping { kill_at, .. } => kill_at,
            _ => None,
        }
    }

    pub(crate) fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Launched { pid } if self.step == Step::Launching => self.launched(pid, now),
            Event::LaunchFailed { reason } if self.is_preparing() => {
                self.launch_failed(&reason, now);
            }
            Event::Created { pid } if self.is_preparing() => self.created(pid, now),
            Event::Did(verb) => self.did(verb, now),
            Event::Failed { verb, reason } => self.failed(verb, &reason, now),
            Event::Ended { outcome, oom_killed } => self.ended(outcome, oom_killed, now),
            Event::Stop { signal, grace_ms } => {
                let kill_at = now.steady_ms.saturating_add(grace_ms);
                let runtime_until = now.steady_ms.saturating_add(RUNTIME_MERCY_MS);
                self.stop(Stop { signal, kill_at, runtime_until }, now);
            }
            Event::Timeout => self.timeout(now),
            // Late news about a step that is over.
            Event::Launched { .. } | Event::LaunchFailed { .. } | Event::Created { .. } => {}
        }
    }

    fn is_preparing(&self) -> bool {
        matches!(self.step, Step::Launching | Step::Creating { .. })
    }

    fn launched(&mut self, pid: i32, now: Now) {
        self.run(Started { pid, at_ms: now.wall_ms }, now);
    }

    fn created(&mut self, pid: i32, now: Now) {
        let init = Started { pid, at_ms: now.wall_ms };
        if self.early_stop.is_some() {
            let exit = self.exit(Outcome::NeverStarted, None, STOPPED_EARLY, now);
            return self.delete(exit, now);
        }
        let deadline = now.steady_ms + RUNTIME_DEADLINE_MS;
        self.step = Step::StartingUp { deadline, init, ended: None };
        self.effects.push_back(Effect::Run(Verb::Start));
    }

    fn did(&mut self, verb: Verb, now: Now) {
        match (verb, &self.step) {
            (Verb::Start, Step::StartingUp { init, ended: None, .. }) => {
                let init = Started { at_ms: now.wall_ms, ..*init };
                self.run(init, now);
            }
            (Verb::Start, Step::StartingUp { ended: Some(exit), .. }) => {
                let exit = exit.clone();
                self.delete(exit, now);
            }
            (Verb::Delete, Step::Deleting { exit, .. }) => {
                let exit = exit.clone();
                self.finish(exit);
            }
            _ => {}
        }
    }

    fn run(&mut self, init: Started, now: Now) {
        self.step = Step::Running { init };
        // Before this, the runtime's own state is enough to clean up by.
        self.effects.push_back(Effect::Record(init));
        self.effects.push_back(Effect::Announce(init));
        if let Some(stop) = self.early_stop.take() {
            self.stop(stop, now);
        }
    }

    fn launch_failed(&mut self, reason: &str, now: Now) {
        let exit = self.exit(Outcome::StartError, None, reason, now);
        self.finish(exit);
    }

    fn failed(&mut self, verb: Verb, reason: &str, now: Now) {
        let killed = self.killed_runtime.take();
        let reason = killed.unwrap_or(reason);
        match &self.step {
            Step::Creating { .. } | Step::StartingUp { .. } if verb != Verb::Delete => {
                let outcome = match self.early_stop {
                    Some(_) if killed == Some(STOPPED_EARLY) => Outcome::NeverStarted,
                    _ => Outcome::StartError,
                };
                let exit = self.exit(outcome, None, reason, now);
                self.delete(exit, now);
            }
            Step::Deleting { exit, .. } => {
                let mut exit = exit.clone();
                // A container that was never created cannot be deleted; that is no news.
                if exit.started_at_ms.is_some() {
                    let separator = if exit.message.is_empty() { "" } else { "; " };
                    let message = format!(
                        "{}{separator}the runtime could not delete the container: {reason}",
                        exit.message
                    );
                    exit.message = bounded_message(&message);
                }
                self.finish(exit);
            }
            _ => {}
        }
    }

    fn ended(&mut self, outcome: Outcome, oom_killed: bool, now: Now) {
        match &self.step {
            Step::StartingUp { deadline, init, ended: None } => {
                let (deadline, init) = (*deadline, *init);
                let exit = self.exit(outcome, Some(init), "", now);
                let ended = Some(Exit { oom_killed, ..exit });
                self.step = Step::StartingUp { deadline, init, ended };
            }
            Step::Running { init } | Step::Stopping { init, .. } => {
                let exit = self.exit(outcome, Some(*init), "", now);
                let exit = Exit { oom_killed, ..exit };
                match self.shape {
                    Shape::Process => self.finish(exit),
                    Shape::Container => self.delete(exit, now),
                }
            }
            _ => {}
        }
    }

    fn stop(&mut self, stop: Stop, now: Now) {
        match &self.step {
            Step::Launching | Step::Creating { .. } | Step::StartingUp { .. } => {
                let sooner = self.early_stop.filter(|earlier| earlier.kill_at <= stop.kill_at);
                self.early_stop = Some(sooner.unwrap_or(stop));
                self.timeout(now);
            }
            Step::Running { init } => {
                self.step = Step::Stopping { init: *init, kill_at: Some(stop.kill_at) };
                // A stop without grace is a kill; a signal just before it would only add noise.
                if stop.kill_at > now.steady_ms {
                    self.effects.push_back(Effect::Signal(stop.signal));
                }
                self.timeout(now);
            }
            Step::Stopping { init, kill_at: Some(kill_at) } => {
                // Asking again can only shorten the grace, and passes the new signal on.
                let kill_at = stop.kill_at.min(*kill_at);
                self.step = Step::Stopping { init: *init, kill_at: Some(kill_at) };
                if kill_at > now.steady_ms {
                    self.effects.push_back(Effect::Signal(stop.signal));
                }
                self.timeout(now);
            }
            Step::Stopping { kill_at: None, .. } | Step::Deleting { .. } | Step::Ended { .. } => {}
        }
    }

    fn timeout(&mut self, now: Now) {
        if self.poll_timeout().is_none_or(|due| due > now.steady_ms) {
            return;
        }
        match &self.step {
            Step::Creating { deadline } | Step::StartingUp { deadline, .. } => {
                let overdue = *deadline <= now.steady_ms;
                self.killed_runtime = Some(if overdue { TOO_SLOW } else { STOPPED_EARLY });
                self.effects.push_back(Effect::KillRuntime);
            }
            Step::Deleting { .. } => {
                self.killed_runtime = Some(TOO_SLOW);
                self.effects.push_back(Effect::KillRuntime);
            }
            Step::Stopping { init, .. } => {
                self.step = Step::Stopping { init: *init, kill_at: None };
                self.effects.push_back(Effect::KillContainer);
            }
            Step::Launching | Step::Running { .. } | Step::Ended { .. } => {}
        }
    }

    fn delete(&mut self, exit: Exit, now: Now) {
        self.killed_runtime = None;
        self.effects.push_back(Effect::KillRest);
        self.effects.push_back(Effect::Run(Verb::Delete));
        let init = match self.step {
            Step::StartingUp { init, .. }
            | Step::Running { init }
            | Step::Stopping { init, .. } => Some(init),
            _ => None,
        };
        let deadline = now.steady_ms + DELETE_DEADLINE_MS;
        self.step = Step::Deleting { deadline, init, exit };
    }

    fn finish(&mut self, exit: Exit) {
        self.effects.push_back(Effect::KillRest);
        self.effects.push_back(Effect::Finish(exit.clone()));
        self.step = Step::Ended { exit };
    }

    fn exit(&self, outcome: Outcome, init: Option<Started>, message: &str, now: Now) -> Exit {
        Exit {
            outcome,
            oom_killed: false,
            started_at_ms: init.map(|init| init.at_ms),
            finished_at_ms: now.wall_ms,
            boot_id: self.boot_id,
            message: bounded_message(message),
        }
    }
}

#[cfg(test)]
mod tests;
