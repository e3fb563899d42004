//! A device and a hub around the real core: a disk, a store, shims and a link that answer at once, or fail when told.
//! Everything has a name, so that a run reads like a trace.

#![allow(dead_code, reason = "shared by several test programs, each of which uses a part")]
#![expect(clippy::unwrap_used, reason = "tests")]

pub mod hub;
pub mod names;
pub mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use firmware_compat::{
    capacity::{WINDOW_BYTES, WINDOW_CHUNKS},
    frame::{self, Message, Stamp},
    id::{AgentId, BootId, Generation, Hash, Lineage, PodId},
    keys::PinnedHub,
    time::Instant,
    v1::owned::*,
};
use hub::{HUB, LINEAGE, NAME, Voice, known_by, say, verify};
use lichen_agent_core::{
    Agent, Config, ContainerId, Effect, Event, Loaded, SavedAssignment, Up,
    event::{Answer, Failure, Found, FoundContainer, FoundPod, FoundState, Health},
};
use names::*;

/// The wall clock of every test: 1 January 2026, plus the device's own time.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

pub struct World {
    pub agent: Option<Agent>,
    pub now: Instant,
    /// Newest first.
    pub disk: Vec<SavedAssignment>,
    /// What is wrong with the disk, in words.
    pub damage: Vec<String>,
    /// The newest saved assignment is not in `disk` any more.
    pub newest_lost: bool,
    pub time_floor_ms: u64,
    /// Whom the device's disk says it believes.
    pub pinned: Option<PinnedHub>,
    /// Who speaks as the hub.
    pub voice: Voice,
    /// The newest time that the hub has said.
    pub hub_ms: u64,
    /// What the device heard last.
    pub said: Option<Event>,
    pub store: BTreeSet<Hash>,
    pub runs: BTreeMap<PodId, Run>,
    pub runtimes: Vec<Runtime>,
    /// The hub's assignments: head and body, by generation.
    pub hub: BTreeMap<u64, (Head, Vec<u8>)>,
    /// Every part that the hub ever made.
    pub parts: BTreeMap<Hash, Vec<u8>>,
    /// Bytes of frames in either direction.
    pub wire_bytes: usize,
    pub lineage: Lineage,
    pub link_up: bool,
    /// The hub answers a Want.
    pub hub_serves: bool,
    pub failing: BTreeSet<String>,
    /// These containers are not well: `web`, `web/side`, with what is asked: `web Liveness`.
    pub ill: BTreeSet<String>,
    /// These wait for an explicit answer.
    pub slow: BTreeSet<String>,
    pub next_pid: u32,
    pub trace: Vec<String>,
    pub answers: VecDeque<Event>,
    pub quit: bool,
}

/// What a Pod's directory holds.
#[derive(Clone, Debug)]
pub struct Run {
    pub identity: Hash,
    pub since: Instant,
    pub failed: Option<Failure>,
    /// Its record can be read.
    pub legible: bool,
    /// Its sandbox stands.
    pub sandbox: bool,
    pub containers: BTreeMap<ContainerId, Process>,
}

/// What a shim holds.
#[derive(Clone, Debug)]
pub struct Process {
    pub attempt: u32,
    pub state: FoundState,
    pub health: Option<Health>,
    pub since: Instant,
}

impl Run {
    /// One that was just made.
    pub fn of(identity: Hash) -> Self {
        Self {
            identity,
            legible: true,
            sandbox: false,
            since: Instant(0),
            failed: None,
            containers: BTreeMap::new(),
        }
    }

    /// What is kept is all but how init containers ended.
    pub fn lose_sandbox(&mut self) {
        self.sandbox = false;
        for (_, process) in self.containers.iter_mut().filter(|(id, _)| id.is_init()) {
            process.state = FoundState::Lost;
        }
    }

    pub fn is_running(&self) -> bool {
        self.containers.values().any(Process::is_running)
    }
}

impl Process {
    pub fn is_running(&self) -> bool {
        matches!(self.state, FoundState::Running { .. })
    }
}

impl World {
    pub fn new() -> Self {
        Self {
            agent: None,
            now: Instant(0),
            disk: Vec::new(),
            damage: Vec::new(),
            newest_lost: false,
            time_floor_ms: EPOCH_MS,
            pinned: Some(known_by(&[1])),
            voice: HUB,
            hub_ms: EPOCH_MS,
            said: None,
            store: BTreeSet::new(),
            runs: BTreeMap::new(),
            runtimes: vec![
                runtime(RuntimeClass::Container, "crun", true),
                runtime(RuntimeClass::Wasm, "wasmtime", true),
            ],
            hub: BTreeMap::new(),
            parts: BTreeMap::new(),
            wire_bytes: 0,
            lineage: LINEAGE,
            link_up: false,
            hub_serves: true,
            failing: BTreeSet::new(),
            ill: BTreeSet::new(),
            slow: BTreeSet::new(),
            next_pid: 100,
            trace: Vec::new(),
            answers: VecDeque::new(),
            quit: false,
        }
    }

