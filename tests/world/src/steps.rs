//! Carrying out steps: what operators do, and what goes wrong. The table of verbs is in [`World::carry_out`].

use std::collections::BTreeMap;

use firmware_compat::{id::AgentId, v1::owned::RuntimeClass};
use lichen_agent_core::{Event, saved};
use lichen_hub_core::{
    api::Kind,
    event::Request,
    record::{self, DeviceRecord, KeyOf},
};

use crate::{
    Due, FAIR, Weather, World,
    board::{Board, Facts, Transfer},
    canary::Canary,
    declared::{Spec, Thing},
    door::Lifetimes,
    firmware::Firmware,
    hub::{Asked, Backup, Crash, Hub, HubWake},
    jobs::Work,
    manifests::{self, Workload, root},
    sealing,
    step::{NotAStep, Step},
};

/// Backups that an operator keeps.
const BACKUPS: usize = 4;

impl World {
    pub(crate) fn carry_out(&mut self, step: &Step) -> Result<(), NotAStep> {
        match step.verb() {
            "pass" => self.pass(step.duration(1)?),
            "board" => self.add_board(step)?,
            "push" => {
                let reference = step.word(1)?.to_owned();
                let push = step.number("push", self.declared.push(&reference).unwrap_or(0) + 1)?;
                self.declare(Thing::Image(reference), Some(Spec::Image(push)));
            }
            "forget" => self.declare(Thing::Image(step.word(1)?.to_owned()), None),
            "deployment" | "daemonset" => self.apply(step)?,
            "job" => {
                let number = |name| step.number(name, 1).map(|n| u32::try_from(n).unwrap_or(1));
                let work = Work {
                    completions: number("completions")?,
                    parallelism: number("parallelism")?,
                    indexed: step.says("indexed"),
                };
                self.declare(Thing::Job(step.word(1)?.to_owned()), Some(Spec::Job(work)));
            }
            "scale" => self.scale(step)?,
            "undo" => {
                let thing = workload_thing(step, 1)?;
                if let Some(before) = self.declared.before(&thing).cloned() {
                    self.declare(thing, Some(before));
                }
            }
            "delete" => self.delete(step)?,
            "config" => {
                let version = step.number("version", 1)?;
                self.declare(Thing::Config(step.word(1)?.to_owned()), Some(Spec::Config(version)));
            }
            "secret" => {
                let version = step.number("version", 1)?;
                self.enrol_all();
                self.declare(Thing::Secret(step.word(1)?.to_owned()), Some(Spec::Secret(version)));
            }
            "claim" | "set" => self.apply_undeclared(step)?,
            "label" | "taint" | "cordon" | "uncordon" | "untaint" | "unlabel" => {
                self.set_node(step)?;
            }
            "certificates" => {
                let hours = |name, default| step.number(name, default).map(|hours| hours * 3600);
                let (certificate_s, grace_s) = (hours("lifetime", 2160)?, hours("grace", 43_800)?);
                self.certificates = Some(Lifetimes { certificate_s, grace_s });
            }
            "resume" => {
                let device = step.word(1)?.to_owned();
                self.help(&device, false);
            }
            "weather" => {
                self.weather = Weather {
                    loss: step.number("loss", FAIR.loss)?,
                    duplication: step.number("duplication", FAIR.duplication)?,
                    delay: step.number("delay", FAIR.delay)?,
                    disordered: step.words.len() > 1,
                }
            }
            "broker" => self.broker_step(step)?,
            "logs" => self.read_a_log(),
            "hub" => self.hub_step(step)?,
            "second-hub" => self.second_hub(step),
            "show" => self.tell_state(),
            "recover" => self.recover(),
            "converge" => self.converge(),
            "quiet" => self.quiet(),
            _ => self.board_step(step)?,
        }
        Ok(())
    }

