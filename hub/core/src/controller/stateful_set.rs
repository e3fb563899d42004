//! StatefulSets: Pods with names of their own that stay, each with claims that go by its name.
//!
//! There are never two Pods of one name: the next one is made once the hub knows that nothing of the one before is left on
//! its device. So a Pod on a device that can't be heard waits for it, however long: its data is there, and so may it be.
//! Pods come from the smallest number up and go from the greatest down, each after the one before, unless the policy is
//! Parallel. An update replaces them from the greatest number down; devices that have not been heard for long come last
//! and hold nobody up.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::ops::Range;

use super::{Plan, Step, View, Why, draft::Draft, eviction};
use crate::{
    api::{
        Key, Kind, Object,
        apps::{StatefulSet, stateful_set::StatefulSetStatus},
    },
    pod::{Pod, Revision, Waiting},
    scheduler::{self, FilterReason},
    state::{Class, Owned},
};

/// What is to be done for a StatefulSet.
#[must_use]
pub fn plan(set: &StatefulSet, view: &View<'_>) -> Plan {
    let mut draft = Draft::new(view);
    for pod in eviction::evicted(view) {
        draft.delete(pod, Why::Evicted);
    }
    let start = set.start();
    let all = Set {
        set,
        view,
        wanted: start..start.saturating_add(set.replicas()),
        pods: by_ordinal(set, view),
        current: current(set, view),
    };
    all.keep_each(&mut draft);
    all.drop_excess(&mut draft);
    if set.rolls() {
        all.update(&mut draft);
    }
    draft.plan
}

/// The Pods by their numbers, those on their way out included: their names are taken.
fn by_ordinal<'a>(set: &StatefulSet, view: &View<'a>) -> BTreeMap<u32, &'a Pod> {
    let pods = view.state.pods.of(view.key);
    pods.filter_map(|pod| Some((set.ordinal(&pod.name)?, pod))).collect()
}

/// The revision from which an update comes: the last that was rolled out, or the first of all.
fn current(set: &StatefulSet, view: &View<'_>) -> Arc<Revision> {
    let saved = || view.state.revisions.of(&set.metadata.uid);
    let done = saved().filter(|saved| saved.complete).max_by_key(|saved| saved.number);
    let known = done.or_else(|| saved().min_by_key(|saved| saved.number));
    known.map_or_else(|| view.revision.clone(), |saved| saved.revision.clone())
}

struct Set<'a> {
    set: &'a StatefulSet,
    view: &'a View<'a>,
    wanted: Range<u32>,
    pods: BTreeMap<u32, &'a Pod>,
    current: Arc<Revision>,
}

