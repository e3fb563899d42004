//! A shell that answers in any order and fails at any time, a hub that changes its mind, and what must hold meanwhile.

#![expect(clippy::unwrap_used, reason = "tests")]

mod ops;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use firmware_compat::{
    id::{Hash, PodId},
    time::Instant,
    v1::owned::*,
};
use lichen_agent_core::{
    Agent, ContainerId, Effect, Event, Up,
    event::{Answer, FoundState},
};
pub use ops::{Op, op};
use watch::Watch;

use crate::world::{
    Process, Run, World, exit, failure,
    hub::{UP, say},
    names::*,
};

pub struct Chaos {
    /// Its disk, store, runs and hub; the agent is driven from here.
    pub world: World,
    /// Work that the shell has been given and not answered.
    pending: Vec<Effect>,
    watch: Watch,
    generation: u64,
    wanted: Vec<Pod>,
    /// What the hub believes.
    view: BTreeMap<PodId, PodStatus>,
    half_full: Option<BTreeSet<PodId>>,
    acknowledged: Option<AssignmentId>,
    in_sync: bool,
    pub is_honest: bool,
    seed: u64,
}

impl Chaos {
    pub fn new(seed: u64) -> Self {
        let mut chaos = Self {
            world: World::new(),
            pending: Vec::new(),
            watch: Watch::default(),
            generation: 0,
            wanted: Vec::new(),
            view: BTreeMap::new(),
            half_full: None,
            acknowledged: None,
            in_sync: false,
            is_honest: true,
            seed,
        };
        chaos.start_agent();
        chaos
    }

    fn start_agent(&mut self) {
        self.seed = self.seed.wrapping_add(1);
        let (agent, found) = self.world.new_agent(self.seed);
        self.world.agent = Some(agent);
        self.feed(Event::Clock { unix_ms: self.world.unix_ms() });
        self.feed(Event::Found(found));
    }