    fn add_board(&mut self, step: &Step) -> Result<(), NotAStep> {
        let name = step.word(1)?.to_owned();
        if self.boards.iter().any(|board| board.label == name) {
            return Ok(());
        }
        let mut engines = vec![RuntimeClass::Container, RuntimeClass::Wasm];
        if step.says("no-wasm") {
            engines.truncate(1);
        }
        let mut labels = BTreeMap::new();
        if let Some(zone) = step.setting("zone") {
            labels.insert("zone".to_owned(), zone.to_owned());
        }
        let facts = Facts {
            arch: step.setting("arch").unwrap_or("amd64").to_owned(),
            engines,
            memory: step.number("memory", 1024)? << 20,
            labels,
            version: "0.1.0".to_owned(),
            protocol: u8::try_from(step.number("protocol", 1)?).unwrap_or(1),
            has_rtc: step.setting("rtc") != Some("no"),
        };
        let mut id = [0; 16];
        self.dice.fill(&mut id);
        let mut board = Board::new(&name, &name, facts, AgentId(id));
        if step.says("firmware") {
            board.firmware = Some(Firmware::new(AgentId(id)));
        }
        self.boards.push(board);
        self.audit.goes_absent(&name, self.now);
        self.power_on(self.boards.len() - 1);
        Ok(())
    }

    /// Asks the hub for a change, and remembers that it was asked.
    pub(crate) fn declare(&mut self, thing: Thing, spec: Option<Spec>) {
        let request = match (&thing, &spec) {
            (Thing::Image(reference), Some(Spec::Image(push))) => {
                Request::NameImage { reference: reference.clone(), root: root(reference, *push) }
            }
            (Thing::Image(reference), _) => Request::ForgetImage { reference: reference.clone() },
            (_, Some(spec)) => {
                let object = match spec {
                    Spec::Workload(workload) => workload.object(thing.name()),
                    Spec::Job(work) => work.object(thing.name()),
                    Spec::Config(version) => manifests::config(thing.name(), *version),
                    Spec::Secret(version) => manifests::secret(thing.name(), *version),
                    Spec::Node(settings) => settings.object(thing.name()),
                    Spec::Enrolment { revoked } => manifests::enrolment(thing.name(), *revoked),
                    Spec::Image(_) => None,
                };
                let Some(object) = object else {
                    return self.fail("bounds-hold", "a manifest of the world does not parse");
                };
                Request::Replace { object, create: true }
            }
            (_, None) => {
                let (kind, namespace) = match thing {
                    Thing::Deployment(_) => (Kind::Deployment, "default"),
                    Thing::DaemonSet(_) => (Kind::DaemonSet, "default"),
                    Thing::Job(_) => (Kind::Job, "default"),
                    Thing::Node(_) => (Kind::Node, ""),
                    Thing::Secret(_) => (Kind::Secret, "default"),
                    Thing::Enrolment(_) => (Kind::Enrolment, ""),
                    Thing::Config(_) | Thing::Image(_) => (Kind::ConfigMap, "default"),
                };
                let (namespace, name) = (namespace.to_owned(), thing.name().to_owned());
                Request::Delete { kind, namespace, name }
            }
        };
        let change = self.declared.asked(thing, spec);
        if !self.ask_hub(0, request, Asked::Change(change)) {
            self.tell("the hub can't be reached");
            self.declared.answered(change, false);
        }
    }

    fn apply(&mut self, step: &Step) -> Result<(), NotAStep> {
        let thing = workload_thing(step, 0)?;
        let workload = Workload {
            replicas: match step.verb() {
                "deployment" => Some(u32::try_from(step.number("replicas", 1)?).unwrap_or(1)),
                _ => None,
            },
            image: step.setting("image").unwrap_or("steady:1").to_owned(),
            init: step.says("init"),
            beside: step.setting("beside").map(str::to_owned),
            wasm: step.says("wasm"),
            version: step.number("version", 1)?,
            selector: step.setting("zone").map(|zone| ("zone".to_owned(), zone.to_owned())),
            config: step.setting("config").map(str::to_owned),
            secret: step.setting("secret").map(str::to_owned),
            tolerates: step.says("tolerates"),
            memory_mi: step.number("memory", 0)?,
        };
        self.declare(thing, Some(Spec::Workload(workload)));
        Ok(())
    }

    /// A claim, or a StatefulSet with claims. What becomes of them is judged where it happens, not at the end.
    fn apply_undeclared(&mut self, step: &Step) -> Result<(), NotAStep> {
        let name = step.word(1)?;
        let object = match step.verb() {
            "claim" => manifests::claim(name),
            _ => manifests::stateful_set(
                name,
                step.number("replicas", 1)?,
                step.number("version", 1)?,
            ),
        };
        let Some(object) = object else {
            self.fail("bounds-hold", "a manifest of the world does not parse");
            return Ok(());
        };
        let asked = Asked::Change(0);
        if !self.ask_hub(0, Request::Replace { object, create: true }, asked) {
            self.tell("the hub can't be reached");
        }
        Ok(())
    }

