//! Deployments: a number of Pods, where they fit.
//!
//! A rolling update makes Pods of the newest revision within `maxSurge`, and lets go of older ones that run only while
//! enough stay available; older ones that don't run go at once. Devices that have not been heard for long come last and
//! hold nobody up: the update is about the Pods of the others, and when all of those are through, the Pods of absent
//! devices follow together. A revision that fails has then been stopped by those that can be heard.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{cmp::Reverse, time::Duration};

use firmware_compat::{id::PodId, time::Instant};

use super::{
    Plan, Step, View, Why,
    condition::{both, condition},
    draft::Draft,
    eviction,
    rollout::{self, Budget},
};
use crate::{
    api::{
        Object,
        apps::{Deployment, REVISION_ANNOTATION, deployment::DeploymentStatus},
        meta::Condition,
    },
    pod::Waiting,
    scheduler,
    state::{Class, Owned},
};

/// What is to be done for a Deployment.
#[must_use]
pub fn plan(deployment: &Deployment, view: &View<'_>) -> Plan {
    let mut draft = Draft::new(view);
    let mut rollout = Rollout {
        replicas: deployment.replicas() as usize,
        recreates: deployment.spec.strategy.kind == "Recreate",
        budget: budget(deployment),
        in_turn: false,
    };
    rollout.in_turn = rollout.budget.surge == 0;
    for pod in eviction::evicted(view) {
        draft.delete(pod, Why::Evicted);
    }
    rollout.leave_silent_devices(&mut draft);
    rollout.leave_full_devices(&mut draft);
    rollout.drop_excess(&mut draft);
    if deployment.spec.paused.unwrap_or(false) {
        let missing = rollout.replicas.saturating_sub(count(&draft, |_| true));
        rollout.place(&mut draft, missing);
    } else if rollout.recreates {
        rollout.recreate(&mut draft);
    } else {
        rollout.roll(&mut draft);
    }
    draft.plan
}

fn budget(deployment: &Deployment) -> Budget {
    let strategy = &deployment.spec.strategy;
    rollout::of_deployment(
        deployment.replicas() as usize,
        strategy.max_unavailable(),
        strategy.max_surge(),
    )
}

struct Rollout {
    replicas: usize,
    recreates: bool,
    budget: Budget,
    /// Whether a new Pod on a device starts after the end of the older ones there.
    in_turn: bool,
}

impl Rollout {
    /// Lets go of Pods whose device has been silent for too long, as many as have a place elsewhere. The others stay:
    /// they run on where they are, as far as anyone knows, and letting go of them would only restart them when their
    /// device is back.
    fn leave_silent_devices(&self, draft: &mut Draft<'_>) {
        let lost = eviction::lost(draft.view);
        if lost.is_empty() {
            return;
        }
        if draft.view.no_room {
            draft.plan.report.no_place += lost.len();
            return;
        }
        let unplaced = draft.left(Class::Unplaced, |_| true);
        let places = draft.places(unplaced + lost.len()).devices.len().saturating_sub(unplaced);
        draft.plan.report.no_place += lost.len().saturating_sub(places);
        for pod in lost.into_iter().take(places) {
            draft.delete(pod, Why::Lost);
        }
    }

    /// A Pod for which its device's assignment has no room goes where there is some.
    fn leave_full_devices(&self, draft: &mut Draft<'_>) {
        let Some(owned) = draft.view.owned() else { return };
        if owned.too_large().is_empty() || draft.view.revision.template.spec.node_name.is_some() {
            return;
        }
        if draft.view.no_room {
            draft.plan.report.no_place += owned.too_large().len();
            return;
        }
        let unplaced = draft.left(Class::Unplaced, |_| true);
        let count = owned.too_large().len();
        let places = draft.places(unplaced + count).devices.len().saturating_sub(unplaced);
        draft.plan.report.no_place += count.saturating_sub(places);
        for pod in owned.too_large().iter().copied().take(places) {
            draft.delete(pod, Why::TooLarge);
        }
    }

