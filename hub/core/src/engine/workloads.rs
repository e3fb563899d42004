//! Keeping workloads at what they declare: how many copies, of which revision, on which devices.
//!
//! One rule serves updates of both kinds: a copy of an older revision that does not run is replaced at once; one that
//! runs is replaced only while every copy of the new revision runs, and one at a time. Devices that have not been heard
//! for long come last, together: a revision that fails has then been stopped by those that can be heard. A device that is
//! silent for a moment (after a restart of the hub that is every device) is waited for.
//!
//! Two copies of one DaemonSet never run at once on a device, as Kubernetes has it (`maxSurge` 0): an assignment that
//! drops one and adds the next says that the next one starts after it.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{cmp::Reverse, time::Duration};

use firmware_compat::{capacity::full::PREDECESSORS, id::PodId, v1::owned::Severity};

use super::{Engine, assign::too_many_before, changed, supply::unknown_image};
use crate::{
    api::{
        Key, Kind, Object,
        apps::{daemon_set::DaemonSetStatus, deployment::DeploymentStatus},
    },
    device::{Device, Presence},
    effect::Action,
    pod::{self, Deleting, Pod, Revision, Waiting},
    resolve::TaintEffect,
    schedule,
};

/// The taint that stands for a device that can't be heard, as Kubernetes names it.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

impl Engine {
    /// Brings one workload to where it should be.
    pub(super) fn reconcile(&mut self, key: &Key) {
        let stored = self.objects.get(key).map(|s| (s.object.clone(), s.revision.clone()));
        let Some((object, Some(revision))) = stored else {
            for id in self.by_owner.get(key).cloned().unwrap_or_default() {
                self.begin_delete(id);
            }
            return;
        };
        self.disown(key, &object.meta().uid);
        self.ask_supply(&revision);
        match object.as_ref() {
            Object::Deployment(deployment) => {
                self.reconcile_deployment(key, deployment.replicas() as usize, &revision);
            }
            Object::DaemonSet(_) => self.reconcile_daemon_set(key, &revision),
            _ => {}
        }
        self.update_status(key);
    }

    /// Lets go of the copies of a workload of the same name that was deleted in the turn in which this one was made.
    fn disown(&mut self, key: &Key, uid: &str) {
        let copies = self.copies(key);
        let other = copies.iter().filter(|copy| copy.owner_uid != uid);
        for id in other.map(|copy| copy.id).collect::<Vec<_>>() {
            self.begin_delete(id);
        }
    }

    fn reconcile_deployment(&mut self, key: &Key, replicas: usize, revision: &Arc<Revision>) {
        self.drive_out(key);
        self.replace_lost(key, revision);
        self.replace_stalled(key, revision);
        for id in self.surplus(key, replicas, revision) {
            self.begin_delete(id);
        }
        for id in self.next_to_update(key, revision) {
            self.begin_delete(id);
        }
        let alive = self.alive(key).len();
        for _ in alive..replicas {
            self.create_pod(key, revision, None);
        }
        self.place_unplaced(key, revision);
    }

    fn reconcile_daemon_set(&mut self, key: &Key, revision: &Arc<Revision>) {
        let mut keep: BTreeMap<String, PodId> = BTreeMap::new();
        let mut go = Vec::new();
        let mut copies = self.alive(key);
        copies
            .sort_by_key(|c| (Reverse(c.revision.hash == revision.hash), Reverse(c.runs()), c.id));
        for copy in copies {
            let device = copy.device.as_ref().and_then(|name| self.devices.get(name));
            let wanted = device.is_some_and(|device| schedule::keeps(device, revision));
            let name = copy.device.clone().unwrap_or_default();
            if wanted && !keep.contains_key(&name) {
                keep.insert(name, copy.id);
            } else {
                go.push(copy.id);
            }
        }
        for id in go {
            self.begin_delete(id);
        }
        self.replace_stalled(key, revision);
        for id in self.next_to_update(key, revision) {
            self.begin_delete(id);
        }
        let taken: BTreeSet<String> =
            self.alive(key).iter().filter_map(|c| c.device.clone()).collect();
        let missing: Vec<String> = self
            .devices
            .values()
            .filter(|device| schedule::matches(device, revision).is_ok())
            .filter(|device| !taken.contains(&device.name))
            .map(|device| device.name.clone())
            .collect();
        for device in missing {
            self.create_pod(key, revision, Some(device));
        }
        self.admit_bound(key);
    }

