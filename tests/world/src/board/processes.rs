//! What runs on a board: run directories, processes, and how programs behave. Processes live under shims: an agent's
//! death does not touch them, a power cut ends them all.

use std::collections::BTreeMap;

use firmware_compat::{
    id::{ClaimId, Hash, PodId},
    v1::owned::{Container, Exit, Pod},
};
use lichen_agent_core::{
    ContainerId, Event, PodSpec,
    event::{Failure, FoundState, Health},
};

use super::{Board, Wake, claims::claims_of, effects::failure, exit};
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
    /// Ends well within seconds.
    Brief,
}

impl Program {
    pub fn of(container: &Container) -> Self {
        Self::named(&container.reference)
    }

    /// Whether every container of a Pod runs most of the time.
    pub fn all_stay_up(pod: &Pod) -> bool {
        pod.init_containers.iter().all(|c| Self::of(c) == Self::Brief)
            && pod.containers.iter().all(|c| Self::of(c).stays_up())
    }

    pub fn named(image: &str) -> Self {
        match image.split(':').next().unwrap_or_default() {
            "crashy" => Self::Crashy,
            "flaky" => Self::Flaky,
            "stubborn" => Self::Stubborn,
            "hungry" => Self::Hungry,
            "broken" => Self::Broken,
            "slow" => Self::Slow,
            "brief" => Self::Brief,
            _ => Self::Steady,
        }
    }

    /// Whether a copy of it runs most of the time.
    pub fn stays_up(self) -> bool {
        !matches!(self, Self::Crashy | Self::Hungry | Self::Broken | Self::Brief)
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

/// A Pod's directory.
#[derive(Clone, Debug)]
pub struct Run {
    pub identity: Hash,
    pub name: String,
    /// Its sandbox stands.
    pub sandbox: bool,
    /// Why it has failed for good.
    pub failed: Option<Failure>,
    pub containers: BTreeMap<ContainerId, Process>,
    /// The claims that it mounts.
    pub claims: Vec<ClaimId>,
}

impl Run {
    pub fn is_running(&self) -> bool {
        self.containers.values().any(Process::is_running)
    }

    /// Whether each of a Pod's containers runs.
    pub fn runs_whole(&self, pod: &Pod) -> bool {
        let runs = |id| self.containers.get(&id).is_some_and(Process::is_running);
        ContainerId::all(pod).filter(|id| !id.is_init()).all(runs)
    }

    /// What is kept is all but how init containers ended.
    pub fn lose_sandbox(&mut self) {
        self.sandbox = false;
        for (_, process) in self.containers.iter_mut().filter(|(id, _)| id.is_init()) {
            process.state = RunState::Lost;
        }
    }

    /// An init container that has not ended well in this sandbox.
    fn unfinished(&self, pod: &Pod) -> Option<ContainerId> {
        let has_succeeded = |id: &ContainerId| {
            let state = self.containers.get(id).map(|process| &process.state);
            matches!(state, Some(RunState::Exited(exit)) if exit.code == 0)
        };
        ContainerId::all(pod).filter(|id| id.is_init()).find(|id| !has_succeeded(id))
    }
}

/// A container's directory.
#[derive(Clone, Debug)]
pub struct Process {
    pub name: String,
    pub attempt: u32,
    pub program: Program,
    pub state: RunState,
    /// What its agent keeps of it while it runs.
    pub health: Option<Health>,
}

impl Process {
    pub fn is_running(&self) -> bool {
        matches!(self.state, RunState::Running { .. })
    }
}

/// What a container's directory says.
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
            Self::Prepared => FoundState::Created,
            Self::Lost => FoundState::Lost,
        }
    }
}

impl Board {
    pub fn is_running(&self, id: &PodId) -> bool {
        self.runs.get(id).is_some_and(Run::is_running)
    }

    pub fn is_container_running(&self, pod: &PodId, id: ContainerId) -> bool {
        let run = self.runs.get(pod);
        run.and_then(|run| run.containers.get(&id)).is_some_and(Process::is_running)
    }

    /// Whether each of a Pod's containers runs.
    pub fn runs_whole(&self, pod: &Pod) -> bool {
        self.runs.get(&pod.id).is_some_and(|run| run.runs_whole(pod))
    }

