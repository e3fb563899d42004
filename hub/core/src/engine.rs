//! The hub's state machine. [`Engine::handle`] takes events in; [`Engine::drain`] ends a turn: it plans whatever the
//! turn's events touched and hands out the effects, what must be durable first.
//!
//! Each submodule owns one part of the story: `load` reads the records, `requests` answers the API, `devices` hears
//! devices, `listen` notices what was not heard, `refusals` tells of frames that can't be taken, `workloads` keeps
//! workloads at their declared number, `assign` makes and delivers assignments, `supply` finds what devices need of
//! images, `logs` carries commands, `views` shows devices and Pods as objects, `explain` says why, `happenings`
//! keeps the API's events.

mod assign;
mod devices;
mod explain;
mod happenings;
mod listen;
mod load;
mod logs;
mod refusals;
mod requests;
mod supply;
mod views;
mod workloads;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
    vec::Vec,
};

pub use listen::Asking;

use firmware_compat::{
    id::{Generation, Hash, Lineage, PodId},
    time::{Instant, UnixMs},
};

use crate::{
    api::{Key, Object},
    device::Device,
    effect::{Action, Change, Effect, Record},
    event::{Event, Now},
    pod::{Pod, Revision},
    record,
    rng::Rng,
};

/// Settings that do not change while the hub runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed of every random choice.
    pub seed: [u8; 32],
    /// How long a device may be silent before copies that could run elsewhere are replaced, where the workload does
    /// not say so by a toleration of `node.kubernetes.io/unreachable`. Kubernetes' own is 300 s.
    pub lost_after_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { seed: [0; 32], lost_after_s: 300 }
    }
}

/// Devices that one hub takes. A device in memory is a few KiB.
pub const MAX_DEVICES: usize = 100_000;
/// Resource versions are reserved in steps, so that most changes need no write for them.
const RESOURCE_VERSION_STEP: u64 = 100_000;

/// The hub's state machine.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    rng: Rng,
    lineage: Lineage,
    resource_version: u64,
    reserved_resource_version: u64,
    objects: BTreeMap<Key, Stored>,
    configs: crate::pod::ConfigData,
    parts: core::cell::RefCell<crate::parts::PartCache>,
    devices: BTreeMap<String, Device>,
    retired: BTreeMap<String, Generation>,
    pods: BTreeMap<PodId, Pod>,
    by_owner: BTreeMap<Key, BTreeSet<PodId>>,
    by_name: BTreeMap<Key, PodId>,
    images: BTreeMap<String, Hash>,
    supply: supply::Supply,
    logs: logs::Logs,
    happenings: happenings::Happenings,
    refusals: refusals::Refusals,
    full_reports: devices::FullReports,
    timers: BTreeSet<(Instant, Timer)>,
    link_up: bool,
    sequence: u32,
    dirty: Dirty,
    records: BTreeMap<String, Option<Vec<u8>>>,
    effects: Vec<Effect>,
    figures: Figures,
    unix_ms: UnixMs,
    now: Instant,
}

/// An object that an operator wrote.
#[derive(Clone, Debug)]
struct Stored {
    object: Arc<Object>,
    resource_version: u64,
    /// For workloads: the template as understood, with the digests of its images.
    revision: Option<Arc<Revision>>,
    /// Of its JSON.
    bytes: usize,
}

/// Why the engine wants to be woken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A device has been silent for long.
    Lost(String),
    /// A device has not acknowledged its assignment yet.
    Remind(String, u32),
    /// A device did not report anew yet.
    Ask(String, u32),
    /// An image may be there now.
    Supply(crate::event::Need),
    /// Tell every device the time.
    Beacon,
}

/// What a turn's events touched.
#[derive(Debug, Default)]
struct Dirty {
    /// Their number of copies, placement or status.
    workloads: BTreeSet<Key>,
    /// Their assignment.
    assignments: BTreeSet<String>,
    /// Pods whose record is to be written.
    pods: BTreeSet<PodId>,
    /// Pods whose object changed.
    changed_pods: BTreeMap<PodId, Action>,
    /// Devices whose record is to be written.
    devices: BTreeSet<String>,
    /// Devices whose object changed.
    changed_nodes: BTreeMap<String, Action>,
    /// Whether room became free on a device.
    room: bool,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    frames: u64,
    refused_frames: u64,
    turns: u64,
    assignments: u64,
    placements: u64,
}

impl Engine {
    /// Random id of this hub's store.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Takes an event in. Its effects come with the next [`Self::drain`].
    pub fn handle(&mut self, event: Event, now: Now) {
        self.set_clock(now);
        match event {
            Event::Request { id, request } => self.on_request(id, request),
            Event::Frame { device, kind, bytes } => self.on_frame(&device, kind, &bytes),
            Event::LinkUp => self.on_link_up(),
            Event::LinkDown { reason } => self.on_link_down(&reason),
            Event::Disconnected { device } => self.on_disconnected(&device),
            Event::TakenOver { device } => self.on_taken_over(&device),
            Event::Supplied { need, result } => self.on_supplied(need, result),
            Event::Timeout => {}
        }
        self.fire_timers();
    }

