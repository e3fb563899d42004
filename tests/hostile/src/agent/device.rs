//! A device around the agent's core: a disk with two assignments, a store, programs, a link. It answers what the agent
//! asks when the script says so, and asserts on every effect what the agent promises.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use firmware_compat::{
    capacity::full as capacity,
    frame::{self, Frame, Kind, Message, Stamp, decode_body},
    id::{AgentId, BootId, Generation, Hash, Lineage, PodId},
    keys::PinnedHub,
    time::Instant,
    v1::owned::{
        Artefacts, Assignment, AssignmentId, Container, Exit, Hello, List, Phase, Runtime,
        RuntimeClass, Status, Text,
    },
};
use lichen_agent_core::{
    Agent, Config, ContainerId, Effect, Event, Loaded, SavedAssignment, Up,
    config::Part,
    event::{Answer, DISK_FULL, Failure, Found, FoundContainer, FoundPod, FoundState},
};
use sha2::{Digest, Sha256};

use crate::hub_key;

const NAME: &str = "pi";
/// Of the hub that the device follows: that of the wire's recorded frames.
pub const LINEAGE: Lineage = Lineage([0x11; 16]);
/// Of a hub with the same key.
pub const OTHER_LINEAGE: Lineage = Lineage([0x12; 16]);

/// Largest assignment that the device takes.
const MAX_ASSIGNMENT_BYTES: u32 = 64 * 1024;
/// Effects of one event: for each Pod a few, each with its event and status, and what the agent says of itself.
const MOST_EFFECTS: usize = 16 * capacity::PODS;

pub struct Device {
    agent: Agent,
    now: u64,
    /// Newest first.
    disk: Vec<SavedAssignment>,
    /// What the hub has said of the time, and what of it is kept.
    heard_ms: u64,
    time_floor_ms: u64,
    pinned: PinnedHub,
    session: u32,
    store: BTreeSet<Hash>,
    runs: BTreeMap<PodId, Run>,
    runtimes: Vec<Runtime>,
    /// Asked and not answered.
    questions: VecDeque<Effect>,
    link_up: bool,
    name_taken: bool,
    may_adopt: bool,
    last_sent: Option<Up>,
    ended: bool,
    /// Containers that it started, and messages that it sent, in all its lives.
    starts: usize,
    sent: usize,
}

/// A Pod's directory.
struct Run {
    identity: Hash,
    sandbox: bool,
    failed: Option<Failure>,
    containers: BTreeMap<ContainerId, Process>,
}

struct Process {
    attempt: u32,
    prepared: bool,
    state: FoundState,
}

impl Process {
    fn is_running(&self) -> bool {
        matches!(self.state, FoundState::Running { .. })
    }
}

impl Device {
    pub fn new() -> Self {
        let runtimes = runtimes(3);
        let mut device = Self {
            agent: new_agent(&runtimes, hub_key::pinned(LINEAGE), 0, Vec::new()),
            now: 0,
            disk: Vec::new(),
            heard_ms: 0,
            time_floor_ms: 0,
            pinned: hub_key::pinned(LINEAGE),
            session: 0,
            store: BTreeSet::new(),
            runs: BTreeMap::new(),
            runtimes,
            questions: VecDeque::new(),
            link_up: false,
            name_taken: false,
            may_adopt: false,
            last_sent: None,
            ended: false,
            starts: 0,
            sent: 0,
        };
        device.begin();
        device
    }

    fn begin(&mut self) {
        self.feed(Event::Clock { unix_ms: self.now });
        let container = |(id, process): (&ContainerId, &Process)| FoundContainer {
            container: *id,
            name: id.to_string(),
            restarts: process.attempt,
            last_exit: None,
            state: process.state.clone(),
            health: None,
            age: Duration::ZERO,
        };
        let pods = self.runs.iter().map(|(id, run)| FoundPod {
            pod: *id,
            identity: Some(run.identity),
            sandbox: run.sandbox,
            age: Duration::ZERO,
            failed: run.failed.clone(),
            containers: run.containers.iter().map(container).collect(),
        });
        let pods = pods.collect();
        let artefacts = self.store.iter().copied().collect();
        self.feed(Event::Found(Found { pods, artefacts }));
    }