    /// The directory of a Pod is there, with what was kept of an earlier sandbox.
    pub(super) fn note_sandbox(&mut self, pod: &Pod) -> &mut Run {
        let new = Run {
            identity: pod.identity,
            name: pod.name.to_string(),
            sandbox: false,
            failed: None,
            containers: BTreeMap::new(),
            claims: claims_of(pod),
        };
        self.runs.entry(pod.id).or_insert(new)
    }

    pub(super) fn keep_health(
        &mut self,
        pod: PodId,
        id: ContainerId,
        attempt: u32,
        health: Health,
    ) {
        let process = self.process(&pod, id).filter(|process| process.attempt == attempt);
        if let Some(process) = process {
            process.health = Some(health);
        }
    }

    pub(super) fn keep_failure(&mut self, pod: PodId, failure: Failure) {
        if let Some(run) = self.runs.get_mut(&pod) {
            run.failed = Some(failure);
        }
    }

    fn process(&mut self, pod: &PodId, id: ContainerId) -> Option<&mut Process> {
        self.runs.get_mut(pod)?.containers.get_mut(&id)
    }

    /// The directory of a container is there. What an earlier attempt left stays until this one is started.
    pub(super) fn note_prepared(&mut self, pod: &Pod, id: ContainerId) {
        let Some(container) = id.of(pod) else { return };
        let created = Process {
            name: format!("{}/{}", pod.name, container.name),
            attempt: 0,
            program: Program::of(container),
            state: RunState::Prepared,
            health: None,
        };
        self.note_sandbox(pod).containers.entry(id).or_insert(created);
    }
}

impl World {
    pub(super) fn start(
        &mut self,
        board: usize,
        spec: &PodSpec,
        container: ContainerId,
        attempt: u32,
    ) -> Option<Event> {
        let pod = spec.id;
        let of = container.of(spec)?;
        if self.boards[board].is_container_running(&pod, container) {
            self.fail("no-pod-runs-twice", &format!("{} is started twice", spec.name));
        }
        self.judge_order(board, spec, container);
        let program = Program::of(of);
        if program == Program::Broken || self.boards[board].runtime_lies {
            self.audit.wire.allow(&self.boards[board].name, 6);
            let failure = failure("", "the runtime says: no such program");
            return Some(Event::StartFailed { pod, container, failure });
        }
        let it = &mut self.boards[board];
        it.next_pid += 1;
        let (pid, started_ms) = (it.next_pid, it.unix_ms(self.now));
        it.note_prepared(spec, container);
        if let Some(process) = it.process(&pod, container) {
            (process.attempt, process.health) = (attempt, None);
            process.state = RunState::Running { pid, started_ms, stopping: false };
        }
        let label = self.boards[board].label.clone();
        let of_several = if ContainerId::all(spec).nth(1).is_some() {
            format!("/{}", of.name)
        } else {
            String::new()
        };
        self.tell(&format!("{label} starts {}{of_several}", spec.name));
        self.judge_start(board, spec);
        let hour = 3_600_000;
        let (after, end) = match program {
            Program::Crashy => (1000 + self.up_to(59_000), End::Code(1)),
            Program::Flaky => (hour / 6 + self.up_to(10 * hour), End::Code(3)),
            Program::Hungry => (5000 + self.up_to(95_000), End::OutOfMemory),
            Program::Brief => (10 + self.up_to(3000), End::Code(0)),
            Program::Steady | Program::Stubborn | Program::Slow | Program::Broken => (0, End::Lost),
        };
        if after > 0 {
            self.ends_after(board, (pod, container), pid, after, end);
        }
        Some(Event::Started { pod, container, pid, started_ms })
    }

    fn ends_after(
        &mut self,
        board: usize,
        (pod, container): (PodId, ContainerId),
        pid: u32,
        after: u64,
        end: End,
    ) {
        let life = self.boards[board].life;
        self.at(after, Due::Board { board, life, wake: Wake::Ends { pod, container, pid, end } });
    }

