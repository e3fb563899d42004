//! Hearing devices: who they are, whether they can be heard, what their Pods do.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use firmware_compat::{
    capacity::full as capacity,
    frame::{self, DecodeError, Frame, Kind as FrameKind, Stamp},
    id::PodId,
    time::UnixMs,
    topic,
    v1::owned::{AssignmentId, Event, Gone, Hello, PodStatus, Report, Severity, Status, Time},
};

use super::{Engine, MAX_DEVICES, Timer, happenings::Happening, happenings::uuid, listen};
use crate::{
    api::{Key, Kind},
    device::{Conflict, Desired, Device, Operator, Presence},
    effect::{Action, Effect},
    resolve::Amount,
};

/// How often every device is told the time.
pub(super) const BEACON_EVERY: Duration = Duration::from_secs(24 * 3600);
/// An agent that says hello so soon after another one of its name was heard has pushed that one out: an external broker
/// tells of the end of the first connection before it lets the second in. Moving a device to a new state directory
/// takes longer.
const PUSHED_OUT_WITHIN: Duration = Duration::from_secs(5);
/// Devices that answer a call for reports spread their answers over this time.
const REPORT_SPREAD_MS: u32 = 2000;

impl Engine {
    pub(super) fn on_link_up(&mut self) {
        self.link_up = true;
        for device in self.devices.values_mut() {
            if let Presence::Offline { since, .. } = &mut device.presence {
                *since = Some(self.now);
            }
        }
        let names: Vec<_> = self.devices.keys().cloned().collect();
        for name in names {
            self.refresh_head(&name);
            self.expect_report(&name);
            self.watch_silence(&name);
            self.touch_node(&name);
        }
        // Devices that stayed connected to the broker meanwhile do not say hello by themselves.
        let report = Report { spread_ms: REPORT_SPREAD_MS };
        if let Ok(frame) = frame::encode(&report, self.stamp()) {
            self.effects.push(Effect::SendAll { kind: FrameKind::Report, frame });
        }
    }

    /// A broker that outlived this hub, or its store, may retain a head that this hub did not make. It goes until the
    /// device has said what it holds; a head answers that.
    fn refresh_head(&mut self, name: &str) {
        if self.devices.get(name).is_some_and(|device| device.met) {
            self.publish_head(name);
        } else {
            self.effects.push(Effect::ClearHead { device: name.to_owned() });
        }
    }

    pub(super) fn on_link_down(&mut self, reason: &str) {
        if !self.link_up {
            return;
        }
        self.link_up = false;
        let since_ms = self.unix_ms;
        let mut names = Vec::new();
        for device in self.devices.values_mut() {
            // Silence while the hub can't hear is not the device's.
            let since_ms = match device.presence {
                Presence::Online { .. } => since_ms,
                Presence::Offline { since_ms, .. } => since_ms,
            };
            device.presence = Presence::Offline { since: None, since_ms };
            names.push(device.name.clone());
        }
        for name in names {
            self.end_logs_of(&name, reason);
            self.stop_asking(&name);
            self.touch_node(&name);
            self.touch_pods_on(&name);
        }
        self.dirty_all_workloads();
    }

    pub(super) fn on_disconnected(&mut self, name: &str) {
        let Some(device) = self.devices.get_mut(name) else { return };
        if !device.online() {
            return;
        }
        device.presence = Presence::Offline { since: Some(self.now), since_ms: self.unix_ms };
        let key = Key::new(Kind::Node, "", name);
        self.note(
            &key,
            Severity::Warning,
            "NodeNotReady",
            format!("{name} is no longer connected"),
        );
        self.end_logs_of(name, "the device is no longer connected");
        self.stop_asking(name);
        self.watch_silence(name);
        self.touch_node(name);
        self.touch_pods_on(name);
        self.dirty_owners_on(name);
    }

