//! Hearing devices: who they are, whether they can be heard, what their Pods do.

use alloc::{borrow::ToOwned, format, string::ToString, vec::Vec};
use core::time::Duration;

use firmware_compat::{
    frame::{DecodeError, Frame, Kind as FrameKind, Stamp},
    id::{AgentId, BootId},
    time::UnixMs,
    topic,
    v1::owned::{AssignmentId, Event, Gone, Hello, List, Report, Severity, Text},
};

use super::gaps;
use crate::{
    api::{Key, Kind},
    controller::eviction,
    device::{Conflict, Desired, Device, Presence},
    effect::{Action, Effect},
    engine::{Engine, MAX_DEVICES, Timer},
    recorder::{Occurrence, uuid},
};

/// How often every device is told the time.
pub(crate) const BEACON_EVERY: Duration = Duration::from_secs(24 * 3600);
/// An agent that says hello so soon after another one of its name was heard has pushed that one out: an external broker
/// tells of the end of the first connection before it lets the second in. Moving a device to a new state directory
/// takes longer.
const PUSHED_OUT_WITHIN: Duration = Duration::from_secs(5);
/// Devices that answer a call for reports spread their answers over this time.
const REPORT_SPREAD_MS: u32 = 2000;

impl Engine {
    pub(crate) fn on_link_up(&mut self) {
        self.sessions.link_up = true;
        for device in self.state.fleet.iter_mut() {
            if let Presence::Offline { since, .. } = &mut device.presence {
                *since = Some(self.now);
            }
        }
        let names: Vec<_> = self.state.fleet.names().cloned().collect();
        for name in names {
            self.tell_hearing(&name);
            self.refresh_head(&name);
            self.expect_report(&name);
            self.watch_silence(&name);
            self.touch_node(&name);
        }
        // Devices that stayed connected to the broker meanwhile do not say hello by themselves.
        let (lineage, unix_ms) = (self.lineage, self.say_time());
        self.send_all(&Report { lineage, unix_ms, spread_ms: REPORT_SPREAD_MS });
    }

    /// A broker that outlived this hub, or its store, may retain a head that this hub did not make. It goes until the
    /// device has said what it holds; a head answers that.
    fn refresh_head(&mut self, name: &str) {
        if self.state.fleet.get(name).is_some_and(|device| device.met) {
            self.publish_head(name);
        } else {
            self.effects.push(Effect::ClearHead { device: name.to_owned() });
        }
    }

    pub(crate) fn on_link_down(&mut self, reason: &str) {
        if !self.sessions.link_up {
            return;
        }
        self.sessions.link_up = false;
        let since_ms = self.unix_ms;
        let mut names = Vec::new();
        for device in self.state.fleet.iter_mut() {
            // Silence while the hub can't hear is not the device's.
            let since_ms = match device.presence {
                Presence::Online { .. } => since_ms,
                Presence::Offline { since_ms, .. } => since_ms,
            };
            device.presence = Presence::Offline { since: None, since_ms };
            names.push(device.name.clone());
        }
        for name in names {
            self.save_reports_of(&name);
            self.tell_hearing(&name);
            self.end_logs_of(&name, reason);
            self.stop_asking(&name);
            self.touch_node(&name);
            self.touch_pods_on(&name);
            self.dirty_owners_on(&name);
        }
    }

