//! What runs on a board: run directories, processes, and how programs behave. Processes live under shims: an agent's
//! death does not touch them, a power cut ends them all.

use firmware_compat::{
    id::{Hash, PodId},
    v1::owned::{Exit, Pod},
};
use lichen_agent_core::{Event, event::FoundState};

use super::{Board, Wake, effects::failure, exit};
use crate::{Due, World, canary::Canary};

/// How a program behaves: the name of its image says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Runs until it is told to stop.
    Steady,
    /// Ends with an error within a minute.
    Crashy,
    /// Ends with an error after hours.
    Flaky,
    /// Does not stop when asked.
    Stubborn,
    /// Takes more memory than there is.
    Hungry,
    /// Can't be started.
    Broken,
    /// Takes up to a minute to start.
    Slow,
}

impl Program {
    pub fn of(pod: &Pod) -> Self {
        let image = pod.containers.first().map_or("", |c| &c.reference);
        Self::named(image)
    }

    pub fn named(image: &str) -> Self {
        match image.split(':').next().unwrap_or_default() {
            "crashy" => Self::Crashy,
            "flaky" => Self::Flaky,
            "stubborn" => Self::Stubborn,
            "hungry" => Self::Hungry,
            "broken" => Self::Broken,
            "slow" => Self::Slow,
            _ => Self::Steady,
        }
    }

    /// Whether a copy of it runs most of the time.
    pub fn stays_up(self) -> bool {
        !matches!(self, Self::Crashy | Self::Hungry | Self::Broken)
    }
}

/// How a process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Code(i32),
    /// For want of memory.
    OutOfMemory,
    /// Its shim was killed: nobody knows.
    Lost,
    /// Asked to.
    Stopped,
}

/// A run directory.
#[derive(Clone, Debug)]
pub struct Run {
    pub identity: Hash,
    pub attempt: u32,
    pub name: String,
    pub program: Program,
    pub state: RunState,
}

/// What a run directory says.
#[derive(Clone, Debug)]
pub enum RunState {
    /// Nothing was started in it.
    Prepared,
    Running {
        pid: u32,
        started_ms: u64,
        stopping: bool,
    },
    Exited(Exit),
    Lost,
}

impl RunState {
    pub fn found(&self) -> FoundState {
        match self {
            Self::Running { pid, started_ms, .. } => {
                FoundState::Running { pid: *pid, started_ms: *started_ms }
            }
            Self::Exited(exit) => FoundState::Exited(exit.clone()),
            Self::Lost | Self::Prepared => FoundState::Lost,
        }
    }
}

impl Board {
    pub fn is_running(&self, id: &PodId) -> bool {
        matches!(self.runs.get(id), Some(Run { state: RunState::Running { .. }, .. }))
    }

    /// The run directory of a Pod says what is about to be started.
    pub(super) fn note_prepared(&mut self, pod: &Pod, attempt: u32) {
        // What an earlier attempt left is there until this one is started.
        let old = self.runs.remove(&pod.id).filter(|old| old.identity == pod.identity);
        let (state, attempt) =
            old.map_or((RunState::Prepared, attempt), |old| (old.state, old.attempt));
        let run = Run {
            identity: pod.identity,
            attempt,
            name: pod.name.to_string(),
            program: Program::of(pod),
            state,
        };
        self.runs.insert(pod.id, run);
    }
}

impl World {
    pub(super) fn start(&mut self, board: usize, pod: &Pod, attempt: u32) -> Event {
        let id = pod.id;
        if self.boards[board].is_running(&id) {
            self.fail("one-copy-per-slot", &format!("{} is started twice", pod.name));
        }
        let program = Program::of(pod);
        if program == Program::Broken || self.boards[board].runtime_lies {
            self.audit.wire.allow(&self.boards[board].name, 6);
            let failure = failure("", "the runtime says: no such program");
            return Event::StartFailed { pod: id, failure };
        }
        let it = &mut self.boards[board];
        it.next_pid += 1;
        let (pid, started_ms) = (it.next_pid, it.unix_ms(self.now));
        it.note_prepared(pod, attempt);
        if let Some(run) = it.runs.get_mut(&id) {
            run.attempt = attempt;
            run.state = RunState::Running { pid, started_ms, stopping: false };
        }
        let label = self.boards[board].label.clone();
        self.tell(&format!("{label} starts {}", pod.name));
        self.judge_start(board, pod);
        let hour = 3_600_000;
        let (after, end) = match program {
            Program::Crashy => (1000 + self.up_to(59_000), End::Code(1)),
            Program::Flaky => (hour / 6 + self.up_to(10 * hour), End::Code(3)),
            Program::Hungry => (5000 + self.up_to(95_000), End::OutOfMemory),
            Program::Steady | Program::Stubborn | Program::Slow | Program::Broken => (0, End::Lost),
        };
        if after > 0 {
            self.ends_after(board, id, pid, after, end);
        }
        Event::Started { pod: id, pid, started_ms }
    }