    /// Wakes the engine when something is to be decided about the copies on a silent device: updates wait for it no
    /// longer, or copies may be replaced. At most one such timer per device, for the next of these times.
    pub(super) fn watch_silence(&mut self, name: &str) {
        let Some(device) = self.devices.get(name) else { return };
        let next = match device.presence {
            Presence::Offline { since: Some(since), .. } => device
                .pods
                .iter()
                .filter_map(|id| self.pods.get(id))
                .filter_map(|pod| self.patience(&pod.revision))
                .chain([self.lost_after()])
                .map(|time| since + time)
                .filter(|at| *at > self.now)
                .min(),
            Presence::Offline { since: None, .. } | Presence::Online { .. } => None,
        };
        let Some(device) = self.devices.get_mut(name) else { return };
        if let Some(at) = core::mem::replace(&mut device.watched_until, next) {
            self.timers.remove(&(at, Timer::Lost(name.to_owned())));
        }
        self.timers.extend(next.map(|at| (at, Timer::Lost(name.to_owned()))));
    }

    pub(super) fn on_taken_over(&mut self, name: &str) {
        let key = Key::new(Kind::Node, "", name);
        if self.devices.contains_key(name) {
            self.note(
                &key,
                Severity::Warning,
                "SessionTakenOver",
                format!("a second connection named {name} replaced the first; if two devices have this name, give one another with --name"),
            );
        }
    }

    pub(super) fn on_frame(&mut self, name: &str, kind: FrameKind, bytes: &[u8]) {
        self.figures.frames += 1;
        let frame = match Frame::parse(bytes) {
            Ok(frame) if frame.kind == kind && topic::is_device_name(name) => frame,
            Ok(frame) => return self.refuse_frame(name, kind, DecodeError::Unexpected(frame.kind)),
            Err(error) => return self.refuse_frame(name, kind, error),
        };
        let stamp = frame.stamp;
        let taken = match kind {
            FrameKind::Hello => frame.message().map(|hello| self.on_hello(name, stamp, hello)),
            FrameKind::Gone => frame.message().map(|gone: Gone| self.on_gone(name, stamp, gone)),
            FrameKind::Status if self.hears(name, stamp) => {
                frame.message().map(|status| self.on_status(name, status))
            }
            FrameKind::Event if self.hears(name, stamp) => {
                frame.message().map(|event| self.on_device_event(name, event))
            }
            FrameKind::Reply if self.hears(name, stamp) => {
                frame.message().map(|reply| self.on_log_reply(name, reply))
            }
            FrameKind::Want if self.hears(name, stamp) => {
                frame.message().map(|want| self.on_want(name, &want))
            }
            FrameKind::Status | FrameKind::Event | FrameKind::Reply | FrameKind::Want => Ok(()),
            FrameKind::Head
            | FrameKind::Part
            | FrameKind::Command
            | FrameKind::Time
            | FrameKind::Report => Err(DecodeError::Unexpected(kind)),
        };
        if let Err(error) = taken {
            self.refuse_frame(name, kind, error);
        }
    }

    fn on_hello(&mut self, name: &str, stamp: Stamp, hello: Hello) {
        let holds = hello.assignment;
        let facts = steady(hello);
        if !self.devices.contains_key(name) && !self.register(name, &facts) {
            return;
        }
        self.forget_refusals(name);
        let (unix_ms, lineage) = (self.unix_ms, self.lineage);
        let Some(device) = self.devices.get_mut(name) else { return };
        if let Presence::Online { stamp: heard, .. } = device.presence
            && heard.session == stamp.session
            && stamp.sequence <= heard.sequence
        {
            return self.on_overtaken_hello(name, stamp.sequence, heard.sequence);
        }
        let was_online = device.online();
        let goes_on = matches!(device.presence,
            Presence::Online { stamp: heard, .. } if heard.session == stamp.session);
        let follows = matches!(device.presence,
            Presence::Online { stamp: heard, .. } if listen::follows(heard, stamp));
        let was_heard_just_now = match device.presence {
            Presence::Online { .. } => true,
            Presence::Offline { since, .. } => {
                since.is_some_and(|since| self.now.since(since) < PUSHED_OUT_WITHIN)
            }
        };
        let old_agent = device.agent();
        let known_facts = device.facts == facts;
        device.presence = Presence::Online { stamp, since_ms: unix_ms };
        device.met = true;
        let other_agent = old_agent != facts.agent;
        if !known_facts {
            device.facts = facts;
            self.dirty.devices.insert(name.to_owned());
        }
        // Another hello of one session brings no report with it.
        if !goes_on {
            let made = |held: AssignmentId| device.desired.made(held.generation, held.hash);
            device.unfamiliar = holds.is_some_and(|held| !made(held));
        }
        let conflict = conflict(device, holds, lineage);
        let conflict_is_new = conflict.is_some() && device.conflict != conflict;
        device.conflict = conflict;
        let key = Key::new(Kind::Node, "", name);
        if other_agent {
            self.note_other_agent(&key, was_heard_just_now);
        }
        if conflict_is_new {
            let message = conflict.map(|c| c.message(name)).unwrap_or_default();
            self.note(&key, Severity::Warning, "AssignmentConflict", message);
        }
        if !was_online {
            self.note(&key, Severity::Normal, "NodeReady", format!("{name} is connected"));
        }
        // Its full report follows in its own session.
        self.full_reports.remove(name);
        if !goes_on {
            self.stop_asking(name);
            if let Some(device) = self.devices.get_mut(name) {
                device.heard_whole = false;
            }
        } else if !follows {
            // What was lost was said before; its report, if it brings one, is whole.
            self.miss_something(name);
        }
        if was_online && !goes_on {
            self.end_logs_of(name, "the device started a new session");
        }
        self.acknowledge(name, holds);
        self.touch_node(name);
        self.touch_pods_on(name);
        self.dirty_all_workloads();
        self.dirty.assignments.insert(name.to_owned());
        self.resupply(name);
        self.publish_head(name);
        self.send(name, &Time { unix_ms });
        self.schedule_reminder(name, 0);
    }

