//! One run from start to verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    chaos::Chaos,
    converge::{Still, converge, take_down},
    fleet::Fleet,
    history::{Answer, Event, History, Part, What, story},
    judge,
    ledger::Ledger,
    operator::{Operator, compare},
    recorder, watcher,
    workloads::{self, ALL},
};

/// The way between hub and devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// The hub's own: it dies with the hub.
    Embedded,
    /// A Mosquitto beside the hub, which dies by itself and forgets everything.
    Mosquitto,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All choices follow from it.
    pub seed: u64,
    /// How long faults and changes go on.
    pub time: Duration,
    /// The way between hub and devices.
    pub broker: Broker,
    /// Where the story and the logs of a run that failed are put.
    pub report: PathBuf,
}

/// Runs one soak.
///
/// # Panics
/// If anything was wrong; the message says what, and where the story is.
pub fn run(settings: &Settings) {
    eprintln!("soak: {settings:?}");
    let mut fleet = Fleet::start(settings.broker);
    let history = History::default();
    let (findings, events) = soak(settings, &mut fleet, &history);
    summarise(&events);
    if findings.is_empty() {
        return;
    }
    let report = report(settings, &fleet, &events, &findings);
    // The end of the story is enough to see what kind of trouble it is.
    let lines: Vec<&str> = report.story.lines().collect();
    let end = lines[lines.len().saturating_sub(150)..].join("\n");
    panic!(
        "seed {} with {:?}, story and logs in {}:\n{end}\n\nfound:\n- {}",
        settings.seed,
        settings.broker,
        report.dir.display(),
        findings.join("\n- ")
    );
}

fn soak(settings: &Settings, fleet: &mut Fleet, history: &History) -> (Vec<String>, Vec<Event>) {
    let mut dice = Rng::with_seed(settings.seed);
    let (api, marks) = (fleet.hub.api(), fleet.marks());
    let devices: Vec<String> = fleet.agents.iter().map(|agent| agent.name().to_owned()).collect();
    let mut operator = Operator::new(api.clone(), history, dice.fork(), &marks, devices);
    operator.set_up();
    let before = match converge(fleet) {
        Ok(before) if before.is_empty() => {
            return (vec!["nothing is still".to_owned()], records(fleet));
        }
        Ok(before) => before,
        Err(why) => {
            return (vec![format!("before any fault: {why}")], history.with(records(fleet)));
        }
    };
    history.add(What::Note("all runs; the faults begin".to_owned()));

    let until = Instant::now() + settings.time;
    let chaos = dice.fork();
    let mut findings = thread::scope(|scope| {
        let changes = scope.spawn(move || operator.work(until));
        let watch = scope.spawn(|| watcher::watch(&api, history, until));
        Chaos::new(fleet, history, chaos).rage(until);
        let ended = watch.join().map_err(|_| "the watcher panicked".to_owned());
        let changed = changes.join().map_err(|_| "the operator panicked".to_owned());
        let mut findings = changed.unwrap_or_else(|panicked| vec![panicked]);
        findings.extend(ended.err());
        findings
    });

    let after = converge(fleet);
    watcher::look(&fleet.hub.api(), history);
    let mut ledger = Ledger::of(&history.with(Vec::new()));
    findings.extend(compare(&fleet.hub.api(), &ledger));
    match after {
        Ok(after) => findings.extend(disturbed(&before, &after)),
        Err(why) => findings.push(why),
    }
    let events = history.with(records(fleet));
    findings.extend(judged(&events, fleet));
    findings.extend(take_down(fleet, &mut ledger, &pods(&events)));
    // Taking down starts nothing.
    let events = history.with(records(fleet));
    findings.extend(judged(&events, fleet));
    findings.sort();
    findings.dedup();
    (findings, events)
}

/// What the judges say about a history.
fn judged(events: &[Event], fleet: &Fleet) -> Vec<String> {
    let names: BTreeSet<String> = ALL.iter().map(|workload| workload.name.to_owned()).collect();
    let marks: BTreeMap<String, Vec<String>> =
        names.iter().map(|name| (name.clone(), workloads::marks(&fleet.marks(), name))).collect();
    let mut findings = judge::starts(events, &names);
    findings.extend(judge::marks(events, &marks, &names));
    findings.extend(judge::reasons(events));
    findings.extend(marks.iter().filter(|(_, lines)| lines.is_empty()).map(|(name, _)| {
        format!("no program of {name} has left a mark, so nothing was judged by them")
    }));
    findings.extend(idle(events));
    findings
}

