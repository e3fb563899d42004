//! What happened, in order: the changes and their answers, the kills, the starts.

use std::{
    fmt::{self, Write as _},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::ledger::{Change, Object};

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The hub said that it is done.
    Accepted,
    /// The hub said no, with this status.
    Refused(u16),
    /// There was no answer, so it may or may not have been done.
    Unknown,
}

/// A program that the test itself starts and kills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The hub, with its broker if that is the embedded one.
    Hub,
    /// A broker of its own.
    Broker,
    /// The agent of a device.
    Agent(String),
}

/// What was killed of a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its shim.
    Shim,
    /// Its own first process.
    Process,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A change was sent to the API.
    Asked {
        /// Of which object.
        object: Object,
        /// Which change.
        change: Change,
        /// Pods that may be made because of it.
        grants: Vec<Grant>,
    },
    /// And this came of the last change.
    Answered(Answer),
    /// The test killed a program of its own.
    Killed(Program),
    /// And started it again.
    Started(Program),
    /// The test killed a part of a Pod.
    KilledPart {
        /// The device.
        device: String,
        /// The Pod's id.
        uid: String,
        /// What was killed.
        part: Part,
    },
    /// A shim was started for a Pod.
    Launched {
        /// The device.
        device: String,
        /// The Pod's id.
        uid: String,
        /// The name that the hub gave it.
        pod: String,
        /// The number of the start, as the agent counts.
        attempt: u32,
    },
    /// The shim's program was asked to tidy up after a run.
    CleanedUp {
        /// The device.
        device: String,
        /// The Pod's id.
        uid: String,
    },
    /// The API showed a Pod that does not run, without a reason.
    NoReason {
        /// The Pod's name.
        pod: String,
        /// What the API showed.
        shown: String,
    },
    /// Something worth a line in the story.
    Note(String),
}

/// That so many Pods of a workload may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The workload's name.
    pub workload: String,
    /// How many.
    pub pods: u32,
}

/// When something happened, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Microseconds since 1970.
    pub at: u64,
    /// What.
    pub what: What,
}

/// The events of a run, written by several threads.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<Event>>);

impl History {
    /// Writes down what happens now.
    pub fn add(&self, what: What) {
        // Under the lock, so that the order is the one of the times.
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(Event { at: now(), what });
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing has happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All events in order, with those that others wrote down.
    #[must_use]
    pub fn with(&self, recorded: Vec<Event>) -> Vec<Event> {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        events.extend(recorded);
        events.sort_by_key(|event| event.at);
        events
    }
}

/// Microseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or(Duration::ZERO).as_micros()).unwrap_or(u64::MAX)
}

/// The events as a story: a line each, with the seconds since the first one.
#[must_use]
pub fn story(events: &[Event]) -> String {
    let first = events.first().map_or(0, |event| event.at);
    let mut text = String::new();
    for event in events {
        let micros = event.at - first;
        let seconds = micros / 1_000_000;
        let millis = micros / 1000 % 1000;
        let _infallible = writeln!(text, "{seconds:5}.{millis:03}  {}", tell(&event.what));
    }
    text
}

fn tell(what: &What) -> String {
    match what {
        What::Asked { object, change, .. } => format!("operator: {object} {change}"),
        What::Answered(Answer::Accepted) => "operator: … accepted".to_owned(),
        What::Answered(Answer::Refused(status)) => format!("operator: … refused with {status}"),
        What::Answered(Answer::Unknown) => "operator: … no answer".to_owned(),
        What::Killed(program) => format!("chaos: kill -9 {program}"),
        What::Started(program) => format!("chaos: start {program}"),
        What::KilledPart { device, uid, part } => {
            let part = match part {
                Part::Shim => "shim",
                Part::Process => "process",
            };
            format!("chaos: kill -9 the {part} of {uid} on {device}")
        }
        What::Launched { device, uid, pod, attempt } => {
            format!("{device}: starts {pod} ({uid}), attempt {attempt}")
        }
        What::CleanedUp { device, uid } => format!("{device}: cleans up after {uid}"),
        What::NoReason { pod, shown } => {
            format!("api: {pod} does not run and has no reason: {shown}")
        }
        What::Note(text) => text.clone(),
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub => f.write_str("the hub"),
            Self::Broker => f.write_str("the broker"),
            Self::Agent(device) => write!(f, "the agent of {device}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_in_order_and_says_when() {
        let history = History::default();
        history.add(What::Killed(Program::Hub));
        history.add(What::Answered(Answer::Unknown));
        let launched = What::Launched {
            device: "a".into(),
            uid: "01".into(),
            pod: "web-x".into(),
            attempt: 0,
        };
        let before = now() - 2_500_000;
        let events = history.with(vec![Event { at: before, what: launched }]);
        let story = story(&events);
        let lines: Vec<&str> = story.lines().collect();
        assert_eq!(lines[0], "    0.000  a: starts web-x (01), attempt 0");
        assert!(lines[1].starts_with("    2.") && lines[1].ends_with("kill -9 the hub"), "{story}");
        assert!(lines[2].ends_with("operator: … no answer"), "{story}");
    }
}