impl Set<'_> {
    /// Makes what is missing, from the smallest number up.
    fn keep_each(&self, draft: &mut Draft<'_>) {
        for ordinal in self.wanted.clone() {
            let is_up = match self.pods.get(&ordinal) {
                None => match self.make(draft, ordinal) {
                    Made::Pod => {
                        // What it takes of its device is seen by the next plan.
                        draft.plan.more |= ordinal + 1 < self.wanted.end;
                        return;
                    }
                    Made::Nothing => false,
                },
                Some(pod) if pod.deleting.is_some() || draft.goes(pod.id) => false,
                Some(pod) => {
                    self.keep(draft, ordinal, pod);
                    self.is_up(pod) && !draft.goes(pod.id)
                }
            };
            if self.set.is_ordered() && !is_up {
                return;
            }
        }
    }

    /// Makes the Pod of a number, or first its claims.
    fn make(&self, draft: &mut Draft<'_>, ordinal: u32) -> Made {
        let (name, namespace) = (self.set.pod_name(ordinal), &self.view.key.namespace);
        let key = Key::new(Kind::Pod, namespace, &name);
        if self.view.state.pods.named(&key).is_some() {
            return Made::Nothing;
        }
        let is_there = |claim: &str| {
            let key = Key::new(Kind::PersistentVolumeClaim, namespace, claim);
            self.view.state.objects.contains(&key)
        };
        if self.set.claims(&name).iter().any(|claim| !is_there(&claim.metadata.name)) {
            draft.plan.steps.push(Step::MakeClaims { pod: name });
            return Made::Nothing;
        }
        let revision = self.revision_of(ordinal);
        let (device, waiting) = match self.place(draft, revision, &name) {
            Ok(device) => (Some(device), None),
            Err(waiting) => (None, Some(waiting)),
        };
        let revision = revision.hash.clone();
        draft.plan.steps.push(Step::CreateNamed { name, revision, device, waiting });
        Made::Pod
    }

    /// Of which revision a Pod is made: an update that has not come down to its number is none of its business.
    fn revision_of(&self, ordinal: u32) -> &Arc<Revision> {
        let newest = self.view.revision;
        if !self.set.rolls() {
            return newest;
        }
        let is_waited_for = |pod: &&Pod| {
            let is_old = pod.revision.hash != newest.hash && pod.deleting.is_none();
            is_old && !self.is_passed_over(pod)
        };
        let above = self.pods.range(ordinal.saturating_add(1)..self.wanted.end.max(ordinal + 1));
        let is_ahead = above.map(|(_, pod)| *pod).any(|pod| is_waited_for(&pod));
        let is_below = ordinal < self.wanted.start.saturating_add(self.set.partition());
        if is_below || is_ahead { &self.current } else { newest }
    }

    /// Whether an update goes on below a Pod of an older revision, which stays: its device has not been heard for long, or
    /// can't be given the newest revision.
    fn is_passed_over(&self, pod: &Pod) -> bool {
        let device = pod.device.as_ref().and_then(|name| self.view.state.fleet.get(name));
        device.is_some_and(|device| {
            let suits = Draft::new(self.view).suits(device);
            let is_barred = suits.is_err_and(|why| !matches!(why, FilterReason::Preparing(_)));
            is_barred || self.is_away(device)
        })
    }

    /// A Pod that is there and not part of an assignment is given a place.
    fn keep(&self, draft: &mut Draft<'_>, ordinal: u32, pod: &Pod) {
        if pod.supply.is_some() {
            return;
        }
        if !pod.assigned && pod.revision.hash != self.revision_of(ordinal).hash {
            // It never ran: whatever the strategy, the right one takes its place.
            return draft.delete(pod.id, Why::Unhealthy);
        }
        let device = pod.device.as_ref().and_then(|name| self.view.state.fleet.get(name));
        if let Some(device) = device {
            let view = View { revision: &pod.revision, ..*self.view };
            let mut own = Draft::new(&view);
            own.pod_name = Some(&pod.name);
            own.admit(pod, device, false);
            draft.plan.steps.append(&mut own.plan.steps);
            return;
        }
        if self.view.no_room {
            draft.plan.report.no_place += 1;
            return;
        }
        let step = match self.place(draft, &pod.revision, &pod.name) {
            Ok(device) => Step::Bind { pod: pod.id, device, after: Vec::new() },
            Err(waiting) => Step::Wait { pod: pod.id, waiting },
        };
        draft.plan.steps.push(step);
    }

    /// A device for the Pod of this name, or why there is none.
    fn place(
        &self,
        draft: &mut Draft<'_>,
        revision: &Arc<Revision>,
        name: &str,
    ) -> Result<String, Waiting> {
        let view = View { revision, ..*self.view };
        let mut own = Draft::new(&view);
        own.pod_name = Some(name);
        if let Some(waiting) = own.missing_image() {
            return Err(waiting);
        }
        let placement = own.places(1);
        match placement.devices.first() {
            Some(device) => Ok((*device).into()),
            None => {
                draft.plan.report.no_place += 1;
                Err(scheduler::summarise(&placement.refused, self.view.state.fleet.len()))
            }
        }
    }

    /// Whether those after a Pod may come: it has been ready for long enough, or ran when it was last heard of.
    fn is_up(&self, pod: &Pod) -> bool {
        let pods = &self.view.state.pods;
        let is_silent = matches!(pods.class(pod.id), Some(Class::Silent | Class::Away));
        pods.is_available(pod.id) || is_silent
    }

    /// Lets go of Pods that are not wanted any more, from the greatest number down.
    fn drop_excess(&self, draft: &mut Draft<'_>) {
        let excess = self.pods.iter().rev().filter(|(ordinal, _)| !self.wanted.contains(ordinal));
        for (_, pod) in excess {
            if pod.deleting.is_none() && !draft.goes(pod.id) {
                draft.delete(pod.id, Why::Excess);
                if self.set.deletes_when_scaled() {
                    draft.plan.steps.push(Step::DeleteClaims { pod: pod.name.clone() });
                }
            }
            if self.set.is_ordered() {
                return;
            }
        }
    }

    /// Replaces Pods of older revisions, from the greatest number down.
    fn update(&self, draft: &mut Draft<'_>) {
        let from = self.wanted.start.saturating_add(self.set.partition());
        let newest = self.view.revision.hash.as_str();
        let is_old = |pod: &Pod| pod.revision.hash != newest;
        let of_wanted = || self.pods.range(self.wanted.clone());
        if draft.missing_image().is_some() || !of_wanted().any(|(_, pod)| is_old(pod)) {
            return;
        }
        let missing = self.wanted.len().saturating_sub(of_wanted().count());
        let mut budget = self.set.max_unavailable().saturating_sub(missing);
        let mut absent = Vec::new();
        for (_, pod) in of_wanted().rev().filter(|(ordinal, _)| **ordinal >= from) {
            let device = pod.device.as_ref().and_then(|name| self.view.state.fleet.get(name));
            if device.is_some_and(|device| self.is_away(device)) {
                let is_left = is_old(pod) && pod.deleting.is_none() && !draft.goes(pod.id);
                absent.extend(is_left.then_some(pod.id));
                continue;
            }
            if budget == 0 {
                return;
            }
            if pod.deleting.is_some() || draft.goes(pod.id) {
                budget -= 1;
            } else if is_old(pod) {
                match device.map(|device| draft.suits(device)) {
                    Some(Err(FilterReason::Preparing(_))) => return,
                    // What can't be followed there stays.
                    Some(Err(_)) => continue,
                    Some(Ok(())) | None => {}
                }
                budget -= 1;
                draft.delete(pod.id, Why::Updated);
            } else if !self.is_up(pod) {
                budget -= 1;
            }
        }
        if budget == self.set.max_unavailable() {
            for pod in absent {
                draft.delete(pod, Why::Updated);
            }
        }
    }

    fn is_away(&self, device: &crate::device::Device) -> bool {
        let hearing = device.hearing(self.view.lost_after, self.view.now);
        matches!(hearing, crate::state::Hearing::Away(_))
    }
}

/// What came of making a Pod.
enum Made {
    /// There is one more.
    Pod,
    /// Something must happen first.
    Nothing,
}

/// A StatefulSet's status; none if it is as it was.
#[must_use]
pub fn status(set: &StatefulSet, view: &View<'_>) -> Option<Object> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let owned = view.owned();
    let current = current(set, view);
    let active = |hash: &str| {
        let of = owned.and_then(|owned| owned.revision(hash));
        number(of.map_or(0, |of| of.active()))
    };
    let named = |hash: &str| alloc::format!("{}-{hash}", set.metadata.name);
    let status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: number(owned.map_or(0, |owned| owned.all().len())),
        ready_replicas: number(owned.map_or(0, |owned| owned.count(Class::Ready))),
        available_replicas: number(owned.map_or(0, Owned::available)),
        current_replicas: active(&current.hash),
        updated_replicas: active(&view.revision.hash),
        current_revision: named(&current.hash),
        update_revision: named(&view.revision.hash),
        collision_count: 0,
    };
    if status == set.status {
        return None;
    }
    Some(Object::StatefulSet(StatefulSet { status, ..set.clone() }))
}