    fn scale(&mut self, step: &Step) -> Result<(), NotAStep> {
        let thing = Thing::Deployment(step.word(1)?.to_owned());
        let count = step.word(2)?.parse().map_err(|_| step.refuse("that is not a number"))?;
        if let Some(Spec::Workload(workload)) = self.declared.certain(&thing) {
            let workload = Workload { replicas: Some(count), ..workload.clone() };
            self.declare(thing, Some(Spec::Workload(workload)));
        }
        Ok(())
    }

    fn delete(&mut self, step: &Step) -> Result<(), NotAStep> {
        match step.word(1)? {
            "pod" => {
                let copies: Vec<String> =
                    self.audit.pods().map(|(_, copy)| copy.name.clone()).collect();
                let pick = self.up_to(copies.len().saturating_sub(1) as u64);
                let Some(name) = usize::try_from(pick).ok().and_then(|i| copies.get(i)) else {
                    return Ok(());
                };
                self.tell(&format!("an operator deletes pod {name}"));
                self.audit.deleted_pods.insert(name.clone());
                let (kind, namespace) = (Kind::Pod, "default".to_owned());
                let request = Request::Delete { kind, namespace, name: name.clone() };
                self.ask_hub(0, request, Asked::Change(0));
            }
            "config" => self.declare(Thing::Config(step.word(2)?.to_owned()), None),
            "secret" => self.declare(Thing::Secret(step.word(2)?.to_owned()), None),
            "node" => {
                let name = step.word(2)?.to_owned();
                self.audit.let_go.insert(name.clone());
                self.declare(Thing::Node(name), None);
            }
            "claim" | "set" => {
                let kind = match step.word(1)? {
                    "set" => Kind::StatefulSet,
                    _ => Kind::PersistentVolumeClaim,
                };
                let (namespace, name) = ("default".to_owned(), step.word(2)?.to_owned());
                self.ask_hub(0, Request::Delete { kind, namespace, name }, Asked::Change(0));
            }
            _ => self.declare(workload_thing(step, 1)?, None),
        }
        Ok(())
    }

    /// An operator looks at the log of some Pod.
    fn read_a_log(&mut self) {
        let names: Vec<String> = self.audit.pods().map(|(_, copy)| copy.name.clone()).collect();
        let pick = self.dice.usize(0..names.len().max(1));
        let Some(name) = names.get(pick).cloned() else { return };
        let request = Request::Logs {
            namespace: "default".to_owned(),
            name,
            container: Some("main".to_owned()),
            follow: false,
            tail: None,
            previous: false,
            timestamps: false,
        };
        self.ask_hub(0, request, Asked::Change(0));
    }

    fn set_node(&mut self, step: &Step) -> Result<(), NotAStep> {
        let name = step.word(1)?.to_owned();
        let mut settings = self.declared.node(&name);
        match step.verb() {
            "label" => {
                let zone = step.setting("zone").ok_or_else(|| step.refuse("zone= is missing"))?;
                settings.labels.insert("zone".to_owned(), zone.to_owned());
            }
            "unlabel" => settings.labels.clear(),
            "taint" => settings.taints = vec![step.word(2)?.to_owned()],
            "untaint" => settings.taints.clear(),
            verb => settings.cordoned = verb == "cordon",
        }
        self.declare(Thing::Node(name), Some(Spec::Node(settings)));
        Ok(())
    }

    fn broker_step(&mut self, step: &Step) -> Result<(), NotAStep> {
        if !self.broker.external {
            return Ok(());
        }
        match step.word(1)? {
            "restart" => self.restart_broker(step.says("wipe")),
            "down" => {
                self.restart_broker(false);
                self.broker.up = false;
            }
            "up" => self.broker.up = true,
            other => return Err(step.refuse(&format!("a broker can't {other}"))),
        }
        Ok(())
    }