    /// Copies that are not on their way out.
    fn alive(&self, key: &Key) -> Vec<&Pod> {
        let mut copies = self.copies(key);
        copies.retain(|copy| copy.deleting.is_none());
        copies
    }

    /// How long a copy that could run elsewhere bears the silence of its device. `None` for ever.
    pub(super) fn patience(&self, revision: &Revision) -> Option<Duration> {
        // One that names its device can't run elsewhere.
        if revision.template.spec.node_name.is_some() {
            return None;
        }
        let borne: Vec<Option<u32>> = revision
            .resolved
            .tolerations
            .iter()
            .filter(|t| t.bears(UNREACHABLE, "", TaintEffect::NoExecute))
            .map(|t| t.seconds)
            .collect();
        let seconds = match borne.iter().flatten().min() {
            Some(seconds) => *seconds,
            None if !borne.is_empty() => return None,
            None => self.config.lost_after_s,
        };
        Some(Duration::from_secs(u64::from(seconds)))
    }

    /// Lets go of copies that do not bear a taint of their device that is for what runs, too.
    fn drive_out(&mut self, key: &Key) {
        let driven: Vec<_> = self
            .alive(key)
            .iter()
            .filter(|copy| {
                let device = copy.device.as_ref().and_then(|name| self.devices.get(name));
                device.is_some_and(|device| !schedule::may_stay(device, &copy.revision))
            })
            .map(|copy| (copy.id, copy.key(), copy.device.clone().unwrap_or_default()))
            .collect();
        for (id, pod, device) in driven {
            let message =
                format!("{device} has a NoExecute taint that this copy does not tolerate");
            self.note(&pod, Severity::Warning, "TaintedDevice", message);
            self.begin_delete(id);
        }
    }

    /// Whether a copy's device has been silent for longer than it bears.
    fn is_lost(&self, copy: &Pod) -> bool {
        let device = copy.device.as_ref().and_then(|name| self.devices.get(name));
        let Some(Presence::Offline { since: Some(since), .. }) = device.map(|d| d.presence) else {
            return false;
        };
        self.patience(&copy.revision).is_some_and(|patience| since + patience <= self.now)
    }

    /// Lets go of lost copies, as many as have a place elsewhere. The others stay: they run on where they are, as far
    /// as anyone knows, and letting go of them would only restart them when their device is back.
    fn replace_lost(&mut self, key: &Key, revision: &Revision) {
        let alive = self.alive(key);
        let lost: Vec<_> = alive
            .iter()
            .filter(|copy| self.is_lost(copy))
            .filter_map(|copy| Some((copy.id, copy.key(), copy.device.clone()?)))
            .collect();
        if lost.is_empty() {
            return;
        }
        let unplaced = alive.iter().filter(|copy| copy.device.is_none()).count();
        let places = self.places(key, unplaced + lost.len(), revision).devices.len();
        for (id, pod, device) in lost.into_iter().take(places.saturating_sub(unplaced)) {
            let message =
                format!("{device} has not been heard for too long; a copy is placed elsewhere");
            self.note(&pod, Severity::Warning, "DeviceLost", message);
            self.begin_delete(id);
        }
    }

    /// Workloads with copies that only lack room: room may just have become free.
    pub(super) fn starved(&self) -> BTreeSet<Key> {
        self.pods
            .values()
            .filter(|copy| copy.deleting.is_none())
            .filter(|copy| copy.supply.is_none() || self.is_lost(copy))
            .map(|copy| copy.owner.clone())
            .collect()
    }

    /// Places for so many more copies.
    fn places(&self, key: &Key, count: usize, revision: &Revision) -> schedule::Placement {
        let mut copies: BTreeMap<String, usize> = BTreeMap::new();
        for copy in self.alive(key) {
            if let Some(device) = &copy.device {
                *copies.entry(device.clone()).or_default() += 1;
            }
        }
        let supplied = |target: &_| self.check_supply(revision, target);
        schedule::place(count, revision, &self.devices, &copies, &supplied)
    }

    /// Lets go of copies of older revisions that do not run anyway.
    fn replace_stalled(&mut self, key: &Key, revision: &Revision) {
        let stalled: Vec<_> = self
            .alive(key)
            .iter()
            .filter(|copy| copy.revision.hash != revision.hash && !copy.runs())
            .map(|copy| copy.id)
            .collect();
        for id in stalled {
            self.begin_delete(id);
        }
    }

