//! The life of one Pod on the device: its sandbox, then its init containers one after the other, then its containers
//! together; to its end the other way round. Each container has its own table of moves in `container`, the sandbox in
//! `sandbox`; here is decided whose turn it is. `results` holds what the shell's answers do, `restart` the restart policy,
//! `files` what changes in place, `questions` what the rest of the agent asks; `watching` holds hooks and probes, `ending` how
//! all of it is stopped; `status` tells the hub.

mod container;
mod ending;
mod eviction;
mod failures;
mod files;
mod health;
mod last_words;
mod leaving;
mod questions;
mod restart;
mod results;
mod sandbox;
mod status;
mod watching;

use alloc::{collections::BTreeMap, sync::Arc};
use core::time::Duration;

use firmware_compat::{
    id::{Hash, PodId},
    time::Instant,
    v1::owned::{Runtime, RuntimeClass},
};

use crate::{
    artefacts::Fetches,
    event::Failure,
    out::{Out, Recorder},
    spec::{ContainerId, PodSpec},
};
pub use container::Container;
use container::StopWhy;
use eviction::Eviction;
use files::Files;
#[cfg(test)]
pub use last_words::fit as fit_last_words;
use leaving::FullName;
pub use leaving::Leaving;
use sandbox::Sandbox;
pub use status::ON_THE_WAY;

/// One Pod: what is wanted, what the device holds of it, and where it stands.
#[derive(Debug)]
pub struct Pod {
    pub id: PodId,
    /// What the assignment in force says; `None` if the Pod is to go.
    pub wanted: Option<Arc<PodSpec>>,
    /// What the Pod's directory holds; `None` if there is none.
    holds: Option<Holds>,
    /// Its namespace and name, once an assignment has named it.
    name: Option<FullName>,
    sandbox: Sandbox,
    /// Of what the device holds, or is to hold.
    containers: BTreeMap<ContainerId, Container>,
    /// The init containers have succeeded in this sandbox.
    initialized: bool,
    files: Files,
    /// When the grace of a stop that is under way ends.
    stop_by: Option<Instant>,
    /// Since when this agent has it, and how long it had been active then.
    active: Option<(Instant, Duration)>,
    /// Why it has failed as a whole, for good.
    failed: Option<Failure>,
    /// How long its containers have to end once it is not wanted, if the hub has said so.
    grace_ms: Option<u32>,
    eviction: Eviction,
}

/// What a Pod's directory holds.
#[derive(Debug)]
struct Holds {
    /// `None` if it does not say: its record can't be read.
    identity: Option<Hash>,
    /// What was prepared. `None` if an earlier agent did it.
    spec: Option<Arc<PodSpec>>,
}

/// How what is wanted relates to what the device holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// Wanted, and nothing of it is here.
    New,
    /// Wanted as it is here.
    Same,
    /// Wanted, but differently.
    Other,
    /// Not wanted.
    Gone,
}

/// Where the next steps lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// Nobody knows what is wanted.
    Hold,
    /// Everything of the spec is to run, or to have ended.
    Run,
    /// Nothing is to run. What is left is removed then, if it must be.
    Stop { why: &'static str },
    /// Nothing is to run, and nothing is to be left but, perhaps, volumes.
    Remove { why: &'static str, keep_volumes: bool },
}

/// What a step may look at besides its own Pod.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// No assignment is in force, so nobody knows what is wanted: everything stays as it is.
    pub hold: bool,
    /// The assignment in force may not be the newest that was: what it does not name stays until the hub has been heard.
    pub doubt: bool,
    /// The agent is to end: Pods are stopped and not started.
    pub draining: bool,
    /// What earlier runs left is known.
    pub booted: bool,
    pub runtimes: &'a [Runtime],
    pub fetches: &'a Fetches,
    pub leaving: &'a Leaving,
    pub link_up: bool,
}

impl Context<'_> {
    fn is_usable(&self, class: RuntimeClass) -> bool {
        self.runtimes.iter().any(|runtime| runtime.runtime_class == class && runtime.usable)
    }
}

impl Pod {
    /// One of which nothing is on the device yet.
    pub fn new(id: PodId) -> Self {
        Self {
            id,
            wanted: None,
            holds: None,
            name: None,
            sandbox: Sandbox::new(sandbox::State::Absent),
            containers: BTreeMap::new(),
            initialized: false,
            files: Files::default(),
            stop_by: None,
            active: None,
            failed: None,
            grace_ms: None,
            eviction: Eviction::default(),
        }
    }

