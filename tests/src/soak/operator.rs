//! The operator: changes objects through the API without pause, and writes down every answer.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::{Value, json};

use super::{
    dice::draw,
    history::{Answer, Grant, History, What},
    ledger::{Change, Fields, Ledger, Object},
    workloads::{self, ALL, CONFIG, LABEL, Workload, config, manifest},
};
use crate::api::{Api, Refused, collection};

/// Names of ConfigMaps that nothing uses: many small objects that must not be lost.
const NOTES: u32 = 40;
/// Most Pods of a Deployment.
const MOST_COPIES: u32 = 3;
/// Between two requests.
const PAUSE_MS: std::ops::Range<u64> = 20..250;

/// What the operator may do, and how often in comparison.
const MOVES: [(Move, u32); 9] = [
    (Move::Update, 6),
    (Move::Scale, 6),
    (Move::Undo, 2),
    (Move::Delete, 2),
    (Move::DeletePod, 3),
    (Move::Config, 6),
    (Move::Relabel, 3),
    (Move::Note, 8),
    (Move::DropNote, 3),
];

#[derive(Clone, Copy, Debug)]
enum Move {
    /// A workload's template changes; one that is not there is made.
    Update,
    /// The number of Pods changes.
    Scale,
    /// The template goes back to the one before.
    Undo,
    /// A workload goes.
    Delete,
    /// One Pod goes.
    DeletePod,
    /// The mounted ConfigMap changes.
    Config,
    /// A device is chosen by the DaemonSet, or not any more.
    Relabel,
    /// A ConfigMap is made or changed.
    Note,
    /// A ConfigMap goes.
    DropNote,
}

/// The operator.
#[derive(Debug)]
pub struct Operator<'a> {
    api: Api,
    history: &'a History,
    dice: Rng,
    marks: PathBuf,
    devices: Vec<String>,
    turn: u32,
    /// The turn of each workload's template, and the one before.
    turns: BTreeMap<&'static str, (u32, u32)>,
    ledger: Ledger,
    findings: Vec<String>,
}

impl<'a> Operator<'a> {
    /// An operator of a hub. `marks` is where programs leave their marks.
    #[must_use]
    pub fn new(
        api: Api,
        history: &'a History,
        dice: Rng,
        marks: &Path,
        devices: Vec<String>,
    ) -> Self {
        let (ledger, findings) = (Ledger::default(), Vec::new());
        Self {
            api,
            history,
            dice,
            marks: marks.to_owned(),
            devices,
            turn: 0,
            turns: BTreeMap::new(),
            ledger,
            findings,
        }
    }

    /// Makes everything that is there from the start.
    pub fn set_up(&mut self) {
        fs::create_dir_all(&self.marks).unwrap();
        self.apply_config(CONFIG);
        for device in self.devices.clone() {
            self.relabel(&device, "on");
        }
        for workload in &ALL {
            self.apply(workload, self.turn, workload.replicas);
        }
    }