    /// Older Pods that no device was ever told of are nobody's loss.
    fn drop_untold(draft: &mut Draft<'_>) {
        let Some(owned) = draft.view.owned() else { return };
        let classes = [Class::Unplaced, Class::Barred, Class::Unready, Class::SilentUnready];
        let is_untold =
            |pod: &PodId| draft.view.state.pods.get(*pod).is_some_and(|pod| !pod.assigned);
        let older = owned.revisions().filter(|(hash, _)| *hash != draft.view.revision.hash);
        let untold: Vec<PodId> = older
            .flat_map(|(_, of)| classes.into_iter().flat_map(|class| of.ids(class)))
            .filter(is_untold)
            .collect();
        for pod in untold {
            draft.delete(pod, Why::Unhealthy);
        }
    }

    /// Lets go of older Pods that don't run, or not for long enough yet: as many as there are beyond those that must
    /// be available and those of the newest revision that are not. One that only restarts is no reason to have one Pod
    /// more of a newest revision that does not come up.
    fn drop_unhealthy(&self, draft: &mut Draft<'_>) {
        let spare = self.spare(draft, self.budget.unavailable);
        for (pod, _) in old_unhealthy(draft.view).take(spare) {
            draft.delete(pod, Why::Unhealthy);
        }
    }

    /// Pods that can go without a loss where so many may be missing: Kubernetes' rule for Pods that are not available.
    fn spare(&self, draft: &Draft<'_>, unavailable: usize) -> usize {
        const PLACED: [Class; 4] =
            [Class::Unready, Class::Ready, Class::SilentUnready, Class::Silent];
        let newest = draft.view.revision.hash.as_str();
        let placed = |wanted: &dyn Fn(&str) -> bool| {
            PLACED.into_iter().map(|class| draft.left(class, wanted)).sum::<usize>()
        };
        let new = placed(&|hash| hash == newest);
        let available = draft.view.owned().and_then(|owned| owned.revision(newest));
        let coming = new.saturating_sub(available.map_or(0, |of| of.available()));
        let least = self.target(draft).saturating_sub(unavailable);
        placed(&|_| true).saturating_sub(least + coming)
    }

    /// Lets go of Pods over the declared number: first those that run least surely.
    fn drop_excess(&self, draft: &mut Draft<'_>) {
        let newest = draft.view.revision.hash.as_str();
        let old = count(draft, |hash| hash != newest);
        let all = old + count(draft, |hash| hash == newest);
        let surge = if old > 0 && !self.recreates { self.budget.surge } else { 0 };
        let over = all.saturating_sub(self.replicas + surge);
        let Some(owned) = draft.view.owned().filter(|_| over > 0) else { return };
        let pods = &draft.view.state.pods;
        let mut active: Vec<_> = owned
            .revisions()
            .flat_map(|(hash, of)| Class::EVERY.into_iter().map(move |class| (hash, of, class)))
            .flat_map(|(hash, of, class)| of.ids(class).map(move |id| (hash, class, id)))
            .filter(|(_, _, id)| !draft.goes(*id))
            .map(|(hash, class, id)| {
                let runs = matches!(class, Class::Ready | Class::Silent | Class::Away);
                let heard = matches!(class, Class::Ready | Class::Unready);
                let made = pods.get(id).map_or(0, |pod| pod.created_ms);
                (class != Class::Unplaced, runs, heard, hash == newest, Reverse(made), id)
            })
            .collect();
        active.sort_unstable();
        for (.., pod) in active.into_iter().take(over) {
            draft.delete(pod, Why::Excess);
        }
    }

