//! DaemonSets: one Pod on every device that is named, labelled and tainted right.
//!
//! Two Pods of one DaemonSet never run at once on a device, unless `maxSurge` lets them: an assignment that drops one and
//! adds the next says that the next one starts after it. Devices that have not been heard for long come last, together,
//! and hold nobody up; nor do devices that can't be given the newest revision.

use alloc::{string::String, vec::Vec};
use core::cmp::Reverse;

use firmware_compat::id::PodId;

use super::{
    Plan, Scope, View, Why,
    draft::{Draft, each_device},
    rollout::{self, Budget},
};
use crate::{
    api::{
        Object,
        apps::{DaemonSet, daemon_set::DaemonSetStatus},
    },
    scheduler::{self, FilterReason},
    state::{Class, Here, Owned},
};

/// What is to be done for a DaemonSet.
#[must_use]
pub fn plan(set: &DaemonSet, view: &View<'_>) -> Plan {
    let rollout =
        Rollout { updates: set.spec.update_strategy.kind != "OnDelete", budget: budget(set, view) };
    let mut draft = Draft::new(view);
    let mut places: Vec<(&str, Option<&Here>)> = Vec::new();
    each_device(view, |name, here| places.push((name, here)));
    // Here one of two may have become ready for long enough meanwhile.
    for name in view.owned().into_iter().flat_map(Owned::crowded) {
        if !matches!(view.scope, Scope::All) && !view.scope.has(name) {
            places.push((name, view.owned().and_then(|owned| owned.on(name))));
        }
    }
    for (name, here) in places {
        rollout.look_at(&mut draft, name, here);
    }
    if rollout.updates {
        rollout.drop_unhealthy(&mut draft);
        rollout.roll(&mut draft);
    }
    draft.plan
}

/// How far an update may go at once.
#[must_use]
pub fn budget(set: &DaemonSet, view: &View<'_>) -> Budget {
    let devices = view.owned().map_or(0, devices_with_one);
    let strategy = &set.spec.update_strategy;
    rollout::of_daemon_set(devices, strategy.max_unavailable(), strategy.max_surge())
}

/// Pods on devices that are waited for.
#[must_use]
pub fn waited_for(owned: &Owned) -> usize {
    WAITED.into_iter().chain([Class::Ready]).map(|class| owned.count(class)).sum()
}

/// How many devices have a Pod that is not on its way out.
fn devices_with_one(owned: &Owned) -> usize {
    let more = owned.crowded().iter().filter_map(|name| owned.on(name));
    owned.active() - more.map(|here| here.active.len() - 1).sum::<usize>()
}

/// Classes of Pods whose devices are waited for.
const WAITED: [Class; 3] = [Class::Unready, Class::SilentUnready, Class::Silent];

struct Rollout {
    updates: bool,
    budget: Budget,
}

impl Rollout {
    /// Whether a new Pod on a device starts after the end of the older one.
    fn in_turn(&self) -> bool {
        self.budget.surge == 0
    }

    /// Brings one device to one Pod, or to none.
    fn look_at(&self, draft: &mut Draft<'_>, name: &str, here: Option<&Here>) {
        let view = draft.view;
        let device = view.state.fleet.get(name);
        let active: Vec<PodId> =
            here.map(|here| &here.active).into_iter().flatten().copied().collect();
        let Some(device) = device.filter(|device| {
            scheduler::keeps(device, view.revision)
                && (!active.is_empty() || scheduler::matches(device, view.revision).is_ok())
        }) else {
            for pod in active {
                draft.delete(pod, Why::Unwanted);
            }
            return;
        };
        if active.is_empty() {
            return draft.create_on(device, self.in_turn());
        }
        self.keep_one(draft, &active);
        for id in active {
            let pod = view.state.pods.get(id);
            if let Some(pod) = pod.filter(|pod| pod.supply.is_none() && !draft.goes(pod.id)) {
                if pod.revision.hash == view.revision.hash {
                    draft.admit(pod, device, self.in_turn());
                } else {
                    // It never ran: whatever the strategy, the newest takes its place.
                    self.replace(draft, pod.id, name, Why::Unhealthy);
                }
            }
        }
    }

    /// Of several Pods on a device one stays: the newest revision's, if that runs or may not be waited for.
    fn keep_one(&self, draft: &mut Draft<'_>, active: &[PodId]) {
        if active.len() < 2 {
            return;
        }
        let (pods, newest) = (&draft.view.state.pods, draft.view.revision.hash.as_str());
        let mut order: Vec<_> = active
            .iter()
            .filter_map(|id| pods.get(*id))
            .map(|pod| (Reverse(pod.revision.hash == newest), Reverse(pod.runs()), pod.id))
            .collect();
        order.sort_unstable();
        let new = order.first().filter(|(is_new, ..)| is_new.0).map(|(.., id)| *id);
        let surges = self.budget.surge > 0 && new.is_some_and(|id| !pods.is_available(id));
        // The best of the older ones stays until the new one has been ready for long enough.
        let kept = if surges { 2 } else { 1 };
        for (.., pod) in order.into_iter().skip(kept) {
            draft.delete(pod, Why::Excess);
        }
    }

