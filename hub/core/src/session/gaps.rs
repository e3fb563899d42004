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

use firmware_compat::{frame::Stamp, time::Instant, v1::owned::Report};

use super::{Engine, Timer};
use crate::device::Presence;

/// Time between two questions of one device, at the least; doubled while no whole report comes.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// Doublings of that time: the last is about an hour.
const MOST_DOUBLINGS: u32 = 7;

/// What is asked of a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asking {
    /// When it was last asked.
    last: Option<Instant>,
    /// When it will be asked again, and for which time, unless a whole report comes before.
    next: Option<(Instant, u32)>,
}

impl Engine {
    /// Whether a frame is of the device's session and newer than those heard. A device whose hello was missed is
    /// asked to say it; a late frame of an earlier session looks the same, and costs one hello.
    pub(super) fn hears(&mut self, name: &str, stamp: Stamp) -> bool {
        let session = self.devices.get_mut(name).and_then(|device| match &mut device.presence {
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
                self.send(name, &Report { spread_ms: 0 });
                false
            }
        }
    }

    /// Frames were lost; a report that they may have been a part of is not whole.
    fn miss_frames(&mut self, name: &str, before: u32, now: u32) {
        self.full_reports.entry(name.to_owned()).or_default().tear(before, now);
        self.miss_something(name);
    }

    /// What the hub knows of a device may not be all.
    pub(super) fn miss_something(&mut self, name: &str) {
        if let Some(device) = self.devices.get_mut(name) {
            device.heard_whole = false;
        }
        self.ask_for_report(name);
    }

    /// Asks a device to say everything again, now or as soon as it may be asked.
    pub(super) fn ask_for_report(&mut self, name: &str) {
        let Some(device) = self.devices.get(name).filter(|device| device.asking.next.is_none())
        else {
            return;
        };
        let rested = device.asking.last.map(|last| last + ASK_AGAIN).filter(|at| *at > self.now);
        match rested {
            Some(at) => self.ask_at(name, at, 0),
            None => self.ask_now(name, 0),
        }
    }

    /// Carries out [`Timer::Ask`].
    pub(super) fn ask_now(&mut self, name: &str, attempt: u32) {
        let Some(device) = self.devices.get_mut(name) else { return };
        device.asking = Asking { last: Some(self.now), next: None };
        self.send(name, &Report { spread_ms: 0 });
        let again = self.now + ASK_AGAIN * 2u32.pow(attempt.min(MOST_DOUBLINGS));
        self.ask_at(name, again, attempt.saturating_add(1));
    }

    /// The link is new: every device was asked at once, and those that do not answer are asked again. One that was
    /// connected all the time and did not hear the question would not be heard before it has something to say.
    pub(super) fn expect_report(&mut self, name: &str) {
        self.stop_asking(name);
        self.ask_at(name, self.now + ASK_AGAIN, 0);
    }

    fn ask_at(&mut self, name: &str, at: Instant, attempt: u32) {
        let Some(device) = self.devices.get_mut(name) else { return };
        device.asking.next = Some((at, attempt));
        self.timers.insert((at, Timer::Ask(name.to_owned(), attempt)));
    }

    /// A whole report came, or the session or the link ended: there is nothing more to ask.
    pub(super) fn stop_asking(&mut self, name: &str) {
        let next = self.devices.get_mut(name).and_then(|device| device.asking.next.take());
        if let Some((at, attempt)) = next {
            self.timers.remove(&(at, Timer::Ask(name.to_owned(), attempt)));
        }
    }
}

/// Whether a frame is the next one of its session.
pub(super) fn follows(heard: Stamp, next: Stamp) -> bool {
    heard.sequence.checked_add(1) == Some(next.sequence)
}