    /// Lets go of every older Pod, and makes new ones once the last of them has ended.
    fn recreate(&self, draft: &mut Draft<'_>) {
        let newest = draft.view.revision.hash.as_str();
        let owned = draft.view.owned();
        let view = draft.view;
        let mut ready = old_ready(view).peekable();
        // What can't be followed stays: its image is missing, or not made for any device that is there.
        let follows = draft.missing_image().is_none()
            && (ready.peek().is_none()
                || ready.any(|(_, device)| is_followed(draft, device))
                || Elsewhere::default().exists(draft));
        for (_, of) in owned
            .into_iter()
            .flat_map(Owned::revisions)
            .filter(|(hash, _)| *hash != newest && follows)
        {
            for pod in Class::EVERY.into_iter().flat_map(|class| of.ids(class)) {
                draft.delete(pod, Why::Updated);
            }
        }
        let ends = |id: &PodId| view.state.pods.get(*id).is_some_and(|pod| pod.assigned);
        let old_left = count(draft, |hash| hash != newest) > 0
            || owned.is_some_and(|owned| owned.leaving_but(newest) > 0)
            || draft.going().any(ends);
        if !old_left {
            let missing = self.replicas.saturating_sub(count(draft, |hash| hash == newest));
            self.place(draft, missing);
        }
    }

