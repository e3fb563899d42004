//! A plan in the making: what is there, less what goes, and more what comes. Controllers ask it for places, so that
//! what goes with the same plan makes room.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use firmware_compat::{capacity::full::PREDECESSORS, id::PodId};

use super::{Plan, Scope, Step, View, Why};
use crate::{
    api::{Key, Kind},
    device::{Device, Form},
    pod::{Pod, Waiting},
    resolve::Amount,
    scheduler::{self, FilterReason, Load, Neighbours, Placement, Victims},
    state::{Class, Here, images::unknown_image},
};

/// A plan in the making.
#[derive(Debug)]
pub struct Draft<'a> {
    /// What is seen.
    pub view: &'a View<'a>,
    /// The steps so far.
    pub plan: Plan,
    /// The name of the Pod that is placed, where its claims go by it.
    pub pod_name: Option<&'a str>,
    going: BTreeSet<PodId>,
    /// Pods of other workloads that make way.
    displaced: BTreeSet<PodId>,
    freed: BTreeMap<String, Freed>,
    taken: BTreeMap<String, usize>,
}

/// What goes from a device with the plan.
#[derive(Clone, Copy, Debug, Default)]
struct Freed {
    amount: Amount,
    pods: usize,
}

impl<'a> Draft<'a> {
    /// An empty plan.
    #[must_use]
    pub fn new(view: &'a View<'a>) -> Self {
        Self {
            view,
            plan: Plan::default(),
            pod_name: None,
            going: BTreeSet::new(),
            displaced: BTreeSet::new(),
            freed: BTreeMap::new(),
            taken: BTreeMap::new(),
        }
    }

    /// Asks a Pod to go.
    pub fn delete(&mut self, pod: PodId, why: Why) {
        let is_new = match why {
            Why::Preempted => self.displaced.insert(pod),
            _ => self.going.insert(pod),
        };
        if !is_new {
            return;
        }
        if let Some(pod) = self.view.state.pods.get(pod).filter(|pod| pod.finished().is_none())
            && let Some(device) = &pod.device
        {
            let freed = self.freed.entry(device.clone()).or_default();
            freed.amount.add(pod.revision.resolved.requests);
            freed.pods += 1;
        }
        self.plan.steps.push(Step::Delete { pod, why });
    }

    /// Whether a Pod goes with the plan.
    #[must_use]
    pub fn goes(&self, pod: PodId) -> bool {
        self.going.contains(&pod)
    }

    /// The Pods that go with the plan.
    pub fn going(&self) -> impl Iterator<Item = &PodId> {
        self.going.iter()
    }

    /// How many Pods of a class are left, of revisions that are wanted.
    #[must_use]
    pub fn left(&self, class: Class, wanted: impl Fn(&str) -> bool) -> usize {
        let Some(owned) = self.view.owned() else { return 0 };
        let all: usize = owned
            .revisions()
            .filter(|(hash, _)| wanted(hash))
            .map(|(_, of)| of.of(class).len())
            .sum();
        let of_class = |id: &&PodId| {
            let pods = &self.view.state.pods;
            pods.class(**id) == Some(class)
                && pods.get(**id).is_some_and(|pod| wanted(&pod.revision.hash))
        };
        all - self.going.iter().filter(of_class).count()
    }

    /// How many Pods are available and stay.
    #[must_use]
    pub fn available(&self) -> usize {
        let all = self.view.owned().map_or(0, crate::state::Owned::available);
        all - self.going.iter().filter(|id| self.view.state.pods.is_available(**id)).count()
    }

