//! A board: power, network, clock, disk, runtimes, and the real agent core in a shell of the world's making. The shell
//! does what the agent's own shell does, in the same order, and fails when it is told to.

mod claims;
mod effects;
mod link;
mod processes;

use std::{collections::BTreeMap, time::Duration};

pub use effects::digests;
use firmware_compat::{
    frame::Kind,
    id::{AgentId, BootId, ClaimId, Hash, PodId},
    keys::PinnedHub,
    time::Instant,
    v1::owned::{Exit, Hello, Label, List, Runtime, RuntimeClass, Storage, Text, WasmSupport},
};
use lichen_agent_core::{
    Agent, Config, ContainerId, Effect, Event,
    event::{Found, FoundContainer, FoundPod, FoundState},
    membership::upkeep::{Outcome, Step},
    saved,
};
pub use link::Link;
pub use processes::{End, Process, Program, Run, RunState};

use crate::{
    Due, EPOCH_MS, World,
    canary::Canary,
    disk::Disk,
    firmware::Firmware,
    member::{Answer, Member},
    trust,
};

/// What a board is made of. Does not change, but for the version of its agent.
#[derive(Clone, Debug)]
pub struct Facts {
    pub arch: String,
    pub engines: Vec<RuntimeClass>,
    pub memory: u64,
    pub labels: BTreeMap<String, String>,
    pub version: String,
    /// The protocol version in front of its frames.
    pub protocol: u8,
    /// Whether its clock goes on while it is off.
    pub has_rtc: bool,
}

/// How artefacts travel to a board at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    Good,
    Slow,
    CutOff,
    Corrupted,
}

/// An artefact in a board's store.
#[derive(Clone, Copy, Debug)]
pub struct Artefact {
    pub have: u64,
    pub size: u64,
    /// Its bytes changed after they were checked.
    pub rotten: bool,
}

/// One board.
#[derive(Debug)]
pub struct Board {
    /// Tells two boards of one name apart.
    pub label: String,
    pub name: String,
    pub facts: Facts,
    /// Counts starts of its agent; what was meant for an earlier one is void.
    pub life: u32,
    pub boots: u32,
    pub powered: bool,
    pub cable: bool,
    pub agent: Option<Agent>,
    pub firmware: Option<Firmware>,
    /// When this agent began on the world's clock.
    born: u64,
    pub link: Link,
    pub disk: Disk,
    pub artefacts: BTreeMap<Hash, Artefact>,
    pub runs: BTreeMap<PodId, Run>,
    next_pid: u32,
    pub clock_off: i64,
    /// Milliseconds that its clock gains in a million.
    pub drift: i64,
    pub runtime_broken: bool,
    /// The trial run works and the real one does not.
    pub runtime_lies: bool,
    pub transfer: Transfer,
    /// In its next save, after so many steps: the power fails, or only the agent dies.
    pub dies_in_save: Option<(usize, bool)>,
    /// Its agent stops everything before it ends.
    pub draining: bool,
    /// Keys that it had, to which Secrets are sealed.
    pub keys_made: u32,
    /// Its operator allowed another hub to take it over.
    pub adopts: bool,
    /// Messages of the hub that have not arrived yet.
    pub under_way: usize,
    /// Bytes of its time floor that were written.
    pub floor_bytes: u64,
    /// The newest time that its agent has heard.
    pub heard_ms: u64,
    /// When the last fault of the board itself began or ended.
    pub calm_since: u64,
    /// Its agent's membership, while it runs and has joined.
    pub member: Option<Member>,
    /// Why its hub does not take it any more, as it was told.
    pub kept_out: Option<String>,
    /// Claims whose data is on its disk, and whether that is to go.
    pub claims: BTreeMap<ClaimId, bool>,
}

/// What can wake what runs on a board.
#[derive(Debug)]
pub enum Wake {
    /// A piece of the shell's work is done.
    Done(Box<Effect>),
    /// Try to connect.
    Connect,
    /// The connection stands.
    Established { conn: u64 },
    /// The connection is found broken.
    Lost { conn: u64 },
    /// Another client has this board's session; the broker said so or just closed the connection.
    TakenOver { conn: u64, told: bool },
    /// Ask the hub again who it is.
    Introduce,
    /// Ask the hub who has this board's name.
    AskHolder,
    /// The hub's answer.
    Holder { another: bool },
    /// Look at the membership.
    Upkeep { number: u64 },
    /// The hub's answer to a call for the membership; no step for a board that joins.
    Called { step: Option<Step>, result: Box<Result<Answer, (Outcome, String)>> },
    /// A process ends by itself.
    Ends { pod: PodId, container: ContainerId, pid: u32, end: End },
    /// The supervisor starts the agent again.
    AgentStarts,
    /// By now everything that was assigned should have been started.
    BootCheck { boot: u32, generation: u64 },
}