    fn roll(&self, draft: &mut Draft<'_>) {
        let newest = draft.view.revision.hash.clone();
        let is_old = |hash: &str| hash != newest;
        Self::drop_untold(draft);
        self.drop_unhealthy(draft);
        self.replace_available(draft, self.budget.unavailable);
        let near = |draft: &Draft<'_>, old: bool| {
            let of = |class: Class| draft.left(class, |hash| is_old(hash) == old);
            Class::EVERY.into_iter().filter(|class| !class.is_away()).map(of).sum::<usize>()
        };
        let (new, old) = (near(draft, false), near(draft, true));
        let target = self.target(draft);
        let most = (target + self.budget.surge).saturating_sub(new + old);
        let missing = if old == 0 {
            target.saturating_sub(new)
        } else {
            target.saturating_sub(new).min(most)
        };
        let unplaced = self.place(draft, missing);
        if unplaced > 0 && old > 0 && self.makes_way(draft) {
            return;
        }
        if old == 0 && missing == 0 {
            self.update_absent(draft);
        }
    }

    /// Pods that the update is about: those on absent devices stay out of it.
    fn target(&self, draft: &Draft<'_>) -> usize {
        let away = draft.left(Class::Away, |_| true) + draft.left(Class::AwayUnready, |_| true);
        self.replicas.saturating_sub(away)
    }

    /// Lets go of older Pods that run, as far as enough stay available.
    fn replace_available(&self, draft: &mut Draft<'_>, unavailable: usize) {
        let target = self.target(draft);
        let available = draft.available();
        let mut free = available.saturating_sub(target);
        let mut more = available.saturating_sub(target.saturating_sub(unavailable)) - free;
        // What can't be followed anywhere is not asked about Pod by Pod.
        if draft.missing_image().is_some() {
            more = 0;
        }
        if free + more == 0 {
            return;
        }
        let elsewhere = Elsewhere::default();
        for (pod, device) in old_ready(draft.view) {
            if free + more == 0 {
                return;
            }
            if draft.goes(pod) || !draft.view.state.pods.is_available(pod) {
                continue;
            }
            if free > 0 {
                free -= 1;
                draft.delete(pod, Why::Updated);
            } else if is_followed(draft, device) || elsewhere.exists(draft) {
                more -= 1;
                draft.delete(pod, Why::Updated);
            }
        }
    }

    /// Where no device has room for an old Pod and its successor, one old Pod makes way: one that does not run, or one
    /// that does if nobody said that none may be missing. True if one did.
    fn makes_way(&self, draft: &mut Draft<'_>) -> bool {
        let idle_may = self.spare(draft, self.budget.unavailable.max(1)) > 0;
        let ready_may = self.budget.makes_way && draft.available() >= self.target(draft);
        let fits = |draft: &Draft<'_>, pod: PodId, device: &str| {
            let Some(device) = draft.view.state.fleet.get(device) else { return false };
            let Some(pod) = draft.view.state.pods.get(pod) else { return false };
            let mut load = draft.load(device);
            load.allocated.subtract(pod.revision.resolved.requests);
            load.pods = load.pods.saturating_sub(1);
            load.taken_port = load.taken_port.filter(|port| {
                let own = pod.revision.host_ports().any(|own| own == *port);
                draft.view.state.pods.on(&device.name).takers(*port) > usize::from(own)
            });
            let supplied = |form: &crate::device::Form<'_>| draft.supplied(form);
            scheduler::admits(device, &load, draft.view.revision, &supplied).is_ok()
                && draft.neighbours(Some(pod.id)).check(device).is_ok()
        };
        let idle = old_unhealthy(draft.view).filter(|_| idle_may);
        let idle = idle.map(|(pod, device)| (pod, device, Why::Unhealthy));
        let is_available = |pod: &PodId| draft.view.state.pods.is_available(*pod);
        let ready = old_ready(draft.view).filter(|(pod, _)| ready_may && is_available(pod));
        let ready = ready.map(|(pod, device)| (pod, device, Why::Updated));
        let found = idle
            .chain(ready)
            .find(|(pod, device, _)| !draft.goes(*pod) && fits(draft, *pod, device));
        let Some((pod, _, why)) = found else { return false };
        draft.delete(pod, why);
        // What waits for a place gets the one that becomes free.
        let Some(device) = draft.places(1).devices.first().map(|name| (*name).to_string()) else {
            return true;
        };
        let after = draft.predecessors(&device);
        let newest = draft.view.revision.hash.as_str();
        let owned = draft.view.owned().and_then(|owned| owned.revision(newest));
        let waiting = owned.and_then(|of| of.ids(Class::Unplaced).find(|id| !draft.goes(*id)));
        let step = match waiting {
            Some(pod) => {
                draft
                    .plan
                    .steps
                    .retain(|step| !matches!(step, Step::Wait { pod: p, .. } if *p == pod));
                Step::Bind { pod, device, after }
            }
            None => {
                let waits = |step: &Step| matches!(step, Step::Create { device: None, .. });
                let Some(index) = draft.plan.steps.iter().position(waits) else { return true };
                draft.plan.steps.remove(index);
                Step::Create { device: Some(device), index: None, after, waiting: None }
            }
        };
        draft.plan.steps.push(step);
        draft.plan.report.no_place = draft.plan.report.no_place.saturating_sub(1);
        true
    }

    /// Finds devices for Pods that have none, and makes so many more. How many found none.
    fn place(&self, draft: &mut Draft<'_>, missing: usize) -> usize {
        let newest = draft.view.revision.hash.as_str();
        let owned = draft.view.owned();
        let unplaced: Vec<PodId> = owned
            .and_then(|owned| owned.revision(newest))
            .map(|of| of.ids(Class::Unplaced).filter(|id| !draft.goes(*id)).collect())
            .unwrap_or_default();
        let steps_before = draft.plan.steps.len();
        let room = draft.view.room.saturating_sub(steps_before);
        draft.plan.more |= missing > room;
        let missing = missing.min(room);
        let count = unplaced.len() + missing;
        if count == 0 {
            return 0;
        }
        // Nothing became free since, but by what goes now.
        if draft.view.no_room && missing == 0 && steps_before == 0 {
            draft.plan.report.no_place += count;
            return count;
        }
        let (devices, waiting) = match draft.missing_image() {
            Some(waiting) => (Vec::new(), Some(waiting)),
            None => {
                let placement = draft.places(count);
                let all = draft.view.state.fleet.len();
                let short = placement.devices.len() < count;
                let waiting = short.then(|| scheduler::summarise(&placement.refused, all));
                let devices = placement.devices.iter().map(|name| name.to_string());
                (devices.collect::<Vec<String>>(), waiting)
            }
        };
        let placed = devices.len();
        let preempting = match draft.missing_image() {
            Some(_) => Vec::new(),
            None => draft.preempt(count - placed),
        };
        let placed = placed + preempting.len();
        let devices = devices.into_iter().map(|device| (device, Vec::new()));
        let mut devices = devices.chain(preempting);
        let waiting = waiting.unwrap_or_else(|| Waiting::new("Pending", "it is on no device yet"));
        let mut steps = Vec::new();
        for pod in unplaced {
            steps.push(match devices.next() {
                Some((device, displaced)) => {
                    let after = self.after(draft, &device, displaced);
                    Step::Bind { pod, device, after }
                }
                None => Step::Wait { pod, waiting: waiting.clone() },
            });
        }
        for _ in 0..missing {
            let (device, after) = match devices.next() {
                Some((device, displaced)) => {
                    let after = self.after(draft, &device, displaced);
                    (Some(device), after)
                }
                None => (None, Vec::new()),
            };
            let waiting = device.is_none().then(|| waiting.clone());
            steps.push(Step::Create { device, index: None, after, waiting });
        }
        draft.plan.steps.extend(steps);
        draft.plan.report.no_place += count - placed;
        count - placed
    }

    /// What a new Pod on a device waits for: those that make way for it first.
    fn after(&self, draft: &Draft<'_>, device: &str, displaced: Vec<PodId>) -> Vec<PodId> {
        const MOST: usize = firmware_compat::capacity::full::PREDECESSORS;
        let mut after = displaced;
        let holders = draft.port_holders(device);
        after.extend(holders.into_iter().filter(|id| !after.contains(id)).collect::<Vec<_>>());
        if self.in_turn {
            let own = draft.predecessors(device);
            after.extend(own.into_iter().filter(|id| !after.contains(id)).collect::<Vec<_>>());
        }
        after.truncate(MOST);
        after
    }

    /// Updates the Pods of absent devices, once all others are through.
    fn update_absent(&self, draft: &mut Draft<'_>) {
        let newest = draft.view.revision.hash.clone();
        let Some(owned) = draft.view.owned() else { return };
        let waits = [Class::Unplaced, Class::Unready, Class::SilentUnready, Class::Barred];
        if waits.into_iter().any(|class| draft.left(class, |hash| hash == newest) > 0) {
            return;
        }
        let elsewhere = Elsewhere::default();
        let mut far: Vec<PodId> = Vec::new();
        for (_, of) in owned.revisions().filter(|(hash, _)| *hash != newest) {
            let away = [Class::Away, Class::AwayUnready].into_iter().flat_map(|class| of.of(class));
            for (_, device, pod) in away.filter(|(.., pod)| !draft.goes(*pod)) {
                let device = draft.view.state.fleet.get(device);
                let suits = device.is_none_or(|device| draft.suits(device).is_ok());
                if suits || elsewhere.exists(draft) {
                    far.push(*pod);
                }
            }
        }
        let count = far.len();
        for pod in far {
            draft.delete(pod, Why::Updated);
        }
        if count > 0 {
            self.place(draft, count);
        }
    }
}