    /// Places for so many more Pods of the newest revision.
    #[must_use]
    pub fn places(&self, count: usize) -> Placement<'a> {
        let view = self.view;
        scheduler::place(
            count,
            view.revision,
            view.state.fleet.iter(),
            |device| self.load(device),
            &|form| self.supplied(form),
            self.neighbours(None),
        )
    }

    /// What the newest revision keeps to other Pods, when the plan so far is carried out and another Pod goes too.
    #[must_use]
    pub fn neighbours(&self, but: Option<PodId>) -> Neighbours<'a> {
        let View { state, revision, key, .. } = *self.view;
        let goes = |pod: PodId| self.goes(pod) || self.displaced.contains(&pod) || but == Some(pod);
        Neighbours::new(state, revision, &key.namespace, &goes)
    }

    /// Whether the image of the newest revision is ready for a kind of device.
    ///
    /// # Errors
    /// Why not.
    pub fn supplied(&self, form: &Form<'_>) -> Result<(), FilterReason> {
        self.view.state.images.check(self.view.revision, form)
    }

    /// Whether a device could run the newest revision, whatever else is there.
    ///
    /// # Errors
    /// Why not.
    pub fn suits(&self, device: &Device) -> Result<(), FilterReason> {
        let form = device
            .form(self.view.revision.resolved.runtime_class)
            .map_err(FilterReason::Runtime)?;
        self.supplied(&form)
    }

    /// What is taken of a device when the plan so far is carried out.
    #[must_use]
    pub fn load(&self, device: &Device) -> Load {
        let pods = &self.view.state.pods;
        let on = pods.on(&device.name);
        let here = self.view.owned().and_then(|owned| owned.on(&device.name));
        // Spread by the newest revision: the older ones go with the update.
        let newest = |id: &&PodId| {
            !self.goes(**id)
                && pods.get(**id).is_some_and(|pod| pod.revision.hash == self.view.revision.hash)
        };
        let mut load = Load {
            allocated: on.allocated(),
            pods: on.pods().len(),
            own: here.map_or(0, |here| here.active.iter().filter(|id| newest(id)).count()),
            taken_port: None,
            full: on.too_large() > 0,
            claim: self.check_claims(device),
        };
        if let Some(freed) = self.freed.get(&device.name) {
            load.allocated.subtract(freed.amount);
            load.pods = load.pods.saturating_sub(freed.pods);
        }
        if let Some(taken) = self.taken.get(&device.name) {
            load.own += taken;
            load.pods += taken;
            let want = self.view.revision.resolved.requests;
            (0..*taken).for_each(|_| load.allocated.add(want));
            if *taken > 0 {
                load.taken_port = self.view.revision.host_ports().next();
            }
        }
        let going = |port| {
            let leaves = here.into_iter().flat_map(|here| &here.active);
            let leaves = leaves.filter(|id| self.goes(**id));
            let displaced = self.displaced.iter().filter(|id| on.pods().contains(id));
            leaves
                .chain(displaced)
                .filter_map(|id| pods.get(*id))
                .filter(|pod| pod.revision.host_ports().any(|other| other == port))
                .count()
        };
        let taken_port =
            self.view.revision.host_ports().find(|port| on.takers(*port) > going(*port));
        load.taken_port = load.taken_port.or(taken_port);
        load
    }

    /// The device that loses least if Pods of other workloads make way there for one of the newest revision, and which.
    #[must_use]
    pub fn preemption(&self) -> Option<(&'a Device, Victims)> {
        let view = self.view;
        if !view.state.priority(&view.revision.template.spec).preempts {
            return None;
        }
        let neighbours = self.neighbours(None);
        let open = view.state.fleet.iter().filter(|device| {
            scheduler::is_open(device, view.revision).is_ok()
                && self.suits(device).is_ok()
                && neighbours.check(device).is_ok()
        });
        let found = open.filter_map(|device| {
            let load = self.load(device);
            Some((device, self.victims_on(device, &load)?))
        });
        found.min_by(|(_, one), (_, other)| one.loss.cmp(&other.loss))
    }

    /// The Pods of other workloads that make way on a device.
    fn victims_on(&self, device: &Device, load: &Load) -> Option<Victims> {
        let view = self.view;
        let priority = view.state.priority(&view.revision.template.spec);
        let pods = view.state.pods.pods_on(&device.name).filter(|pod| {
            let stays = !self.goes(pod.id) && !self.displaced.contains(&pod.id);
            let takes_room = pod.deleting.is_none() && pod.finished().is_none();
            takes_room && stays && pod.owner != *view.key
        });
        let victims = scheduler::victims(device, load, view.revision, priority.value, pods)?;
        let is_bounded = self.told(&victims.pods).count() <= PREDECESSORS;
        Some(victims).filter(|_| priority.preempts && is_bounded)
    }

    /// Of some Pods those that their device may know: the others have ended when they are let go of.
    fn told<'b>(&'b self, pods: &'b [PodId]) -> impl Iterator<Item = PodId> + 'b {
        let is_told = |id: &PodId| self.view.state.pods.get(*id).is_some_and(|pod| pod.assigned);
        pods.iter().copied().filter(is_told)
    }

    /// Has Pods make way. Those whose end a Pod in their place waits for.
    pub fn displace(&mut self, victims: &Victims) -> Vec<PodId> {
        for pod in &victims.pods {
            self.delete(*pod, Why::Preempted);
        }
        self.told(&victims.pods).collect()
    }

    /// Counts a Pod of the newest revision that comes to a device with the plan.
    pub fn count_on(&mut self, device: &Device) {
        *self.taken.entry(device.name.clone()).or_default() += 1;
    }

    /// Takes the places of Pods that matter less, for as many as found none: the devices, and whose end is waited for.
    pub fn preempt(&mut self, missing: usize) -> Vec<(String, Vec<PodId>)> {
        /// Pods of one plan that take a place of others. Each looks at all devices; the next plan goes on.
        const MOST: usize = 32;
        let mut found = Vec::new();
        while found.len() < missing.min(MOST) {
            let Some((device, victims)) = self.preemption() else { break };
            let told = self.displace(&victims);
            self.count_on(device);
            found.push((device.name.clone(), told));
        }
        found
    }

    /// Why the claims of a Pod of the newest revision can't be used on a device.
    fn check_claims(&self, device: &Device) -> Option<FilterReason> {
        let View { key, revision, state, .. } = self.view;
        let claims = revision.resolved.claims(&key.namespace, self.pod_name);
        if claims.is_empty() {
            return None;
        }
        let own = self.pod_name.and_then(|name| {
            let key = Key::new(Kind::Pod, &key.namespace, name);
            state.pods.named(&key).map(|pod| pod.id)
        });
        state.check_claims(&claims, device, own).err()
    }

    /// Pods of the workload on a device whose end a new one there waits for: its device lets go of them, or will.
    #[must_use]
    pub fn predecessors(&self, device: &str) -> Vec<PodId> {
        let Some(here) = self.view.owned().and_then(|owned| owned.on(device)) else {
            return Vec::new();
        };
        let known = |id: &PodId| {
            self.view.state.pods.get(*id).is_some_and(|pod| pod.assigned || pod.deleting.is_some())
        };
        let going = here.active.iter().filter(|id| self.goes(**id));
        let mut all: Vec<PodId> =
            here.leaving.iter().chain(going).copied().filter(|id| known(id)).collect();
        all.sort_unstable();
        all
    }

    /// Pods of any workload on a device that hold a port which the newest revision wants, and are on their way out.
    #[must_use]
    pub fn port_holders(&self, device: &str) -> Vec<PodId> {
        let wanted = |pod: &&Pod| {
            self.view.revision.host_ports().any(|port| pod.revision.host_ports().any(|p| p == port))
        };
        if self.view.revision.host_ports().next().is_none() {
            return Vec::new();
        }
        let leaving = |pod: &&Pod| pod.deleting.is_some() || (self.goes(pod.id) && pod.assigned);
        let pods = self.view.state.pods.pods_on(device);
        pods.filter(leaving).filter(wanted).map(|pod| pod.id).take(PREDECESSORS).collect()
    }

    /// Makes a Pod on a device, as part of its assignment if it fits there and not too many come before it.
    pub fn create_on(&mut self, device: &Device, in_turn: bool) {
        let (after, waiting) = match self.admission(device, None, in_turn) {
            Ok(after) => (after, None),
            Err(waiting) => (Vec::new(), Some(waiting)),
        };
        self.count_on(device);
        let device = Some(device.name.clone());
        self.plan.steps.push(Step::Create { device, index: None, after, waiting });
    }

    /// Makes a bound Pod part of its device's assignment if it fits there, or says why not.
    pub fn admit(&mut self, pod: &Pod, device: &Device, in_turn: bool) {
        let step = match self.admission(device, Some(pod), in_turn) {
            Ok(after) => Step::Admit { pod: pod.id, after },
            Err(waiting) => Step::Wait { pod: pod.id, waiting },
        };
        self.plan.steps.push(step);
    }

    /// Which Pods a bound one waits for, or why it can't be part of its device's assignment. Pods that matter less make
    /// way.
    fn admission(
        &mut self,
        device: &Device,
        counted: Option<&Pod>,
        in_turn: bool,
    ) -> Result<Vec<PodId>, Waiting> {
        if let Some(waiting) = self.missing_image() {
            return Err(waiting);
        }
        let mut before = if in_turn { self.predecessors(&device.name) } else { Vec::new() };
        for id in self.port_holders(&device.name) {
            if !before.contains(&id) {
                before.push(id);
            }
        }
        if before.len() > PREDECESSORS {
            return Err(too_many_before(&device.name, before.len()));
        }
        let mut load = self.load(device);
        if let Some(pod) = counted {
            // What it asks for itself is already counted.
            load.allocated.subtract(pod.revision.resolved.requests);
            load.pods = load.pods.saturating_sub(1);
            let own = |port| self.view.state.pods.on(&device.name).takers(port) <= 1;
            load.taken_port = load.taken_port.filter(|port| !own(*port));
        }
        let revision = self.view.revision;
        let reason = match scheduler::fits(device, &load, revision, &|form| self.supplied(form)) {
            Ok(()) => return Ok(before),
            Err(reason) => reason,
        };
        if reason.is_room()
            && let Some(victims) = self.victims_on(device, &load)
        {
            let told = self.told(&victims.pods).count();
            if before.len() + told <= PREDECESSORS {
                before.extend(self.displace(&victims));
                return Ok(before);
            }
        }
        let word = match reason {
            FilterReason::Preparing(_) => "PreparingImage",
            FilterReason::Runtime(_) => "RuntimeUnavailable",
            FilterReason::Image(_) => "ImageHasNoBuild",
            _ => "DoesNotFit",
        };
        Err(Waiting::new(word, alloc::format!("{}: {}", device.name, reason.describe())))
    }

    /// Why a Pod of a revision whose image's name means nothing waits.
    #[must_use]
    pub fn missing_image(&self) -> Option<Waiting> {
        self.view.revision.unknown_image().map(unknown_image)
    }
}

/// Why a Pod waits for more Pods than an assignment can name.
#[must_use]
pub fn too_many_before(device: &str, count: usize) -> Waiting {
    let message = alloc::format!(
        "{device} has not let go of {count} earlier Pods yet; it is told of this one when fewer are left"
    );
    Waiting::new("WaitingForPredecessor", message)
}

/// Goes over the devices that a plan looks at, with what the workload has there.
pub fn each_device<'a>(view: &'a View<'a>, mut look: impl FnMut(&'a str, Option<&'a Here>)) {
    let owned = view.owned();
    match view.scope {
        Scope::Devices(devices) => {
            for name in devices {
                look(name, owned.and_then(|owned| owned.on(name)));
            }
        }
        Scope::All => {
            for name in view.state.fleet.names() {
                look(name, owned.and_then(|owned| owned.on(name)));
            }
            let unknown = owned.into_iter().flat_map(|owned| owned.devices());
            for (name, here) in unknown.filter(|(name, _)| !view.state.fleet.contains(name)) {
                look(name, Some(here));
            }
        }
    }
}
