//! The agent's state machine: events and time in, effects out. What the hub says is in `hear`, what concerns the connection
//! in `link`, what concerns artefacts in `artefacts`.

mod artefacts;
mod hear;
mod link;
mod local;
mod measured;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, vec_deque},
    format,
    string::String,
    sync::Arc,
    vec::Vec,
};

use firmware_compat::{
    guard::Guard,
    id::{Generation, Hash, KeyId, Lineage, PodId},
    time::{Instant, UnixMs},
    v1::owned::{AssignmentId, Hello, List, Severity},
};

use crate::{
    artefacts::Fetches,
    assignment::saved::Loaded,
    assignment::{Assign, Restored},
    commands::Commands,
    config::Config,
    effect::{Effect, Up, WakeReason},
    event::{Event, Found},
    journal::event,
    out::Out,
    pod::{Context, Leaving, Pod},
    pressure::Pressure,
    report::Reporter,
    spec::{ContainerId, PodSpec},
};

pub use local::LocalPod;
pub use measured::ToMeasure;

/// The decisions of one agent.
#[derive(Debug)]
pub struct Agent {
    hello: Hello,
    name: String,
    guard: Guard,
    pods: BTreeMap<PodId, Pod>,
    /// Pods that are to go and of which a process runs, or may: others wait for their end.
    leaving: Leaving,
    assign: Assign,
    fetches: Fetches,
    reporter: Reporter,
    commands: Commands,
    pressure: Pressure,
    out: Out,
    stage: Stage,
    /// Another device connected under this device's name.
    name_taken: bool,
    /// What the store was last told to keep.
    retained: Option<BTreeSet<Hash>>,
    /// The newest time that is saved.
    time_floor_ms: UnixMs,
    time_floor_saved: Option<Instant>,
    /// What was wrong with saved assignments; told once the clock is known.
    faults: Vec<String>,
    /// The newest saved assignment can't be used, so an older one is in force. Until the hub has brought another,
    /// nothing is removed that this one does not name.
    doubt: bool,
    /// What runs is the sound part of an assignment that is not in force.
    in_part: bool,
}

/// Where the agent itself stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// What earlier runs left is not known yet: nothing is done.
    Starting,
    Working,
    /// Pods are being stopped, then the agent ends.
    Draining,
    /// Nothing is done any more.
    Ended,
}

/// Why an agent does not follow the hub at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pause {
    /// A hub of another lineage speaks; the operator must say whether it may take over.
    ForeignHub {
        /// The one that was refused.
        lineage: Lineage,
    },
    /// Another device connected under this device's name.
    NameTaken,
}

impl Agent {
    /// An agent that has just started. `loaded` is what [`crate::saved::load`] made of the disk: the first assignment
    /// that can be followed is in force, and the hub is told what was wrong. `seed` feeds the jitter.
    #[must_use]
    pub fn new(config: Config, loaded: Loaded, seed: u64) -> Self {
        let mut assign = Assign::new(config.hello.max_assignment_bytes);
        let Loaded { saved, damage: mut faults, newest_lost, spare } = loaded;
        let newest = saved.first().map(|saved| saved.id);
        let Restored { pods, in_part, faults: unfollowable } = assign.restore(saved, spare);
        faults.extend(unfollowable);
        let doubt = newest_lost || newest != assign.in_force();
        let mut agent = Self {
            hello: config.hello,
            name: config.name,
            guard: Guard::new(config.verify, config.hub, config.time_floor_ms),
            pods: BTreeMap::new(),
            leaving: Leaving::default(),
            assign,
            fetches: Fetches::default(),
            reporter: Reporter::new(),
            commands: Commands::default(),
            pressure: Pressure::default(),
            out: Out::new(seed),
            stage: Stage::Starting,
            name_taken: false,
            retained: None,
            time_floor_ms: config.time_floor_ms,
            time_floor_saved: None,
            faults,
            doubt,
            in_part,
        };
        agent.want(pods);
        agent
    }