    /// Copies over the declared number: first those that run least surely.
    fn surplus(&self, key: &Key, replicas: usize, revision: &Revision) -> Vec<PodId> {
        let mut alive = self.alive(key);
        let over = alive.len().saturating_sub(replicas);
        let heard = |copy: &Pod| {
            copy.device.as_ref().and_then(|n| self.devices.get(n)).is_some_and(|d| d.online())
        };
        alive.sort_by_key(|copy| {
            (
                copy.device.is_some(),
                copy.runs(),
                heard(copy),
                copy.revision.hash == revision.hash,
                Reverse(copy.created_ms),
                copy.id,
            )
        });
        alive.iter().take(over).map(|copy| copy.id).collect()
    }

    /// Running copies of older revisions that may be replaced now.
    fn next_to_update(&self, key: &Key, revision: &Revision) -> Vec<PodId> {
        let alive = self.alive(key);
        let heard = |copy: &Pod| {
            copy.device.as_ref().and_then(|n| self.devices.get(n)).is_some_and(|d| d.online())
        };
        let (updated, old): (Vec<&Pod>, Vec<&Pod>) =
            alive.into_iter().partition(|copy| copy.revision.hash == revision.hash);
        let placed = |copy: &Pod| copy.device.as_ref().and_then(|n| self.devices.get(n));
        let away = |copy: &Pod| placed(copy).is_some_and(|device| self.is_away(device));
        let supplied = |device: &Device| {
            let target = device.target(revision.resolved.runtime_class);
            target.map(|target| self.check_supply(revision, &target))
        };
        // A copy of a DaemonSet that its device could never be given says nothing about the new revision.
        let barred = |copy: &Pod| {
            copy.supply.is_none()
                && placed(copy).is_some_and(|device| !matches!(supplied(device), Ok(Ok(()))))
        };
        // A new copy on a device that is away is on its way there; it holds nobody up.
        if !updated.iter().all(|copy| copy.runs() || away(copy) || barred(copy)) {
            return Vec::new();
        }
        // A copy whose device waits for the image, or may be heard in a moment, keeps those on absent devices from
        // being replaced before it.
        let mut held_up = false;
        // A copy of a Deployment whose device can't take the new revision makes room for one elsewhere.
        let mut elsewhere = None;
        let mut has_place_elsewhere = || {
            key.kind == Kind::Deployment
                && *elsewhere
                    .get_or_insert_with(|| !self.places(key, 1, revision).devices.is_empty())
        };
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for copy in old {
            let Some(device) = placed(copy) else { continue };
            let supplied = supplied(device);
            let ready = matches!(supplied, Ok(Ok(())));
            let preparing = matches!(supplied, Ok(Err(schedule::Refusal::Preparing(_))));
            let ready = ready || (!preparing && has_place_elsewhere());
            if away(copy) {
                far.extend(ready.then_some(copy.id));
            } else if ready && heard(copy) {
                near.push(copy);
            } else {
                held_up |= ready || preparing;
            }
        }
        near.sort_by_key(|copy| (copy.device.clone(), copy.id));
        match near.first() {
            Some(copy) => Vec::from([copy.id]),
            None if held_up => Vec::new(),
            None => far,
        }
    }

    /// Whether a device has been silent for so long that nobody waits for it, while the hub could have heard it.
    fn is_away(&self, device: &Device) -> bool {
        let Presence::Offline { since: Some(since), .. } = device.presence else { return false };
        since + self.lost_after() <= self.now
    }

