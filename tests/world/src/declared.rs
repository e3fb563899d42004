//! The reference model: what operators were promised. A change counts once the hub has accepted it; one whose answer was
//! lost with the hub may or may not have happened, and both are right until the hub is asked.

use std::collections::BTreeMap;

use crate::{
    jobs::Work,
    manifests::{NodeSettings, Workload},
};

/// Names a thing that operators write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    Deployment(String),
    DaemonSet(String),
    Job(String),
    Config(String),
    Secret(String),
    Node(String),
    Image(String),
    Enrolment(String),
}

/// What it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    Workload(Workload),
    Job(Work),
    /// Version of its content.
    Config(u64),
    /// Version of its value.
    Secret(u64),
    Node(NodeSettings),
    /// Number of the push.
    Image(u64),
    Enrolment {
        revoked: bool,
    },
}

/// Everything that was accepted.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// What each thing may be: more than one only after an answer was lost. `None` stands for absent.
    things: BTreeMap<Thing, Vec<Option<Spec>>>,
    asked: BTreeMap<u64, (Thing, Option<Spec>)>,
    next: u64,
    /// What each workload was before its last change, for `undo`.
    before: BTreeMap<Thing, Spec>,
}

impl Declared {
    /// A change is asked for. Returns its number.
    pub fn asked(&mut self, thing: Thing, spec: Option<Spec>) -> u64 {
        self.next += 1;
        self.asked.insert(self.next, (thing, spec));
        self.next
    }

    /// The hub has answered.
    pub fn answered(&mut self, change: u64, accepted: bool) {
        let Some((thing, spec)) = self.asked.remove(&change) else { return };
        if accepted {
            if let Some(old) = self.certain(&thing) {
                self.before.insert(thing.clone(), old.clone());
            }
            self.things.insert(thing, vec![spec]);
        }
    }

    /// The hub died before it answered.
    pub fn unknown(&mut self, change: u64) {
        let Some((thing, spec)) = self.asked.remove(&change) else { return };
        self.things.entry(thing).or_insert_with(|| vec![None]).push(spec);
    }

    /// Everything that a thing may be now, changes under way included.
    pub fn possible(&self, thing: &Thing) -> Vec<Option<Spec>> {
        let mut all = self.things.get(thing).cloned().unwrap_or_else(|| vec![None]);
        all.extend(self.asked.values().filter(|(of, _)| of == thing).map(|(_, spec)| spec.clone()));
        all
    }

    /// What a thing is, if that is certain and it is there.
    pub fn certain(&self, thing: &Thing) -> Option<&Spec> {
        match self.things.get(thing).map(Vec::as_slice) {
            Some([Some(spec)]) => Some(spec),
            _ => None,
        }
    }

    /// What a workload was before.
    pub fn before(&self, thing: &Thing) -> Option<&Spec> {
        self.before.get(thing)
    }

    /// Whether nobody knows what a thing is.
    pub fn has_doubt(&self, thing: &Thing) -> bool {
        self.things.get(thing).is_some_and(|all| all.len() > 1)
            && !self.asked.values().any(|(of, _)| of == thing)
    }

    /// As it is, without what is under way: what is under way may be in a backup or not.
    pub fn settled(&self) -> Self {
        let mut all = self.clone();
        for (_, (thing, spec)) in std::mem::take(&mut all.asked) {
            all.things.entry(thing).or_insert_with(|| vec![None]).push(spec);
        }
        all
    }

    /// Settles a thing by what the hub says that it is.
    pub fn settle(&mut self, thing: &Thing, spec: Option<Spec>) {
        self.things.insert(thing.clone(), vec![spec]);
    }

    /// Everything that was ever declared.
    pub fn things(&self) -> Vec<Thing> {
        self.things.keys().cloned().collect()
    }

    /// Certain workloads, by thing.
    pub fn workloads(&self) -> Vec<(Thing, Workload)> {
        let workload = |thing: &Thing| match self.certain(thing) {
            Some(Spec::Workload(workload)) => Some((thing.clone(), workload.clone())),
            _ => None,
        };
        self.things.keys().filter_map(workload).collect()
    }

    /// What an operator last wrote on a device.
    pub fn node(&self, name: &str) -> NodeSettings {
        match self.certain(&Thing::Node(name.to_owned())) {
            Some(Spec::Node(settings)) => settings.clone(),
            _ => NodeSettings::default(),
        }
    }

    /// The push that an image's name stands for.
    pub fn push(&self, reference: &str) -> Option<u64> {
        match self.certain(&Thing::Image(reference.to_owned())) {
            Some(Spec::Image(push)) => Some(*push),
            _ => None,
        }
    }
}

impl Thing {
    pub fn name(&self) -> &str {
        match self {
            Self::Deployment(name)
            | Self::DaemonSet(name)
            | Self::Job(name)
            | Self::Config(name)
            | Self::Secret(name)
            | Self::Node(name)
            | Self::Image(name)
            | Self::Enrolment(name) => name,
        }
    }
}