fn count(draft: &Draft<'_>, wanted: impl Fn(&str) -> bool + Copy) -> usize {
    Class::EVERY.into_iter().map(|class| draft.left(class, wanted)).sum()
}

/// Older Pods that run where they can be heard: first those on devices that have another one, then by device.
fn old_ready<'a>(view: &'a View<'a>) -> impl Iterator<Item = (PodId, &'a str)> {
    let newest = view.revision.hash.as_str();
    let owned = view.owned().into_iter();
    let crowded = owned.clone().flat_map(move |owned| {
        let here = owned.crowded().iter().filter_map(|name| Some((name, owned.on(name)?)));
        here.flat_map(|(name, here)| here.active.iter().map(move |id| (*id, name.as_str()))).filter(
            move |(id, _)| {
                view.state.pods.class(*id) == Some(Class::Ready)
                    && view.state.pods.get(*id).is_some_and(|pod| pod.revision.hash != newest)
            },
        )
    });
    let alone = owned.flat_map(move |owned| {
        let older = owned.revisions().filter(move |(hash, _)| *hash != newest);
        older
            .flat_map(|(_, of)| of.of(Class::Ready))
            .filter(|(_, device, _)| !owned.crowded().contains(device))
            .map(|(_, device, id)| (*id, device.as_str()))
    });
    crowded.chain(alone)
}

/// Older Pods that were given to a device that can be heard, and don't run or not for long enough yet.
fn old_unhealthy<'a>(view: &'a View<'a>) -> impl Iterator<Item = (PodId, &'a str)> {
    let newest = view.revision.hash.as_str();
    let owned = view.owned().into_iter();
    let older = owned.flat_map(Owned::revisions).filter(move |(hash, _)| *hash != newest);
    let classes = [Class::Unready, Class::SilentUnready, Class::Ready];
    older
        .flat_map(move |(_, of)| classes.into_iter().flat_map(|class| of.of(class)))
        .filter(|(.., id)| !view.state.pods.is_available(*id))
        .map(|(_, device, id)| (*id, device.as_str()))
}