    /// Older Pods that don't run are replaced at once.
    fn drop_unhealthy(&self, draft: &mut Draft<'_>) {
        let view = draft.view;
        let Some(owned) = view.owned() else { return };
        let classes = [Class::Barred, Class::Unready, Class::SilentUnready, Class::AwayUnready];
        let mut dropped: Vec<(PodId, String)> = Vec::new();
        for (_, of) in owned.revisions().filter(|(hash, _)| *hash != view.revision.hash) {
            for (_, device, pod) in classes.into_iter().flat_map(|class| of.of(class)) {
                if !draft.goes(*pod) {
                    dropped.push((*pod, device.clone()));
                }
            }
        }
        for (pod, name) in dropped {
            self.replace(draft, pod, &name, Why::Unhealthy);
        }
    }

    fn replace(&self, draft: &mut Draft<'_>, pod: PodId, name: &str, why: Why) {
        draft.delete(pod, why);
        let others = draft.view.owned().and_then(|owned| owned.on(name));
        let stays = others.is_some_and(|here| here.active.iter().any(|id| !draft.goes(*id)));
        let device = draft.view.state.fleet.get(name).filter(|_| !stays);
        // Where a taint keeps new Pods away, the older one was the last.
        let device = device.filter(|d| scheduler::matches(d, draft.view.revision).is_ok());
        if let Some(device) = device {
            draft.create_on(device, self.in_turn());
        }
    }

    fn roll(&self, draft: &mut Draft<'_>) {
        let view = draft.view;
        let Some(owned) = view.owned() else { return };
        let older =
            || owned.revisions().filter(|(hash, _)| *hash != view.revision.hash).map(|(_, of)| of);
        if older().next().is_none() || draft.missing_image().is_some() {
            return;
        }
        let (mut budget, mut held_up) = if self.in_turn() {
            (self.budget.unavailable.saturating_sub(Self::unavailable(owned)), false)
        } else {
            (self.budget.surge.saturating_sub(owned.crowded().len()), !owned.crowded().is_empty())
        };
        let mut next: Vec<(PodId, &str)> = Vec::new();
        for (_, name, pod) in older().flat_map(|of| of.of(Class::Ready)) {
            if draft.goes(*pod) || owned.crowded().contains(name) {
                continue;
            }
            if budget == 0 {
                held_up = true;
                break;
            }
            match view.state.fleet.get(name).map(|device| draft.suits(device)) {
                Some(Ok(())) => {
                    budget -= 1;
                    held_up = true;
                    next.push((*pod, name));
                }
                Some(Err(FilterReason::Preparing(_))) => held_up = true,
                Some(Err(_)) | None => {}
            }
        }
        for (pod, name) in next {
            if self.in_turn() {
                self.replace(draft, pod, name, Why::Updated);
            } else if let Some(device) = view.state.fleet.get(name) {
                draft.create_on(device, false);
            }
        }
        held_up |= WAITED.iter().any(|class| owned.count(*class) > 0);
        if !held_up {
            self.update_absent(draft, owned);
        }
    }

    /// Devices that are waited for and have no available Pod.
    fn unavailable(owned: &Owned) -> usize {
        let missing: usize = WAITED.iter().map(|class| owned.count(*class)).sum();
        missing + owned.count(Class::Ready).saturating_sub(owned.available())
    }

    /// Updates the Pods of absent devices, once all others are through.
    fn update_absent(&self, draft: &mut Draft<'_>, owned: &Owned) {
        let view = draft.view;
        let mut far: Vec<(PodId, &str)> = Vec::new();
        for (_, of) in owned.revisions().filter(|(hash, _)| *hash != view.revision.hash) {
            for (_, name, pod) in of.of(Class::Away) {
                let device = view.state.fleet.get(name);
                if !draft.goes(*pod) && device.is_some_and(|device| draft.suits(device).is_ok()) {
                    far.push((*pod, name));
                }
            }
        }
        for (pod, name) in far {
            self.replace(draft, pod, name, Why::Updated);
        }
    }
}

/// Pods of a DaemonSet that may be on one device at once.
#[must_use]
pub fn most_on_a_device(set: &DaemonSet) -> usize {
    let strategy = &set.spec.update_strategy;
    let budget = rollout::of_daemon_set(1, strategy.max_unavailable(), strategy.max_surge());
    if budget.surge > 0 { 2 } else { 1 }
}

/// A DaemonSet's status; none if it is as it was.
#[must_use]
pub fn status(set: &DaemonSet, view: &View<'_>) -> Option<Object> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let owned = view.owned();
    let crowded = owned.map_or(0, |owned| owned.crowded().len());
    let total = number(owned.map_or(0, Owned::active) - crowded);
    let available = number(owned.map_or(0, Owned::available)).min(total);
    let newest = owned.and_then(|owned| owned.revision(&view.revision.hash));
    let status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        desired_number_scheduled: total,
        current_number_scheduled: total,
        number_misscheduled: 0,
        number_ready: number(owned.map_or(0, |owned| owned.count(Class::Ready))).min(total),
        number_available: available,
        number_unavailable: total - available,
        updated_number_scheduled: number(newest.map_or(0, |of| of.active())),
    };
    if status == set.status {
        return None;
    }
    Some(Object::DaemonSet(DaemonSet { status, ..set.clone() }))
}