    pub fn start_agent(&mut self) {
        let (agent, found) = self.new_agent(1);
        self.agent = Some(agent);
        self.link_up = false;
        self.quit = false;
        self.feed(Event::Clock { unix_ms: self.unix_ms() });
        self.feed(Event::Found(found));
    }

    /// An agent on this device's disk, and what it is to be told first.
    pub fn new_agent(&self, seed: u64) -> (Agent, Found) {
        let hello = hello(self.runtimes.clone());
        let (name, hub, time_floor_ms) = (NAME.into(), self.pinned, self.time_floor_ms);
        let config = Config { hello, name, hub, verify, time_floor_ms };
        let container = |pod: &PodId, (id, process): (&ContainerId, &Process)| FoundContainer {
            container: *id,
            // A container's directory is there before the record of its name.
            name: match process.state {
                FoundState::Created => String::new(),
                _ => container_name(pod, *id),
            },
            restarts: process.attempt,
            last_exit: None,
            state: process.state.clone(),
            health: process.health.filter(|_| process.is_running()),
            age: self.now.since(process.since),
        };
        let pods = self.runs.iter().map(|(id, run)| FoundPod {
            pod: *id,
            identity: run.legible.then_some(run.identity),
            sandbox: run.sandbox,
            age: self.now.since(run.since),
            failed: run.failed.clone(),
            containers: run.containers.iter().map(|of| container(id, of)).collect(),
        });
        let found = Found { pods: pods.collect(), artefacts: self.store.iter().copied().collect() };
        let loaded = Loaded {
            saved: self.disk.clone(),
            damage: self.damage.clone(),
            newest_lost: self.newest_lost,
            ..Loaded::default()
        };
        (Agent::new(config, loaded, seed), found)
    }

    pub fn is_running(&self, id: &PodId) -> bool {
        self.runs.get(id).is_some_and(Run::is_running)
    }

    pub fn is_container_running(&self, pod: &PodId, id: ContainerId) -> bool {
        let run = self.runs.get(pod);
        run.and_then(|run| run.containers.get(&id)).is_some_and(Process::is_running)
    }

    /// Whether it was not started again yet.
    pub fn is_first_run(&self, pod: &PodId, id: ContainerId) -> bool {
        let run = self.runs.get(pod).and_then(|run| run.containers.get(&id));
        run.is_some_and(|process| process.attempt == 0)
    }

    /// Every process ends and nobody is there to see it.
    pub fn power_off(&mut self) {
        self.agent = None;
        self.lose_power();
    }

    pub fn lose_power(&mut self) {
        for run in self.runs.values_mut() {
            run.sandbox = false;
            for process in run.containers.values_mut().filter(|process| process.is_running()) {
                process.state = FoundState::Lost;
            }
        }
    }

    pub fn unix_ms(&self) -> u64 {
        EPOCH_MS + self.now.0
    }

    /// Feeds an event and everything that follows from it at this moment.
    pub fn feed(&mut self, event: Event) {
        self.answers.push_back(event);
        while let Some(event) = self.answers.pop_front() {
            if let Some(agent) = &mut self.agent {
                agent.handle(event, self.now);
            }
            self.carry_out();
        }
    }

    /// Moves the clock, waking the agent when it wants.
    pub fn advance(&mut self, millis: u64) {
        let end = Instant(self.now.0 + millis);
        while let Some((at, _)) = self.agent.as_ref().and_then(Agent::poll_timeout) {
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            self.agent.as_mut().unwrap().handle_timeout(self.now);
            self.carry_out();
            while let Some(event) = self.answers.pop_front() {
                self.feed(event);
            }
            let again = self.agent.as_ref().and_then(Agent::poll_timeout);
            assert!(
                again.is_none_or(|(at, _)| at > self.now),
                "wakes for {again:?} at {:?} again",
                self.now
            );
        }
        self.now = end;
    }

    pub fn note(&mut self, line: String) {
        self.trace.push(line);
    }

