//! The hub's state machine. [`Engine::handle`] takes events in; [`Engine::drain`] ends a turn: it plans whatever the
//! turn's events touched and hands out the effects, what must be durable first.
//!
//! `requests` answers the API, `access` has the engine's part in who may do what, `pod_security` in what, `quota` in
//! how much. What else the engine does is beside it:
//! `load` reads the records, `session` hears and tells devices, `apply` keeps workloads at what they declare,
//! `provisioning` finds what devices need of images, `view` and `explain` show, `recorder` keeps the API's events.

mod access;
mod bare;
mod limits;
mod pod_security;
mod quota;
mod requests;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::{cmp::Reverse, fmt, time::Duration};

use firmware_compat::{
    id::{Lineage, PodId},
    time::{Instant, UnixMs},
};

pub use crate::session::ReportRequest;
use crate::{
    api::{Key, Object},
    controller::Scope,
    effect::{Action, Change, Effect, Record},
    event::{Event, ImageRequest, Now},
    load,
    pod::Pod,
    record,
    recorder::Recorder,
    rng::Rng,
    sealing::{NoSeal, Seal},
    session::{
        commands::Logs, known_time::KnownTime, rejected_frames::RejectedFrames, report::FullReports,
    },
    signing::Sign,
    state::State,
};

/// Settings that do not change while the hub runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed of every random choice.
    pub seed: [u8; 32],
    /// How long a device may be silent before Pods that could run elsewhere are replaced, where the workload does
    /// not say so by a toleration of `node.kubernetes.io/unreachable`. Kubernetes' own is 300 s.
    pub lost_after_s: u32,
    /// What seals to devices.
    pub seal: Arc<dyn Seal>,
}

impl Default for Config {
    fn default() -> Self {
        Self { seed: [0; 32], lost_after_s: 300, seal: Arc::new(NoSeal) }
    }
}

/// Devices that one hub takes. A device in memory is a few KiB.
pub const MAX_DEVICES: usize = 100_000;
/// Steps of plans that one turn carries out, some 20 ms of work. What is left is planned anew with the next turn, and
/// whoever asks something meanwhile is answered in between.
const MOST_STEPS: usize = 256;
/// What one turn spends on sealing, in seals of nothing of about 0.1 ms each: some 20 ms. The assignments of the devices that
/// are left are made with the next turn.
const MOST_SEALS: usize = 200;
/// A record that says only what its device would say again is written within this time, together with others: a fleet
/// whose containers come and go is no reason for a commit each.
const SAVE_REPORTS_WITHIN: Duration = Duration::from_secs(2);
/// So many of these records are written by one turn.
const MOST_REPORTS: usize = 512;
/// Resource versions are reserved in steps, so that most changes need no write for them.
const RESOURCE_VERSION_STEP: u64 = 100_000;

/// The hub's state machine.
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) signer: Arc<dyn Sign>,
    pub(crate) known: KnownTime,
    pub(crate) rng: Rng,
    pub(crate) lineage: Lineage,
    pub(crate) versions: Versions,
    pub(crate) state: State,
    pub(crate) sessions: Sessions,
    pub(crate) parts: core::cell::RefCell<crate::parts::PartCache>,
    pub(crate) recorder: Recorder,
    pub(crate) timers: BTreeSet<(Instant, Timer)>,
    pub(crate) dirty: Dirty,
    pub(crate) no_room: BTreeSet<Key>,
    /// Workloads that may have no Pod more by a quota of their namespace.
    pub(crate) over_quota: BTreeSet<Key>,
    /// Of [`MOST_STEPS`], in this turn.
    pub(crate) steps_left: usize,
    /// Of [`MOST_SEALS`], in this turn.
    pub(crate) seals_left: usize,
    pub(crate) wakes: BTreeMap<Key, Instant>,
    pub(crate) records: BTreeMap<String, Option<Vec<u8>>>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) metrics: Metrics,
    pub(crate) unix_ms: UnixMs,
    pub(crate) now: Instant,
}