    /// Works until the time is over. Returns what was wrong with what the API showed.
    #[must_use]
    pub fn work(mut self, until: Instant) -> Vec<String> {
        let mut was_up = true;
        while Instant::now() < until {
            if self.api.text("/healthz").is_err() {
                was_up = false;
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            if !std::mem::replace(&mut was_up, true) {
                self.look_again();
            }
            self.make_a_move();
            thread::sleep(Duration::from_millis(self.dice.u64(PAUSE_MS)));
        }
        self.findings
    }

    /// After the hub was killed: is everything there that it has accepted?
    fn look_again(&mut self) {
        self.history.add(What::Note("operator: the hub is back; comparing".to_owned()));
        let wrong = compare(&self.api, &self.ledger);
        for finding in &wrong {
            self.history.add(What::Note(format!("operator: {finding}")));
        }
        self.findings.extend(wrong);
    }

    fn make_a_move(&mut self) {
        let turning: Vec<&Workload> = ALL.iter().filter(|workload| workload.turns()).collect();
        let workload = turning[self.dice.usize(..turning.len())];
        match draw(&mut self.dice, &MOVES) {
            Move::Update => {
                self.turn += 1;
                let pods = self.pods();
                self.apply(workload, self.turn, pods);
            }
            Move::Undo => {
                let (_, before) = self.turns.get(workload.name).copied().unwrap_or_default();
                let pods = self.pods();
                self.apply(workload, before, pods);
            }
            Move::Scale => {
                let pods = self.pods();
                if workload.kind == "deployments" {
                    self.scale(workload, pods);
                }
            }
            Move::Delete => self.delete(&Object::new(workload.kind, workload.name)),
            Move::DeletePod => self.delete_pod(workload),
            Move::Config => self.apply_config(CONFIG),
            Move::Relabel => {
                let device = self.devices[self.dice.usize(..self.devices.len())].clone();
                let value = if self.dice.bool() { "on" } else { "off" };
                self.relabel(&device, value);
            }
            Move::Note => {
                let name = self.note();
                self.apply_config(&name);
            }
            Move::DropNote => {
                let name = self.note();
                self.delete(&Object::new("configmaps", &name));
            }
        }
    }

    fn pods(&mut self) -> u32 {
        self.dice.u32(0..=MOST_COPIES)
    }

    fn note(&mut self) -> String {
        format!("note-{}", self.dice.u32(..NOTES))
    }

    fn apply(&mut self, workload: &Workload, turn: u32, replicas: u32) {
        let (now, _) = self.turns.get(workload.name).copied().unwrap_or_default();
        self.turns.insert(workload.name, (turn, now));
        let object = Object::new(workload.kind, workload.name);
        let mut fields = Fields::from([("turn", turn.to_string())]);
        let pods = if workload.kind == "deployments" {
            fields.insert("replicas", replicas.to_string());
            replicas
        } else {
            u32::try_from(self.devices.len()).unwrap_or(u32::MAX)
        };
        let body = manifest(workload, turn, replicas, &self.marks);
        self.ask(&object, Change::Set(fields), grant(workload.name, pods), |api| {
            api.put(&format!("{}?create=true", path(&object)), &body)
        });
    }

    fn scale(&mut self, workload: &Workload, replicas: u32) {
        let object = Object::new(workload.kind, workload.name);
        let change = Change::Alter("replicas", replicas.to_string());
        let body = json!({"spec": {"replicas": replicas}});
        self.ask(&object, change, grant(workload.name, replicas), |api| {
            api.merge(&format!("{}/scale", path(&object)), &body)
        });
    }

    fn apply_config(&mut self, name: &str) {
        self.turn += 1;
        let object = Object::new("configmaps", name);
        let fields = Fields::from([("turn", self.turn.to_string())]);
        let body = config(name, self.turn);
        self.ask(&object, Change::Set(fields), Vec::new(), |api| {
            api.put(&format!("{}?create=true", path(&object)), &body)
        });
    }

    fn relabel(&mut self, device: &str, value: &str) {
        let object = Object::new("nodes", device);
        let change = Change::Set(Fields::from([("label", value.to_owned())]));
        let body = json!({"metadata": {"labels": {LABEL: value}}});
        self.ask(&object, change, grant("turn-set", 1), |api| api.merge(&path(&object), &body));
    }

    fn delete(&mut self, object: &Object) {
        self.ask(object, Change::Delete, Vec::new(), |api| {
            api.delete(&path(object)).map(|_| Value::Null)
        });
    }

    fn delete_pod(&mut self, workload: &Workload) {
        let pods = self.api.pods_of(workload.name);
        if pods.is_empty() {
            return;
        }
        let pod = Object::new("pods", &pods[self.dice.usize(..pods.len())].name);
        let change = Change::Nothing("delete the uid");
        self.ask(&pod, change, grant(workload.name, 1), |api| {
            api.delete(&path(&pod)).map(|_| Value::Null)
        });
    }

    /// Asks for a change and writes down both question and answer.
    fn ask(
        &mut self,
        object: &Object,
        change: Change,
        grants: Vec<Grant>,
        send: impl FnOnce(&Api) -> Result<Value, Refused>,
    ) {
        let asked = What::Asked { object: object.clone(), change: change.clone(), grants };
        self.history.add(asked);
        let answer = match send(&self.api) {
            Ok(_) => Answer::Accepted,
            Err(Refused { status: status @ 400..500, .. }) => Answer::Refused(status),
            Err(_) => Answer::Unknown,
        };
        self.history.add(What::Answered(answer.clone()));
        self.ledger.note(object, &change, &answer);
    }
}

/// What is wrong with the objects that the API shows.
#[must_use]
pub fn compare(api: &Api, ledger: &Ledger) -> Vec<String> {
    let mut findings = Vec::new();
    for object in ledger.objects() {
        let found = match api.get(&path(object)) {
            Ok(shown) => Some(workloads::fields(object, &shown)),
            Err(Refused { status: 404, .. }) => None,
            // Killed again: the next look will tell.
            Err(_) => return findings,
        };
        findings.extend(ledger.check(object, found.as_ref()));
    }
    findings
}

/// Where an object is.
#[must_use]
pub fn path(object: &Object) -> String {
    match object.kind {
        "nodes" => format!("/api/v1/nodes/{}", object.name),
        kind => format!("{}/{}", collection(kind), object.name),
    }
}

fn grant(workload: &str, pods: u32) -> Vec<Grant> {
    vec![Grant { workload: workload.to_owned(), pods }]
}