    /// How long a device may be silent before it counts as away.
    pub(super) fn lost_after(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.lost_after_s))
    }

    fn create_pod(&mut self, owner: &Key, revision: &Arc<Revision>, device: Option<String>) {
        let owner_uid =
            self.objects.get(owner).map(|s| s.object.meta().uid.clone()).unwrap_or_default();
        let id = self.rng.id();
        let suffix: String = self.rng.suffix().iter().map(|byte| char::from(*byte)).collect();
        let name = match device {
            Some(_) => format!("{}-{suffix}", owner.name),
            None => format!("{}-{}-{suffix}", owner.name, revision.hash),
        };
        if let Some(device) = device.as_ref().and_then(|name| self.devices.get_mut(name)) {
            device.pods.insert(id);
            device.allocated.add(revision.resolved.requests);
        }
        let pod = Pod {
            id,
            identity: pod::identity(id, &owner.namespace, &name, revision),
            owner: owner.clone(),
            owner_uid,
            name,
            revision: revision.clone(),
            created_ms: self.unix_ms,
            device,
            supply: None,
            deleting: None,
            report: None,
            assigned: false,
            after: Vec::new(),
            waiting: None,
            resource_version: 0,
        };
        self.by_owner.entry(owner.clone()).or_default().insert(id);
        self.by_name.insert(pod.key(), id);
        self.pods.insert(id, pod);
        self.dirty.pods.insert(id);
        self.dirty.changed_pods.insert(id, Action::Added);
    }

    /// Finds devices for copies of a Deployment that have none.
    fn place_unplaced(&mut self, key: &Key, revision: &Arc<Revision>) {
        let unplaced: Vec<_> = self
            .alive(key)
            .iter()
            .filter(|copy| copy.device.is_none())
            .map(|copy| (copy.id, copy.revision.clone()))
            .collect();
        if unplaced.is_empty() {
            return;
        }
        if let Some(waiting) = missing_image(revision) {
            for (id, _) in unplaced {
                self.set_waiting(id, Some(waiting.clone()));
            }
            return;
        }
        let placement = self.places(key, unplaced.len(), revision);
        let mut devices = placement.devices.iter();
        for (id, _) in unplaced {
            match devices.next() {
                Some(device) => self.bind(id, device),
                None => {
                    let waiting = schedule::summarise(&placement.refused, self.devices.len());
                    self.set_waiting(id, Some(waiting));
                }
            }
        }
    }

    fn bind(&mut self, id: PodId, name: &str) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        let Some(device) = self.devices.get_mut(name) else { return };
        pod.device = Some(name.to_owned());
        pod.waiting = None;
        device.pods.insert(id);
        device.allocated.add(pod.revision.resolved.requests);
        let (key, revision) = (pod.key(), pod.revision.clone());
        let supply = self.devices.get(name).and_then(|device| self.supply_for(&revision, device));
        if let Some(pod) = self.pods.get_mut(&id) {
            pod.supply = supply;
        }
        self.figures.placements += 1;
        self.dirty.pods.insert(id);
        self.dirty.assignments.insert(name.to_owned());
        self.touch_pod(id);
        self.note(&key, Severity::Normal, "Scheduled", format!("placed on {name}"));
        self.watch_silence(name);
    }

    /// Makes copies of a DaemonSet, which are bound to their devices, part of the assignments there once they fit.
    fn admit_bound(&mut self, key: &Key) {
        let bound: Vec<_> = self
            .alive(key)
            .iter()
            .filter(|copy| copy.supply.is_none())
            .filter_map(|copy| Some((copy.id, copy.device.clone()?, copy.revision.clone())))
            .collect();
        for (id, name, revision) in bound {
            if let Some(waiting) = missing_image(&revision) {
                self.set_waiting(id, Some(waiting));
                continue;
            }
            let before = self.predecessors(key, &name);
            if before.len() > PREDECESSORS {
                self.set_waiting(id, Some(too_many_before(&name, before.len())));
                continue;
            }
            let Some(device) = self.devices.get_mut(&name) else { continue };
            // What it asks for itself is already counted.
            device.allocated.subtract(revision.resolved.requests);
            device.pods.remove(&id);
            let fits = self.devices.get(&name).map(|device| {
                schedule::fits(device, &revision, &|target| self.check_supply(&revision, target))
            });
            if let Some(device) = self.devices.get_mut(&name) {
                device.allocated.add(revision.resolved.requests);
                device.pods.insert(id);
            }
            match fits {
                Some(Ok(())) => self.admit(id, &name, &revision, before),
                Some(Err(refusal)) => {
                    let reason = match refusal {
                        schedule::Refusal::Preparing(_) => "PreparingImage",
                        schedule::Refusal::Runtime(_) => "RuntimeUnavailable",
                        schedule::Refusal::Image(_) => "ImageHasNoBuild",
                        _ => "DoesNotFit",
                    };
                    let message = format!("{name}: {}", refusal.describe());
                    self.set_waiting(id, Some(Waiting::new(reason, message)));
                }
                None => {}
            }
        }
    }

    /// Copies of a DaemonSet that their device is letting go of: the one that follows them must not run beside them.
    fn predecessors(&self, key: &Key, device: &str) -> Vec<PodId> {
        let leaving =
            |copy: &&&Pod| copy.deleting.is_some() && copy.device.as_deref() == Some(device);
        self.copies(key).iter().filter(leaving).map(|copy| copy.id).collect()
    }

    fn admit(&mut self, id: PodId, name: &str, revision: &Revision, after: Vec<PodId>) {
        let supply = self.devices.get(name).and_then(|device| self.supply_for(revision, device));
        if let Some(pod) = self.pods.get_mut(&id) {
            pod.supply = supply;
            pod.waiting = None;
            pod.after = after;
        }
        self.figures.placements += 1;
        self.dirty.pods.insert(id);
        self.dirty.assignments.insert(name.to_owned());
        self.touch_pod(id);
    }

    /// Asks a Pod to go. One that no device can have is gone at once.
    pub(super) fn begin_delete(&mut self, id: PodId) {
        let Some(pod) = self.pods.get_mut(&id).filter(|i| i.deleting.is_none()) else {
            return;
        };
        let device = pod.device.clone().filter(|name| self.devices.contains_key(name));
        let Some(name) = device.filter(|_| pod.assigned) else {
            return self.remove_pod(id);
        };
        pod.deleting = Some(Deleting { since_ms: self.unix_ms, released: None });
        let requests = pod.revision.resolved.requests;
        self.dirty.workloads.insert(pod.owner.clone());
        if let Some(device) = self.devices.get_mut(&name) {
            device.allocated.subtract(requests);
        }
        self.dirty.room = true;
        self.dirty.pods.insert(id);
        self.dirty.assignments.insert(name);
        self.touch_pod(id);
    }

    /// Forgets a Pod.
    pub(super) fn remove_pod(&mut self, id: PodId) {
        let version = self.next_resource_version();
        if let Some(pod) = self.pods.get_mut(&id) {
            pod.resource_version = version;
        }
        let object = self.view_pod(id);
        let Some(pod) = self.pods.remove(&id) else { return };
        let known = self.dirty.changed_pods.remove(&id) != Some(Action::Added);
        self.effects.extend(
            object.filter(|_| known).map(|object| changed(Action::Deleted, object, version)),
        );
        self.by_name.remove(&pod.key());
        if let Some(ids) = self.by_owner.get_mut(&pod.owner) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_owner.remove(&pod.owner);
            }
        }
        if let Some(device) = pod.device.as_ref().and_then(|name| self.devices.get_mut(name)) {
            device.pods.remove(&id);
            if pod.deleting.is_none() {
                device.allocated.subtract(pod.revision.resolved.requests);
            }
            self.dirty.room = true;
        }
        self.dirty.pods.insert(id);
        self.dirty.workloads.insert(pod.owner.clone());
        self.drop_unused_configs(&pod);
    }

    /// Writes a workload's figures into its status.
    pub(super) fn update_status(&mut self, key: &Key) {
        let Some(stored) = self.objects.get(key) else { return };
        let Some(revision) = stored.revision.clone() else { return };
        let alive = self.alive(key);
        let count = |test: &dyn Fn(&Pod) -> bool| {
            u32::try_from(alive.iter().filter(|copy| test(copy)).count()).unwrap_or(u32::MAX)
        };
        let heard = |copy: &Pod| {
            copy.device.as_ref().and_then(|n| self.devices.get(n)).is_some_and(|d| d.online())
        };
        let total = count(&|_| true);
        let ready = count(&|copy| copy.runs() && heard(copy));
        let updated = count(&|copy| copy.revision.hash == revision.hash);
        let mut object = stored.object.as_ref().clone();
        match &mut object {
            Object::Deployment(deployment) => {
                deployment.status = DeploymentStatus {
                    observed_generation: deployment.metadata.generation,
                    replicas: total,
                    updated_replicas: updated,
                    ready_replicas: ready,
                    available_replicas: ready,
                    unavailable_replicas: deployment.replicas().saturating_sub(ready),
                };
            }
            Object::DaemonSet(set) => {
                set.status = DaemonSetStatus {
                    observed_generation: set.metadata.generation,
                    desired_number_scheduled: total,
                    current_number_scheduled: total,
                    number_misscheduled: 0,
                    number_ready: ready,
                    number_available: ready,
                    number_unavailable: total.saturating_sub(ready),
                    updated_number_scheduled: updated,
                };
            }
            _ => return,
        }
        if object == *stored.object {
            return;
        }
        let version = self.next_resource_version();
        object.meta_mut().resource_version = version.to_string();
        let object = Arc::new(object);
        if let Some(stored) = self.objects.get_mut(key) {
            stored.object = object.clone();
            stored.resource_version = version;
        }
        self.effects.push(changed(Action::Modified, object, version));
    }
}

fn missing_image(revision: &Revision) -> Option<Waiting> {
    revision.unknown_image().map(unknown_image)
}
