//! A world in which everything breaks on purpose: the real hub core, real agent cores and microcontroller sessions
//! under one virtual clock and one seed, and between them an MQTT broker, disks, runtimes, artefact transfers and clocks
//! that fail. After every step, checks that are named after the promises look for one that is broken.
//!
//! - [`step`] is the language: a history is a list of steps, each a line of text.
//! - [`draw`] draws histories at random, from one table of weights; [`shrink`] makes a failing one short.
//! - `broker`, `hub`, `board`, `firmware`, `disk` are the world; [`story`] is what happened in it. `trust` is what stands for
//!   Ed25519, `sealing` what stands for HPKE, `forger` what a hostile broker does. `door` is where boards come in with
//!   certificates, `member` what they do for theirs.
//! - `declared` is the reference model: what operators were promised. `audit` holds the checks.
//! - [`run`] ties it together: a run is a function of a seed.
//! - [`canary`] breaks one behaviour on purpose, to show that its check can fail.
//!
//! Any test can use it: make a [`World`], carry out steps, look at the [`Verdict`].

mod audit;
mod board;
mod broker;
pub mod canary;
mod declared;
mod disk;
mod door;
pub mod draw;
mod firmware;
mod forger;
mod hub;
mod jobs;
mod manifests;
mod member;
pub mod run;
mod sealing;
pub mod shrink;
pub mod step;
mod steps;
pub mod story;
mod trust;

use std::collections::BTreeMap;

use audit::Audit;
use board::{Board, Wake};
use broker::{Broker, Packet};
use canary::Canary;
use declared::Declared;
use door::Lifetimes;
use hub::{Hub, HubWake};
use step::{NotAStep, Step};
use story::Story;

pub use audit::Verdict;

/// Milliseconds since 1970 at the world's beginning: 1 January 2026.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

/// How the network is at present.
#[derive(Clone, Copy, Debug)]
struct Weather {
    /// Of a hundred messages, so many are lost.
    loss: u64,
    /// Of a hundred messages, so many arrive twice.
    duplication: u64,
    /// A message takes up to so many milliseconds.
    delay: u64,
    /// Messages of one connection overtake each other. TCP does not let them; the protocol does not rely on that.
    disordered: bool,
}

const FAIR: Weather = Weather { loss: 0, duplication: 0, delay: 20, disordered: false };

/// What is to happen at a time.
#[derive(Debug)]
enum Due {
    /// Something wakes a hub.
    Hub { hub: usize, life: u32, wake: HubWake },
    /// Something wakes what runs on a board.
    Board { board: usize, life: u32, wake: Wake },
    /// A board's frame reaches the broker.
    Up { name: String, conn: u64, packet: Packet },
    /// The broker's message reaches a board.
    Down { board: usize, conn: u64, packet: Packet },
    /// The broker gives up on a silent connection.
    Silence { name: String, conn: u64 },
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Up(u64),
    Down(u64),
    ToHub(usize),
}

/// Everything there is.
#[derive(Debug)]
pub struct World {
    now: u64,
    queue: BTreeMap<(u64, u64), Due>,
    serial: u64,
    /// When the last message on each way arrives.
    ways: BTreeMap<Way, u64>,
    dice: fastrand::Rng,
    weather: Weather,
    broker: Broker,
    hubs: Vec<Hub>,
    boards: Vec<Board>,
    declared: Declared,
    audit: Audit,
    canary: Option<Canary>,
    /// Frames were lost on connections that stood.
    was_lossy: bool,
    /// There are Secrets, or were: boards show their keys, and what is secret is looked for.
    has_secrets: bool,
    /// Boards need certificates, which last so long.
    certificates: Option<Lifetimes>,
    /// Certificates and news of the hub that boards have kept.
    renewals: u64,
    /// What happened.
    pub story: Story,
}