    /// When [`Event::Timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Ends the turn: plans what was touched, and hands out the effects in the order in which they must be done.
    pub fn drain(&mut self) -> Vec<Effect> {
        self.plan();
        self.publish();
        let mut effects = Vec::new();
        if !self.records.is_empty() {
            let records = core::mem::take(&mut self.records);
            effects.push(Effect::Save(
                records.into_iter().map(|(key, value)| Record { key, value }).collect(),
            ));
        }
        effects.append(&mut self.effects);
        if !effects.is_empty() {
            self.figures.turns += 1;
        }
        effects
    }

    /// Brings workloads and assignments to where they should be. A workload's plan may touch assignments, never
    /// another workload; but what one lets go of may be what others wait for.
    fn plan(&mut self) {
        let touched = core::mem::take(&mut self.dirty.workloads);
        for key in touched {
            self.reconcile(&key);
        }
        if core::mem::take(&mut self.dirty.room) {
            for key in self.starved() {
                self.reconcile(&key);
            }
        }
        for device in core::mem::take(&mut self.dirty.assignments) {
            self.assign(&device);
        }
        // Letting go of Pods may complete a workload's status.
        for key in core::mem::take(&mut self.dirty.workloads) {
            self.update_status(&key);
        }
    }

    /// Turns what changed into records and into news for those who watch.
    fn publish(&mut self) {
        for id in core::mem::take(&mut self.dirty.pods) {
            let value = self.pods.get(&id).map(|i| record::encode(&load::pod_record(i)));
            self.records.insert(record::pod_key(id), value);
        }
        for name in core::mem::take(&mut self.dirty.devices) {
            let value = self.devices.get(&name).map(|d| record::encode(&load::device_record(d)));
            self.records.insert(record::device_key(&name), value);
        }
        for (id, action) in core::mem::take(&mut self.dirty.changed_pods) {
            let version = self.next_resource_version();
            let Some(pod) = self.pods.get_mut(&id) else { continue };
            pod.resource_version = version;
            let object = self.view_pod(id);
            self.effects.extend(object.map(|object| changed(action, object, version)));
        }
        for (name, action) in core::mem::take(&mut self.dirty.changed_nodes) {
            let version = self.next_resource_version();
            let Some(device) = self.devices.get_mut(&name) else { continue };
            device.resource_version = version;
            let object = self.view_node(&name);
            self.effects.extend(object.map(|object| changed(action, object, version)));
        }
    }

    /// The next resource version. Versions are reserved in the store before they are given out, because those of
    /// devices and Pods are not written, and a watcher must never see them fall.
    fn next_resource_version(&mut self) -> u64 {
        self.resource_version += 1;
        if self.resource_version >= self.reserved_resource_version {
            self.reserved_resource_version = self.resource_version + RESOURCE_VERSION_STEP;
            self.save_meta();
        }
        self.resource_version
    }

    fn save_meta(&mut self) {
        let meta = record::Meta {
            lineage: self.lineage,
            reserved_resource_version: self.reserved_resource_version,
        };
        self.records.insert(record::META.into(), Some(record::encode(&meta)));
    }

    fn set_clock(&mut self, now: Now) {
        self.now = self.now.max(now.instant);
        self.unix_ms = now.unix_ms;
    }

    fn fire_timers(&mut self) {
        while let Some((at, _)) = self.timers.first() {
            if *at > self.now {
                break;
            }
            let Some((_, timer)) = self.timers.pop_first() else { break };
            match timer {
                Timer::Lost(device) => {
                    self.dirty_owners_on(&device);
                    self.watch_silence(&device);
                }
                Timer::Remind(device, attempt) => self.remind(&device, attempt),
                Timer::Ask(device, attempt) => self.ask_now(&device, attempt),
                Timer::Supply(need) => self.retry_supply(need),
                Timer::Beacon => self.beacon(),
            }
        }
    }

    /// A workload's copies, in the order of their ids.
    fn copies(&self, owner: &Key) -> Vec<&Pod> {
        let ids = self.by_owner.get(owner).into_iter().flatten();
        ids.filter_map(|id| self.pods.get(id)).collect()
    }

    fn dirty_owners_on(&mut self, device: &str) {
        let Some(device) = self.devices.get(device) else { return };
        for id in &device.pods {
            if let Some(pod) = self.pods.get(id) {
                self.dirty.workloads.insert(pod.owner.clone());
            }
        }
    }

    /// Every workload that may want a copy on a device that has just changed.
    fn dirty_all_workloads(&mut self) {
        let workloads = self.objects.iter().filter(|(_, stored)| stored.revision.is_some());
        self.dirty.workloads.extend(workloads.map(|(key, _)| key.clone()));
    }

    fn touch_pod(&mut self, id: PodId) {
        self.dirty.changed_pods.entry(id).or_insert(Action::Modified);
    }

    fn touch_node(&mut self, device: &str) {
        if !self.dirty.changed_nodes.contains_key(device) {
            self.dirty.changed_nodes.insert(device.into(), Action::Modified);
        }
    }
}

fn changed(action: Action, object: Arc<Object>, resource_version: u64) -> Effect {
    Effect::Changed(Change { action, object, resource_version })
}