    /// Takes in what happened. Effects are there to [`Self::drain`] afterwards.
    pub fn handle(&mut self, event: Event, now: Instant) {
        if self.stage == Stage::Ended {
            return;
        }
        match event {
            Event::Clock { unix_ms } => self.out.clock.set(unix_ms, now),
            Event::Found(found) => self.found(found, now),
            Event::AdoptLineage => self.assign.adopt_lineage(now, &mut self.out),
            Event::Runtimes { runtimes, wasm } => self.runtimes(runtimes, wasm, now),
            Event::Measured(measured) => self.measured(&measured, now),
            Event::Condition(condition) => self.condition(condition, now),
            Event::HubPinned(hub) => self.hub_pinned(hub, now),
            Event::PinFailed { message } => self.pin_failed(&message, now),
            Event::LinkUp { session } => self.link_up(session, now),
            Event::LinkDown => self.link_down(),
            Event::TakenOver => self.taken_over(now),
            Event::NameFree => self.name_free(now),
            Event::Heard { to_all, frame } => self.heard(to_all, &frame, now),
            Event::SendFailed(up) => self.send_failed(up, now),
            Event::Saved { generation } => {
                if let Some(pods) = self.assign.saved(generation) {
                    (self.doubt, self.in_part) = (false, false);
                    self.assignment_taken(generation, pods.len(), now);
                    self.want(pods);
                    self.remove_claims();
                }
            }
            Event::SaveFailed { generation, failure } => {
                self.assign.save_failed(generation, &failure, now, &mut self.out);
                self.disk_full(&failure);
            }
            Event::Fetched { digest } => self.fetches.fetched(digest),
            Event::FetchFailed { digest, failure } => self.fetch_failed(digest, failure, now),
            Event::Damaged { digests, message } => {
                self.fetches.lost(&digests);
                self.retained = None;
                self.out.warn(now, None, "ArtefactDamaged", &message);
            }
            Event::CommandEnded { command } => self.commands.ended(command),
            Event::Shutdown { drain } => self.shutdown(drain),
            Event::SandboxReady { pod }
            | Event::SandboxFailed { pod, .. }
            | Event::FilesUpdated { pod }
            | Event::FilesUpdateFailed { pod, .. }
            | Event::SandboxRemoved { pod }
            | Event::SandboxRemoveFailed { pod, .. } => {
                if let Event::SandboxFailed { failure, .. }
                | Event::FilesUpdateFailed { failure, .. } = &event
                {
                    self.disk_full(failure);
                }
                if let Some(pod) = self.pods.get_mut(&pod) {
                    pod.answered(event, now, &mut self.out);
                }
            }
            Event::Prepared { pod, container }
            | Event::PrepareFailed { pod, container, .. }
            | Event::Started { pod, container, .. }
            | Event::StartFailed { pod, container, .. }
            | Event::Exited { pod, container, .. }
            | Event::Probed { pod, container, .. }
            | Event::HookEnded { pod, container, .. }
            | Event::ContainerCleaned { pod, container }
            | Event::ContainerCleanFailed { pod, container, .. } => {
                if let Event::PrepareFailed { failure, .. } | Event::StartFailed { failure, .. } =
                    &event
                {
                    self.disk_full(failure);
                }
                self.container_answered(pod, container, event, now);
            }
        }
        self.settle(now);
    }