/// Resource versions: the last that was given out, and the first that is not reserved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Versions {
    pub last: u64,
    pub reserved: u64,
}

/// What is going on with devices.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    pub link_up: bool,
    /// Of the last frame.
    pub sequence: u32,
    /// Id of the last command.
    pub last_command: u64,
    pub logs: Logs,
    pub rejected: RejectedFrames,
    pub full_reports: FullReports,
    /// Devices that have yet to be told of the hub's new keys.
    pub untold: BTreeSet<String>,
}

/// Why the engine wants to be woken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A device has been silent for long.
    Lost(String),
    /// A device has not acknowledged its assignment yet.
    Retransmit(String, u32),
    /// A device did not report anew yet.
    Ask(String, u32),
    /// Nothing was heard of a device on which something depends.
    Probe(String),
    /// An image may be there now.
    Provision(ImageRequest),
    /// A workload's Pods have been ready for long enough, or it made no progress for too long.
    Workload(Key),
    /// Write what devices have said.
    SaveReports,
    /// Tell every device the time.
    Beacon,
}

/// What a turn's events touched.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    /// Their number of Pods, placement or status, and the devices to look at.
    pub workloads: BTreeMap<Key, Scope>,
    /// Those of which the next turn carries out the rest.
    pub put_off: BTreeMap<Key, Scope>,
    /// Their assignment.
    pub assignments: BTreeSet<String>,
    /// Pods whose record is to be written.
    pub pods: BTreeSet<PodId>,
    /// What devices have said and would say again.
    pub reports: Reports,
    /// Pods whose object changed.
    pub changed_pods: BTreeMap<PodId, Action>,
    /// Devices whose record is to be written.
    pub devices: BTreeSet<String>,
    /// Devices whose object changed.
    pub changed_nodes: BTreeMap<String, Action>,
    /// Devices on which something became free, or which can take what they could not.
    pub room: BTreeSet<String>,
    /// Whether a Pod has come to a device or gone: others may have waited for it to be there, or not to be.
    pub moved: bool,
}

/// Records that can wait for [`Timer::SaveReports`]: a hub that dies before is told again by the devices, for they have
/// lost their connection.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// Pods, and whether their records say that they run.
    pub pods: BTreeMap<PodId, bool>,
    pub devices: BTreeSet<String>,
    /// The timer is set.
    pub is_waiting: bool,
    /// They are to be written now.
    pub is_due: bool,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Metrics {
    pub frames: u64,
    pub rejected_frames: u64,
    pub signatures: u64,
    pub turns: u64,
    pub assignments: u64,
    pub placements: u64,
    pub plans: u64,
    pub refused_plans: u64,
}

impl fmt::Debug for Engine {
    /// What it knows is not all for everybody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("lineage", &self.lineage).finish_non_exhaustive()
    }
}

impl Engine {
    /// Random id of this hub's store.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Everything that the hub knows.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes an event in. Its effects come with the next [`Self::drain`].
    pub fn handle(&mut self, event: Event, now: Now) {
        self.set_clock(now);
        match event {
            Event::Request { id, actor, request } => self.on_request(id, &actor, request),
            Event::Frame { device, kind, bytes } => self.on_frame(&device, kind, &bytes),
            Event::LinkUp => self.on_link_up(),
            Event::LinkDown { reason } => self.on_link_down(&reason),
            Event::Disconnected { device } => self.on_disconnected(&device),
            Event::TakenOver { device } => self.on_taken_over(&device),
            Event::Stranger { device, key, address } => self.on_stranger(&device, key, &address),
            Event::TwoBoards { device, boards } => self.on_two_boards(&device, &boards),
            Event::FramesLost { device } => self.miss_something(&device),
            Event::Supplied { need, result } => self.on_supplied(need, result),
            Event::Signer(signer) => self.change_keys(signer),
            Event::Timeout => {}
        }
        self.fire_timers();
    }