    fn carry_out(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        let effects: Vec<Effect> = agent.drain().collect();
        for effect in effects {
            // Nearly all of it is sent as well, and a trace says each thing once.
            if matches!(effect, Effect::Note(_)) {
                continue;
            }
            let line = words::effect(&effect);
            self.note(line);
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        let answer = match effect {
            Effect::SaveAssignment(saved) => self.save(&saved),
            Effect::RaiseTime { unix_ms, save } => {
                if save {
                    self.time_floor_ms = unix_ms;
                }
                None
            }
            Effect::PinHub(hub) => Some(match self.fails("pin") {
                true => Event::PinFailed { message: "no space left on device".into() },
                false => {
                    self.pinned = Some(hub);
                    Event::HubPinned(hub)
                }
            }),
            Effect::Connect | Effect::Disconnect | Effect::Note(_) | Effect::RemoveClaims(_) => {
                None
            }
            Effect::Send(up) => {
                self.send(up);
                None
            }
            Effect::Fetch(blob) => self.fetch(blob.digest),
            Effect::CancelFetch { digest } => Some(Event::FetchFailed {
                digest,
                failure: failure("Cancelled", "nobody needs it"),
            }),
            Effect::Retain(keep) => {
                self.store.retain(|digest| keep.contains(digest));
                None
            }
            Effect::PrepareSandbox { pod } => self.prepare_sandbox(&pod),
            Effect::Prepare { pod, container, .. } => self.prepare(&pod, container),
            Effect::Start { pod, container, attempt } => self.start(&pod, container, attempt),
            Effect::Stop { pod, container, .. } => {
                if self.slow.contains("stop") {
                    None
                } else {
                    Some(self.end(pod, container, exit(143, "Error")))
                }
            }
            Effect::Probe { pod, container, attempt, purpose } => {
                let name = format!("{} {purpose:?}", container_label(&pod.id, container));
                assert!(
                    self.is_container_running(&pod.id, container),
                    "asked {name}, which does not run"
                );
                let answer = match (self.ill.contains(&name), self.fails("probe")) {
                    (true, _) => Answer::Bad("connection refused".into()),
                    (false, true) => Answer::Unknown("out of threads".into()),
                    (false, false) => Answer::Good,
                };
                (!self.slow.contains("probe")).then_some(Event::Probed {
                    pod: pod.id,
                    container,
                    attempt,
                    purpose,
                    answer,
                })
            }
            Effect::RunHook { pod, container, attempt, moment, .. } => {
                let failure = self.fails("hook").then(|| "ended with code 1".into());
                (!self.slow.contains("hook")).then_some(Event::HookEnded {
                    pod: pod.id,
                    container,
                    attempt,
                    moment,
                    failure,
                })
            }
            Effect::KeepHealth { pod, container, attempt, health } => {
                self.keep_health(pod, container, attempt, health);
                None
            }
            Effect::KeepFailure { pod, failure } => {
                self.keep_failure(pod, failure);
                None
            }
            Effect::UpdateFiles { pod } => Some(match self.fails("files") {
                true => Event::FilesUpdateFailed {
                    pod: pod.id,
                    failure: failure("", "disk is read-only"),
                },
                false => Event::FilesUpdated { pod: pod.id },
            }),
            Effect::CleanContainer { pod, container } => {
                Some(match self.fails("clean-container") {
                    true => {
                        Event::ContainerCleanFailed { pod, container, failure: failure("", "busy") }
                    }
                    false => Event::ContainerCleaned { pod, container },
                })
            }
            Effect::RemoveSandbox { pod, keep_volumes } => self.remove_sandbox(pod, keep_volumes),
            Effect::ReadLogs(request) => {
                (!request.follow).then_some(Event::CommandEnded { command: request.command })
            }
            Effect::CancelCommand { command } => Some(Event::CommandEnded { command }),
            Effect::Quit => {
                self.quit = true;
                None
            }
        };
        self.answers.extend(answer);
    }

    fn fails(&self, step: &str) -> bool {
        self.failing.contains(step)
    }

    fn save(&mut self, saved: &SavedAssignment) -> Option<Event> {
        let generation = saved.id.generation;
        if self.fails("save") {
            return Some(Event::SaveFailed {
                generation,
                failure: failure("DiskFull", "no space left on device"),
            });
        }
        if self.slow.contains("save") {
            return None;
        }
        self.newest_lost = false;
        self.damage.clear();
        self.disk.insert(0, saved.clone());
        self.disk.truncate(2);
        Some(Event::Saved { generation })
    }

    fn send(&mut self, up: Up) {
        let frame = up.encode(Stamp::default()).expect("every message of the core fits a frame");
        self.wire_bytes += frame.len();
        if let Up::Want(want) = &up
            && self.hub_serves
        {
            for chunk in self.answer(want) {
                self.wire_bytes += frame::encode(&chunk, Stamp::default()).unwrap().len();
                self.answers.push_back(say(&chunk));
            }
        }
    }

    /// What a hub sends for a Want, as many chunks as a window has.
    pub fn answer(&self, want: &Want) -> Vec<Part> {
        let content = |hash: &Hash| {
            let body = self.hub.values().find(|(head, _)| head.assignment.hash == *hash);
            body.map(|(_, body)| body).or_else(|| self.parts.get(hash)).cloned()
        };
        let mut chunks = Vec::new();
        for (n, hash) in std::iter::once(&want.hash).chain(want.also.iter()).enumerate() {
            let offset = if n == 0 { want.offset } else { 0 };
            let bytes = content(hash).unwrap_or_default();
            chunks.extend(chunks_of(*hash, &bytes).filter(|chunk| chunk.offset >= offset));
        }
        let mut room = WINDOW_BYTES;
        chunks
            .into_iter()
            .take(WINDOW_CHUNKS)
            .take_while(|chunk| {
                let has_room = room > 0;
                room = room.saturating_sub(chunk.bytes.len());
                has_room
            })
            .collect()
    }

    fn fetch(&mut self, digest: Hash) -> Option<Event> {
        if self.slow.contains("fetch") {
            return None;
        }
        if self.fails("fetch") || self.fails(&label(&digest)) {
            return Some(Event::FetchFailed { digest, failure: failure("", "connection refused") });
        }
        self.store.insert(digest);
        Some(Event::Fetched { digest })
    }

    fn prepare_sandbox(&mut self, pod: &Pod) -> Option<Event> {
        let id = pod.id;
        let run = Run { since: self.now, ..Run::of(pod.identity) };
        let run = self.runs.entry(id).or_insert(run);
        assert!(!run.sandbox, "prepared a sandbox that stands");
        run.identity = pod.identity;
        if self.slow.contains("sandbox") {
            return None;
        }
        if self.fails("sandbox") {
            let failure = failure("", "no network namespace");
            return Some(Event::SandboxFailed { pod: id, failure });
        }
        self.runs.get_mut(&id).unwrap().sandbox = true;
        Some(Event::SandboxReady { pod: id })
    }

    fn prepare(&mut self, spec: &Pod, container: ContainerId) -> Option<Event> {
        let pod = spec.id;
        let needed = artefacts_of(container.of(spec).unwrap());
        for blob in &needed {
            assert!(self.store.contains(&blob.digest), "prepared without {}", label(&blob.digest));
        }
        let run = self.runs.get_mut(&pod).expect("prepared without a sandbox");
        assert!(run.sandbox, "prepared in a sandbox that does not stand");
        let created =
            Process { attempt: 0, state: FoundState::Created, health: None, since: Instant(0) };
        run.containers.entry(container).or_insert(created);
        if self.slow.contains("prepare") {
            return None;
        }
        if self.fails("layers") {
            self.failing.remove("layers");
            let missing: Vec<Hash> = needed.iter().map(|blob| blob.digest).collect();
            missing.iter().for_each(|digest| _ = self.store.remove(digest));
            let failure = failure("ArtefactDamaged", "layer is empty");
            return Some(Event::PrepareFailed { pod, container, failure, missing });
        }
        Some(match self.fails("prepare") {
            true => Event::PrepareFailed {
                pod,
                container,
                failure: failure("", "no space left on device"),
                missing: vec![],
            },
            false => Event::Prepared { pod, container },
        })
    }

    fn start(&mut self, spec: &Pod, container: ContainerId, attempt: u32) -> Option<Event> {
        let pod = spec.id;
        let now = EPOCH_MS + self.now.0;
        let run = self.runs.get_mut(&pod).expect("started without being prepared");
        let process = run.containers.get_mut(&container).expect("started without being prepared");
        assert!(!process.is_running(), "started twice");
        (process.attempt, process.health, process.since) = (attempt, None, self.now);
        if self.slow.contains("start") {
            return None;
        }
        if self.failing.contains("start") {
            let failure = failure("", "no such program");
            return Some(Event::StartFailed { pod, container, failure });
        }
        self.next_pid += 1;
        process.state = FoundState::Running { pid: self.next_pid, started_ms: now };
        Some(Event::Started { pod, container, pid: self.next_pid, started_ms: now })
    }

    pub fn keep_health(&mut self, pod: PodId, id: ContainerId, attempt: u32, health: Health) {
        let process = self.runs.get_mut(&pod).and_then(|run| run.containers.get_mut(&id));
        if let Some(process) = process.filter(|process| process.attempt == attempt) {
            process.health = Some(health);
        }
    }

    pub fn keep_failure(&mut self, pod: PodId, failure: Failure) {
        if let Some(run) = self.runs.get_mut(&pod) {
            run.failed = Some(failure);
        }
    }

    /// A process ends.
    pub fn end(&mut self, pod: PodId, container: ContainerId, exit: Exit) -> Event {
        let run = self.runs.get_mut(&pod);
        if let Some(process) = run.and_then(|run| run.containers.get_mut(&container)) {
            process.state = FoundState::Exited(exit.clone());
        }
        Event::Exited { pod, container, exit }
    }

    fn remove_sandbox(&mut self, pod: PodId, keep_volumes: bool) -> Option<Event> {
        assert!(!self.is_running(&pod), "removed while running");
        if self.slow.contains("clean") {
            return None;
        }
        if self.fails("clean") {
            let failure = failure("", "device or resource busy");
            return Some(Event::SandboxRemoveFailed { pod, failure });
        }
        match self.runs.get_mut(&pod) {
            Some(run) if keep_volumes => run.lose_sandbox(),
            _ => _ = self.runs.remove(&pod),
        }
        Some(Event::SandboxRemoved { pod })
    }

    /// The device hears somebody say this.
    pub fn hear<M: Message>(&mut self, message: &M) {
        let event = self.voice.say(message);
        self.said = Some(event.clone());
        self.feed(event);
    }

    /// The hub asks for a report, later than whatever it said before.
    pub fn report(&mut self, spread_ms: u32) -> Event {
        self.hub_ms += 1;
        self.voice.say(&Report { lineage: LINEAGE, unix_ms: self.hub_ms, spread_ms })
    }

    /// The hub writes an assignment. Returns its head and the chunks of its body.
    pub fn assign(&mut self, generation: u64, pods: Vec<Pod>) -> (Head, Vec<Part>) {
        let (body, parts) = encode(&pods);
        self.parts.extend(parts);
        self.write(generation, body)
    }

    pub fn write(&mut self, generation: u64, body: Vec<u8>) -> (Head, Vec<Part>) {
        let id = AssignmentId {
            lineage: self.lineage,
            generation: Generation(generation),
            hash: sha(&body),
        };
        let length = u32::try_from(body.len()).unwrap();
        let head = Head { assignment: id, length };
        let chunks = chunks(&head, &body).collect();
        self.hub.insert(generation, (head, body));
        (head, chunks)
    }
}

/// A body in five chunks.
pub fn chunks(head: &Head, body: &[u8]) -> impl Iterator<Item = Part> + use<> {
    chunks_of(head.assignment.hash, body)
}

/// Content in five chunks, or more if they would be too long.
pub fn chunks_of(hash: Hash, content: &[u8]) -> impl Iterator<Item = Part> + use<> {
    let size = content.len().div_ceil(5).clamp(1, firmware_compat::capacity::full::CHUNK);
    let chunks: Vec<Vec<u8>> = content.chunks(size).map(<[u8]>::to_vec).collect();
    let length = u32::try_from(content.len()).unwrap();
    chunks.into_iter().enumerate().map(move |(n, bytes)| Part {
        hash,
        length,
        offset: u32::try_from(n * size).unwrap(),
        bytes: bytes.try_into().unwrap(),
    })
}

pub fn failure(reason: &str, message: &str) -> Failure {
    Failure { reason: reason.into(), message: message.into() }
}

pub fn exit(code: i32, reason: &str) -> Exit {
    Exit {
        code,
        reason: Text::cut(reason),
        message: Text::default(),
        started_ms: 0,
        at_ms: EPOCH_MS,
    }
}

pub fn runtime(runtime_class: RuntimeClass, name: &str, usable: bool) -> Runtime {
    let reason = if usable { "" } else { "trial run failed" };
    Runtime {
        runtime_class,
        name: Text::cut(name),
        version: Text::cut("1"),
        usable,
        limits_enforced: usable,
        reason: Text::cut(reason),
    }
}

fn hello(runtimes: Vec<Runtime>) -> Hello {
    Hello {
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
        runtimes: runtimes.try_into().unwrap(),
        wasm: None,
        labels: List::default(),
        assignment: None,
        clock_ms: 0,
        max_assignment_bytes: 1 << 20,
        keys: List::default(),
        conditions: List::default(),
    }
}