/// Whether the newest revision can follow a Pod on its device.
fn is_followed(draft: &Draft<'_>, device: &str) -> bool {
    let Some(device) = draft.view.state.fleet.get(device) else { return false };
    scheduler::is_open(device, draft.view.revision).is_ok() && draft.suits(device).is_ok()
}

/// Whether some device can take a Pod more; found out once.
#[derive(Default)]
struct Elsewhere(core::cell::OnceCell<bool>);

impl Elsewhere {
    fn exists(&self, draft: &Draft<'_>) -> bool {
        *self.0.get_or_init(|| !draft.view.no_room && !draft.places(1).devices.is_empty())
    }
}

/// A Deployment's status; none if it is as it was.
#[must_use]
pub fn status(deployment: &Deployment, view: &View<'_>, unix_ms: u64) -> Option<Object> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let owned = view.owned();
    let total = owned.map_or(0, Owned::active);
    let ready = owned.map_or(0, |owned| owned.count(Class::Ready));
    let available = owned.map_or(0, Owned::available);
    let newest = owned.and_then(|owned| owned.revision(&view.revision.hash));
    let updated = newest.map_or(0, |of| of.active());
    let replicas = deployment.replicas() as usize;
    let least = replicas.saturating_sub(budget(deployment).unavailable);
    let old = &deployment.status.conditions;
    let is_available = available >= least;
    let available_condition = condition(
        old,
        "Available",
        is_available,
        if is_available { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" },
        format!("{available} of {replicas} Pods are available; at least {least} should be"),
        unix_ms,
    );
    let status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: number(total),
        updated_replicas: number(updated),
        ready_replicas: number(ready),
        available_replicas: number(available),
        unavailable_replicas: number(replicas.saturating_sub(available)),
        conditions: both(available_condition, progressing(deployment, view, unix_ms)),
    };
    let mut metadata = deployment.metadata.clone();
    if let Some(newest) = view.state.revisions.newest(&metadata.uid) {
        metadata.annotations.insert(REVISION_ANNOTATION.to_owned(), newest.number.to_string());
    }
    if status == deployment.status && metadata == deployment.metadata {
        return None;
    }
    Some(Object::Deployment(Deployment { metadata, status, ..deployment.clone() }))
}

/// Whether a Deployment is where it should be: Pods of the newest revision, available Pods, and Pods of older ones.
#[must_use]
pub fn is_complete(replicas: usize, (updated, available, old): (usize, usize, usize)) -> bool {
    updated == replicas && old == 0 && available >= replicas
}

fn progressing(deployment: &Deployment, view: &View<'_>, unix_ms: u64) -> Condition {
    let old = &deployment.status.conditions;
    let hash = &view.revision.hash;
    let name = format!("revision {hash}");
    let (status, reason, message) = if deployment.spec.paused.unwrap_or(false) {
        (true, "DeploymentPaused", "the Deployment is paused".to_string())
    } else if view.progress.complete {
        (true, "NewReplicaSetAvailable", format!("{name} has rolled out"))
    } else if deadline(deployment, view).is_some_and(|at| at <= view.now) {
        (false, "ProgressDeadlineExceeded", format!("{name} made no progress for too long"))
    } else {
        (true, "ReplicaSetUpdated", format!("{name} is rolling out"))
    };
    condition(old, "Progressing", status, reason, message, unix_ms)
}

/// When an update counts as stuck, unless it comes further before.
#[must_use]
pub fn deadline(deployment: &Deployment, view: &View<'_>) -> Option<Instant> {
    let seconds = deployment.progress_deadline_seconds();
    if deployment.spec.paused.unwrap_or(false) || view.progress.complete {
        return None;
    }
    Some(view.progress.since + Duration::from_secs(seconds.into()))
}
