//! The life of one run as a state machine: no clock, no IO.
//!
//! [`Machine::handle`] takes what happened, [`Machine::drain`] gives what to do, in order. The shell around it
//! is in `shell.rs`. A process goes Starting, Running, (Stopping,) Ended. A container passes through the
//! runtime's `create` and `start` first and its `delete` last; at most one of these runs at a time.

use std::collections::VecDeque;

use crate::state::{BootId, Exit, Outcome, Phase, Started, bounded_message};

/// How long `create` or `start` may take; a slow card and a large image are well inside.
pub(crate) const RUNTIME_DEADLINE_MS: u64 = 120_000;

/// How long `delete` may take.
pub(crate) const DELETE_DEADLINE_MS: u64 = 30_000;

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
    /// The instance's first process has ended.
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
    /// Store the pid of the instance's first process.
    Record(Started),
    /// Tell followers that the instance runs.
    Announce(Started),
    /// Signal the instance's first process.
    Signal(i32),
    /// Kill the instance: its process group and first process.
    KillInstance,
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
    kill_at: u64,
}

#[derive(Debug)]
pub(crate) struct Machine {
    shape: Shape,
    boot_id: BootId,
    step: Step,
    /// A stop that was asked for before the instance ran.
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
        let kill_at = self.early_stop.map(|stop| stop.kill_at);
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
            Event::Launched { pid } => self.launched(pid, now),
            Event::LaunchFailed { reason } => self.launch_failed(&reason, now),
            Event::Created { pid } => self.created(pid, now),
            Event::Did(verb) => self.did(verb, now),
            Event::Failed { verb, reason } => self.failed(verb, &reason, now),
            Event::Ended { outcome, oom_killed } => self.ended(outcome, oom_killed, now),
            Event::Stop { signal, grace_ms } => {
                let kill_at = now.steady_ms.saturating_add(grace_ms);
                self.stop(Stop { signal, kill_at }, now);
            }
            Event::Timeout => self.timeout(now),
        }
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
                self.effects.push_back(Effect::KillInstance);
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