impl Board {
    pub fn new(label: &str, name: &str, facts: Facts, agent_id: AgentId) -> Self {
        let mut disk = Disk::default();
        disk.replace("agent-id", &agent_id.0).unwrap_or_default();
        let mut board = Self {
            label: label.to_owned(),
            name: name.to_owned(),
            facts,
            life: 0,
            boots: 0,
            powered: false,
            cable: true,
            agent: None,
            firmware: None,
            born: 0,
            link: Link::default(),
            disk,
            artefacts: BTreeMap::new(),
            runs: BTreeMap::new(),
            next_pid: 100,
            clock_off: 0,
            drift: 0,
            runtime_broken: false,
            runtime_lies: false,
            transfer: Transfer::Good,
            dies_in_save: None,
            draining: false,
            keys_made: 0,
            adopts: false,
            under_way: 0,
            floor_bytes: 0,
            heard_ms: 0,
            calm_since: 0,
            member: None,
            kept_out: None,
            claims: BTreeMap::new(),
        };
        board.make_key();
        board
    }

    pub fn wants_waking(&self) -> Option<u64> {
        let (at, _) = self.agent.as_ref()?.poll_timeout()?;
        Some(self.born + at.0)
    }

    pub fn is_on_the_network(&self) -> bool {
        self.powered && self.cable
    }

    /// Whom it believes.
    pub fn pinned(&self) -> Option<PinnedHub> {
        match &self.firmware {
            Some(firmware) => firmware.session.guard().hub(),
            None => trust::from_bytes(self.disk.read("pinned-hub")?),
        }
    }

    pub fn agent_id(&self) -> AgentId {
        let id = self.disk.read("agent-id").and_then(|bytes| bytes.try_into().ok());
        AgentId(id.unwrap_or_default())
    }

    pub fn instant(&self, now: u64) -> Instant {
        Instant(now - self.born)
    }

    /// What its clock shows.
    pub fn unix_ms(&self, now: u64) -> u64 {
        let gained = i64::try_from(now / 1000).unwrap_or(0) * self.drift / 1000;
        (EPOCH_MS + now).saturating_add_signed(self.clock_off + gained)
    }

    pub fn runtimes(&self) -> Vec<Runtime> {
        let usable = !self.runtime_broken;
        let runtime = |engine: &RuntimeClass| Runtime {
            runtime_class: *engine,
            name: Text::cut(if *engine == RuntimeClass::Wasm { "wasmtime" } else { "crun" }),
            version: Text::cut("1"),
            usable,
            limits_enforced: usable,
            reason: Text::cut(if usable { "" } else { "the trial run failed" }),
        };
        self.facts.engines.iter().map(runtime).collect()
    }

    pub fn wasm(&self) -> Option<WasmSupport> {
        let class = if self.facts.arch == "amd64" { "x86_64" } else { "aarch64" };
        self.facts
            .engines
            .contains(&RuntimeClass::Wasm)
            .then(|| WasmSupport { class: Text::cut(class), compatibility: Text::cut("c1") })
    }

    /// Changes with every boot, and is another one on every board.
    pub fn boot_id(&self) -> BootId {
        let mut boot = [0; 16];
        let own = self.label.bytes().chain(self.boots.to_le_bytes());
        boot.iter_mut().rev().zip(own).for_each(|(byte, own)| *byte = own);
        BootId(boot)
    }

    fn hello(&self) -> Hello {
        let label = |(key, value): (&String, &String)| Label {
            key: Text::cut(key),
            value: Text::cut(value),
        };
        Hello {
            agent: self.agent_id(),
            boot: self.boot_id(),
            version: Text::cut(&self.facts.version),
            arch: Text::cut(&self.facts.arch),
            os: Text::cut("linux"),
            kernel: Text::cut("6.1"),
            cpu_features: List::default(),
            cpu_milli: 4000,
            memory_bytes: self.facts.memory,
            disk_bytes: 1 << 33,
            storage: Storage { claims: Text::cut("/claims"), sizes_enforced: false },
            runtimes: List::try_from(self.runtimes()).unwrap_or_default(),
            wasm: self.wasm(),
            labels: List::try_from(self.facts.labels.iter().map(label).collect::<Vec<_>>())
                .unwrap_or_default(),
            assignment: None,
            clock_ms: 0,
            max_assignment_bytes: 1 << 20,
            keys: List::default(),
            conditions: List::default(),
        }
    }

    /// Whether it is a second board of its name.
    pub fn is_clone(&self) -> bool {
        self.label != self.name
    }

    /// Whether programs can be started at all.
    pub fn runtime_works(&self) -> bool {
        !self.runtime_broken && !self.runtime_lies && !self.disk.full
    }

    /// What is on its disk, in the way that the agent reads it.
    pub fn saved(&self) -> saved::Loaded {
        saved::load(self.disk.saved())
    }
}

