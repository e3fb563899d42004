//! What devices send, counted against what they have reason to send.

use std::collections::BTreeMap;

use firmware_compat::frame::Kind;

/// Messages that a device may send for one connection: hello, a full report in parts, events that waited.
const PER_CONNECTION: u64 = 90;
/// Messages for each frame that the hub sends: a want, statuses on the way, events.
const PER_HEARD: u64 = 30;
/// Messages an hour for nothing at all: an unanswered hello is repeated.
const PER_HOUR: u64 = 4;

/// Every device's meter, by name.
#[derive(Debug, Default)]
pub struct Wire {
    meters: BTreeMap<String, Meter>,
}

/// One device's meter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    pub sent: u64,
    pub sent_bytes: u64,
    pub received: u64,
    allowed: u64,
    began: Option<u64>,
}

impl Wire {
    fn meter(&mut self, name: &str) -> &mut Meter {
        self.meters.entry(name.to_owned()).or_default()
    }

    pub fn sent(&mut self, name: &str, now: u64, _kind: Kind, bytes: usize) {
        let meter = self.meter(name);
        meter.began.get_or_insert(now);
        meter.sent += 1;
        meter.sent_bytes += bytes as u64;
    }

    /// A hub's frame. What a hostile broker delivers beside is no reason to say anything.
    pub fn received(&mut self, name: &str, kind: Kind, to_all: bool) {
        let meter = self.meter(name);
        // The daily beacon is the hub's, and chunks are what was asked for.
        if kind != Kind::Time && !to_all {
            meter.received += 1;
        }
        if kind != Kind::Time && kind != Kind::Part {
            meter.allowed += PER_HEARD;
        }
    }

    pub fn connected(&mut self, name: &str) {
        self.meter(name).allowed += PER_CONNECTION;
    }

    /// There was reason for so many messages.
    pub fn allow(&mut self, name: &str, messages: u64) {
        self.meter(name).allowed += messages;
    }

    /// Messages of devices so far: sent, bytes sent, received.
    pub fn total(&self, counts: impl Fn(&str) -> bool) -> (u64, u64, u64) {
        let meters = self.meters.iter().filter(|(name, _)| counts(name)).map(|(_, meter)| meter);
        meters.fold((0, 0, 0), |(sent, bytes, received), meter| {
            (sent + meter.sent, bytes + meter.sent_bytes, received + meter.received)
        })
    }

    /// A device that has sent more than it had reason to.
    pub fn over(&self, now: u64) -> Option<String> {
        self.meters.iter().find_map(|(name, meter)| {
            let hours = now.saturating_sub(meter.began.unwrap_or(now)) / 3_600_000 + 1;
            let allowed = meter.allowed + hours * PER_HOUR;
            (meter.sent > allowed).then(|| {
                format!("{name} has sent {} messages, had reason for {allowed}", meter.sent)
            })
        })
    }
}
