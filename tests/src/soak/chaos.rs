//! Kills at random: programs of the fleet, which are started again after a short pause, and parts of Pods, which the
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
use crate::{footprint::is_alive, process::signal};

/// Between two kills.
const PAUSE_MS: std::ops::Range<u64> = 50..900;
/// How long a program stays down, or stands still.
const DOWN_MS: std::ops::Range<u64> = 0..2500;
/// An agent waits longer after every end of a Pod; after this many the wait is 20 s, and the end of the soak would
/// have to be waited for.
const MOST_KILLS_OF_A_POD: u32 = 3;

/// How long a moment that is wanted may take to come.
const PATIENCE: Duration = Duration::from_millis(600);

/// What may be killed, and how often in comparison.
const TARGETS: [(Target, u32); 12] = [
    (Target::Hub, 2),
    (Target::HubAtAChange, 4),
    (Target::Broker, 3),
    (Target::Agent, 4),
    (Target::AgentAtAStart, 3),
    (Target::AgentAndShim, 3),
    (Target::Part(Part::Shim), 6),
    (Target::ShimAtItsStart, 4),
    (Target::Part(Part::Process), 6),
    (Target::CleanUp, 4),
    (Target::FreezeHub, 1),
    (Target::FreezeAgent, 2),
];

#[derive(Clone, Copy, Debug)]
enum Target {
    Hub,
    /// While it is asked for something, or just after it has answered.
    HubAtAChange,
    Broker,
    Agent,
    /// While it starts a Pod.
    AgentAtAStart,
    /// A shim dies while nobody watches it.
    AgentAndShim,
    Part(Part),
    /// While its runtime works.
    ShimAtItsStart,
    /// A shim, and the program that tidies up after it.
    CleanUp,
    /// It stands still for a while: its connections are there, and nobody answers on them.
    FreezeHub,
    FreezeAgent,
}

/// Who kills.
#[derive(Debug)]
pub struct Chaos<'a> {
    fleet: &'a mut Fleet,
    history: &'a History,
    dice: Rng,
    down: Vec<(Program, Instant)>,
    /// Process ids of what stands still, and until when.
    frozen: Vec<(u32, Instant)>,
    kills: BTreeMap<String, u32>,
}

impl<'a> Chaos<'a> {
    /// One for a fleet.
    #[must_use]
    pub fn new(fleet: &'a mut Fleet, history: &'a History, dice: Rng) -> Self {
        let (down, frozen, kills) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { fleet, history, dice, down, frozen, kills }
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
        let device = self.a_device();
        match draw(&mut self.dice, &TARGETS) {
            Target::Hub => self.kill(Program::Hub),
            Target::HubAtAChange => {
                let before = self.history.len();
                let _any_moment_will_do = moment(|| (self.history.len() > before).then_some(()));
                thread::sleep(Duration::from_micros(self.dice.u64(..3000)));
                self.kill(Program::Hub);
            }
            Target::Broker if self.fleet.broker.is_some() => self.kill(Program::Broker),
            Target::Broker => self.kill(Program::Hub),
            Target::Agent => self.kill(self.agent(device)),
            Target::AgentAtAStart => {
                if let Some((device, _)) = moment(|| self.starting()) {
                    self.kill(self.agent(device));
                }
            }
            Target::AgentAndShim => {
                self.kill(self.agent(device));
                self.kill_part(device, Part::Shim);
            }
            Target::Part(part) => self.kill_part(device, part),
            Target::ShimAtItsStart => {
                if let Some((device, shim)) = moment(|| self.starting()) {
                    thread::sleep(Duration::from_millis(self.dice.u64(..40)));
                    self.kill_part_of(device, &shim, Part::Shim);
                }
            }
            Target::FreezeHub => self.freeze(&Program::Hub),
            Target::FreezeAgent => self.freeze(&self.agent(device)),
            Target::CleanUp => {
                self.kill_part(device, Part::Shim);
                if let Some(pid) = moment(|| self.fleet.cleaning_up()) {
                    thread::sleep(Duration::from_millis(self.dice.u64(..30)));
                    self.history.add(What::Note("chaos: kill -9 a clean-up".to_owned()));
                    signal(pid, Signal::KILL);
                }
            }
        }
    }

    /// A Pod whose shim is there and that does not run yet, and the number of its device.
    fn starting(&self) -> Option<(usize, Running)> {
        for (device, agent) in self.fleet.agents.iter().enumerate() {
            let mut choices = self.choices(self.fleet.running_on(agent));
            choices.retain(|choice| choice.process.is_none());
            if let Some(choice) = choices.pop() {
                return Some((device, choice));
            }
        }
        None
    }

    /// Pods that may be killed.
    fn choices(&self, mut running: Vec<Running>) -> Vec<Running> {
        let kills = |uid: &str| self.kills.get(uid).copied().unwrap_or_default();
        running.retain(|choice| {
            may_be_killed(&choice.pod) && kills(&choice.uid) < MOST_KILLS_OF_A_POD
        });
        running
    }

    fn agent(&self, device: usize) -> Program {
        Program::Agent(self.fleet.agents[device].name().to_owned())
    }

    fn a_device(&mut self) -> usize {
        self.dice.usize(..self.fleet.agents.len())
    }

    fn is_down(&self, program: &Program) -> bool {
        self.down.iter().any(|(other, _)| other == program)
    }

    fn freeze(&mut self, program: &Program) {
        if self.is_down(program) {
            return;
        }
        let pid = match program {
            Program::Hub => self.fleet.hub.pid(),
            Program::Agent(name) => {
                let agent = self.fleet.agents.iter().find(|agent| agent.name() == name);
                agent.expect("it was chosen").pid()
            }
            Program::Broker => return,
        };
        self.history.add(What::Note(format!("chaos: freeze {program}")));
        signal(pid, Signal::STOP);
        let until = Instant::now() + Duration::from_millis(self.dice.u64(DOWN_MS));
        self.frozen.push((pid, until));
    }

    fn kill(&mut self, program: Program) {
        if self.is_down(&program) {
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
        let mut choices = self.choices(self.fleet.running_on(&self.fleet.agents[device]));
        choices.retain(|choice| part == Part::Shim || choice.process.is_some());
        if !choices.is_empty() {
            let choice = choices.swap_remove(self.dice.usize(..choices.len()));
            self.kill_part_of(device, &choice, part);
        }
    }

    fn kill_part_of(&mut self, device: usize, choice: &Running, part: Part) {
        let pid = match part {
            Part::Shim => Some(choice.shim),
            Part::Process => choice.process,
        };
        // A kill that hits nothing must not explain a start.
        let Some(pid) = pid.filter(|pid| is_alive(*pid)) else { return };
        let (device, uid) = (self.fleet.agents[device].name().to_owned(), choice.uid.clone());
        *self.kills.entry(uid.clone()).or_default() += 1;
        self.history.add(What::KilledPart { device, uid, part });
        signal(pid, Signal::KILL);
    }

    /// Starts what has been down for long enough, and lets go on what has stood still for long enough.
    fn start_due(&mut self, now: Instant) {
        for (pid, _) in self.frozen.extract_if(.., |(_, until)| *until <= now) {
            self.history.add(What::Note("chaos: let go on what was frozen".to_owned()));
            // It may have been killed meanwhile. To whom its number belongs now, this means nothing.
            signal(pid, Signal::CONT);
        }
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

/// Waits for something to be there, but not for long.
fn moment<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        match look() {
            None if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
            found => return found,
        }
    }
}