    /// When [`Event::Timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.has_more() {
            return Some(self.now);
        }
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether the last turn left something for the next.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.dirty.put_off.is_empty()
            || !self.dirty.assignments.is_empty()
            || self.dirty.reports.is_due
            || !self.sessions.untold.is_empty()
    }

    /// Ends the turn: plans what was touched, and hands out the effects in the order in which they must be done.
    pub fn drain(&mut self) -> Vec<Effect> {
        self.plan();
        if self.count_quotas() && self.tell_of_quota() {
            self.plan();
            self.count_quotas();
        }
        self.tell_of_keys();
        self.publish();
        self.write_time();
        let mut effects = Vec::new();
        if !self.records.is_empty() {
            let records = core::mem::take(&mut self.records);
            effects.push(Effect::Save(
                records.into_iter().map(|(key, value)| Record { key, value }).collect(),
            ));
        }
        effects.append(&mut self.effects);
        if !effects.is_empty() {
            self.metrics.turns += 1;
        }
        effects
    }

    /// Brings workloads and assignments to where they should be. A workload's plan may touch assignments, never
    /// another workload; but what one lets go of may be what others wait for.
    fn plan(&mut self) {
        self.steps_left = MOST_STEPS;
        self.seals_left = MOST_SEALS;
        for (key, scope) in core::mem::take(&mut self.dirty.put_off) {
            self.dirty.workloads.entry(key).or_default().join(scope);
        }
        self.reconcile_dirty();
        self.tell_of_room();
        self.reconcile_dirty();
        self.assign_dirty();
        // Letting go of Pods may complete a workload's status, or what is left to do for it.
        let mut rounds = 0;
        while !self.dirty.workloads.is_empty() && rounds < MOST_ROUNDS {
            rounds += 1;
            self.reconcile_dirty();
            self.tell_of_room();
            self.assign_dirty();
        }
    }

    /// Makes assignments anew, as long as there is something left to spend on it.
    fn assign_dirty(&mut self) {
        let mut devices = core::mem::take(&mut self.dirty.assignments);
        while self.seals_left > 0
            && let Some(device) = devices.pop_first()
        {
            self.assign(&device);
        }
        self.dirty.assignments.append(&mut devices);
    }

    fn reconcile_dirty(&mut self) {
        let mut dirty: Vec<_> = core::mem::take(&mut self.dirty.workloads).into_iter().collect();
        // What matters more looks for room first.
        dirty.sort_by_cached_key(|(key, _)| Reverse(self.priority(key)));
        for (key, scope) in dirty {
            if self.steps_left > 0 {
                self.reconcile(&key, &scope);
            } else {
                self.put_off(&key, scope);
            }
        }
    }

    fn priority(&self, key: &Key) -> i32 {
        let revision = self.state.objects.get(key).and_then(|stored| stored.revision.as_ref());
        revision.map_or(0, |revision| self.state.priority(&revision.template.spec).value)
    }

    /// Leaves the rest of what is to be done for a workload to the next turn.
    pub(crate) fn put_off(&mut self, key: &Key, scope: Scope) {
        self.dirty.put_off.entry(key.clone()).or_default().join(scope);
    }

    /// Marks the workloads that wait for what became free on some devices.
    fn tell_of_room(&mut self) {
        if core::mem::take(&mut self.dirty.moved) {
            self.tell_neighbours();
        }
        for name in core::mem::take(&mut self.dirty.room) {
            let Some(device) = self.state.fleet.get(&name) else { continue };
            let waits: Vec<Key> = self
                .state
                .pods
                .on(&name)
                .unadmitted()
                .iter()
                .filter_map(|id| self.state.pods.get(*id))
                .map(|pod| pod.owner.clone())
                .collect();
            let fits = |key: &&Key| {
                let stored = self.state.objects.get(key);
                let Some(revision) = stored.and_then(|stored| stored.revision.as_ref()) else {
                    return true;
                };
                self.state.takes(device, revision).is_ok()
            };
            let woken: Vec<Key> = self.no_room.iter().filter(fits).cloned().collect();
            for key in woken {
                self.no_room.remove(&key);
                self.dirty.workloads.entry(key).or_default();
            }
            for key in waits {
                self.dirty.workloads.entry(key).or_default().add(&name);
            }
        }
    }

    /// Marks the workloads that found no place and keep to other Pods.
    fn tell_neighbours(&mut self) {
        let minds_others = |key: &&Key| {
            let stored = self.state.objects.get(key);
            let revision = stored.and_then(|stored| stored.revision.as_ref());
            revision.is_some_and(|revision| revision.minds_others())
                || self.state.pods.repelling().next().is_some()
        };
        let woken: Vec<Key> = self.no_room.iter().filter(minds_others).cloned().collect();
        for key in woken {
            self.no_room.remove(&key);
            self.dirty.workloads.entry(key).or_default();
        }
    }

    /// Turns what changed into records and into news for those who watch.
    fn publish(&mut self) {
        self.take_reports();
        for id in core::mem::take(&mut self.dirty.pods) {
            let value = self.state.pods.get(id).map(|i| record::encode(&load::pod_record(i)));
            self.records.insert(record::pod_key(id), value);
        }
        for name in core::mem::take(&mut self.dirty.devices) {
            let value =
                self.state.fleet.get(&name).map(|d| record::encode(&load::device_record(d)));
            self.records.insert(record::device_key(&name), value);
        }
        for (id, action) in core::mem::take(&mut self.dirty.changed_pods) {
            let version = self.next_resource_version();
            self.change_pod(id, |pod| pod.resource_version = version);
            let object = self.view_pod(id);
            self.effects.extend(object.map(|object| changed(action, object, version)));
        }
        for (name, action) in core::mem::take(&mut self.dirty.changed_nodes) {
            let version = self.next_resource_version();
            let Some(device) = self.state.fleet.get_mut(&name) else { continue };
            device.resource_version = version;
            let object = self.view_node(&name);
            self.effects.extend(object.map(|object| changed(action, object, version)));
        }
    }

    /// Moves what is due to what is written with this turn, as far as that has room. What is written anyway need not be
    /// written again.
    fn take_reports(&mut self) {
        let Dirty { pods, devices, reports, .. } = &mut self.dirty;
        pods.iter().for_each(|id| _ = reports.pods.remove(id));
        devices.iter().for_each(|name| _ = reports.devices.remove(name));
        if !reports.is_due {
            return;
        }
        for _ in 0..MOST_REPORTS {
            if let Some((id, _)) = reports.pods.pop_first() {
                pods.insert(id);
            } else if let Some(name) = reports.devices.pop_first() {
                devices.insert(name);
            } else {
                reports.is_due = false;
                return;
            }
        }
    }

    /// Has the records written soon of which something was inserted into [`Dirty::reports`].
    pub(crate) fn save_reports_soon(&mut self) {
        if !core::mem::replace(&mut self.dirty.reports.is_waiting, true) {
            self.timers.insert((self.now + SAVE_REPORTS_WITHIN, Timer::SaveReports));
        }
    }

    /// The device may not be there to say again what it has said.
    pub(crate) fn save_reports_of(&mut self, device: &str) {
        let Dirty { pods, devices, reports, .. } = &mut self.dirty;
        let here = self.state.pods.on(device).pods().iter().copied();
        pods.extend(here.filter(|id| reports.pods.remove(id).is_some()));
        devices.extend(reports.devices.take(device));
    }

    /// The next resource version. Versions are reserved in the store before they are given out, because those of
    /// devices and Pods are not written, and a watcher must never see them fall.
    pub(crate) fn next_resource_version(&mut self) -> u64 {
        self.versions.last += 1;
        if self.versions.last >= self.versions.reserved {
            self.versions.reserved = self.versions.last + RESOURCE_VERSION_STEP;
            self.save_meta();
        }
        self.versions.last
    }

    pub(crate) fn save_meta(&mut self) {
        let meta = record::Meta {
            lineage: self.lineage,
            reserved_resource_version: self.versions.reserved,
        };
        self.records.insert(record::META.into(), Some(record::encode(&meta)));
    }

    fn set_clock(&mut self, now: Now) {
        self.now = self.now.max(now.instant);
        self.unix_ms = now.unix_ms;
        self.known.set(now.unix_ms, self.now);
    }

    fn fire_timers(&mut self) {
        while let Some((at, _)) = self.timers.first() {
            if *at > self.now {
                break;
            }
            let Some((_, timer)) = self.timers.pop_first() else { break };
            match timer {
                Timer::Lost(device) => {
                    self.tell_hearing(&device);
                    self.dirty_owners_on(&device);
                    self.watch_silence(&device);
                }
                Timer::Retransmit(device, attempt) => self.retransmit(&device, attempt),
                Timer::Ask(device, attempt) => self.ask_now(&device, attempt),
                Timer::Probe(device) => self.probe(&device),
                Timer::Provision(need) => self.retry_provisioning(need),
                Timer::Workload(key) => {
                    self.wakes.remove(&key);
                    self.dirty.workloads.entry(key).or_default();
                }
                Timer::SaveReports => {
                    self.dirty.reports.is_waiting = false;
                    self.dirty.reports.is_due = true;
                }
                Timer::Beacon => self.beacon(),
            }
        }
    }

    /// How long a device may be silent before it counts as away.
    pub(crate) fn lost_after(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.lost_after_s))
    }

    /// Changes a Pod, and with it every count that it is part of.
    pub(crate) fn change_pod(&mut self, id: PodId, change: impl FnOnce(&mut Pod)) -> bool {
        self.state.pods.change(id, self.now, change)
    }

    /// Tells the Pods on a device whether it can be heard.
    pub(crate) fn tell_hearing(&mut self, name: &str) {
        let Some(device) = self.state.fleet.get(name) else { return };
        let hearing = device.hearing(self.lost_after(), self.now);
        self.state.pods.set_hearing(name, hearing, self.now);
    }

    /// Something changed on a device that matters to the workloads with Pods there.
    pub(crate) fn dirty_owners_on(&mut self, device: &str) {
        for pod in self.state.pods.pods_on(device) {
            if let Some(scope) = self.dirty.workloads.get_mut(&pod.owner) {
                scope.add(device);
            } else {
                let mut scope = Scope::default();
                scope.add(device);
                self.dirty.workloads.insert(pod.owner.clone(), scope);
            }
        }
    }

    /// A device is new, gone, or other than it was: every workload looks at it, those that wait for room as well.
    pub(crate) fn dirty_device(&mut self, device: &str) {
        for key in self.state.objects.workloads() {
            self.dirty.workloads.entry(key.clone()).or_default().add(device);
        }
        self.dirty.room.insert(device.into());
    }

    pub(crate) fn dirty_owner(&mut self, owner: &Key, device: Option<&str>) {
        if !self.dirty.workloads.contains_key(owner) {
            self.dirty.workloads.insert(owner.clone(), Scope::default());
        }
        if let (Some(scope), Some(device)) = (self.dirty.workloads.get_mut(owner), device) {
            scope.add(device);
        }
    }

    pub(crate) fn touch_pod(&mut self, id: PodId) {
        self.dirty.changed_pods.entry(id).or_insert(Action::Modified);
    }

    pub(crate) fn touch_node(&mut self, device: &str) {
        if !self.dirty.changed_nodes.contains_key(device) {
            self.dirty.changed_nodes.insert(device.into(), Action::Modified);
        }
    }
}

/// Rounds of planning in one turn, after the first: each lets go of something or gives something a place. What is left
/// then is done with the next turn.
const MOST_ROUNDS: usize = 16;

pub(crate) fn changed(action: Action, object: Arc<Object>, resource_version: u64) -> Effect {
    Effect::Changed(Change { action, object, resource_version })
}
