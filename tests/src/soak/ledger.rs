//! What the API has accepted: for each object, the states that it may be in.
//!
//! One operator writes, one request at a time. An accepted change leaves one possible state; a request without an answer
//! leaves what was possible before, and what it would have made of that. Whatever the hub shows later must be possible.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::history::{Answer, Event, What};

/// Names an object: plural of its kind, and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Such as `deployments`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl Object {
    /// Names one.
    #[must_use]
    pub fn new(kind: &'static str, name: &str) -> Self {
        Self { kind, name: name.to_owned() }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// What a test sees of an object: its fields that the operator changes, as text.
pub type Fields = BTreeMap<&'static str, String>;

/// What is asked of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The object is to be so, whether it is there or not.
    Set(Fields),
    /// One field of an object that is there is to be so.
    Alter(&'static str, String),
    /// It is to go.
    Delete,
    /// Something that leaves no trace in an object, such as deleting a Pod.
    Nothing(&'static str),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |fields: &Fields| {
            let words: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
            words.join(" ")
        };
        match self {
            Self::Set(wanted) => write!(f, "apply {}", fields(wanted)),
            Self::Alter(name, value) => write!(f, "set {name}={value}"),
            Self::Delete => f.write_str("delete"),
            Self::Nothing(what) => f.write_str(what),
        }
    }
}

/// `None` stands for an object that is not there.
type Possible = BTreeSet<Option<Fields>>;

/// The possible states of all objects.
#[derive(Clone, Debug, Default)]
pub struct Ledger(BTreeMap<Object, Possible>);

impl Ledger {
    /// Reads a history.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let mut ledger = Self::default();
        let mut open: Option<(&Object, &Change)> = None;
        for event in events {
            match &event.what {
                What::Asked { object, change, .. } => {
                    // A question that was cut off by the end of the run.
                    if let Some((object, change)) = open.replace((object, change)) {
                        ledger.note(object, change, &Answer::Unknown);
                    }
                }
                What::Answered(answer) => {
                    if let Some((object, change)) = open.take() {
                        ledger.note(object, change, answer);
                    }
                }
                _ => {}
            }
        }
        if let Some((object, change)) = open {
            ledger.note(object, change, &Answer::Unknown);
        }
        ledger
    }

    /// Notes a change and what came of it.
    pub fn note(&mut self, object: &Object, change: &Change, answer: &Answer) {
        if matches!(change, Change::Nothing(_)) {
            return;
        }
        let possible = self.0.entry(object.clone()).or_insert_with(|| Possible::from([None]));
        let made: Possible = possible.iter().filter_map(|state| made_of(state, change)).collect();
        match answer {
            Answer::Accepted => *possible = made,
            Answer::Refused(_) => {}
            Answer::Unknown => possible.extend(made),
        }
    }

    /// Notes that an object was deleted, and that the API said so.
    pub fn delete(&mut self, object: &Object) {
        self.note(object, &Change::Delete, &Answer::Accepted);
    }

    /// The objects that were ever written.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.0.keys()
    }

    /// What is wrong with the state that an object was found in: accepted and missing, older than accepted, or back after
    /// it was deleted.
    #[must_use]
    pub fn check(&self, object: &Object, found: Option<&Fields>) -> Option<String> {
        let possible = self.0.get(object)?;
        if possible.contains(&found.cloned()) {
            return None;
        }
        Some(format!("{object} is {found:?}; after what was accepted it can only be {possible:?}"))
    }
}

/// What a change makes of a state. `None` if the API would refuse it there.
fn made_of(state: &Option<Fields>, change: &Change) -> Option<Option<Fields>> {
    match (change, state) {
        (Change::Set(fields), _) => Some(Some(fields.clone())),
        (Change::Alter(name, value), Some(fields)) => {
            let mut fields = fields.clone();
            fields.insert(name, value.clone());
            Some(Some(fields))
        }
        (Change::Delete, Some(_)) => Some(None),
        (Change::Alter(..) | Change::Delete, None) => None,
        (Change::Nothing(_), state) => Some(state.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(number: u32) -> Fields {
        Fields::from([("turn", number.to_string()), ("replicas", "1".to_owned())])
    }

    /// The ledger after changes to one object, and that object.
    fn after(changes: &[(Change, Answer)]) -> (Ledger, Object) {
        let object = Object::new("deployments", "web");
        let mut ledger = Ledger::default();
        for (change, answer) in changes {
            ledger.note(&object, change, answer);
        }
        (ledger, object)
    }

    #[test]
    fn an_accepted_object_that_is_missing_or_older_is_noticed() {
        let (ledger, web) = after(&[
            (Change::Set(turn(1)), Answer::Accepted),
            (Change::Set(turn(2)), Answer::Accepted),
        ]);
        assert_eq!(ledger.check(&web, Some(&turn(2))), None);
        assert!(ledger.check(&web, None).is_some(), "missing");
        assert!(ledger.check(&web, Some(&turn(1))).is_some(), "older");
    }

    #[test]
    fn a_deleted_object_that_is_back_is_noticed() {
        let (ledger, web) =
            after(&[(Change::Set(turn(1)), Answer::Accepted), (Change::Delete, Answer::Accepted)]);
        assert_eq!(ledger.check(&web, None), None);
        assert!(ledger.check(&web, Some(&turn(1))).is_some());
    }

    #[test]
    fn a_change_without_an_answer_may_be_there_or_not_until_the_next_is_accepted() {
        let mut changes =
            vec![(Change::Set(turn(1)), Answer::Accepted), (Change::Set(turn(2)), Answer::Unknown)];
        let (ledger, web) = after(&changes);
        for number in [1, 2] {
            assert_eq!(ledger.check(&web, Some(&turn(number))), None);
        }
        assert!(ledger.check(&web, Some(&turn(3))).is_some());
        changes.push((Change::Alter("replicas", "3".to_owned()), Answer::Accepted));
        let (ledger, web) = after(&changes);
        assert!(ledger.check(&web, Some(&turn(2))).is_some(), "the accepted scale is missing");
        let scaled = Fields::from([("turn", "2".to_owned()), ("replicas", "3".to_owned())]);
        assert_eq!(ledger.check(&web, Some(&scaled)), None);
    }

    #[test]
    fn a_refused_change_must_not_show() {
        let (ledger, web) = after(&[
            (Change::Set(turn(1)), Answer::Accepted),
            (Change::Set(turn(2)), Answer::Refused(409)),
        ]);
        assert!(ledger.check(&web, Some(&turn(2))).is_some());
    }
}