impl World {
    /// A world with a hub and no boards. `external`: the broker is a process of its own, that outlives the hub.
    #[must_use]
    pub fn new(seed: u64, external: bool) -> Self {
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            serial: 0,
            ways: BTreeMap::new(),
            dice: fastrand::Rng::with_seed(seed),
            weather: FAIR,
            broker: Broker::new(external),
            hubs: Vec::new(),
            boards: Vec::new(),
            declared: Declared::default(),
            audit: Audit::default(),
            canary: None,
            was_lossy: false,
            has_secrets: false,
            certificates: None,
            renewals: 0,
            story: Story::default(),
        };
        let mut first = Hub::default();
        first.keys = vec![1];
        world.hubs.push(first);
        world.start_hub(0);
        world
    }

    /// Breaks one behaviour on purpose.
    pub fn sabotage(&mut self, canary: Canary) {
        self.canary = Some(canary);
    }

    /// Carries out a step and everything that follows from it at once, then looks at the safety checks.
    ///
    /// # Errors
    /// The line is not a step. A broken promise is no error here: see [`Self::verdict`].
    pub fn step(&mut self, step: &Step) -> Result<(), NotAStep> {
        self.dice = fastrand::Rng::with_seed(step.salt);
        if step.verb() != "pass" {
            self.tell(&format!("# {}", step.words.join(" ")));
        }
        self.carry_out(step)?;
        self.pass(0);
        self.look_after_step();
        Ok(())
    }

    /// The first check that failed.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        self.audit.verdict.as_ref()
    }

    /// Lets time pass. Everything that is due happens at its time.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            let queued = self.queue.keys().next().map(|(at, _)| *at);
            let timers = self.hubs.iter().filter_map(Hub::wants_waking);
            let alarms = self.boards.iter().filter_map(Board::wants_waking);
            let next = timers.chain(alarms).chain(queued).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            if queued == Some(at) {
                if let Some((_, due)) = self.queue.pop_first() {
                    self.happen(due);
                }
            } else {
                self.wake();
            }
            if self.verdict().is_some() {
                return;
            }
        }
        self.now = end;
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Hub { hub, life, wake } => self.wake_hub(hub, life, wake),
            Due::Board { board, life, wake } => self.wake_board(board, life, wake),
            Due::Up { name, conn, packet } => self.reaches_broker(&name, conn, packet),
            Due::Down { board, conn, packet } => self.reaches_board(board, conn, &packet),
            Due::Silence { name, conn } => self.give_up_on(&name, conn),
        }
    }

    /// Wakes every core whose own timer is due.
    fn wake(&mut self) {
        for hub in 0..self.hubs.len() {
            if self.hubs[hub].wants_waking().is_some_and(|at| at <= self.now) {
                self.hub_turn(hub, vec![lichen_hub_core::event::Event::Timeout]);
            }
        }
        for board in 0..self.boards.len() {
            if self.boards[board].wants_waking().is_some_and(|at| at <= self.now) {
                self.agent_timeout(board);
            }
        }
    }

    fn at(&mut self, after_ms: u64, due: Due) {
        self.serial += 1;
        self.queue.insert((self.now + after_ms, self.serial), due);
    }

    fn tell(&mut self, line: &str) {
        self.story.tell(self.now, line);
        self.judge_openness("the story", line.as_bytes());
    }

    /// As [`Self::at`]; in fair weather not before what set out earlier on the same way.
    fn on_its_way(&mut self, way: Way, after_ms: u64, due: Due) {
        let arrived = self.ways.entry(way).or_insert(0);
        let mut at = self.now + after_ms;
        if !self.weather.disordered {
            at = at.max(*arrived);
        }
        *arrived = at.max(*arrived);
        self.at(at - self.now, due);
    }

    /// One time in a hundred, `percent` times.
    fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.dice.u64(0..100) < percent
    }

    /// Anything from nothing to `most`.
    fn up_to(&mut self, most: u64) -> u64 {
        self.dice.u64(0..=most)
    }

    /// A check failed. Only the first counts: what follows from it is noise.
    fn fail(&mut self, check: &'static str, what: &str) {
        if self.audit.verdict.is_none() {
            self.tell(&format!("!! {check}: {what}"));
            self.audit.verdict = Some(Verdict { check, what: what.to_owned() });
        }
    }
}