/// What a run must have been made of, or its silence means nothing.
fn idle(events: &[Event]) -> Option<String> {
    let any = |test: &dyn Fn(&What) -> bool| events.iter().any(|event| test(&event.what));
    let parts = [
        ("a change accepted", any(&|what| *what == What::Answered(Answer::Accepted))),
        ("a program killed", any(&|what| matches!(what, What::Killed(_)))),
        ("a shim killed", any(&|what| matches!(what, What::KilledPart { part: Part::Shim, .. }))),
        (
            "a process killed",
            any(&|what| matches!(what, What::KilledPart { part: Part::Process, .. })),
        ),
        ("a start", any(&|what| matches!(what, What::Launched { .. }))),
        ("a clean-up", any(&|what| matches!(what, What::CleanedUp { .. }))),
    ];
    let missing: Vec<&str> =
        parts.iter().filter(|(_, seen)| !seen).map(|(part, _)| *part).collect();
    (!missing.is_empty())
        .then(|| format!("the run was too quiet to mean anything: not {missing:?}"))
}

/// Pods that nothing should have touched, and that are not the same processes as before.
fn disturbed(before: &Still, after: &Still) -> Option<String> {
    (before != after)
        .then(|| format!("what nobody touched has changed: {before:?} is now {after:?}"))
}

/// Everything that the recorders have written down.
fn records(fleet: &Fleet) -> Vec<Event> {
    let devices = fleet.agents.iter().map(crate::agent::Agent::name);
    devices.flat_map(|device| recorder::read(&fleet.records_of(device), device)).collect()
}

/// The ids of all Pods that were ever started.
fn pods(events: &[Event]) -> Vec<String> {
    let ids = events.iter().filter_map(|event| match &event.what {
        What::Launched { uid, .. } => Some(uid.clone()),
        _ => None,
    });
    ids.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Prints what a run was made of, so that one that did nothing is seen.
fn summarise(events: &[Event]) {
    let count = |test: &dyn Fn(&What) -> bool| events.iter().filter(|e| test(&e.what)).count();
    eprintln!(
        "soak: {} changes asked for ({} accepted), {} programs and {} parts of pods killed, {} starts",
        count(&|what| matches!(what, What::Asked { .. })),
        count(&|what| matches!(what, What::Answered(Answer::Accepted))),
        count(&|what| matches!(what, What::Killed(_))),
        count(&|what| matches!(what, What::KilledPart { .. })),
        count(&|what| matches!(what, What::Launched { .. })),
    );
}

/// What is kept of a run that failed.
struct Report {
    dir: PathBuf,
    story: String,
}

fn report(settings: &Settings, fleet: &Fleet, events: &[Event], findings: &[String]) -> Report {
    let dir = settings.report.join(format!("soak-{:?}-{}", settings.broker, settings.seed));
    fs::create_dir_all(&dir).unwrap();
    let story = story(events);
    fs::write(dir.join("story"), &story).unwrap();
    fs::write(dir.join("found"), findings.join("\n")).unwrap();
    let _incomplete = fs::copy(fleet.hub.log_file(), dir.join("hub"));
    for agent in &fleet.agents {
        fs::write(dir.join(agent.name()), agent.log()).unwrap();
    }
    Report { dir, story }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_which_nothing_happened_is_no_success() {
        let quiet = idle(&[Event { at: 1, what: What::Answered(Answer::Accepted) }]);
        assert!(quiet.is_some_and(|why| why.contains("a shim killed")));
    }

    #[test]
    fn a_process_that_was_replaced_or_is_gone_is_noticed() {
        let before = Still::from([("1".to_owned(), 10), ("2".to_owned(), 20)]);
        assert_eq!(disturbed(&before, &before), None);
        for after in [
            Still::from([("1".to_owned(), 10), ("2".to_owned(), 21)]),
            Still::from([("1".to_owned(), 10)]),
            Still::from([("1".to_owned(), 10), ("3".to_owned(), 20)]),
        ] {
            assert!(disturbed(&before, &after).is_some());
        }
    }
}
