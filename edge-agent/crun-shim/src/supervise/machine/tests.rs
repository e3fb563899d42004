//! Traces of whole runs, and properties of all of them.

use proptest::prelude::*;

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
    let expected = "run Create | run Start |  | KillRest, run Delete | KillRest, finish Code(4)";
    check(Shape::Container, &events, expected);
}

#[test]
fn a_failed_create_is_deleted_and_its_reason_kept() {
    let events = [
        (1, failed(Verb::Create, "no such image")),
        (2, failed(Verb::Delete, "no such container")),
    ];
    let expected = "run Create | KillRest, run Delete | KillRest, finish StartError no such image";
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
    let expected = "Launch | record 7, announce 7 | signal 15 |  | KillContainer |  \
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
        | KillContainer | ";
    check(Shape::Process, &events, expected);
}

#[test]
fn a_kill_sends_no_signal_first() {
    let kill = Event::Stop { signal: 9, grace_ms: 0 };
    let events = [(0, Event::Launched { pid: 7 }), (5, kill)];
    check(Shape::Process, &events, "Launch | record 7, announce 7 | KillContainer");
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
    let expected = "run Create | run Start |  | record 7, announce 7, signal 15 | KillContainer";
    check(Shape::Container, &events, expected);
}

#[test]
fn a_hanging_runtime_is_killed_after_the_grace_and_never_in_haste() {
    let events = [
        (1, STOP),
        (101, Event::Timeout),
        (1 + RUNTIME_MERCY_MS, Event::Timeout),
        (2 + RUNTIME_MERCY_MS, failed(Verb::Create, "killed")),
        (3 + RUNTIME_MERCY_MS, Event::Did(Verb::Delete)),
    ];
    let expected = "run Create |  |  | KillRuntime | KillRest, run Delete \
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

fn any_event() -> impl Strategy<Value = Event> {
    let verb = prop_oneof![Just(Verb::Create), Just(Verb::Start), Just(Verb::Delete)];
    prop_oneof![
        Just(Event::Launched { pid: 7 }),
        Just(Event::LaunchFailed { reason: "x".into() }),
        Just(Event::Created { pid: 7 }),
        verb.clone().prop_map(Event::Did),
        verb.prop_map(|verb| Event::Failed { verb, reason: "x".into() }),
        any::<bool>().prop_map(|oom_killed| Event::Ended { outcome: Outcome::Code(0), oom_killed }),
        (0..1000_u64).prop_map(|grace_ms| Event::Stop { signal: 15, grace_ms }),
        Just(Event::Timeout),
    ]
}

/// What the world answers to the effects, in one of the ways that it can. `None`: nothing yet.
fn answer(effects: &[Effect], goes_well: bool, waiting: &mut Vec<Event>) {
    for effect in effects {
        match effect {
            Effect::Launch if goes_well => waiting.push(Event::Launched { pid: 7 }),
            Effect::Launch => waiting.push(Event::LaunchFailed { reason: "x".into() }),
            Effect::Run(Verb::Create) if goes_well => waiting.push(Event::Created { pid: 7 }),
            Effect::Run(verb) if goes_well => waiting.push(Event::Did(*verb)),
            Effect::Run(verb) => waiting.push(Event::Failed { verb: *verb, reason: "x".into() }),
            Effect::KillContainer => waiting.push(ended(Outcome::Signal(9))),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_there_is_at_most_one_end_and_nothing_after_it(
        is_process: bool,
        events in proptest::collection::vec((0..500_u64, any_event()), 0..40),
    ) {
        let shape = if is_process { Shape::Process } else { Shape::Container };
        let mut machine = Machine::begin(shape, BOOT, at(0));
        let mut effects: Vec<Effect> = std::iter::from_fn(|| machine.drain()).collect();
        let mut now = 0;
        for (later, event) in events {
            now += later;
            machine.handle(event, at(now));
            effects.extend(std::iter::from_fn(|| machine.drain()));
        }
        let ends = effects.iter().filter(|effect| matches!(effect, Effect::Finish(_))).count();
        prop_assert!(ends <= 1);
        if ends == 1 {
            prop_assert!(matches!(effects.last(), Some(Effect::Finish(_))));
            prop_assert!(machine.poll_timeout().is_none());
        }
    }

    #[test]
    fn a_stop_at_any_moment_leads_to_an_end(
        is_process: bool,
        outcomes in proptest::collection::vec(any::<bool>(), 8),
        stop_after in 0..5_usize,
        grace_ms in 0..1000_u64,
    ) {
        let shape = if is_process { Shape::Process } else { Shape::Container };
        let mut machine = Machine::begin(shape, BOOT, at(0));
        let (mut now, mut waiting) = (0, Vec::new());
        for (step, goes_well) in outcomes.into_iter().cycle().take(40).enumerate() {
            if step == stop_after {
                machine.handle(Event::Stop { signal: 15, grace_ms }, at(now));
            }
            let effects: Vec<Effect> = std::iter::from_fn(|| machine.drain()).collect();
            if effects.iter().any(|effect| matches!(effect, Effect::Finish(_))) {
                return Ok(());
            }
            answer(&effects, goes_well, &mut waiting);
            if waiting.is_empty() {
                now = machine.poll_timeout().unwrap_or(now);
                machine.handle(Event::Timeout, at(now));
            } else {
                machine.handle(waiting.remove(0), at(now));
            }
        }
        prop_assert!(false, "no end: {machine:?}");
    }
}