    pub fn feed(&mut self, event: Event) {
        let held = self.agent.assignment();
        self.agent.handle(event, Instant(self.now));
        self.check_held(held);
        self.carry_out();
    }

    /// Carries out what the agent asks; what takes time becomes a question.
    fn carry_out(&mut self) {
        let effects: Vec<Effect> = self.agent.drain().collect();
        assert!(effects.len() <= MOST_EFFECTS, "{} effects at once", effects.len());
        for effect in effects {
            assert!(!self.ended, "after Quit: {effect:?}");
            match effect {
                Effect::RaiseTime { unix_ms, save } => {
                    assert!(unix_ms > self.heard_ms, "the known time only rises");
                    self.heard_ms = unix_ms;
                    if save {
                        self.time_floor_ms = unix_ms;
                    }
                }
                Effect::Send(up) => self.send(up),
                Effect::Retain(keep) => self.retain(&keep),
                Effect::Quit => self.ended = true,
                Effect::Disconnect => self.link_up = false,
                Effect::KeepFailure { pod, failure } => {
                    let run = self.runs.get_mut(&pod).expect("only a Pod that was made can fail");
                    run.failed = Some(failure);
                }
                // After a restart nothing is known of the health of what runs.
                Effect::KeepHealth { .. }
                | Effect::Note(_)
                | Effect::Connect
                | Effect::CancelFetch { .. }
                | Effect::CancelCommand { .. }
                | Effect::RemoveClaims(_) => {}
                question => {
                    self.check_question(&question);
                    self.questions.push_back(question);
                }
            }
        }
    }

    /// The hub says this.
    pub fn say<M: Message>(&mut self, message: &M) {
        self.hear(&frame::encode(message, Stamp::default()).expect("it fits a frame"));
    }

    /// A frame of the hub: signed for this device and its connection, if it is to be signed.
    pub fn hear(&mut self, bytes: &[u8]) {
        let frame = hub_key::sign(bytes, NAME, self.session);
        self.feed(Event::Heard { to_all: false, frame });
    }

    /// A stranger's: of what only a hub says it does nothing.
    pub fn hear_a_stranger(&mut self, bytes: &[u8]) {
        let before = (self.questions.len(), self.heard_ms, self.pinned);
        let is_part = Frame::parse(bytes).is_ok_and(|frame| frame.kind == Kind::Part);
        let to_all = bytes.len().is_multiple_of(2);
        self.feed(Event::Heard { to_all, frame: bytes.to_vec() });
        let after = (self.questions.len(), self.heard_ms, self.pinned);
        assert!(is_part || before == after, "it does what a stranger says");
    }

    fn send(&mut self, up: Up) {
        assert!(self.link_up, "nobody hears {up:?}");
        let frame = up.encode(Stamp::default()).expect("every message of the core fits a frame");
        assert!(!frame.is_empty());
        match &up {
            Up::Event(event) => assert!(!event.reason.is_empty() && !event.message.is_empty()),
            Up::Status(status) => check_status(status),
            Up::Hello(_) | Up::Reply(_) | Up::Want(_) => {}
        }
        self.last_sent = Some(up);
        self.sent += 1;
    }

    fn retain(&mut self, keep: &BTreeSet<Hash>) {
        for question in &self.questions {
            if let Effect::Fetch(blob) = question {
                assert!(keep.contains(&blob.digest), "it forgets what it fetches");
            }
        }
        self.store.retain(|digest| keep.contains(digest));
    }