    /// The agent dies; what the shell was at has happened, or has not.
    fn kill_agent(&mut self, dice: u8) {
        self.world.agent = None;
        for (n, effect) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if (usize::from(dice) + n).is_multiple_of(2) {
                self.finish(effect, true);
            }
        }
        self.world.link_up = false;
        self.watch = Watch::default();
        self.in_sync = false;
        self.start_agent();
    }

    pub fn feed(&mut self, event: Event) {
        match &event {
            Event::LinkUp { .. } => self.world.link_up = true,
            Event::LinkDown | Event::TakenOver => self.world.link_up = false,
            _ => {}
        }
        let now = self.world.now;
        if let Some(agent) = &mut self.world.agent {
            agent.handle(event, now);
        }
        self.collect();
    }

    fn collect(&mut self) {
        let Some(agent) = &mut self.world.agent else { return };
        let effects: Vec<Effect> = agent.drain().collect();
        assert!(effects.len() < 1000, "{} effects at once", effects.len());
        for effect in effects {
            self.watch.look(&effect, &self.world, self.is_honest);
            match effect {
                Effect::Send(up) => self.hear(up),
                Effect::RaiseTime { unix_ms, save: true } => self.world.time_floor_ms = unix_ms,
                Effect::RaiseTime { save: false, .. }
                | Effect::Connect
                | Effect::Disconnect
                | Effect::Note(_)
                | Effect::Quit => {}
                Effect::Retain(keep) => self.world.store.retain(|digest| keep.contains(digest)),
                Effect::CancelFetch { .. }
                | Effect::CancelCommand { .. }
                | Effect::RemoveClaims(_) => {}
                Effect::KeepHealth { pod, container, attempt, health } => {
                    self.world.keep_health(pod, container, attempt, health);
                }
                Effect::KeepFailure { pod, failure } => self.world.keep_failure(pod, failure),
                work => self.pending.push(work),
            }
        }
    }

    /// The hub hears what the agent sends.
    fn hear(&mut self, up: Up) {
        up.encode(firmware_compat::frame::Stamp::default()).expect("fits a frame");
        assert!(self.world.link_up, "sent without a link");
        match up {
            Up::Status(status) => self.take_status(status),
            Up::Want(want) => {
                if self.world.hub_serves {
                    let chunks = self.world.answer(&want).into_iter();
                    self.world.answers.extend(chunks.map(|chunk| say(&chunk)));
                }
            }
            Up::Hello(_) | Up::Event(_) | Up::Reply(_) => {}
        }
    }

    fn take_status(&mut self, status: Status) {
        self.acknowledged = status.assignment;
        if status.full {
            self.half_full.get_or_insert_default().extend(status.pods.iter().map(|s| s.id));
        }
        for pod in status.pods {
            let is_explained = pod.phase == Phase::Running || !pod.reason.is_empty();
            assert!(is_explained, "{pod:?} has no reason");
            self.view.insert(pod.id, pod);
        }
        for gone in status.removed {
            if self.is_honest && self.in_sync {
                assert!(!self.world.runs.contains_key(&gone), "{} is still here", id_label(&gone));
            }
            self.view.remove(&gone);
        }
        if status.full && !status.more {
            let all = self.half_full.take().unwrap();
            self.view.retain(|id, _| all.contains(id));
            self.in_sync = true;
        }
    }

    /// The clock moves on, and the agent is woken as it asks.
    fn wait(&mut self, millis: u64) {
        let end = Instant(self.world.now.0 + millis);
        while let Some((at, why)) = self.world.agent.as_ref().and_then(Agent::poll_timeout) {
            if at > end {
                break;
            }
            self.world.now = self.world.now.max(at);
            let now = self.world.now;
            self.world.agent.as_mut().unwrap().handle_timeout(now);
            self.collect();
            let again = self.world.agent.as_ref().and_then(Agent::poll_timeout);
            assert!(
                again.is_none_or(|(at, _)| at > now),
                "{why:?} wakes for {again:?} at {now:?} again"
            );
        }
        self.world.now = end;
        self.hub_answers();
    }

    fn hub_answers(&mut self) {
        while let Some(event) = self.world.answers.pop_front() {
            self.feed(event);
        }
    }

    /// The shell answers one piece of its work.
    fn answer(&mut self, pick: u8, works: bool) {
        if self.pending.is_empty() {
            return;
        }
        let effect = self.pending.swap_remove(usize::from(pick) % self.pending.len());
        self.watch.answered(&effect);
        if let Some(event) = self.finish(effect, works) {
            self.feed(event);
        }
    }

    /// What a piece of work does to the device, and its answer.
    fn finish(&mut self, effect: Effect, works: bool) -> Option<Event> {
        let world = &mut self.world;
        let why = || failure("", "it did not work");
        match &effect {
            Effect::PrepareSandbox { pod } => {
                let run = Run { since: world.now, ..Run::of(pod.identity) };
                world.runs.entry(pod.id).or_insert(run).identity = pod.identity;
            }
            Effect::Prepare { pod, container, attempt } => {
                let created = Process {
                    attempt: *attempt,
                    state: FoundState::Created,
                    health: None,
                    since: world.now,
                };
                if let Some(run) = world.runs.get_mut(&pod.id) {
                    run.containers.entry(*container).or_insert(created);
                }
            }
            _ => {}
        }
        Some(match (effect, works) {
            (Effect::SaveAssignment(saved), true) => {
                world.disk.insert(0, (*saved).clone());
                world.disk.truncate(2);
                Event::Saved { generation: saved.id.generation }
            }
            (Effect::SaveAssignment(saved), false) => {
                Event::SaveFailed { generation: saved.id.generation, failure: failure("", "full") }
            }
            (Effect::Fetch(blob), true) => {
                world.store.insert(blob.digest);
                Event::Fetched { digest: blob.digest }
            }
            (Effect::Fetch(blob), false) => {
                let reason = if blob.digest.0[0] % 2 == 0 { "DiskFull" } else { "" };
                Event::FetchFailed { digest: blob.digest, failure: failure(reason, "no") }
            }
            (Effect::PrepareSandbox { pod }, true) => {
                world.runs.get_mut(&pod.id).unwrap().sandbox = true;
                Event::SandboxReady { pod: pod.id }
            }
            (Effect::PrepareSandbox { pod }, false) => {
                Event::SandboxFailed { pod: pod.id, failure: why() }
            }
            (Effect::Prepare { pod, container, .. }, true) => {
                Event::Prepared { pod: pod.id, container }
            }
            (Effect::Prepare { pod, container, .. }, false) => {
                let missing: Vec<Hash> = artefacts(&pod).map(|blob| blob.digest).take(1).collect();
                missing.iter().for_each(|digest| _ = world.store.remove(digest));
                Event::PrepareFailed { pod: pod.id, container, failure: why(), missing }
            }
            (Effect::Start { pod, container, attempt }, true) => {
                world.next_pid += 1;
                let (pid, started_ms) = (world.next_pid, world.unix_ms());
                let state = FoundState::Running { pid, started_ms };
                if let Some(run) = world.runs.get_mut(&pod.id) {
                    let since = world.now;
                    let process = Process { attempt, state, health: None, since };
                    run.containers.insert(container, process);
                }
                Event::Started { pod: pod.id, container, pid, started_ms }
            }
            (Effect::Start { pod, container, .. }, false) => {
                Event::StartFailed { pod: pod.id, container, failure: why() }
            }
            // A process that ended by itself meanwhile has said so already.
            (Effect::Stop { pod, container, .. }, _) => {
                if !world.is_container_running(&pod, container) {
                    return None;
                }
                // It may have been asked twice, the second time to be quicker.
                self.pending.retain(|other| {
                    !matches!(other, Effect::Stop { pod: p, container: c, .. } if *p == pod && *c == container)
                });
                world.end(pod, container, exit(143, "Error"))
            }
            (Effect::Probe { pod, container, attempt, purpose }, works) => {
                let answer = if works { Answer::Good } else { Answer::Bad("no".into()) };
                Event::Probed { pod: pod.id, container, attempt, purpose, answer }
            }
            (Effect::RunHook { pod, container, attempt, moment, .. }, works) => {
                let failure = (!works).then(|| "no".into());
                Event::HookEnded { pod: pod.id, container, attempt, moment, failure }
            }
            (Effect::UpdateFiles { pod }, true) => Event::FilesUpdated { pod: pod.id },
            (Effect::UpdateFiles { pod }, false) => {
                Event::FilesUpdateFailed { pod: pod.id, failure: why() }
            }
            (Effect::CleanContainer { pod, container }, true) => {
                Event::ContainerCleaned { pod, container }
            }
            (Effect::CleanContainer { pod, container }, false) => {
                Event::ContainerCleanFailed { pod, container, failure: why() }
            }
            (Effect::RemoveSandbox { pod, keep_volumes }, true) => {
                match world.runs.get_mut(&pod) {
                    Some(run) if keep_volumes => run.lose_sandbox(),
                    _ => _ = world.runs.remove(&pod),
                }
                Event::SandboxRemoved { pod }
            }
            (Effect::RemoveSandbox { pod, .. }, false) => {
                Event::SandboxRemoveFailed { pod, failure: why() }
            }
            (Effect::PinHub(hub), true) => {
                world.pinned = Some(hub);
                Event::HubPinned(hub)
            }
            (Effect::PinHub(_), false) => Event::PinFailed { message: "it did not work".into() },
            (Effect::ReadLogs(request), _) => Event::CommandEnded { command: request.command },
            (other, _) => panic!("{other:?} is not work"),
        })
    }

    /// Faults stop: the link stands, the hub serves, every step works.
    pub fn recover(&mut self) {
        self.world.hub_serves = true;
        self.feed(Event::NameFree);
        self.feed(Event::LinkDown);
        self.feed(UP);
        let runtimes = self.world.runtimes.clone();
        self.feed(Event::Runtimes { runtimes, wasm: None });
        if let Some((head, _)) = self.world.hub.get(&self.generation).cloned() {
            self.feed(say(&head));
        }
        for _ in 0..200 {
            while !self.pending.is_empty() {
                self.answer(0, true);
            }
            self.end_init_containers();
            self.wait(60_000);
        }
    }

    /// What is to end before others start does so, with success.
    fn end_init_containers(&mut self) {
        let runs = self.world.runs.iter();
        let init = runs.flat_map(|(pod, run)| run.containers.keys().map(move |id| (*pod, *id)));
        let init: Vec<_> = init
            .filter(|(pod, id)| id.is_init() && self.world.is_container_running(pod, *id))
            .filter(|(pod, id)| {
                let wanted = self.wanted.iter().find(|wanted| wanted.id == *pod);
                !wanted.and_then(|pod| id.of(pod)).is_some_and(|own| own.supervision.sidecar)
            })
            .collect();
        for (pod, id) in init {
            self.end(pod, id, 0);
        }
    }

    pub fn assert_converged(&self) {
        let running = |pod: &Pod| {
            let run = self.world.runs.get(&pod.id).filter(|run| run.identity == pod.identity);
            run.is_some_and(Run::is_running)
        };
        for pod in &self.wanted {
            let view = self.view.get(&pod.id).expect("reported");
            let is_over = matches!(view.phase, Phase::Succeeded | Phase::Failed);
            let may_be_over = pod.restart != RestartPolicy::Always;
            assert!(running(pod) || is_over && may_be_over, "{view:?}");
            assert_eq!(view.phase == Phase::Running, running(pod), "{view:?}");
            assert_eq!(view.identity, pod.identity);
            self.assert_containers(pod, view);
        }
        let names = |ids: Vec<PodId>| ids.iter().map(id_label).collect::<Vec<_>>();
        let wanted = names(self.wanted.iter().map(|pod| pod.id).collect());
        assert_eq!(names(self.world.runs.keys().copied().collect()), wanted, "runs left over");
        assert_eq!(names(self.view.keys().copied().collect()), wanted, "the hub sees");
        let newest = self.world.hub.get(&self.generation).map(|(head, _)| head.assignment);
        assert_eq!(self.acknowledged, newest);
        let needed = self.wanted.iter().filter(|i| running(i)).flat_map(artefacts);
        for blob in needed {
            assert!(self.world.store.contains(&blob.digest), "{} is gone", label(&blob.digest));
        }
    }

    /// Every container is what the hub sees; init containers have ended before containers run.
    fn assert_containers(&self, pod: &Pod, view: &PodStatus) {
        for (n, container) in view.init_containers.iter().enumerate() {
            let id = ContainerId::Init(u8::try_from(n).unwrap());
            if id.of(pod).unwrap().supervision.sidecar {
                let runs = self.world.is_container_running(&pod.id, id);
                assert_eq!(runs, view.phase == Phase::Running, "{view:?}");
                assert_eq!(container.ready, runs, "{view:?}");
                continue;
            }
            assert!(!self.world.is_container_running(&pod.id, id), "{view:?}");
            let is_over = matches!(container.state, ContainerState::Terminated(_));
            assert!(is_over || view.phase == Phase::Failed, "{view:?}");
        }
        for (n, container) in view.containers.iter().enumerate() {
            let id = ContainerId::Main(u8::try_from(n).unwrap());
            let runs = self.world.is_container_running(&pod.id, id);
            assert_eq!(matches!(container.state, ContainerState::Running { .. }), runs, "{view:?}");
            let must = pod.restart == RestartPolicy::Always;
            assert!(runs || !must, "{view:?}");
        }
        let names = |of: &[ContainerStatus]| of.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let specs = |of: &[Container]| of.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&view.containers), specs(&pod.containers));
        assert_eq!(names(&view.init_containers), specs(&pod.init_containers));
    }

    pub fn assert_quiet(&mut self) {
        (self.watch.effects, self.watch.hellos) = (0, 0);
        self.wait(3_600_000);
        let allowed = if self.generation == 0 { self.watch.hellos.min(2) } else { 0 };
        assert_eq!(self.watch.effects, allowed, "noise in a quiet hour");
    }
}