    /// Says how long its containers have to end once it is not wanted.
    pub fn set_grace(&mut self, grace_ms: u32) {
        self.grace_ms = Some(grace_ms);
    }

    /// Says what the assignment in force has of it; `None` if it is to go.
    pub fn set_wanted(&mut self, wanted: Option<Arc<PodSpec>>) {
        if let Some(wanted) = &wanted {
            self.name = Some(FullName::of(wanted));
        }
        self.wanted = wanted;
        if self.holds.is_none() {
            // Nothing has happened to them.
            self.containers.clear();
            self.eviction = Eviction::default();
        }
    }

    /// Takes the next steps, until an answer, the clock or the assignment must change something.
    /// Returns false when nothing is wanted and nothing is left: the Pod can go.
    pub fn step(&mut self, context: &Context<'_>, now: Instant, out: &mut Out) -> bool {
        self.expire(now, out);
        self.end_overdue(context, now, out);
        // While files are being written, an answer is due first.
        while !self.files.is_updating() && self.advance(context, now, out) {
            self.expire(now, out);
        }
        self.holds.is_some() || self.wanted.is_some()
    }

    /// What waited for its time waits no longer.
    fn expire(&mut self, now: Instant, out: &mut Out) {
        self.sandbox.expire(now);
        self.eviction.expire(now);
        self.files.expire(now);
        let has_several = self.has_several();
        let pod = self.id;
        for container in self.containers.values_mut() {
            let name = Arc::clone(&container.name);
            let about = has_several.then_some(&*name);
            container.expire(now, &mut Recorder { out, now, pod, container: about });
        }
        self.watch(now, out);
        self.ask(now, out);
    }

    /// One round of steps. Returns whether another may lead further.
    fn advance(&mut self, context: &Context<'_>, now: Instant, out: &mut Out) -> bool {
        if self.settle_ends(context, now, out) {
            return true;
        }
        match self.goal(context) {
            Goal::Hold => false,
            Goal::Run => self.run(context, now, out),
            Goal::Stop { why } => {
                self.stop(StopWhy::Wanted, why, now, out);
                let is_left = self.containers.values().any(Container::is_lost);
                is_left && !context.hold && self.remove(true, out)
            }
            Goal::Remove { why, keep_volumes } => {
                self.stop(StopWhy::Wanted, why, now, out);
                self.remove(keep_volumes, out)
            }
        }
    }

    fn goal(&self, context: &Context<'_>) -> Goal {
        match self.relation() {
            // A hub that is not heard yet may want it.
            _ if context.hold && context.draining => {
                Goal::Stop { why: "the agent is being drained" }
            }
            _ if context.hold => Goal::Hold,
            Match::Gone if self.holds.is_none() => Goal::Hold,
            Match::Gone | Match::Other if context.doubt && context.draining => {
                Goal::Stop { why: "the agent is being drained" }
            }
            // Its data would go with it.
            Match::Gone | Match::Other if context.doubt => Goal::Hold,
            Match::Gone => Goal::Remove { why: "it was removed", keep_volumes: false },
            Match::Other => Goal::Remove { why: "it is replaced", keep_volumes: false },
            Match::New | Match::Same if context.draining => {
                Goal::Stop { why: "the agent is being drained" }
            }
            Match::Same if self.eviction.is_under_way() => {
                Goal::Remove { why: "it is evicted", keep_volumes: false }
            }
            Match::Same if self.sandbox.state == sandbox::State::Lost && !self.is_over() => {
                Goal::Remove { why: "its sandbox is made anew", keep_volumes: true }
            }
            Match::New | Match::Same => Goal::Run,
        }
    }

    fn relation(&self) -> Match {
        match (&self.wanted, &self.holds) {
            (None, _) => Match::Gone,
            (Some(_), None) => Match::New,
            (Some(wanted), Some(holds)) => match holds.identity {
                Some(identity) if identity != wanted.identity => Match::Other,
                // A Pod's id is never given to another: a directory that does not say more is this one's.
                Some(_) | None => Match::Same,
            },
        }
    }