    fn note_other_agent(&mut self, key: &Key, is_conflict: bool) {
        let name = &key.name;
        let (severity, reason, message) = if is_conflict {
            (
                Severity::Warning,
                "NameConflict",
                format!(
                    "two agents call themselves {name}; the newer connection is used. Give one of them another name with --name"
                ),
            )
        } else {
            (
                Severity::Normal,
                "DeviceReplaced",
                format!("{name} came back with another state directory"),
            )
        };
        self.note(key, severity, reason, message);
    }

    /// Adds a device that was never heard of. Refused only at the bound.
    fn register(&mut self, name: &str, facts: &Hello) -> bool {
        if self.devices.len() >= MAX_DEVICES {
            self.refuse_device(name);
            return false;
        }
        let generation = self.retired.remove(name).unwrap_or_default();
        self.records.insert(crate::record::retired_key(name), None);
        let uid = uuid(self.rng.id());
        let device = Device {
            name: name.to_owned(),
            uid,
            created_ms: self.unix_ms,
            facts: facts.clone(),
            operator: Operator::default(),
            desired: Desired { generation, ..Desired::default() },
            acknowledged: None,
            presence: Presence::Offline { since: Some(self.now), since_ms: self.unix_ms },
            conflict: None,
            met: true,
            heard_whole: false,
            asking: listen::Asking::default(),
            unfamiliar: false,
            strangers: alloc::collections::BTreeSet::new(),
            pending: false,
            reminder: None,
            watched_until: None,
            pods: alloc::collections::BTreeSet::new(),
            allocated: Amount::default(),
            resource_version: 0,
        };
        self.devices.insert(name.to_owned(), device);
        self.dirty.devices.insert(name.to_owned());
        self.dirty.changed_nodes.insert(name.to_owned(), Action::Added);
        let key = Key::new(Kind::Node, "", name);
        self.note(&key, Severity::Normal, "Registered", format!("{name} joined the fleet"));
        true
    }

    fn on_gone(&mut self, name: &str, stamp: Stamp, gone: Gone) {
        let Some(device) = self.devices.get(name) else { return };
        let of_this_session = matches!(device.presence,
            Presence::Online { stamp: heard, .. } if heard.session == stamp.session);
        if of_this_session && device.agent() == gone.agent {
            self.on_disconnected(name);
        }
    }

    fn on_status(&mut self, name: &str, status: Status) {
        for report in status.pods.iter() {
            self.on_pod_status(name, report);
        }
        self.acknowledge(name, status.assignment);
        // What it says of a Pod may be in a part that follows.
        if !status.more {
            self.forget_released(name);
        }
        for id in status.removed.iter() {
            self.on_pod_removed(name, *id, status.assignment);
        }
        if status.full {
            self.on_full_report(name, &status);
        } else {
            self.end_report(name);
        }
    }

