//! Whether a device is heard without gaps. Frames of a session are numbered; where a number is missing, something that
//! the device said was lost, and the hub asks it to say everything again.
//!
//! A loss shows with the next frame. For the last frame before a silence an agent sends one with nothing in it, a while
//! after (see `report.rs` of the agent's core): the hub acknowledges nothing, so a device with nothing to say costs
//! nothing, and what was not lost is not said twice.
//!
//! A report is asked for at once, then not again for [`ASK_AGAIN`], doubled each time, until one came whole: a link that
//! loses much is not filled with reports, and a question that was lost itself is repeated.

use alloc::borrow::ToOwned;
use core::time::Duration;

use firmware_compat::{frame::Stamp, time::Instant};

use crate::{
    controller::eviction,
    device::Presence,
    engine::{Engine, Timer},
    pod::Pod,
};

/// Time between two questions of one device, at the least; doubled while no whole report comes.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// Doublings of that time: the last is about an hour.
const MOST_DOUBLINGS: u32 = 7;

/// Whether and when a device is asked to report anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportRequest {
    /// When it was last asked.
    last: Option<Instant>,
    /// When it will be asked again, and for which time, unless a whole report comes before.
    next: Option<(Instant, u32)>,
}

impl Engine {
    /// Whether a frame is of the device's session and newer than those heard. A device whose hello was missed is
    /// asked to say it; a late frame of an earlier session looks the same, and the device does not heed the question.
    pub(crate) fn hears(&mut self, name: &str, stamp: Stamp) -> bool {
        let session =
            self.state.fleet.get_mut(name).and_then(|device| match &mut device.presence {
                Presence::Online { stamp, .. } => Some(stamp),
                Presence::Offline { .. } => None,
            });
        match session {
            Some(heard) if heard.session == stamp.session => {
                let newer = stamp.sequence > heard.sequence;
                if newer {
                    let before = core::mem::replace(heard, stamp);
                    if !follows(before, stamp) {
                        self.miss_frames(name, before.sequence, stamp.sequence);
                    }
                }
                newer
            }
            Some(_) | None => {
                self.request_report(Some(stamp.session), name);
                false
            }
        }
    }

    /// Frames were lost; a report that they may have been a part of is not whole.
    fn miss_frames(&mut self, name: &str, before: u32, now: u32) {
        self.sessions.full_reports.entry(name.to_owned()).or_default().tear(before, now);
        self.miss_something(name);
    }

    /// What the hub knows of a device may not be all.
    pub(crate) fn miss_something(&mut self, name: &str) {
        if let Some(device) = self.state.fleet.get_mut(name) {
            device.heard_whole = false;
        }
        self.ask_for_report(name);
    }

    /// Asks a device to say everything again, now or as soon as it may be asked.
    pub(crate) fn ask_for_report(&mut self, name: &str) {
        let Some(device) =
            self.state.fleet.get(name).filter(|device| device.request.next.is_none())
        else {
            return;
        };
        let rested = device.request.last.map(|last| last + ASK_AGAIN).filter(|at| *at > self.now);
        match rested {
            Some(at) => self.ask_at(name, at, 0),
            None => self.ask_now(name, 0),
        }
    }

    /// Carries out [`Timer::Ask`].
    pub(crate) fn ask_now(&mut self, name: &str, attempt: u32) {
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        device.request = ReportRequest { last: Some(self.now), next: None };
        self.request_report(self.connection(name), name);
        let again = self.now + ASK_AGAIN * 2u32.pow(attempt.min(MOST_DOUBLINGS));
        self.ask_at(name, again, attempt.saturating_add(1));
    }

    /// The link is new: every device was asked at once, and those that do not answer are asked again. One that was
    /// connected all the time and did not hear the question would not be heard before it has something to say.
    pub(crate) fn expect_report(&mut self, name: &str) {
        self.stop_asking(name);
        self.ask_at(name, self.now + ASK_AGAIN, 0);
    }