    fn check_question(&self, question: &Effect) {
        let others = || self.questions.iter();
        match question {
            Effect::SaveAssignment(saved) => {
                assert!(
                    !others().any(|q| matches!(q, Effect::SaveAssignment(_))),
                    "two saves at once"
                );
                self.check_save(saved);
            }
            Effect::Fetch(blob) => {
                assert!(!self.store.contains(&blob.digest), "it fetches what it has");
                let twice = |q: &Effect| matches!(q, Effect::Fetch(b) if b.digest == blob.digest);
                assert!(!others().any(twice), "it fetches twice");
            }
            Effect::PrepareSandbox { pod } => {
                self.check_free(pod.id, None);
                assert!(self.runs.get(&pod.id).is_none_or(|run| !run.sandbox), "it stands");
            }
            Effect::Prepare { pod, container, .. } => {
                self.check_free(pod.id, Some(*container));
                assert!(self.runs.get(&pod.id).is_some_and(|run| run.sandbox), "no sandbox");
                assert!(!self.is_running(&pod.id, *container), "prepares what runs");
                for digest in artefacts(container.of(pod).expect("one of the spec")) {
                    assert!(self.store.contains(&digest), "prepares without an artefact");
                }
            }
            Effect::Start { pod, container, .. } => {
                self.check_free(pod.id, Some(*container));
                let run = self.runs.get(&pod.id).expect("it was prepared");
                let process = run.containers.get(container).expect("it was prepared");
                assert!(
                    process.prepared && run.identity == pod.identity,
                    "starts what was not prepared"
                );
                assert!(!process.is_running(), "starts what runs");
                let saved = self.disk.first().expect("it starts only what is saved");
                // What may change in place may be older: it is brought up to date while it runs.
                let assigned = saved.parts.values().any(|part| match part {
                    Part::Pod(i) => i.id == pod.id && i.identity == pod.identity,
                    Part::Config(_) | Part::Sealed(_) => false,
                });
                assert!(assigned, "starts what is not assigned");
            }
            Effect::Stop { pod, container, .. } => {
                assert!(self.is_running(pod, *container), "stops what does not run");
            }
            Effect::UpdateFiles { pod } => self.check_free(pod.id, None),
            Effect::CleanContainer { pod, container } => {
                self.check_free(*pod, Some(*container));
                assert!(!self.is_running(pod, *container), "cleans away what runs");
            }
            Effect::RemoveSandbox { pod, .. } => {
                self.check_free(*pod, None);
                let run = self.runs.get(pod);
                let runs = run.is_some_and(|run| run.containers.values().any(Process::is_running));
                assert!(!runs, "cleans away what runs");
            }
            _ => {}
        }
    }

    /// An assignment that is to be saved is whole, sound, and newer than what is saved.
    fn check_save(&self, saved: &SavedAssignment) {
        assert_eq!(saved.id.hash, Hash(Sha256::digest(&saved.body).into()), "saves damaged bytes");
        let bytes: usize = saved.parts.values().map(|part| part.bytes().len()).sum();
        assert!(bytes <= MAX_ASSIGNMENT_BYTES as usize);
        let assignment: Assignment = decode_body(&saved.body).expect("saves what it can't read");
        for hash in &assignment.pods {
            assert!(saved.parts.contains_key(hash), "saves an assignment without a part of it");
        }
        for (hash, part) in &saved.parts {
            assert_eq!(Hash(Sha256::digest(part.bytes()).into()), *hash, "saves a damaged part");
        }
        if let Some(held) = self.agent.assignment() {
            if held.lineage == saved.id.lineage {
                assert!(saved.id.generation > held.generation, "goes backwards");
            } else {
                assert!(self.may_adopt, "follows a foreign hub");
            }
        }
    }

    /// One container, one question; one about a Pod as a whole.
    fn check_free(&self, id: PodId, of: Option<ContainerId>) {
        let busy = self.questions.iter().any(|question| match question {
            Effect::Prepare { pod, container, .. } | Effect::Start { pod, container, .. } => {
                pod.id == id && Some(*container) == of
            }
            Effect::PrepareSandbox { pod } | Effect::UpdateFiles { pod } => {
                pod.id == id && of.is_none()
            }
            Effect::Stop { pod, container, .. } | Effect::CleanContainer { pod, container } => {
                *pod == id && Some(*container) == of
            }
            Effect::RemoveSandbox { pod, .. } => *pod == id,
            _ => false,
        });
        assert!(!busy, "two questions about one thing");
    }

    fn check_held(&mut self, before: Option<AssignmentId>) {
        let (Some(before), Some(after)) = (before, self.agent.assignment()) else { return };
        if before.lineage == after.lineage {
            assert!(after.generation >= before.generation, "a device never goes backwards");
            assert!(after.generation != before.generation || after.hash == before.hash);
        } else {
            self.may_adopt = false;
        }
    }