    /// Sandbox, files, init containers, containers: each once the one before it is there.
    fn run(&mut self, context: &Context<'_>, now: Instant, out: &mut Out) -> bool {
        let Some(spec) = self.wanted.clone() else { return false };
        self.meet_containers(&spec);
        if self.eviction.holds_back() {
            return false;
        }
        if self.is_over() {
            return self.wind_up(now, out);
        }
        self.stop_by = None;
        if !self.sandbox.is_ready() {
            return self.sandbox.state == sandbox::State::Absent
                && self.may_start(&spec, context)
                && context.fetches.lacking(spec.every_container()).is_none()
                && self.make_sandbox(spec, out);
        }
        if let Some(holds) = &mut self.holds {
            holds.spec.get_or_insert_with(|| Arc::clone(&spec));
        }
        self.watch(now, out);
        if self.files.refresh(&spec, out) {
            return false;
        }
        let may_start = self.files.failure().is_none() && self.may_start(&spec, context);
        if !self.initialized {
            return self.initialize(&spec, may_start, context, out);
        }
        let (mut is_changed, mut is_held_up) = (false, false);
        for container in self.containers.values_mut().filter(|container| container.runs_along()) {
            let may_start = may_start && !is_held_up && is_provided(container.id, &spec, context);
            is_changed |= container.step(&spec, may_start, out);
            is_held_up |= !container.sidecar && container.holds_up(&spec);
        }
        is_changed
    }

    /// One init container after the other. A sidecar runs on once it has come up.
    fn initialize(
        &mut self,
        spec: &Arc<PodSpec>,
        may_start: bool,
        context: &Context<'_>,
        out: &mut Out,
    ) -> bool {
        let mut is_changed = false;
        for container in self.containers.values_mut().filter(|c| c.id.is_init()) {
            if container.sidecar || !container.is_past() {
                let may_start = may_start && is_provided(container.id, spec, context);
                is_changed |= container.step(spec, may_start, out);
            }
            if !container.is_past() {
                return is_changed;
            }
        }
        self.initialized = true;
        true
    }

    /// Every container of the spec has a place here, with what is known of it from before, and its name: one that was
    /// found may be of an agent that had not written it down yet.
    fn meet_containers(&mut self, spec: &PodSpec) {
        for id in ContainerId::all(spec) {
            let Some(own) = id.of(spec) else { continue };
            let name = own.name.as_str();
            let met = self.containers.entry(id).or_insert_with(|| Container::new(id, name.into()));
            met.sidecar = own.supervision.sidecar;
            if *met.name != *name {
                met.name = name.into();
            }
        }
    }

    fn make_sandbox(&mut self, spec: Arc<PodSpec>, out: &mut Out) -> bool {
        self.holds = Some(Holds { identity: Some(spec.identity), spec: Some(Arc::clone(&spec)) });
        self.files = Files::written(Arc::clone(&spec));
        self.initialized = false;
        self.sandbox.prepare(spec, out);
        true
    }

    fn may_start(&self, spec: &PodSpec, context: &Context<'_>) -> bool {
        context.booted
            && context.is_usable(spec.runtime_class)
            && !self.is_preceded(context.leaving)
    }

    /// What the restart policy makes of containers that ended by themselves.
    fn settle_ends(&mut self, context: &Context<'_>, now: Instant, out: &mut Out) -> bool {
        if context.hold || !matches!(self.relation(), Match::New | Match::Same) {
            return false;
        }
        let Some(spec) = self.wanted.clone() else { return false };
        let (pod, has_several) = (self.id, self.has_several());
        let mut is_changed = false;
        // Sidecars last: they are not started again once the others have ended.
        for is_sidecar in [false, true] {
            if self.failed.is_some() || is_sidecar && self.is_over() {
                break;
            }
            for container in self.containers.values_mut().filter(|c| c.sidecar == is_sidecar) {
                let name = Arc::clone(&container.name);
                let about = has_several.then_some(&*name);
                let recorder = &mut Recorder { out, now, pod, container: about };
                is_changed |= container.settle_end(&spec, recorder);
            }
        }
        is_changed
    }

    /// Removes the sandbox once nothing of the Pod runs or is under way.
    fn remove(&mut self, keep_volumes: bool, out: &mut Out) -> bool {
        let waits = matches!(self.sandbox.state, sandbox::State::Unremoved { .. });
        let is_busy =
            self.sandbox.is_pending() || self.containers.values().any(Container::is_pending);
        if waits || is_busy || self.holds.is_none() {
            return false;
        }
        self.sandbox.remove(self.id, keep_volumes, out);
        true
    }

    /// Whether events and messages must say which container they are about.
    fn has_several(&self) -> bool {
        self.containers.len() > 1
    }
}

/// Whether the artefacts of a container are there.
fn is_provided(id: ContainerId, spec: &PodSpec, context: &Context<'_>) -> bool {
    context.fetches.lacking(id.of(spec).into_iter()).is_none()
}