impl World {
    pub(crate) fn power_on(&mut self, board: usize) {
        let it = &mut self.boards[board];
        if it.powered {
            return;
        }
        it.powered = true;
        it.boots += 1;
        if !it.facts.has_rtc {
            // Until somebody tells it the time, it is 1970.
            it.clock_off = -i64::try_from(EPOCH_MS + self.now).unwrap_or(0);
        }
        let label = it.label.clone();
        self.tell(&format!("{label} is switched on"));
        self.start_agent(board);
        let generation = self.held_generation(board);
        let (boot, life) = (self.boards[board].boots, self.boards[board].life);
        let wake = Wake::BootCheck { boot, generation };
        self.at(crate::audit::BOOT_WITHIN_MS, Due::Board { board, life, wake });
    }

    fn held_generation(&self, board: usize) -> u64 {
        let held = self.boards[board].agent.as_ref().and_then(Agent::assignment);
        held.map_or(0, |held| held.generation.0)
    }

    pub(crate) fn power_off(&mut self, board: usize) {
        if !self.boards[board].powered {
            return;
        }
        let label = self.boards[board].label.clone();
        self.tell(&format!("{label} loses power"));
        let conn = self.boards[board].link.conn;
        self.finish_or_forget(board, true);
        let it = &mut self.boards[board];
        (it.agent, it.member) = (None, None);
        it.firmware = it.firmware.take().map(Firmware::after_power_cut);
        it.powered = false;
        it.life += 1;
        it.link = Link::default();
        it.disk.power_cut(&mut self.dice);
        self.lose_processes(board);
        if let Some(conn) = conn {
            let name = self.boards[board].name.clone();
            self.count_silence(&name, conn);
        }
    }

    /// The agent is killed. What runs under shims runs on. `restart_ms`: its supervisor starts it again.
    pub(crate) fn kill_agent(&mut self, board: usize, restart_ms: Option<u64>) {
        if self.boards[board].agent.is_none() {
            return;
        }
        let label = self.boards[board].label.clone();
        self.tell(&format!("{label}'s agent is killed"));
        self.finish_or_forget(board, false);
        self.end_agent(board);
        if let Some(after) = restart_ms {
            let life = self.boards[board].life;
            self.at(after, Due::Board { board, life, wake: Wake::AgentStarts });
        }
    }

    /// The agent's process is gone, with its connection.
    fn end_agent(&mut self, board: usize) {
        let it = &mut self.boards[board];
        (it.agent, it.member) = (None, None);
        it.life += 1;
        let conn = it.link.conn;
        it.link = Link::default();
        if let Some(conn) = conn {
            let name = self.boards[board].name.clone();
            if self.boards[board].is_on_the_network() {
                self.close_session(&name, conn, true);
            } else {
                self.count_silence(&name, conn);
            }
        }
    }

    pub(crate) fn start_agent(&mut self, board: usize) {
        let it = &self.boards[board];
        if !it.powered || it.agent.is_some() {
            return;
        }
        if self.boards[board].firmware.is_some() {
            if !self.boards[board].link.is_wanted() {
                self.start_firmware(board);
            }
            return;
        }
        if self.is_held_back(board) {
            return;
        }
        self.scan(board);
        for step in &saved::LOAD_STEPS {
            // A disk that can't do this fails the next save, too.
            let _done = self.boards[board].disk.step(step);
        }
        let seed = self.dice.u64(..);
        let (now, canary) = (self.now, self.canary);
        let it = &mut self.boards[board];
        it.life += 1;
        it.born = now;
        it.draining = false;
        let floor = it.disk.read("time-floor").and_then(|bytes| bytes.try_into().ok());
        let time_floor_ms = u64::from_le_bytes(floor.unwrap_or([0; 8]));
        it.heard_ms = time_floor_ms;
        let config = Config {
            hello: it.hello(),
            name: it.name.clone(),
            hub: it.pinned(),
            verify: match canary {
                Some(Canary::AgentBelievesAnyone) => trust::believe_anyone,
                _ => trust::verify,
            },
            time_floor_ms,
        };
        let loaded = it.saved();
        let forgets = canary == Some(Canary::AgentForgetsWhatRuns);
        let found = Found {
            pods: it.runs.iter().map(|(id, run)| found(*id, run, forgets)).collect(),
            artefacts: it
                .artefacts
                .iter()
                .filter(|(_, artefact)| artefact.have == artefact.size)
                .map(|(digest, _)| *digest)
                .collect(),
        };
        it.agent = Some(Agent::new(config, loaded, seed));
        let label = it.label.clone();
        self.tell(&format!("{label}'s agent starts"));
        self.judge_memory(board);
        let unix_ms = self.boards[board].unix_ms(self.now);
        self.feed(board, Event::Clock { unix_ms });
        self.feed(board, Event::Found(found));
        self.start_member(board);
    }