    /// Answers the oldest question.
    pub fn answer(&mut self, well: bool) {
        let Some(question) = self.questions.pop_front() else { return };
        let failure = || Failure {
            reason: if self.now.is_multiple_of(2) { DISK_FULL.into() } else { String::new() },
            message: "no".into(),
        };
        let event = match question {
            Effect::SaveAssignment(saved) => {
                let generation: Generation = saved.id.generation;
                if well {
                    self.disk.insert(0, (*saved).clone());
                    self.disk.truncate(2);
                    Event::Saved { generation }
                } else {
                    Event::SaveFailed { generation, failure: failure() }
                }
            }
            Effect::Fetch(blob) if well => {
                self.store.insert(blob.digest);
                Event::Fetched { digest: blob.digest }
            }
            Effect::Fetch(blob) => Event::FetchFailed { digest: blob.digest, failure: failure() },
            Effect::PrepareSandbox { pod } => {
                let new = || Run {
                    identity: pod.identity,
                    sandbox: false,
                    failed: None,
                    containers: BTreeMap::new(),
                };
                let run = self.runs.entry(pod.id).or_insert_with(new);
                (run.identity, run.sandbox) = (pod.identity, well);
                if well {
                    Event::SandboxReady { pod: pod.id }
                } else {
                    Event::SandboxFailed { pod: pod.id, failure: failure() }
                }
            }
            Effect::Prepare { pod, container, .. } => {
                let run = self.runs.get_mut(&pod.id).expect("checked when it was asked");
                let created = Process { attempt: 0, prepared: false, state: FoundState::Created };
                run.containers.entry(container).or_insert(created).prepared = well;
                if well {
                    Event::Prepared { pod: pod.id, container }
                } else {
                    let of = container.of(&pod).expect("checked when it was asked");
                    let missing: Vec<Hash> = artefacts(of).into_iter().take(1).collect();
                    for digest in &missing {
                        self.store.remove(digest);
                    }
                    Event::PrepareFailed { pod: pod.id, container, failure: failure(), missing }
                }
            }
            Effect::Start { pod, container, attempt } => {
                let run = self.runs.get_mut(&pod.id).expect("checked when it was asked");
                let process = run.containers.get_mut(&container).expect("it was prepared");
                (process.prepared, process.attempt) = (false, attempt);
                if well {
                    self.starts += 1;
                    process.state = FoundState::Running { pid: 7, started_ms: self.now };
                    Event::Started { pod: pod.id, container, pid: 7, started_ms: self.now }
                } else {
                    Event::StartFailed { pod: pod.id, container, failure: failure() }
                }
            }
            Effect::Stop { pod, container, .. } => return self.exit(pod, container, 143),
            Effect::Probe { pod, container, attempt, purpose } => {
                let answer = if well { Answer::Good } else { Answer::Bad("no".into()) };
                Event::Probed { pod: pod.id, container, attempt, purpose, answer }
            }
            Effect::RunHook { pod, container, attempt, moment, .. } => {
                let failure = (!well).then(|| "no".into());
                Event::HookEnded { pod: pod.id, container, attempt, moment, failure }
            }
            Effect::UpdateFiles { pod } if well => Event::FilesUpdated { pod: pod.id },
            Effect::UpdateFiles { pod } => {
                Event::FilesUpdateFailed { pod: pod.id, failure: failure() }
            }
            Effect::CleanContainer { pod, container } if well => {
                Event::ContainerCleaned { pod, container }
            }
            Effect::CleanContainer { pod, container } => {
                Event::ContainerCleanFailed { pod, container, failure: failure() }
            }
            Effect::RemoveSandbox { pod, keep_volumes } if well => {
                match self.runs.get_mut(&pod) {
                    Some(run) if keep_volumes => {
                        run.sandbox = false;
                        for (_, init) in run.containers.iter_mut().filter(|(id, _)| id.is_init()) {
                            init.state = FoundState::Lost;
                        }
                    }
                    _ => _ = self.runs.remove(&pod),
                }
                Event::SandboxRemoved { pod }
            }
            Effect::RemoveSandbox { pod, .. } => {
                Event::SandboxRemoveFailed { pod, failure: failure() }
            }
            Effect::ReadLogs(request) => Event::CommandEnded { command: request.command },
            Effect::PinHub(hub) if well => {
                self.pinned = hub;
                Event::HubPinned(hub)
            }
            Effect::PinHub(_) => Event::PinFailed { message: "disk full".into() },
            other => unreachable!("{other:?} is no question"),
        };
        self.feed(event);
    }