    fn ask_at(&mut self, name: &str, at: Instant, attempt: u32) {
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        device.request.next = Some((at, attempt));
        self.timers.insert((at, Timer::Ask(name.to_owned(), attempt)));
    }

    /// A whole report came, or the session or the link ended: there is nothing more to ask.
    pub(crate) fn stop_asking(&mut self, name: &str) {
        let next = self.state.fleet.get_mut(name).and_then(|device| device.request.next.take());
        if let Some((at, attempt)) = next {
            self.timers.remove(&(at, Timer::Ask(name.to_owned(), attempt)));
        }
    }
}

/// Time without a word after which a device counts as silent, where something depends on it and the operator did not
/// ask for less: Kubernetes' own. Connections that break are noticed by themselves, so an idle device is not asked
/// whether it is there.
const KUBERNETES_LOST_AFTER: Duration = Duration::from_secs(300);

/// Retransmissions of an assignment during which a device is asked whether it is there: those of the first five minutes.
const PROBED_ATTEMPTS: u32 = 5;

impl Engine {
    /// How long a device may say nothing at all before it counts as not ready although its session is open. None where
    /// nothing depends on it.
    ///
    /// A question costs a hello and a report, so an idle fleet is asked nothing: only a device that has not
    /// acknowledged what it was told, and one whose Pods are to be moved within a time that an operator chose (a
    /// toleration of the template, or a `--lost-after` below Kubernetes' own).
    fn liveness(&self, name: &str) -> Option<Duration> {
        let lost_after = self.lost_after();
        let chosen = |pod: &Pod| {
            let toleration = eviction::toleration(&pod.revision, lost_after)?;
            (toleration < KUBERNETES_LOST_AFTER).then_some(toleration)
        };
        let device = self.state.fleet.get(name)?;
        let is_told = device.retransmit.is_some_and(|(_, attempt)| attempt <= PROBED_ATTEMPTS);
        let unheard = (is_told && !self.is_converged(name)).then_some(lost_after);
        self.state.pods.pods_on(name).filter_map(chosen).chain(unheard).min()
    }

    /// Wakes the engine when a device on which something depends should have been heard.
    pub(crate) fn watch_liveness(&mut self, name: &str) {
        let Some(most) = self.liveness(name) else { return };
        let Some(device) = self.state.fleet.get(name).filter(|device| device.online()) else {
            return;
        };
        let silent = self.now.since(device.heard_at);
        let at =
            if silent < most / 2 { device.heard_at + most / 2 } else { device.heard_at + most };
        self.set_probe(name, Some(at));
    }

    fn set_probe(&mut self, name: &str, at: Option<Instant>) {
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        if let Some(old) = core::mem::replace(&mut device.probe_at, at) {
            self.timers.remove(&(old, Timer::Probe(name.to_owned())));
        }
        self.timers.extend(at.map(|at| (at, Timer::Probe(name.to_owned()))));
    }

    /// Carries out [`Timer::Probe`]: a device that has said nothing for half the time is asked for a report, and one
    /// that does not answer is not ready.
    pub(crate) fn probe(&mut self, name: &str) {
        self.set_probe(name, None);
        let Some(most) = self.liveness(name) else { return };
        let Some(device) = self.state.fleet.get(name).filter(|device| device.online()) else {
            return;
        };
        let silent = self.now.since(device.heard_at);
        if silent >= most {
            self.on_disconnected(name);
            // Its session may be open all the same: it is asked again, ever more seldom, until it is heard.
            return self.ask_now(name, 0);
        }
        if silent >= most / 2 {
            self.request_report(self.connection(name), name);
        }
        self.watch_liveness(name);
    }
}

/// Whether a frame is the next one of its session.
pub(crate) fn follows(heard: Stamp, next: Stamp) -> bool {
    heard.sequence.checked_add(1) == Some(next.sequence)
}