const STOPPED_EARLY: &str = "stopped before it had started";
const TOO_SLOW: &str = "the runtime did not finish in time and was killed";

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: BootId = BootId([1; 16]);

    fn at(ms: u64) -> Now {
        Now { steady_ms: ms, wall_ms: 1_000_000 + ms }
    }

    fn drained(machine: &mut Machine) -> Vec<String> {
        std::iter::from_fn(|| machine.drain())
            .map(|effect| match effect {
                Effect::Run(verb) => format!("run {verb:?}"),
                Effect::Record(started) => format!("record {}", started.pid),
                Effect::Announce(started) => format!("announce {}", started.pid),
                Effect::Signal(signal) => format!("signal {signal}"),
                Effect::Finish(Exit { outcome, oom_killed, message, .. }) => {
                    let oom = if oom_killed { " oom" } else { "" };
                    format!("finish {outcome:?}{oom} {message}").trim_end().to_owned()
                }
                other => format!("{other:?}"),
            })
            .collect()
    }

    /// Feeds timed events and returns what was done, `|` between events.
    fn check(shape: Shape, events: &[(u64, Event)], expected: &str) {
        let mut machine = Machine::begin(shape, BOOT, at(0));
        let mut trace = vec![drained(&mut machine).join(", ")];
        for (ms, event) in events {
            machine.handle(event.clone(), at(*ms));
            trace.push(drained(&mut machine).join(", "));
        }
        assert_eq!(trace.join(" | "), expected);
    }

    fn ended(outcome: Outcome) -> Event {
        Event::Ended { outcome, oom_killed: false }
    }

    fn failed(verb: Verb, reason: &str) -> Event {
        Event::Failed { verb, reason: reason.into() }
    }

    const STOP: Event = Event::Stop { signal: 15, grace_ms: 100 };

    #[test]
    fn a_process_runs_to_its_end() {
        let events = [(1, Event::Launched { pid: 7 }), (2, ended(Outcome::Code(3)))];
        let expected = "Launch | record 7, announce 7 | KillRest, finish Code(3)";
        check(Shape::Process, &events, expected);
    }

    #[test]
    fn a_process_that_cannot_start_ends_with_the_reason() {
        let events = [(1, Event::LaunchFailed { reason: "no such file".into() })];
        check(Shape::Process, &events, "Launch | KillRest, finish StartError no such file");
    }

    #[test]
    fn a_container_is_created_started_and_deleted() {
        let events = [
            (1, Event::Created { pid: 7 }),
            (2, Event::Did(Verb::Start)),
            (3, Event::Ended { outcome: Outcome::Signal(9), oom_killed: true }),
            (4, Event::Did(Verb::Delete)),
        ];
        let expected = "run Create | run Start | record 7, announce 7 \
            | KillRest, run Delete | KillRest, finish Signal(9) oom";
        check(Shape::Container, &events, expected);
    }

    #[test]
    fn a_container_that_ends_before_its_start_returns_keeps_its_exit_code() {
        let events = [
            (1, Event::Created { pid: 7 }),
            (2, ended(Outcome::Code(4))),
            (3, Event::Did(Verb::Start)),
            (4, Event::Did(Verb::Delete)),
        ];
        let expected =
            "run Create | run Start |  | KillRest, run Delete | KillRest, finish Code(4)";
        check(Shape::Container, &events, expected);
    }

    #[test]
    fn a_failed_create_is_deleted_and_its_reason_kept() {
        let events = [
            (1, failed(Verb::Create, "no such image")),
            (2, failed(Verb::Delete, "no such container")),
        ];
        let expected =
            "run Create | KillRest, run Delete | KillRest, finish StartError no such image";
        check(Shape::Container, &events, expected);
    }

    #[test]
    fn a_failed_delete_of_a_container_that_ran_is_told() {
        let events = [
            (1, Event::Created { pid: 7 }),
            (2, Event::Did(Verb::Start)),
            (3, ended(Outcome::Code(0))),
            (4, failed(Verb::Delete, "cgroup is busy")),
        ];
        let expected = "run Create | run Start | record 7, announce 7 | KillRest, run Delete \
            | KillRest, finish Code(0) the runtime could not delete the container: cgroup is busy";
        check(Shape::Container, &events, expected);
    }

    #[test]
    fn a_stop_signals_and_kills_after_the_grace() {
        let events = [
            (0, Event::Launched { pid: 7 }),
            (10, STOP),
            (109, Event::Timeout),
            (110, Event::Timeout),
            (500, Event::Timeout),
            (501, ended(Outcome::Signal(9))),
        ];
        let expected = "Launch | record 7, announce 7 | signal 15 |  | KillInstance |  \
            | KillRest, finish Signal(9)";
        check(Shape::Process, &events, expected);
    }

    #[test]
    fn a_second_stop_can_only_shorten_the_grace() {
        let stop = |grace_ms| Event::Stop { signal: 15, grace_ms };
        let events = [
            (0, Event::Launched { pid: 7 }),
            (0, stop(100)),
            (0, stop(1000)),
            (50, stop(20)),
            (70, Event::Timeout),
            (71, stop(5000)),
        ];
        let expected = "Launch | record 7, announce 7 | signal 15 | signal 15 | signal 15 \
            | KillInstance | ";
        check(Shape::Process, &events, expected);
    }

    #[test]
    fn a_kill_sends_no_signal_first() {
        let kill = Event::Stop { signal: 9, grace_ms: 0 };
        let events = [(0, Event::Launched { pid: 7 }), (5, kill)];
        check(Shape::Process, &events, "Launch | record 7, announce 7 | KillInstance");
    }

    #[test]
    fn a_stop_during_create_means_that_the_container_is_never_started() {
        let events = [(1, STOP), (2, Event::Created { pid: 7 }), (3, Event::Did(Verb::Delete))];
        let expected = "run Create |  | KillRest, run Delete \
            | KillRest, finish NeverStarted stopped before it had started";
        check(Shape::Container, &events, expected);
    }

    #[test]
    fn a_stop_during_start_signals_as_soon_as_the_instance_runs() {
        let events = [
            (1, Event::Created { pid: 7 }),
            (2, STOP),
            (3, Event::Did(Verb::Start)),
            (102, Event::Timeout),
        ];
        let expected = "run Create | run Start |  | record 7, announce 7, signal 15 | KillInstance";
        check(Shape::Container, &events, expected);
    }

    #[test]
    fn a_hanging_runtime_is_killed_when_the_grace_is_over() {
        let events = [
            (1, STOP),
            (101, Event::Timeout),
            (300, Event::Timeout),
            (301, failed(Verb::Create, "killed")),
            (302, Event::Did(Verb::Delete)),
        ];
        let expected = "run Create |  | KillRuntime |  | KillRest, run Delete \
            | KillRest, finish NeverStarted stopped before it had started";
        check(Shape::Container, &events, expected);
    }

    #[test]
    fn a_hanging_runtime_is_killed_at_its_deadline_in_every_step() {
        let late = RUNTIME_DEADLINE_MS;
        let events = [
            (late, Event::Timeout),
            (late + 1, failed(Verb::Create, "killed")),
            (late + 1 + DELETE_DEADLINE_MS, Event::Timeout),
            (late + 2 + DELETE_DEADLINE_MS, failed(Verb::Delete, "killed")),
        ];
        let expected = "run Create | KillRuntime | KillRest, run Delete | KillRuntime \
            | KillRest, finish StartError the runtime did not finish in time and was killed";
        check(Shape::Container, &events, expected);
    }

    #[test]
    fn nothing_happens_after_the_end() {
        let events = [
            (1, Event::LaunchFailed { reason: "x".into() }),
            (2, STOP),
            (3, ended(Outcome::Code(0))),
            (4, Event::Timeout),
            (5, Event::Did(Verb::Delete)),
        ];
        check(Shape::Process, &events, "Launch | KillRest, finish StartError x |  |  |  | ");
    }

    #[test]
    fn the_phase_tells_an_exit_only_at_the_end() {
        let mut machine = Machine::begin(Shape::Container, BOOT, at(0));
        assert_eq!(machine.phase(), Phase::Starting);
        machine.handle(Event::Created { pid: 7 }, at(1));
        assert_eq!(machine.phase(), Phase::Starting);
        machine.handle(Event::Did(Verb::Start), at(2));
        let started = Started { pid: 7, at_ms: 1_000_002 };
        assert_eq!(machine.phase(), Phase::Running(started));
        machine.handle(ended(Outcome::Code(0)), at(3));
        assert_eq!(machine.phase(), Phase::Stopping(started));
        machine.handle(Event::Did(Verb::Delete), at(4));
        assert!(matches!(machine.phase(), Phase::Exited(exit) if exit.finished_at_ms == 1_000_003));
    }
}
