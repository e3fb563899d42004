//! Keeping workloads at what they declare: what is to be done says a controller; here it is linted and carried out, and
//! nowhere else.

pub(crate) mod jobs;

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use firmware_compat::{id::PodId, v1::owned::Severity};

use self::jobs::Made;
use crate::{
    api::{Key, Kind, Object, ObjectMeta, apps::annotations_of_revision, meta::Map},
    controller::{self, Plan, Scope, Step, View, Why, check},
    effect::Action,
    engine::{Engine, Timer, changed},
    pod::{self, Deleting, Pod, Revision, Waiting},
    record,
    state::{Owned, Progress, Saved, Stored, Tally},
};

/// Devices that one turn looks at for one DaemonSet: twice as many as it has steps for.
const MOST_DEVICES: usize = 512;

impl Engine {
    /// Brings one workload to where it should be.
    pub(crate) fn reconcile(&mut self, key: &Key, scope: &Scope) {
        let Some(stored) = self.state.objects.get(key).filter(|s| s.revision.is_some()) else {
            self.no_room.remove(key);
            let _rest_is_put_off = self.delete_orphans(key, "");
            return;
        };
        let object = stored.object.clone();
        let uid = object.meta().uid.clone();
        if *scope == Scope::All {
            self.no_room.remove(key);
            if !self.delete_orphans(key, &uid) {
                return;
            }
        }
        let Some(revision) = self.adopt_revision(key, &object, scope) else { return };
        let scope = &self.bounded_scope(key, scope);
        self.provision(&revision, scope);
        let ready_at = self.state.pods.settle(key, controller::min_ready(&object), self.now);
        let plan = self.view(key, &revision, scope, |view| {
            let plan = controller::plan(&object, view);
            check::check(&object, view, &plan).map(|()| plan)
        });
        self.metrics.plans += 1;
        match plan {
            Ok(plan) => self.apply(key, &uid, &revision, plan),
            Err(fault) => {
                // A controller's fault is worse carried out than left.
                debug_assert!(false, "{key}: {fault}");
                self.metrics.refused_plans += 1;
                self.record(key, Severity::Warning, "PlanRefused", fault.to_string());
            }
        }
        self.note_progress(key, &revision);
        self.update_status(key, &revision);
        self.show_revisions(&uid);
        self.wake_workload(key, &revision, ready_at);
    }

    /// The devices of a scope that one turn looks at for a workload with Pods on each; the rest is put off.
    fn bounded_scope(&mut self, key: &Key, scope: &Scope) -> Scope {
        let mut scope = scope.clone();
        if key.kind != Kind::DaemonSet {
            return scope;
        }
        if scope == Scope::All {
            let here = self.state.pods.owned(key).into_iter().flat_map(Owned::devices);
            let all = self.state.fleet.names().cloned();
            scope = Scope::Devices(all.chain(here.map(|(name, _)| name.to_owned())).collect());
        }
        if let Some(rest) = scope.split_off(MOST_DEVICES) {
            self.put_off(key, rest);
        }
        scope
    }