    /// Does what time calls for. Harmless when called early or late.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stage != Stage::Ended {
            self.settle(now);
        }
    }

    /// When [`Self::handle_timeout`] is to be called, if nothing happens before, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, WakeReason)> {
        if matches!(self.stage, Stage::Starting | Stage::Ended) {
            return None;
        }
        let link_up = self.reporter.is_link_up();
        let events =
            self.out.journal.timer().filter(|_| link_up).map(|at| (at, WakeReason::Events));
        let fetch = self.fetches.timer().map(|at| (at, WakeReason::Fetch));
        let pods = self.pods.values().filter_map(Pod::timer);
        pods.chain(events)
            .chain(fetch)
            .chain(self.assign.timer(link_up))
            .chain(self.reporter.timer())
            .min()
    }

    /// What is to be done, in order.
    pub fn drain(&mut self) -> vec_deque::Drain<'_, Effect> {
        self.out.effects.drain(..)
    }

    /// The assignment in force: saved, and what the device works towards.
    #[must_use]
    pub fn assignment(&self) -> Option<AssignmentId> {
        self.assign.in_force()
    }

    /// Why the agent does not follow the hub, if so.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        if self.name_taken {
            return Some(Pause::NameTaken);
        }
        self.assign.foreign().map(|head| Pause::ForeignHub { lineage: head.assignment.lineage })
    }

    /// Every step that is possible now, in the order in which effects must leave: what runs first, then what is told.
    fn settle(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Starting | Stage::Ended) {
            return;
        }
        self.assign.advance(self.reporter.is_link_up(), now, &mut self.out);
        self.step_pods(now);
        self.fetch(now);
        self.tell(now);
        self.retain_when_settled();
        if self.stage == Stage::Draining && self.is_at_rest() {
            self.quit();
        }
    }

    fn step_pods(&mut self, now: Instant) {
        let Self { pods, reporter, leaving, out, doubt, in_part, .. } = self;
        *leaving = Leaving::of(pods.values());
        let context = Context {
            hold: self.assign.in_force().is_none() && !*in_part,
            doubt: *doubt,
            draining: self.stage == Stage::Draining,
            booted: true,
            runtimes: &self.hello.runtimes,
            fetches: &self.fetches,
            leaving,
            link_up: reporter.is_link_up(),
        };
        pods.retain(|id, pod| {
            let stays = pod.step(&context, now, out);
            if !stays {
                reporter.removed(*id);
            }
            stays
        });
    }

    fn tell(&mut self, now: Instant) {
        if !self.reporter.is_link_up() {
            return;
        }
        if self.reporter.take_hello(now) {
            let clock_ms = self.out.unix_ms(now);
            let assignment = self.assign.in_force();
            let keys: Vec<KeyId> = self.guard.hub().iter().flat_map(|hub| hub.keys.ids()).collect();
            let keys = List::try_from(keys).unwrap_or_default();
            let hello = Hello { assignment, clock_ms, keys, ..self.hello.clone() };
            self.out.push(Effect::Send(Up::Hello(Box::new(hello))));
        }
        let context = self.context();
        let statuses = self.pods.values().map(|pod| pod.status(&context)).collect();
        self.reporter.flush(self.assign.in_force(), statuses, now, &mut self.out);
        let unix_ms = self.out.unix_ms(now);
        while let Some(event) = self.out.journal.next(now, unix_ms) {
            self.out.push(Effect::Send(Up::Event(event)));
        }
    }

    fn found(&mut self, found: Found, now: Instant) {
        if self.stage != Stage::Starting {
            return;
        }
        self.stage = Stage::Working;
        self.tell_faults(now);
        let count = found.pods.len();
        self.out.normal(now, None, "AgentStarted", &format!("found {count} pods of earlier runs"));
        self.fetches.found(found.artefacts);
        for pod in found.pods {
            let id = pod.pod;
            self.pods.entry(id).or_insert_with(|| Pod::new(id)).found(pod, now);
        }
        // What is assigned comes first; the network may take its time.
        self.step_pods(now);
        self.remove_claims();
        self.out.push(Effect::Connect);
    }

    fn remove_claims(&mut self) {
        let removed = self.assign.removed_claims();
        if !removed.is_empty() {
            self.out.push(Effect::RemoveClaims(removed.to_vec()));
        }
    }

    fn assignment_taken(&mut self, generation: Generation, pods: usize, now: Instant) {
        let message = format!("generation {generation} with {pods} pods is in force");
        let at_ms = self.out.unix_ms(now);
        self.out.note(event(None, Severity::Normal, "AssignmentTaken", &message, at_ms));
    }

    /// In one event: of two with the same reason the journal keeps one.
    fn tell_faults(&mut self, now: Instant) {
        if self.faults.is_empty() {
            return;
        }
        let faults = core::mem::take(&mut self.faults).join("; ");
        let rest = match self.assign.in_force() {
            Some(held) => format!(
                "generation {} is in force{}",
                held.generation,
                if self.doubt { KEPT } else { "" }
            ),
            None if self.in_part => {
                "what is left of it runs, and nothing else is stopped before the hub assigns anew"
                    .into()
            }
            None => "nothing is left, so nothing is started or stopped before the hub assigns anew"
                .into(),
        };
        let message = format!("{faults}; {rest}");
        self.out.warn(now, None, "SavedAssignmentUnreadable", &message);
    }

    /// Puts a new set of Pods in place of the old one. What did not change keeps its allocation, which is how a Pod sees
    /// that nothing changed.
    fn want(&mut self, pods: Vec<PodSpec>) {
        let mut wanted: BTreeMap<PodId, PodSpec> =
            pods.into_iter().map(|spec| (spec.id, spec)).collect();
        for pod in self.pods.values_mut() {
            match (wanted.remove(&pod.id), &pod.wanted) {
                (Some(new), Some(old)) if **old == new => {}
                (new, _) => pod.set_wanted(new.map(Arc::new)),
            }
        }
        for (id, spec) in wanted {
            self.pods.entry(id).or_insert_with(|| Pod::new(id)).set_wanted(Some(Arc::new(spec)));
        }
    }

    fn container_answered(&mut self, pod: PodId, id: ContainerId, event: Event, now: Instant) {
        let Self { pods, fetches, leaving, out, .. } = self;
        let Some(pod) = pods.get_mut(&pod) else { return };
        let is_held_back = self.stage == Stage::Draining || pod.is_preceded(leaving);
        let missing = pod.container_answered(id, event, is_held_back, now, out);
        fetches.lost(&missing);
    }

    fn shutdown(&mut self, drain: bool) {
        if drain && self.stage != Stage::Starting {
            self.stage = Stage::Draining;
        } else {
            self.quit();
        }
    }

    fn quit(&mut self) {
        self.stage = Stage::Ended;
        self.out.push(Effect::Quit);
    }

    fn is_at_rest(&self) -> bool {
        let context = self.context();
        self.pods.values().all(|pod| pod.is_at_rest(&context))
    }

    fn context(&self) -> Context<'_> {
        Context {
            hold: self.assign.in_force().is_none() && !self.in_part,
            doubt: self.doubt,
            draining: self.stage == Stage::Draining,
            booted: self.stage != Stage::Starting,
            runtimes: &self.hello.runtimes,
            fetches: &self.fetches,
            leaving: &self.leaving,
            link_up: self.reporter.is_link_up(),
        }
    }
}

/// What a device does with Pods that an older assignment does not name.
const KEPT: &str = ", and what it does not name is kept until the hub assigns anew";