    /// An agent has a container stopped: signal, grace, kill.
    pub(super) fn signal(
        &mut self,
        board: usize,
        pod: PodId,
        container: ContainerId,
        grace_ms: u32,
    ) {
        self.judge_stop(board, pod, container);
        let ignored = self.is(Canary::StopsAreIgnored);
        let Some(process) = self.boards[board].process(&pod, container) else { return };
        let RunState::Running { pid, stopping, .. } = &mut process.state else { return };
        *stopping = true;
        if ignored {
            return;
        }
        let (pid, program) = (*pid, process.program);
        let after = match program {
            Program::Stubborn => u64::from(grace_ms),
            _ => 10 + self.up_to(1000).min(u64::from(grace_ms)),
        };
        self.ends_after(board, (pod, container), pid, after, End::Stopped);
    }

    /// A process ends. The agent hears of it if there is one.
    pub(super) fn process_ends(
        &mut self,
        board: usize,
        pod: PodId,
        container: ContainerId,
        pid: u32,
        end: End,
    ) {
        let at_ms = self.boards[board].unix_ms(self.now);
        let label = self.boards[board].label.clone();
        let Some(process) = self.boards[board].process(&pod, container) else { return };
        if !matches!(process.state, RunState::Running { pid: running, .. } if running == pid) {
            return;
        }
        let exit = match end {
            End::Code(0) => exit(0, "Completed", at_ms),
            End::Code(code) => exit(code, "Error", at_ms),
            End::OutOfMemory => exit(137, "OOMKilled", at_ms),
            End::Lost => exit(137, "Lost", at_ms),
            End::Stopped => exit(143, "Error", at_ms),
        };
        process.state =
            if end == End::Lost { RunState::Lost } else { RunState::Exited(exit.clone()) };
        let line = format!("{} on {label} ends: {end:?}", process.name);
        if let End::Code(code) = end {
            self.audit.jobs.program_ended(pod, code);
        }
        self.tell(&line);
        self.audit.wire.allow(&self.boards[board].name, 6);
        self.feed(board, Event::Exited { pod, container, exit });
    }

    /// Kills a process, or its shim, of whatever runs on a board; the choice is by chance.
    pub(crate) fn kill_something(&mut self, board: usize, shim: bool) {
        let end = if shim { End::Lost } else { End::Code(137) };
        if let Some((pod, container, pid)) = self.pick_running(board) {
            self.process_ends(board, pod, container, pid, end);
        }
    }

    /// What the canary of restarts does: a process that nobody had a reason to end is ended.
    pub(super) fn restart_something(&mut self, board: usize) {
        if let Some((pod, container, _)) = self.pick_running(board) {
            self.signal(board, pod, container, 1000);
        }
    }

    fn pick_running(&mut self, board: usize) -> Option<(PodId, ContainerId, u32)> {
        let runs = self.boards[board].runs.iter();
        let all = runs.flat_map(|(pod, run)| run.containers.iter().map(move |of| (*pod, of)));
        let running: Vec<_> = all
            .filter_map(|(pod, (container, process))| match process.state {
                RunState::Running { pid, .. } => Some((pod, *container, pid)),
                _ => None,
            })
            .collect();
        let index = self.up_to(running.len().saturating_sub(1) as u64);
        running.get(usize::try_from(index).unwrap_or(0)).copied()
    }

    /// The power is gone: every process with it, and now and then a Pod's directory that was not on disk yet.
    pub(super) fn lose_processes(&mut self, board: usize) {
        let mut lost = Vec::new();
        for (id, run) in &mut self.boards[board].runs {
            run.sandbox = false;
            for process in run.containers.values_mut().filter(|process| process.is_running()) {
                process.state = RunState::Lost;
            }
            lost.push(*id);
        }
        for id in lost {
            if self.chance(10) {
                self.boards[board].runs.remove(&id);
            }
        }
    }

    /// What an agent's start does with directories: those in which nothing ever ran are removed.
    pub(super) fn scan(&mut self, board: usize) {
        self.boards[board].runs.retain(|_, run| {
            run.containers.retain(|_, process| !matches!(process.state, RunState::Prepared));
            !run.containers.is_empty()
        });
    }

    /// Init containers have ended well, one after the other, before anything else of the Pod starts.
    fn judge_order(&mut self, board: usize, pod: &Pod, container: ContainerId) {
        let it = &self.boards[board];
        let first = it.runs.get(&pod.id).and_then(|run| run.unfinished(pod));
        if first.is_some_and(|first| first < container) {
            let what = format!("{} starts {container} of {} too early", it.label, pod.name);
            self.fail("init-containers-come-first", &what);
        }
    }
}