    /// A full report may come in parts; with its last part, what none of them mentioned is not on the device. One that
    /// lost a part says nothing about what is absent, and is asked for again.
    fn on_full_report(&mut self, name: &str, status: &Status) {
        let Some(device) = self.devices.get(name) else { return };
        let report = self.full_reports.entry(name.to_owned()).or_default();
        report.begin();
        let ids = status.pods.iter().map(|reported| reported.id);
        // What is not placed there is of no interest, and would let a device grow the list.
        report.mentioned.extend(ids.clone().filter(|id| device.pods.contains(id)));
        let strangers = ids.filter(|id| !self.pods.contains_key(id));
        let room = capacity::PODS.saturating_sub(report.strangers.len());
        report.strangers.extend(strangers.take(room));
        if status.more {
            return;
        }
        if let (Some(missing), Presence::Online { stamp, .. }) = (report.gap, device.presence) {
            report.done = Some(Done { missing, last: stamp.sequence, holds: status.assignment });
            return self.ask_for_report(name);
        }
        let report = self.full_reports.remove(name).unwrap_or_default();
        if report.torn {
            return self.ask_for_report(name);
        }
        self.take_full_report(name, report, status.assignment);
    }

    /// The parts of a report are numbered without a gap: after a frame that is none, a part belongs to the next report,
    /// whatever was lost before.
    fn end_report(&mut self, name: &str) {
        self.full_reports.remove(name);
    }

    /// A report is whole although a frame before it was missing, if that was the hello that it goes with.
    fn on_overtaken_hello(&mut self, name: &str, sequence: u32, heard: u32) {
        let done = self.full_reports.get(name).and_then(|report| report.done);
        let Some(done) = done.filter(|d| d.missing == sequence && d.last == heard) else { return };
        if let Some(report) = self.full_reports.remove(name) {
            self.take_full_report(name, report, done.holds);
            self.forget_released(name);
        }
    }

    /// What a whole report does not mention is not on the device.
    fn take_full_report(&mut self, name: &str, report: FullReport, holds: Option<AssignmentId>) {
        let Some(device) = self.devices.get(name) else { return };
        let absent: Vec<_> =
            device.pods.iter().filter(|id| !report.mentioned.contains(id)).copied().collect();
        for id in absent {
            self.on_pod_removed(name, id, holds);
        }
        self.stop_asking(name);
        let Some(device) = self.devices.get_mut(name) else { return };
        device.heard_whole = true;
        if device.unfamiliar || device.strangers != report.strangers {
            device.unfamiliar = false;
            device.strangers = report.strangers;
            self.dirty.assignments.insert(name.to_owned());
        }
    }

    fn on_pod_status(&mut self, name: &str, report: &PodStatus) {
        let Some(pod) = self.pods.get_mut(&report.id) else { return };
        if pod.device.as_deref() != Some(name) || pod.report.as_ref() == Some(report) {
            return;
        }
        let old = pod.report.replace(report.clone());
        let old_phase = old.as_ref().map(|old| old.phase);
        let owner = pod.owner.clone();
        // Only what a restarted hub needs to know at once is worth a write: the rest is reported again.
        if old_phase != Some(report.phase) {
            self.dirty.pods.insert(report.id);
            self.dirty.workloads.insert(owner);
        }
        self.touch_pod(report.id);
    }

    /// A device says that nothing of a Pod is left on it.
    fn on_pod_removed(&mut self, name: &str, id: PodId, holds: Option<AssignmentId>) {
        if self.devices.get_mut(name).is_some_and(|device| device.strangers.remove(&id)) {
            self.dirty.assignments.insert(name.to_owned());
        }
        let Some(pod) = self.pods.get_mut(&id) else { return };
        if pod.device.as_deref() != Some(name) {
            return;
        }
        let released = pod.deleting.and_then(|deleting| deleting.released);
        match released {
            Some(released) if holds.is_some_and(|holds| holds.generation >= released) => {
                self.remove_pod(id);
            }
            // Still to be told, or still wanted: it was never started, or it is about to be.
            Some(_) | None => {
                if pod.report.take().is_some() {
                    self.dirty.pods.insert(id);
                    self.dirty.workloads.insert(pod.owner.clone());
                    self.touch_pod(id);
                }
            }
        }
    }

