//! Kills at random: programs of the fleet, which are started again after a short pause, and parts of instances, which the
//! devices must start again by themselves.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use rustix::process::Signal;

use super::{
    dice::draw,
    fleet::{Fleet, Running},
    history::{History, Part, Program, What},
    workloads::may_be_killed,
};
use crate::process::signal;

/// Between two kills.
const PAUSE_MS: std::ops::Range<u64> = 50..900;
/// How long a program stays down.
const DOWN_MS: std::ops::Range<u64> = 0..2500;
/// An agent waits longer after every end of an instance; after this many the wait is 20 s, and the end of the soak would
/// have to be waited for.
const MOST_KILLS_OF_AN_INSTANCE: u32 = 3;

/// What may be killed, and how often in comparison.
const TARGETS: [(Target, u32); 6] = [
    (Target::Hub, 3),
    (Target::Broker, 3),
    (Target::Agent, 6),
    (Target::Part(Part::Shim), 8),
    (Target::Part(Part::Process), 6),
    (Target::AgentAndShim, 3),
];

#[derive(Clone, Copy, Debug)]
enum Target {
    Hub,
    Broker,
    Agent,
    Part(Part),
    /// A shim dies while nobody watches it.
    AgentAndShim,
}

/// Who kills.
#[derive(Debug)]
pub struct Chaos<'a> {
    fleet: &'a mut Fleet,
    history: &'a History,
    dice: Rng,
    down: Vec<(Program, Instant)>,
    kills: BTreeMap<String, u32>,
}

impl<'a> Chaos<'a> {
    /// One for a fleet.
    #[must_use]
    pub fn new(fleet: &'a mut Fleet, history: &'a History, dice: Rng) -> Self {
        Self { fleet, history, dice, down: Vec::new(), kills: BTreeMap::new() }
    }

    /// Kills until the time is over, and starts everything again that is down.
    pub fn rage(mut self, until: Instant) {
        let mut next = Instant::now();
        while Instant::now() < until {
            self.start_due(Instant::now());
            if Instant::now() >= next {
                self.strike();
                next = Instant::now() + Duration::from_millis(self.dice.u64(PAUSE_MS));
            }
            thread::sleep(Duration::from_millis(3));
        }
        self.history.add(What::Note("chaos: the faults stop".to_owned()));
        let all = until + Duration::from_millis(DOWN_MS.end);
        self.start_due(all);
    }

    fn strike(&mut self) {
        match draw(&mut self.dice, &TARGETS) {
            Target::Hub => self.kill(Program::Hub),
            Target::Broker if self.fleet.broker.is_some() => self.kill(Program::Broker),
            Target::Broker => self.kill(Program::Hub),
            Target::Agent => {
                let device = self.a_device();
                self.kill(Program::Agent(self.fleet.agents[device].name().to_owned()));
            }
            Target::Part(part) => {
                let device = self.a_device();
                self.kill_part(device, part);
            }
            Target::AgentAndShim => {
                let device = self.a_device();
                self.kill(Program::Agent(self.fleet.agents[device].name().to_owned()));
                self.kill_part(device, Part::Shim);
            }
        }
    }

    fn a_device(&mut self) -> usize {
        self.dice.usize(..self.fleet.agents.len())
    }

    fn kill(&mut self, program: Program) {
        if self.down.iter().any(|(other, _)| *other == program) {
            return;
        }
        self.history.add(What::Killed(program.clone()));
        match &program {
            Program::Hub => self.fleet.hub.kill(),
            Program::Broker => self.fleet.broker.as_mut().expect("it was chosen").kill(),
            Program::Agent(name) => {
                let agent = self.fleet.agents.iter_mut().find(|agent| agent.name() == name);
                agent.expect("it was chosen").kill();
            }
        }
        let up_at = Instant::now() + Duration::from_millis(self.dice.u64(DOWN_MS));
        self.down.push((program, up_at));
    }

    fn kill_part(&mut self, device: usize, part: Part) {
        let agent = &self.fleet.agents[device];
        let mut choices: Vec<Running> = self.fleet.running_on(agent);
        let kills = |instance: &str| self.kills.get(instance).copied().unwrap_or_default();
        choices.retain(|choice| {
            may_be_killed(&choice.pod)
                && kills(&choice.instance) < MOST_KILLS_OF_AN_INSTANCE
                && (part == Part::Shim || choice.process.is_some())
        });
        if choices.is_empty() {
            return;
        }
        let choice = choices.swap_remove(self.dice.usize(..choices.len()));
        let pid = match part {
            Part::Shim => choice.shim,
            Part::Process => choice.process.expect("only those were kept"),
        };
        *self.kills.entry(choice.instance.clone()).or_default() += 1;
        let (device, instance) = (agent.name().to_owned(), choice.instance);
        self.history.add(What::KilledPart { device, instance, part });
        signal(pid, Signal::KILL);
    }

    /// Starts what has been down for long enough.
    fn start_due(&mut self, now: Instant) {
        let (due, rest) = self.down.drain(..).partition(|(_, up_at)| *up_at <= now);
        self.down = rest;
        let due: Vec<(Program, Instant)> = due;
        for (program, _) in due {
            self.history.add(What::Started(program.clone()));
            match program {
                Program::Hub => self.fleet.hub.launch(),
                Program::Broker => {
                    self.fleet.broker.as_mut().expect("it was killed").start_again();
                }
                Program::Agent(name) => {
                    let agent = self.fleet.agents.iter_mut().find(|agent| agent.name() == name);
                    agent.expect("it was killed").start_again();
                }
            }
        }
    }
}