    /// Answers everything, and what follows from it at this moment.
    pub fn answer_all(&mut self) {
        for _ in 0..MOST_EFFECTS {
            if self.questions.is_empty() {
                return;
            }
            self.answer(true);
        }
        panic!("the agent asks without end: {:?}", self.questions);
    }

    pub fn wake(&mut self) {
        let Some((at, reason)) = self.agent.poll_timeout() else { return };
        self.now = self.now.max(at.0);
        self.agent.handle_timeout(Instant(self.now));
        self.carry_out();
        let again = self.agent.poll_timeout();
        assert!(
            again.is_none_or(|(at, _)| at.0 > self.now),
            "woken for {reason:?}, it wants {again:?}"
        );
    }

    pub fn pass(&mut self, millis: u64) {
        self.now += millis;
        self.agent.handle_timeout(Instant(self.now));
        self.carry_out();
    }

    pub fn link_up(&mut self) {
        if !self.name_taken {
            self.link_up = true;
            self.session += 1;
            self.feed(Event::LinkUp { session: self.session });
        }
    }

    pub fn link_down(&mut self) {
        self.link_up = false;
        self.feed(Event::LinkDown);
    }

    pub fn take_name(&mut self) {
        self.name_taken = !self.name_taken;
        self.link_up = false;
        self.feed(if self.name_taken { Event::TakenOver } else { Event::NameFree });
    }

    pub fn end(&mut self, which: usize, code: i32) {
        let all = self.runs.iter();
        let all = all.flat_map(|(pod, run)| run.containers.iter().map(move |of| (*pod, of)));
        let running: Vec<(PodId, ContainerId)> = all
            .filter(|(_, (_, process))| process.is_running())
            .map(|(pod, (id, _))| (pod, *id))
            .collect();
        if let Some((pod, container)) = running.get(which % running.len().max(1)) {
            self.exit(*pod, *container, code);
        }
    }

    /// A program ends; if it was to be stopped, that is the answer.
    fn exit(&mut self, pod: PodId, container: ContainerId, code: i32) {
        self.questions.retain(|q| {
            !matches!(q, Effect::Stop { pod: p, container: c, .. } if *p == pod && *c == container)
        });
        let exit = Exit {
            code,
            reason: Text::cut(if code == 0 { "Completed" } else { "Error" }),
            message: Text::default(),
            started_ms: 0,
            at_ms: self.now,
        };
        let run = self.runs.get_mut(&pod);
        let Some(process) = run.and_then(|run| run.containers.get_mut(&container)) else { return };
        process.state = FoundState::Exited(exit.clone());
        self.feed(Event::Exited { pod, container, exit });
    }

    /// Kill -9, or a power cut, or a power cut that damages what was saved last.
    pub fn restart(&mut self, how: u8) {
        self.questions.clear();
        (self.link_up, self.name_taken, self.ended, self.may_adopt) = (false, false, false, false);
        if !how.is_multiple_of(3) {
            for run in self.runs.values_mut() {
                run.sandbox = false;
                for process in run.containers.values_mut().filter(|process| process.is_running()) {
                    process.state = FoundState::Lost;
                }
            }
        }
        if how % 3 == 2
            && let Some(saved) = self.disk.first_mut()
        {
            let at = usize::from(how) % saved.body.len().max(1);
            if let Some(byte) = saved.body.get_mut(at) {
                *byte ^= 0x10;
            }
        }
        for process in self.runs.values_mut().flat_map(|run| run.containers.values_mut()) {
            process.prepared = false;
        }
        self.heard_ms = self.time_floor_ms;
        let saved = self.disk.clone();
        self.agent = new_agent(&self.runtimes, self.pinned, self.time_floor_ms, saved);
        let sound =
            |saved: &&SavedAssignment| saved.id.hash == Hash(Sha256::digest(&saved.body).into());
        let expected = self.disk.iter().find(sound).map(|saved| saved.id);
        assert_eq!(self.agent.assignment(), expected, "it starts what it acknowledged");
        self.disk.retain(|saved| sound(&saved));
        self.begin();
    }