    /// Feeds an event to an agent and carries out what follows.
    pub(crate) fn feed(&mut self, board: usize, event: Event) {
        let now = self.boards[board].instant(self.now);
        if let Some(agent) = &mut self.boards[board].agent {
            agent.handle(event, now);
        }
        self.carry_out_for_agent(board);
    }

    pub(crate) fn agent_timeout(&mut self, board: usize) {
        let now = self.boards[board].instant(self.now);
        if let Some(agent) = &mut self.boards[board].agent {
            agent.handle_timeout(now);
            let again = agent.poll_timeout();
            if again.is_some_and(|(at, _)| at <= now) {
                let why = format!("{again:?} at {now:?}");
                self.fail("bounds-hold", &format!("an agent wakes again at once: {why}"));
            }
        }
        self.carry_out_for_agent(board);
    }

    fn carry_out_for_agent(&mut self, board: usize) {
        let Some(agent) = &mut self.boards[board].agent else { return };
        let effects: Vec<Effect> = agent.drain().collect();
        self.audit.bound("effects of one agent turn", effects.len(), 2000);
        let life = self.boards[board].life;
        for effect in effects {
            // An effect may have ended the agent.
            if self.boards[board].life == life {
                self.begin_effect(board, effect);
            }
        }
    }

    pub(crate) fn wake_board(&mut self, board: usize, life: u32, wake: Wake) {
        match wake {
            Wake::Ends { pod, container, pid, end } => {
                self.process_ends(board, pod, container, pid, end);
            }
            Wake::Lost { conn } => self.connection_lost(board, conn),
            Wake::TakenOver { conn, told } => self.taken_over(board, conn, told),
            _ if self.boards[board].life != life => {}
            Wake::Done(effect) => self.finish_effect(board, *effect),
            Wake::Connect => self.connect(board),
            Wake::Established { conn } => self.established(board, conn),
            Wake::Introduce => self.introduce_again(board),
            Wake::AskHolder => self.ask_holder(board),
            Wake::Holder { another } => self.holder_is(board, another),
            Wake::Upkeep { number } => self.upkeep_is_due(board, number),
            Wake::Called { step, result } => self.called(board, step, *result),
            Wake::AgentStarts => self.start_agent(board),
            Wake::BootCheck { boot, generation } => self.judge_boot(board, boot, generation),
        }
    }

    pub(crate) fn reaches_board(&mut self, board: usize, conn: u64, packet: &crate::Packet) {
        self.boards[board].under_way -= usize::from(packet.by_hub);
        let it = &self.boards[board];
        if it.link.conn != Some(conn) || !it.is_on_the_network() || packet.bytes.is_empty() {
            return;
        }
        let name = it.name.clone();
        if packet.by_hub {
            self.audit.wire.received(&name, packet.kind, packet.to_all);
        }
        if self.boards[board].firmware.is_some() {
            return self.firmware_hears(board, packet.to_all, &packet.bytes);
        }
        if self.boards[board].facts.protocol != firmware_compat::frame::VERSION
            || self.is_swallowed(board, packet)
        {
            return;
        }
        if packet.kind == Kind::Time {
            self.heard_the_time(board);
        }
        let frame = packet.bytes.clone();
        self.feed(board, Event::Heard { to_all: packet.to_all, frame });
    }

    /// A device whose clock is not right gets it from the network soon after it hears anything.
    fn heard_the_time(&mut self, board: usize) {
        if !self.boards[board].facts.has_rtc && self.boards[board].clock_off < 0 {
            self.set_clock(board, 0);
        }
    }

    pub(crate) fn set_clock(&mut self, board: usize, off: i64) {
        self.boards[board].clock_off = off;
        let unix_ms = self.boards[board].unix_ms(self.now);
        self.feed(board, Event::Clock { unix_ms });
    }
}

fn found(id: PodId, run: &Run, forgets: bool) -> FoundPod {
    let container = |(container, process): (&ContainerId, &Process)| FoundContainer {
        container: *container,
        name: process.name.rsplit('/').next().unwrap_or_default().to_owned(),
        restarts: process.attempt,
        last_exit: None,
        state: if forgets { FoundState::Lost } else { process.state.found() },
        health: process.health,
        age: Duration::ZERO,
    };
    let containers = run.containers.iter().map(container).collect();
    FoundPod {
        pod: id,
        identity: Some(run.identity),
        sandbox: run.sandbox,
        age: Duration::ZERO,
        failed: run.failed.clone(),
        containers,
    }
}

/// How a process ended, in the wire's words.
pub fn exit(code: i32, reason: &str, at_ms: u64) -> Exit {
    Exit { code, reason: Text::cut(reason), message: Text::default(), started_ms: 0, at_ms }
}