    fn ends_after(&mut self, board: usize, pod: PodId, pid: u32, after: u64, end: End) {
        let life = self.boards[board].life;
        self.at(after, Due::Board { board, life, wake: Wake::Ends { pod, pid, end } });
    }

    /// An agent has a Pod stopped: signal, grace, kill.
    pub(super) fn signal(&mut self, board: usize, id: PodId, grace_ms: u32) {
        self.judge_stop(board, id);
        let ignored = self.is(Canary::StopsAreIgnored);
        let Some(run) = self.boards[board].runs.get_mut(&id) else { return };
        let RunState::Running { pid, stopping, .. } = &mut run.state else { return };
        *stopping = true;
        if ignored {
            return;
        }
        let (pid, program) = (*pid, run.program);
        let after = match program {
            Program::Stubborn => u64::from(grace_ms),
            _ => 10 + self.up_to(1000).min(u64::from(grace_ms)),
        };
        self.ends_after(board, id, pid, after, End::Stopped);
    }

    /// A process ends. The agent hears of it if there is one.
    pub(super) fn process_ends(&mut self, board: usize, id: PodId, pid: u32, end: End) {
        let at_ms = self.boards[board].unix_ms(self.now);
        let label = self.boards[board].label.clone();
        let Some(run) = self.boards[board].runs.get_mut(&id) else { return };
        if !matches!(run.state, RunState::Running { pid: running, .. } if running == pid) {
            return;
        }
        let exit = match end {
            End::Code(code) => exit(code, "Error", at_ms),
            End::OutOfMemory => exit(137, "OOMKilled", at_ms),
            End::Lost => exit(137, "Lost", at_ms),
            End::Stopped => exit(143, "Error", at_ms),
        };
        run.state = if end == End::Lost { RunState::Lost } else { RunState::Exited(exit.clone()) };
        let line = format!("{} on {label} ends: {end:?}", run.name);
        self.tell(&line);
        self.audit.wire.allow(&self.boards[board].name, 6);
        self.feed(board, Event::Exited { pod: id, exit });
    }

    /// Kills a process, or its shim, of whatever runs on a board; the choice is by chance.
    pub(crate) fn kill_something(&mut self, board: usize, shim: bool) {
        let end = if shim { End::Lost } else { End::Code(137) };
        if let Some((id, pid)) = self.pick_running(board) {
            self.process_ends(board, id, pid, end);
        }
    }

    /// What the canary of restarts does: a process that nobody had a reason to end is ended.
    pub(super) fn restart_something(&mut self, board: usize) {
        if let Some((id, _)) = self.pick_running(board) {
            self.signal(board, id, 1000);
        }
    }

    fn pick_running(&mut self, board: usize) -> Option<(PodId, u32)> {
        let running: Vec<_> = self.boards[board]
            .runs
            .iter()
            .filter_map(|(id, run)| match run.state {
                RunState::Running { pid, .. } => Some((*id, pid)),
                _ => None,
            })
            .collect();
        let index = self.up_to(running.len().saturating_sub(1) as u64);
        running.get(usize::try_from(index).unwrap_or(0)).copied()
    }

    /// The power is gone: every process with it, and now and then a run directory that was not on disk yet.
    pub(super) fn lose_processes(&mut self, board: usize) {
        let mut lost = Vec::new();
        for (id, run) in &mut self.boards[board].runs {
            if matches!(run.state, RunState::Running { .. }) {
                run.state = RunState::Lost;
            }
            lost.push(*id);
        }
        for id in lost {
            if self.chance(10) {
                self.boards[board].runs.remove(&id);
            }
        }
    }

    /// What an agent's start does with run directories: what never ran is removed.
    pub(super) fn scan(&mut self, board: usize) {
        self.boards[board].runs.retain(|_, run| !matches!(run.state, RunState::Prepared));
    }
}