    pub fn change_runtimes(&mut self, which: u8) {
        self.runtimes = runtimes(which);
        self.feed(Event::Runtimes { runtimes: self.runtimes.clone(), wasm: None });
    }

    pub fn fail_last_send(&mut self) {
        if let Some(up) = self.last_sent.take() {
            self.feed(Event::SendFailed(up));
        }
    }

    pub fn adopt(&mut self) {
        self.may_adopt = true;
        self.feed(Event::AdoptLineage);
    }

    /// With a machine that answers well, the agent comes to rest.
    pub fn check_in_the_end(&mut self) {
        self.answer_all();
        for _ in 0..64 {
            if self.agent.poll_timeout().is_none() {
                return;
            }
            self.wake();
            self.answer_all();
        }
    }

    pub fn starts(&self) -> usize {
        self.starts
    }

    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Whether its agent has quit.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The assignment that it follows.
    pub fn held(&self) -> Option<AssignmentId> {
        self.agent.assignment()
    }

    fn is_running(&self, pod: &PodId, id: ContainerId) -> bool {
        let run = self.runs.get(pod);
        run.and_then(|run| run.containers.get(&id)).is_some_and(Process::is_running)
    }
}

fn check_status(status: &Status) {
    for pod in &status.pods {
        let needs_reason = matches!(pod.phase, Phase::Waiting | Phase::Backoff | Phase::Failed);
        assert!(!needs_reason || !pod.reason.is_empty(), "no reason: {pod:?}");
    }
}

fn artefacts(container: &Container) -> Vec<Hash> {
    match &container.artefacts {
        Artefacts::Image { config, layers } => {
            std::iter::once(config.digest).chain(layers.iter().map(|l| l.blob.digest)).collect()
        }
        Artefacts::Wasm { compiled: blob, .. } | Artefacts::Firmware { image: blob } => {
            vec![blob.digest]
        }
    }
}

/// Bit 0: containers work; bit 1: Wasm works.
fn runtimes(which: u8) -> Vec<Runtime> {
    [(RuntimeClass::Container, "crun", 1), (RuntimeClass::Wasm, "wasmtime", 2)]
        .map(|(runtime_class, name, bit)| Runtime {
            runtime_class,
            name: Text::cut(name),
            version: Text::cut("1"),
            usable: which & bit != 0,
            limits_enforced: true,
            reason: Text::cut(if which & bit == 0 { "trial run failed" } else { "" }),
        })
        .to_vec()
}

fn new_agent(
    runtimes: &[Runtime],
    pinned: PinnedHub,
    time_floor_ms: u64,
    saved: Vec<SavedAssignment>,
) -> Agent {
    let hello = Hello {
        agent: AgentId([7; 16]),
        boot: BootId([8; 16]),
        version: Text::cut("0.1.0"),
        arch: Text::cut("amd64"),
        os: Text::cut("linux"),
        kernel: Text::cut("6.1"),
        cpu_features: List::default(),
        cpu_milli: 2000,
        memory_bytes: 1 << 30,
        disk_bytes: 1 << 33,
        storage: Default::default(),
        runtimes: runtimes.to_vec().try_into().expect("two"),
        wasm: None,
        labels: List::default(),
        assignment: None,
        clock_ms: 0,
        max_assignment_bytes: MAX_ASSIGNMENT_BYTES,
        keys: List::default(),
        conditions: List::default(),
    };
    let (name, hub, verify) = (NAME.to_owned(), Some(pinned), hub_key::verify);
    let config = Config { hello, name, hub, verify, time_floor_ms };
    Agent::new(config, Loaded { saved, ..Loaded::default() }, 7)
}