    fn hub_step(&mut self, step: &Step) -> Result<(), NotAStep> {
        match step.word(1)? {
            "kill" => self.kill_hub(0),
            "start" => self.start_hub(0),
            "crash" => {
                self.hubs[0].crash = Some(match step.word(2)? {
                    "before" => Crash::BeforeCommit,
                    "after" => Crash::AfterCommit,
                    "midway" => Crash::Midway,
                    other => return Err(step.refuse(&format!("{other} is no place to crash"))),
                });
            }
            "disk-full" => self.hubs[0].disk_full = true,
            "disk-free" => self.hubs[0].disk_full = false,
            "clock" => self.hubs[0].clock_off = clock_off(step, self.now)?,
            "new-ca" => self.rotate_authority(step.number("overlap", 336)? * 3600),
            // Its operator changes its signing key: both, then the new one alone.
            "new-key" => {
                let newest = self.hubs[0].keys.first().copied().unwrap_or_default();
                self.set_keys(0, vec![newest + 1, newest]);
            }
            "drop-key" => {
                let newest = self.hubs[0].keys.first().copied().unwrap_or_default();
                self.judge_handing_over();
                self.set_keys(0, vec![newest]);
            }
            "backup" => {
                let it = &mut self.hubs[0];
                let (records, declared) = (it.records.clone(), self.declared.settled());
                it.backups.push(Backup { records, declared });
                if it.backups.len() > BACKUPS {
                    it.backups.remove(0);
                }
            }
            "restore" => self.restore_hub(),
            "upgrade-and-back" => self.upgrade_and_back(),
            "newer-fields" => self.newer_fields(),
            other => return Err(step.refuse(&format!("a hub can't {other}"))),
        }
        Ok(())
    }

    /// The hub's disk is lost; it goes on from a backup.
    fn restore_hub(&mut self) {
        let count = self.hubs[0].backups.len();
        let pick = usize::try_from(self.up_to(count.saturating_sub(1) as u64)).unwrap_or(0);
        let Some(backup) = self.hubs[0].backups.get(pick).cloned() else { return };
        self.kill_hub(0);
        // What was written later is of a time that this hub knows nothing of.
        self.hubs[0].backups.truncate(pick + 1);
        self.hubs[0].records = backup.records;
        self.declared = backup.declared;
        let known = self.hubs[0]
            .records
            .iter()
            .filter_map(|(key, value)| match record::parse_key(key) {
                Some(KeyOf::Device(name)) => {
                    let device: DeviceRecord = record::decode(key, value).ok()?;
                    Some((name.to_owned(), device.generation))
                }
                Some(KeyOf::Retired(name)) => {
                    Some((name.to_owned(), record::decode(key, value).ok()?))
                }
                _ => None,
            })
            .collect();
        self.audit.restored(known);
        self.mirror_store();
        self.start_hub(0);
    }

    /// A newer hub writes records that this one can't read: it says so and touches nothing. Then the newer one leaves.
    fn upgrade_and_back(&mut self) {
        self.kill_hub(0);
        self.hubs[0].is_well();
        let old = self.hubs[0].records.clone();
        for value in self.hubs[0].records.values_mut() {
            value[0] = record::VERSION + 1;
        }
        self.start_hub(0);
        let said = self.audit.refused_starts.last().is_some_and(|why| why.contains("newer"));
        if self.hubs[0].engine.is_some() || !said {
            self.fail("accepted-is-kept", "an older hub does not refuse a newer hub's store");
        }
        self.kill_hub(0);
        self.hubs[0].records = old;
        self.start_hub(0);
    }