    pub(crate) fn on_disconnected(&mut self, name: &str) {
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        if !device.online() {
            // Its session is over, whatever it was asked for meanwhile.
            return self.stop_asking(name);
        }
        device.presence = Presence::Offline { since: Some(self.now), since_ms: self.unix_ms };
        self.save_reports_of(name);
        self.tell_hearing(name);
        let key = Key::new(Kind::Node, "", name);
        self.record(
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

    /// Wakes the engine when something is to be decided about the Pods on a silent device: updates wait for it no
    /// longer, or Pods may be replaced. At most one such timer per device, for the next of these times.
    pub(crate) fn watch_silence(&mut self, name: &str) {
        let Some(device) = self.state.fleet.get(name) else { return };
        let next = match device.presence {
            Presence::Offline { since: Some(since), .. } => self
                .state
                .pods
                .pods_on(name)
                .filter_map(|pod| eviction::toleration(&pod.revision, self.lost_after()))
                .chain([self.lost_after()])
                .map(|time| since + time)
                .filter(|at| *at > self.now)
                .min(),
            Presence::Offline { since: None, .. } | Presence::Online { .. } => None,
        };
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        if let Some(at) = core::mem::replace(&mut device.watched_until, next) {
            self.timers.remove(&(at, Timer::Lost(name.to_owned())));
        }
        self.timers.extend(next.map(|at| (at, Timer::Lost(name.to_owned()))));
    }

    pub(crate) fn on_taken_over(&mut self, name: &str) {
        let key = Key::new(Kind::Node, "", name);
        if self.state.fleet.contains(name) {
            self.record(
                &key,
                Severity::Warning,
                "SessionTakenOver",
                format!("a second connection named {name} replaced the first; if two devices have this name, give one another with --name"),
            );
        }
    }

    pub(crate) fn on_frame(&mut self, name: &str, kind: FrameKind, bytes: &[u8]) {
        self.metrics.frames += 1;
        let frame = match Frame::parse(bytes) {
            Ok(frame) if frame.kind == kind && topic::is_device_name(name) => frame,
            Ok(frame) => return self.reject_frame(name, kind, DecodeError::Unexpected(frame.kind)),
            Err(error) => return self.reject_frame(name, kind, error),
        };
        let stamp = frame.stamp;
        self.heard(name);
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
            self.reject_frame(name, kind, error);
        }
    }

    fn on_hello(&mut self, name: &str, stamp: Stamp, hello: Hello) {
        let holds = hello.assignment;
        let facts = steady(hello);
        let is_new = !self.state.fleet.contains(name);
        if is_new && !self.register(name, &facts) {
            return;
        }
        self.forget_rejected(name);
        let (unix_ms, lineage) = (self.unix_ms, self.lineage);
        let Some(device) = self.state.fleet.get_mut(name) else { return };
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
            Presence::Online { stamp: heard, .. } if gaps::follows(heard, stamp));
        let was_heard_just_now = match device.presence {
            Presence::Online { .. } => true,
            Presence::Offline { since, .. } => {
                since.is_some_and(|since| self.now.since(since) < PUSHED_OUT_WITHIN)
            }
        };
        let old_agent = device.agent();
        let known_facts = device.facts == facts;
        let known_keys = device.facts.keys == facts.keys;
        let same_device = for_scheduling(&device.facts) == for_scheduling(&facts);
        let known_conflict = device.conflict;
        device.presence = Presence::Online { stamp, since_ms: unix_ms };
        device.met = true;
        let other_agent = old_agent != facts.agent;
        let second = device.boards.said_hello(&facts, self.now);
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
        if let Some(second) = second {
            self.note_second_board(&key, &second);
        }
        if conflict_is_new {
            let message = conflict.map(|c| c.message(name)).unwrap_or_default();
            self.record(&key, Severity::Warning, "AssignmentConflict", message);
        }
        if !goes_on {
            self.note_keys(name);
        }
        if !was_online {
            self.record(&key, Severity::Normal, "NodeReady", format!("{name} is connected"));
        }
        // Its full report follows in its own session.
        self.sessions.full_reports.remove(name);
        if !goes_on {
            // A hello that is repeated in a session brings none with it, and this hub may not have heard the first.
            self.expect_report(name);
            if let Some(device) = self.state.fleet.get_mut(name) {
                device.heard_whole = false;
            }
        } else if !follows {
            // What was lost was said before; its report, if it brings one, is whole.
            self.miss_something(name);
        }
        if was_online && !goes_on {
            self.end_logs_of(name, "the device started a new session");
        }
        self.tell_hearing(name);
        self.acknowledge(name, holds);
        self.touch_node(name);
        let conflict_changed =
            self.state.fleet.get(name).is_some_and(|device| device.conflict != known_conflict);
        if !was_online || conflict_changed || !known_keys {
            self.touch_pods_on(name);
            self.dirty_owners_on(name);
            self.dirty.room.insert(name.to_owned());
        }
        if is_new || !same_device || conflict_changed {
            self.dirty_device(name);
            self.resupply(name);
        }
        self.dirty.assignments.insert(name.to_owned());
        self.publish_head(name);
        self.hand_over_keys(name);
        let time = self.time();
        self.send(name, &time);
        self.schedule_retransmit(name, 0);
        self.watch_liveness(name);
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
        self.record(key, severity, reason, message);
    }

    /// Adds a device that was never heard of. Refused only at the bound.
    fn register(&mut self, name: &str, facts: &Hello) -> bool {
        if self.state.fleet.len() >= MAX_DEVICES {
            self.reject_device(name);
            return false;
        }
        let generation = self.state.fleet.take_retired(name).unwrap_or_default();
        self.records.insert(crate::record::retired_key(name), None);
        let uid = uuid(self.rng.id());
        let mut device = Device::new(name, uid, facts.clone(), self.now, self.unix_ms);
        device.desired = Desired { generation, ..Desired::default() };
        self.state.fleet.insert(device);
        self.dirty.devices.insert(name.to_owned());
        self.dirty.changed_nodes.insert(name.to_owned(), Action::Added);
        self.label_as_enrolled(name);
        let key = Key::new(Kind::Node, "", name);
        self.record(&key, Severity::Normal, "Registered", format!("{name} joined the fleet"));
        true
    }

    fn on_gone(&mut self, name: &str, stamp: Stamp, gone: Gone) {
        let Some(device) = self.state.fleet.get(name) else { return };
        let of_this_session = matches!(device.presence,
            Presence::Online { stamp: heard, .. } if heard.session == stamp.session);
        if of_this_session && device.agent() == gone.agent {
            self.on_disconnected(name);
        }
    }

    fn on_device_event(&mut self, name: &str, event: Event) {
        self.end_report(name);
        let about = event
            .pod
            .and_then(|id| self.state.pods.get(id))
            .filter(|pod| pod.device.as_deref() == Some(name))
            .map_or_else(|| Key::new(Kind::Node, "", name), |pod| pod.key());
        self.record_occurrence(Occurrence {
            about: &about,
            severity: event.severity,
            reason: &event.reason,
            message: event.message.to_string(),
            device: Some(name),
            at_ms: plausible(event.at_ms, self.unix_ms),
        });
    }

    pub(crate) fn beacon(&mut self) {
        let time = self.time();
        self.send_all(&time);
        self.timers.insert((self.now + BEACON_EVERY, Timer::Beacon));
    }

    pub(crate) fn touch_pods_on(&mut self, name: &str) {
        let ids: Vec<_> = self.state.pods.on(name).pods().iter().copied().collect();
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

/// The part of the facts that says what can run on the device: a boot, an upgrade, another state directory and other keys of
/// the hub change nothing about it.
fn for_scheduling(facts: &Hello) -> Hello {
    Hello {
        agent: AgentId([0; 16]),
        boot: BootId([0; 16]),
        version: Text::default(),
        kernel: Text::default(),
        keys: List::default(),
        conditions: List::default(),
        ..facts.clone()
    }
}

/// What is wrong with what a device holds, if it was not made here.
pub(crate) fn conflict(
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