    fn on_device_event(&mut self, name: &str, event: Event) {
        self.end_report(name);
        let about = event
            .pod
            .and_then(|id| self.pods.get(&id))
            .filter(|pod| pod.device.as_deref() == Some(name))
            .map_or_else(|| Key::new(Kind::Node, "", name), |pod| pod.key());
        self.record_happening(Happening {
            about: &about,
            severity: event.severity,
            reason: &event.reason,
            message: event.message.to_string(),
            device: Some(name),
            at_ms: plausible(event.at_ms, self.unix_ms),
        });
    }

    pub(super) fn beacon(&mut self) {
        let time = Time { unix_ms: self.unix_ms };
        if let Ok(frame) = frame::encode(&time, self.stamp()) {
            self.effects.push(Effect::SendAll { kind: FrameKind::Time, frame });
        }
        self.timers.insert((self.now + BEACON_EVERY, Timer::Beacon));
    }

    /// Sends a message to one device.
    pub(super) fn send<M: frame::Message>(&mut self, device: &str, message: &M) {
        let stamp = self.stamp();
        if let Ok(frame) = frame::encode(message, stamp) {
            let device = device.to_owned();
            self.effects.push(Effect::Send { device, kind: M::KIND, frame });
        }
    }

    pub(super) fn stamp(&mut self) -> Stamp {
        self.sequence = self.sequence.wrapping_add(1);
        Stamp { session: 0, sequence: self.sequence }
    }

    fn touch_pods_on(&mut self, name: &str) {
        let ids: Vec<_> =
            self.devices.get(name).map(|d| d.pods.iter().copied().collect()).unwrap_or_default();
        for id in ids {
            self.touch_pod(id);
        }
    }
}

/// A hello without what differs from one to the next on an unchanged device.
fn steady(mut hello: Hello) -> Hello {
    hello.clock_ms = 0;
    hello.assignment = None;
    hello
}

/// What is wrong with what a device holds, if it was not made here.
pub(super) fn conflict(
    device: &Device,
    holds: Option<AssignmentId>,
    lineage: firmware_compat::id::Lineage,
) -> Option<Conflict> {
    let holds = holds?;
    if holds.lineage != lineage {
        return Some(Conflict::Foreign(holds.lineage));
    }
    let contradicts = device.desired.contradicts(holds.generation, holds.hash);
    contradicts.then_some(Conflict::Newer(holds.generation))
}

/// A device's time if its clock is near the hub's, else the hub's.
fn plausible(at_ms: UnixMs, hub_ms: UnixMs) -> UnixMs {
    const TOLERANCE_MS: u64 = 7 * 24 * 3600 * 1000;
    if at_ms.abs_diff(hub_ms) <= TOLERANCE_MS { at_ms } else { hub_ms }
}

/// Full reports of which not all parts are there yet, by device.
pub(super) type FullReports = alloc::collections::BTreeMap<String, FullReport>;

/// The parts of a full report so far.
#[derive(Debug, Default)]
pub(super) struct FullReport {
    /// Pods of the device that they mention.
    mentioned: alloc::collections::BTreeSet<PodId>,
    /// Pods that they mention and the hub does not know.
    strangers: alloc::collections::BTreeSet<PodId>,
    /// Whether one of its parts was heard.
    begun: bool,
    /// Whether frames were lost on the way.
    torn: bool,
    /// The one frame that was missing before its first part: a part of it, or a hello that it has overtaken.
    gap: Option<u32>,
    /// It would be complete, but for that frame.
    done: Option<Done>,
}

/// The end of a report before which one frame is missing.
#[derive(Clone, Copy, Debug)]
struct Done {
    missing: u32,
    /// Its last part.
    last: u32,
    holds: Option<AssignmentId>,
}

impl FullReport {
    /// Frames between these two, which may have been parts of it, were lost or are late.
    pub(super) fn tear(&mut self, before: u32, now: u32) {
        if self.done.is_some() {
            *self = Self::default();
        }
        let one = before.checked_add(1).filter(|one| one.checked_add(1) == Some(now));
        let untouched = !self.begun && !self.torn && self.gap.is_none();
        match one.filter(|_| untouched) {
            Some(one) => self.gap = Some(one),
            None => (self.torn, self.gap) = (true, None),
        }
    }

    /// A part of it is here; of the one before, if it waits for a frame, nothing will come any more.
    fn begin(&mut self) {
        if self.done.is_some() {
            *self = Self::default();
        }
        self.begun = true;
    }
}