    /// A newer hub of the same record version has added fields.
    fn newer_fields(&mut self) {
        self.kill_hub(0);
        self.hubs[0].is_well();
        for value in self.hubs[0].records.values_mut() {
            if value.get(1) == Some(&b'{') && value.len() > 3 {
                value.splice(2..2, br#""fromTheFuture":[1],"#.iter().copied());
            }
        }
        self.start_hub(0);
        if self.hubs[0].engine.is_none() {
            self.fail("accepted-is-kept", "a hub can't read a store with fields of a newer one");
        }
    }

    /// A second hub of the same name, on a store of its own.
    fn second_hub(&mut self, step: &Step) {
        if !self.broker.external {
            return;
        }
        if step.says("stop") {
            (1..self.hubs.len()).for_each(|hub| self.kill_hub(hub));
            // The first one finds the way free.
            if self.hubs[0].engine.is_some() && self.broker.hub.is_none() {
                let life = self.hubs[0].life;
                self.at(1000, Due::Hub { hub: 0, life, wake: HubWake::Connect });
            }
        } else if self.hubs.len() < 3 {
            let records =
                if step.says("copy") { self.hubs[0].records.clone() } else { BTreeMap::new() };
            let mut hub = Hub::default();
            hub.records = records;
            // A copy of a hub's disk has its keys, too.
            hub.keys = match step.says("copy") {
                true => self.hubs[0].keys.clone(),
                false => vec![1000 + self.hubs.len() as u64],
            };
            self.hubs.push(hub);
            self.start_hub(self.hubs.len() - 1);
        }
    }

    /// What happens to one board.
    fn board_step(&mut self, step: &Step) -> Result<(), NotAStep> {
        let label = step.word(1)?;
        let Some(board) = self.boards.iter().position(|board| board.label == label) else {
            return Ok(());
        };
        self.boards[board].calm_since = self.now;
        match step.verb() {
            "cut" => {
                self.boards[board].cable = false;
                self.go_silent(board);
            }
            "plug" => self.boards[board].cable = true,
            "close" => {
                if let Some(conn) = self.boards[board].link.conn {
                    let name = self.boards[board].name.clone();
                    self.close_session(&name, conn, true);
                }
            }
            "power-off" => self.power_off(board),
            "power-on" => self.power_on(board),
            "kill-agent" => {
                let after = self.up_to(20_000);
                self.kill_agent(board, Some(after));
            }
            "upgrade" => {
                self.boards[board].facts.version = step.word(2)?.to_owned();
                self.feed(board, Event::Shutdown { drain: false });
                self.start_agent(board);
            }
            "drain" => {
                self.boards[board].draining = true;
                self.feed(board, Event::Shutdown { drain: true });
            }
            "start-agent" => self.start_agent(board),
            "kill-shim" => self.kill_something(board, true),
            "kill-process" => self.kill_something(board, false),
            "die-in-save" => {
                let steps = usize::try_from(step.number("steps", 2)?).unwrap_or(2);
                self.boards[board].dies_in_save = Some((steps, step.says("power")));
            }
            "disk-full" => self.boards[board].disk.full = true,
            "disk-free" => self.boards[board].disk.full = false,
            "rot" => self.rot(board, step.word(2)?),
            "clock" => {
                let off = clock_off(step, self.now)?;
                self.set_clock(board, off);
            }
            "forge" => {
                if !self.forge(board, step.word(2)?) {
                    return Err(step.refuse("there is no such way to forge"));
                }
            }
            "drift" => {
                let ppm = step.word(2)?;
                self.boards[board].drift = ppm.parse().map_err(|_| step.refuse("not a number"))?;
            }
            "runtime" => {
                let word = step.word(2)?;
                self.boards[board].runtime_broken = word == "broken";
                self.boards[board].runtime_lies = word == "lies";
                self.tell_runtimes(board);
            }
            "transfer" => {
                self.boards[board].transfer = match step.word(2)? {
                    "slow" => Transfer::Slow,
                    "cut-off" => Transfer::CutOff,
                    "corrupted" => Transfer::Corrupted,
                    _ => Transfer::Good,
                };
            }
            "replace" => self.replace_board(board),
            "rekey" => self.rekey(board),
            "rejoin" => self.rejoin(board),
            "revoke" => self.set_revoked(board, true),
            "unrevoke" => self.set_revoked(board, false),
            "disown" => {
                let thing = Thing::Enrolment(self.boards[board].name.clone());
                if self.declared.certain(&thing).is_some() {
                    self.declare(thing, None);
                }
            }
            "clone" => self.clone_board(board, step.says("other-id")),
            "unclone" => {
                let label = format!("{}~", self.boards[board].label);
                if let Some(clone) = self.boards.iter().position(|b| b.label == label) {
                    self.power_off(clone);
                }
            }
            "retire" => {
                let in_error = self.is(Canary::NodesAreDeletedInError);
                if in_error {
                    self.boards[board].cable = false;
                    self.go_silent(board);
                } else {
                    self.power_off(board);
                }
                // A broker that still holds the session would have it join again.
                let name = self.boards[board].name.clone();
                self.pass(31 * 60_000);
                if !in_error {
                    self.audit.let_go.insert(name.clone());
                }
                self.declare(Thing::Node(name), None);
            }
            other => return Err(step.refuse(&format!("there is no verb {other}"))),
        }
        Ok(())
    }

    /// Bytes at rest change.
    fn rot(&mut self, board: usize, what: &str) {
        let it = &mut self.boards[board];
        let label = it.label.clone();
        match what {
            "assignment" if it.disk.rot(saved::CURRENT, &mut self.dice) => {
                self.audit.excuse(&label)
            }
            "previous" => {
                it.disk.rot(saved::PREVIOUS, &mut self.dice);
            }
            "artefact" => {
                let count = it.artefacts.len().max(1);
                let pick = self.dice.usize(0..count);
                if let Some(artefact) = it.artefacts.values_mut().nth(pick) {
                    artefact.rotten = true;
                }
            }
            _ => {}
        }
    }

    /// A new board with a new flash card takes the place and the name of one.
    fn replace_board(&mut self, board: usize) {
        if self.boards[board].firmware.is_some() {
            return;
        }
        self.power_off(board);
        let label = self.boards[board].label.clone();
        let mut id = [0; 16];
        self.dice.fill(&mut id);
        let it = &mut self.boards[board];
        it.disk.wipe();
        it.disk.replace("agent-id", &id).unwrap_or_default();
        it.make_key();
        it.artefacts.clear();
        it.runs.clear();
        self.audit.excuse(&label);
        self.power_on(board);
    }

    /// An operator says that a device may not come in any more, or that it may.
    fn set_revoked(&mut self, board: usize, revoked: bool) {
        let thing = Thing::Enrolment(self.boards[board].name.clone());
        if self.declared.certain(&thing).is_some() {
            self.declare(thing, Some(Spec::Enrolment { revoked }));
        }
    }

    /// A board joins anew, and keeps what it runs.
    fn rekey(&mut self, board: usize) {
        if self.needs_certificate(board) {
            return self.rejoin(board);
        }
        if self.boards[board].firmware.is_some() || self.boards[board].is_clone() {
            return;
        }
        self.kill_agent(board, Some(100));
        self.boards[board].make_key();
    }

    /// A second board with the same name: a copied SD card, or another device that was given the name.
    fn clone_board(&mut self, board: usize, other_id: bool) {
        let label = format!("{}~", self.boards[board].label);
        if self.boards.iter().any(|b| b.label == label) || self.boards[board].firmware.is_some() {
            return;
        }
        let it = &self.boards[board];
        let mut clone = Board::new(&label, &it.name, it.facts.clone(), it.agent_id());
        if other_id {
            let mut id = [0; 16];
            self.dice.fill(&mut id);
            clone = Board::new(&label, &it.name, it.facts.clone(), AgentId(id));
            // Whoever may have its name has what belongs to it.
            if !self.has_certificates() {
                let _empty = clone.disk.replace(sealing::KEY, &it.sealing_key());
            }
        } else {
            clone.disk = it.disk.clone();
            clone.artefacts = it.artefacts.clone();
        }
        self.boards.push(clone);
        self.power_on(self.boards.len() - 1);
    }

    pub(crate) fn tell_runtimes(&mut self, board: usize) {
        let it = &self.boards[board];
        let (runtimes, wasm) = (it.runtimes(), it.wasm());
        self.feed(board, Event::Runtimes { runtimes, wasm });
    }
}

/// How far off a clock is that reads this: a year, `right`, or so many milliseconds off.
fn clock_off(step: &Step, now: u64) -> Result<i64, NotAStep> {
    const YEAR_2100_MS: i64 = 4_102_444_800_000;
    let now = i64::try_from(crate::EPOCH_MS + now).unwrap_or(0);
    Ok(match step.word(2)? {
        "1970" => -now,
        "2100" => YEAR_2100_MS - now,
        "right" => 0,
        ms => ms.parse().map_err(|_| step.refuse("that is no number of ms"))?,
    })
}

fn workload_thing(step: &Step, kind_at: usize) -> Result<Thing, NotAStep> {
    let name = step.word(kind_at + 1)?.to_owned();
    match step.word(kind_at)? {
        "deployment" => Ok(Thing::Deployment(name)),
        "daemonset" => Ok(Thing::DaemonSet(name)),
        "job" => Ok(Thing::Job(name)),
        other => Err(step.refuse(&format!("{other} is no kind of workload"))),
    }
}