    fn view<T>(
        &self,
        key: &Key,
        revision: &Arc<Revision>,
        scope: &Scope,
        look: impl FnOnce(&View<'_>) -> T,
    ) -> T {
        let (nothing, uncounted) = (Progress::default(), Tally::default());
        let stored = self.state.objects.get(key);
        look(&View {
            key,
            revision,
            state: &self.state,
            scope,
            no_room: self.no_room.contains(key),
            room: self.steps_left,
            lost_after: self.lost_after(),
            progress: stored.map_or(&nothing, |stored| &stored.progress),
            tally: stored.map_or(&uncounted, |stored| &stored.tally),
            unix_ms: self.unix_ms,
            now: self.now,
        })
    }

    /// Lets go of the Pods of a workload of the same name that was deleted. False if some are left for the next turn.
    fn delete_orphans(&mut self, key: &Key, uid: &str) -> bool {
        let pods = &self.state.pods;
        let active = pods.owned(key).into_iter().flat_map(Owned::active_ids);
        let is_orphan = |id: &PodId| pods.get(*id).is_some_and(|pod| pod.owner_uid != uid);
        // One more tells that there are more.
        let mut orphans: Vec<_> = active.filter(is_orphan).take(self.steps_left + 1).collect();
        let is_all = orphans.len() <= self.steps_left;
        orphans.truncate(self.steps_left);
        self.steps_left -= orphans.len();
        for id in orphans {
            self.begin_delete(id);
        }
        if !is_all {
            self.put_off(key, Scope::All);
        }
        is_all
    }

    /// The revision that a workload's Pods are to be of, saved. One that means the same as a saved one is that one; an
    /// update that is held waits with the newest that was saved.
    pub(crate) fn adopt_revision(
        &mut self,
        key: &Key,
        object: &Object,
        scope: &Scope,
    ) -> Option<Arc<Revision>> {
        let declared = self.state.objects.get(key)?.revision.clone()?;
        let uid = object.meta().uid.as_str();
        let newest = self.state.revisions.newest(uid).cloned();
        let is_newest = |revision: &Revision| {
            newest.as_ref().is_some_and(|newest| newest.revision.hash == revision.hash)
        };
        let known = match &newest {
            Some(newest) if is_newest(&declared) => Some(newest.clone()),
            Some(newest) if controller::is_paused(object) => return Some(newest.revision.clone()),
            _ => self.state.revisions.meaning(uid, &declared).cloned(),
        };
        let mut saved = known.unwrap_or_else(|| Saved {
            owner: key.clone(),
            revision: declared.clone(),
            number: 0,
            created_ms: self.unix_ms,
            annotations: Map::new(),
            complete: false,
            shown: None,
        });
        let revision = saved.revision.clone();
        let annotations = annotations_of_revision(&object.meta().annotations);
        let becomes_newest = !is_newest(&revision);
        if becomes_newest || saved.annotations != annotations {
            if becomes_newest {
                saved.number = newest.as_ref().map_or(0, |newest| newest.number) + 1;
                saved.complete = false;
            }
            saved.annotations = annotations;
            self.save_revision(uid, saved);
        }
        if revision.hash != declared.hash {
            self.state.objects.set_revision(key, revision.clone());
        }
        if becomes_newest || *scope == Scope::All {
            self.drop_revisions(uid, controller::history(object));
        }
        Some(revision)
    }

    pub(crate) fn save_revision(&mut self, uid: &str, saved: Saved) {
        let value = record::encode(&record::RevisionRecord::new(&saved));
        self.records.insert(record::revision_key(uid, &saved.revision.hash), Some(value));
        self.state.revisions.insert(uid, saved);
    }

    fn drop_revision(&mut self, uid: &str, hash: &str) {
        self.hide_revision(uid, hash);
        self.state.revisions.remove(uid, hash);
        self.records.insert(record::revision_key(uid, hash), None);
    }

    /// Drops the saved revisions that nobody needs any more.
    fn drop_revisions(&mut self, uid: &str, keep: usize) {
        let pods = &self.state.pods;
        let outlived = self.state.revisions.outlived(uid, keep, |hash| pods.any_of(uid, hash));
        for hash in outlived {
            self.drop_revision(uid, &hash);
        }
    }

    /// Drops the revision of a Pod that is gone, and of a workload that is gone.
    fn drop_revision_of(&mut self, gone: &Pod) {
        let uid = gone.owner_uid.as_str();
        let owner = self.state.objects.get(&gone.owner);
        match owner.map(|stored| &stored.object).filter(|object| object.meta().uid == uid) {
            Some(object) => {
                let keep = controller::history(object);
                self.drop_revisions(uid, keep);
            }
            None => self.drop_revisions_without_owner(uid),
        }
    }

    /// Drops every revision of a workload that is gone, but for those that its Pods still are of.
    pub(crate) fn drop_revisions_without_owner(&mut self, uid: &str) {
        let pods = &self.state.pods;
        let unused = |saved: &&Saved| !pods.any_of(uid, &saved.revision.hash);
        let hashes: Vec<String> = self
            .state
            .revisions
            .of(uid)
            .filter(unused)
            .map(|saved| saved.revision.hash.clone())
            .collect();
        for hash in hashes {
            self.drop_revision(uid, &hash);
        }
    }

    /// Carries a plan out, as far as the turn has room. What is left is planned anew: a plan is good for what was seen.
    fn apply(&mut self, key: &Key, uid: &str, revision: &Arc<Revision>, plan: Plan) {
        /// Pods of one plan about which an event says why they wait.
        const TOLD: usize = 10;
        let mut told = 0;
        let mut rest = Vec::new();
        for step in plan.steps {
            // Every plan says of every Pod that waits why it does: only what changes something counts.
            if !matches!(step, Step::Wait { .. }) {
                if self.steps_left == 0 {
                    rest.push(step);
                    continue;
                }
                self.steps_left -= 1;
            }
            match step {
                Step::Create { .. } if !self.is_within_quota(key, revision) => {}
                Step::Create { device, index, after, waiting } => {
                    let waits = waiting.is_some();
                    let id = self.create_pod(key, uid, revision, None, device.as_deref(), index);
                    if !waits && let Some(device) = &device {
                        self.admit(id, device, after);
                    }
                    if waits {
                        self.wait(id, waiting, told < TOLD);
                        told += 1;
                    }
                }
                Step::CreateNamed { .. } if !self.is_within_quota(key, revision) => {}
                Step::CreateNamed { name, revision, device, waiting } => {
                    let saved = self.state.revisions.get(uid, &revision);
                    let Some(revision) = saved.map(|saved| saved.revision.clone()) else {
                        continue;
                    };
                    let id =
                        self.create_pod(key, uid, &revision, Some(name), device.as_deref(), None);
                    match device {
                        Some(device) => self.admit(id, &device, Vec::new()),
                        None => self.wait(id, waiting, true),
                    }
                }
                Step::MakeClaims { pod } => self.make_claims_of(key, &pod),
                Step::DeleteClaims { pod } => self.delete_claims_of(key, &pod),
                Step::Bind { pod, device, after } => {
                    self.change_pod(pod, |pod| pod.device = Some(device.clone()));
                    self.admit(pod, &device, after);
                }
                Step::Admit { pod, after } => {
                    let device = self.state.pods.get(pod).and_then(|pod| pod.device.clone());
                    self.admit(pod, &device.unwrap_or_default(), after);
                }
                Step::Wait { pod, waiting } => {
                    self.wait(pod, Some(waiting), told < TOLD);
                    told += 1;
                }
                Step::Renew { pod } => self.renew_pod(pod, revision),
                Step::Count { pod, succeeded } => self.count_pod(pod, succeeded),
                Step::Delete { pod, why } => self.delete_for(key, pod, why),
            }
        }
        if plan.more {
            self.put_off(key, Scope::default());
        }
        if !rest.is_empty() {
            return self.put_off_steps(key, rest);
        }
        if plan.is_over {
            self.delete_expired(key);
            return;
        }
        if plan.report.no_place > 0 {
            self.no_room.insert(key.clone());
        } else {
            self.no_room.remove(key);
        }
    }

    /// Leaves steps to the next turn, which looks at their devices again.
    fn put_off_steps(&mut self, key: &Key, steps: Vec<Step>) {
        let mut scope = Scope::default();
        for step in steps {
            let pods = &self.state.pods;
            let of = |pod: PodId| pods.get(pod).and_then(|pod| pod.device.clone());
            let device = match step {
                Step::Create { device, .. } | Step::CreateNamed { device, .. } => device,
                Step::MakeClaims { .. } | Step::DeleteClaims { .. } => None,
                Step::Bind { device, .. } => Some(device),
                Step::Admit { pod, .. }
                | Step::Wait { pod, .. }
                | Step::Renew { pod }
                | Step::Count { pod, .. }
                | Step::Delete { pod, .. } => of(pod),
            };
            device.iter().for_each(|device| scope.add(device));
        }
        self.put_off(key, scope);
    }

    fn delete_for(&mut self, planned: &Key, id: PodId, why: Why) {
        let Some(pod) = self.state.pods.get(id) else { return };
        let (key, device) = (pod.key(), pod.device.clone().unwrap_or_default());
        let news = match why {
            Why::Evicted => Some((
                "TaintedDevice",
                format!("{device} has a NoExecute taint that this Pod does not tolerate"),
            )),
            Why::Lost => Some((
                "DeviceLost",
                format!("{device} has not been heard for too long; a Pod is placed elsewhere"),
            )),
            Why::TooLarge => Some((
                "MovedElsewhere",
                format!("the assignment of {device} has no room; a Pod is placed elsewhere"),
            )),
            Why::Preempted => Some((
                "Preempted",
                format!("{device} has no room for a Pod of {planned}, which has a higher priority"),
            )),
            Why::Gone => Some((
                "DeviceLost",
                format!(
                    "{device} has not been heard for too long; it is to go when {device} is back"
                ),
            )),
            Why::Excess
            | Why::Unhealthy
            | Why::Updated
            | Why::Unwanted
            | Why::Suspended
            | Why::Ended
            | Why::Outlived => None,
        };
        if let Some((reason, message)) = news {
            self.record(&key, Severity::Warning, reason, message);
        }
        self.before_delete(id, why);
        self.begin_delete(id);
    }

    fn create_pod(
        &mut self,
        owner: &Key,
        uid: &str,
        revision: &Arc<Revision>,
        name: Option<String>,
        device: Option<&str>,
        index: Option<u32>,
    ) -> PodId {
        let id = self.rng.id();
        let prefix = match (owner.kind, index) {
            (Kind::DaemonSet | Kind::Job, None) => format!("{}-", owner.name),
            (_, Some(index)) => format!("{}-{index}-", owner.name),
            _ => format!("{}-{}-", owner.name, revision.hash),
        };
        let pods = &self.state.pods;
        let name = name.unwrap_or_else(|| {
            pod::name::draw(&prefix, &mut self.rng, |name| {
                pods.named(&Key::new(Kind::Pod, &owner.namespace, name)).is_some()
            })
        });
        let job = (owner.kind == Kind::Job).then(|| owner.clone());
        if let Some(job) = job {
            self.record(&job, Severity::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
        }
        self.make_pod(owner, uid, revision, device, Made { id, name, index });
        id
    }

    /// Makes a Pod of this name.
    pub(crate) fn make_pod(
        &mut self,
        owner: &Key,
        uid: &str,
        revision: &Arc<Revision>,
        device: Option<&str>,
        Made { id, name, index }: Made,
    ) {
        let priority = self.state.priority(&revision.template.spec).value;
        let pod = Pod {
            id,
            priority,
            identity: pod::identity(id, &owner.namespace, &name, revision),
            owner: owner.clone(),
            owner_uid: uid.to_owned(),
            name,
            index,
            counted: false,
            grace_s: None,
            revision: revision.clone(),
            created_ms: self.unix_ms,
            device: device.map(ToOwned::to_owned),
            supply: None,
            deleting: None,
            report: None,
            assigned: false,
            after: Vec::new(),
            waiting: None,
            resource_version: 0,
        };
        self.state.pods.insert(pod, self.now);
        self.dirty.pods.insert(id);
        self.dirty.changed_pods.insert(id, Action::Added);
    }

    /// Makes a Pod part of its device's assignment.
    fn admit(&mut self, id: PodId, name: &str, after: Vec<PodId>) {
        if let Err(waiting) = self.bind_claims(id, name) {
            return self.refuse_place(id, waiting);
        }
        let Some(pod) = self.state.pods.get(id) else { return };
        let (key, kind, revision) = (pod.key(), pod.owner.kind, pod.revision.clone());
        let device = self.state.fleet.get(name);
        let supply = device.and_then(|device| self.state.images.supply(&revision, device));
        self.change_pod(id, |pod| {
            pod.supply = supply;
            pod.waiting = None;
            pod.after = after;
        });
        self.metrics.placements += 1;
        self.dirty.moved = true;
        self.dirty.pods.insert(id);
        self.dirty.assignments.insert(name.to_owned());
        self.touch_pod(id);
        if kind != Kind::DaemonSet {
            self.record(&key, Severity::Normal, "Scheduled", format!("placed on {name}"));
        }
        self.watch_silence(name);
    }

    /// Says why a Pod waits, or that it no longer does.
    pub(crate) fn set_waiting(&mut self, id: PodId, waiting: Option<Waiting>) {
        self.wait(id, waiting, true);
    }

    fn wait(&mut self, id: PodId, waiting: Option<Waiting>, is_told: bool) {
        let Some(pod) = self.state.pods.get(id).filter(|pod| pod.waiting != waiting) else {
            return;
        };
        let (key, owner) = (pod.key(), pod.owner.clone());
        let same_reason = match (&pod.waiting, &waiting) {
            (Some(one), Some(other)) => one.reason == other.reason,
            (one, other) => one.is_none() == other.is_none(),
        };
        self.change_pod(id, |pod| pod.waiting.clone_from(&waiting));
        self.touch_pod(id);
        if !same_reason {
            self.dirty_owner(&owner, None);
        }
        if let Some(waiting) = waiting.filter(|_| is_told) {
            // An image that is being made ready is on its way; everything else is for someone to look at.
            let severity = match waiting.reason.as_str() {
                "PreparingImage" => Severity::Normal,
                _ => Severity::Warning,
            };
            self.record(&key, severity, &waiting.reason, waiting.message);
        }
    }

    /// Asks a Pod to go. One that no device can have is gone at once.
    pub(crate) fn begin_delete(&mut self, id: PodId) {
        let Some(pod) = self.state.pods.get(id).filter(|pod| pod.deleting.is_none()) else {
            return;
        };
        let device = pod.device.clone().filter(|name| self.state.fleet.contains(name));
        let Some(name) = device.filter(|_| pod.assigned) else {
            return self.remove_pod(id);
        };
        let owner = pod.owner.clone();
        let deleting = Deleting { since_ms: self.unix_ms, released: None };
        self.change_pod(id, |pod| pod.deleting = Some(deleting));
        self.dirty_owner(&owner, Some(&name));
        self.dirty.room.insert(name.clone());
        self.dirty.moved = true;
        self.dirty.pods.insert(id);
        self.dirty.assignments.insert(name);
        self.touch_pod(id);
    }

    /// Forgets a Pod.
    pub(crate) fn remove_pod(&mut self, id: PodId) {
        self.count_gone(id);
        let version = self.next_resource_version();
        self.change_pod(id, |pod| pod.resource_version = version);
        let object = self.view_pod(id);
        let Some(pod) = self.state.pods.remove(id) else { return };
        let known = self.dirty.changed_pods.remove(&id) != Some(Action::Added);
        self.effects.extend(
            object.filter(|_| known).map(|object| changed(Action::Deleted, object, version)),
        );
        self.dirty.moved |= pod.device.is_some();
        self.dirty.room.extend(pod.device.clone());
        self.dirty.pods.insert(id);
        self.dirty_owner(&pod.owner, pod.device.as_deref());
        self.drop_unused_data(&pod);
        self.drop_bare(&pod);
        self.let_go_of_claims(&pod);
        self.drop_revision_of(&pod);
    }

    /// Remembers when a workload last came further with its newest revision.
    fn note_progress(&mut self, key: &Key, revision: &Revision) {
        let owned = self.state.pods.owned(key);
        let newest = owned.and_then(|owned| owned.revision(&revision.hash));
        let updated = newest.map_or(0, |of| of.active());
        let reached = (
            updated,
            owned.map_or(0, |owned| owned.available()),
            owned.map_or(0, |owned| owned.active() - updated),
        );
        let Some(Stored { progress, object, .. }) = self.state.objects.get(key) else { return };
        let same = progress.revision == revision.hash;
        let complete = (same && progress.complete)
            || controller::deployment::is_complete(object.replicas() as usize, reached);
        let reached = Progress {
            revision: revision.hash.clone(),
            reached,
            since: progress.since,
            complete,
            paused: controller::is_paused(object),
        };
        if *progress == reached {
            return;
        }
        let uid = object.meta().uid.clone();
        self.state.objects.set_progress(key, Progress { since: self.now, ..reached });
        if let Some(saved) = self.state.revisions.get(&uid, &revision.hash)
            && complete
            && !saved.complete
        {
            self.save_revision(&uid, Saved { complete, ..saved.clone() });
        }
    }

    /// Writes a workload's figures into its status.
    fn update_status(&mut self, key: &Key, revision: &Arc<Revision>) {
        let Some(stored) = self.state.objects.get(key) else { return };
        let unix_ms = self.unix_ms;
        let changed_object = self.view(key, revision, &Scope::default(), |view| {
            controller::status(&stored.object, view, unix_ms)
        });
        let Some(mut object) = changed_object else { return };
        let is_saved = self.tell_of_job(&object);
        let version = self.next_resource_version();
        let meta: &mut ObjectMeta = object.meta_mut();
        meta.resource_version = version.to_string();
        let object = Arc::new(object);
        self.state.objects.set_status(key, object.clone(), version);
        if is_saved {
            self.save_object(key, &object);
        }
        self.effects.push(changed(Action::Modified, object, version));
    }

    /// Has the engine woken when a workload's Pods have been ready for long enough, or it is stuck.
    fn wake_workload(
        &mut self,
        key: &Key,
        revision: &Arc<Revision>,
        ready_at: Option<firmware_compat::time::Instant>,
    ) {
        let Some(stored) = self.state.objects.get(key) else { return };
        let deadline = self.view(key, revision, &Scope::default(), |view| {
            controller::deadline(&stored.object, view)
        });
        let at = ready_at.into_iter().chain(deadline).filter(|at| *at > self.now).min();
        let old = match at {
            Some(at) => self.wakes.insert(key.clone(), at),
            None => self.wakes.remove(key),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.timers.remove(&(old, Timer::Workload(key.clone())));
        }
        self.timers.extend(at.map(|at| (at, Timer::Workload(key.clone()))));
    }
}
