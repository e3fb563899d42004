//! QoS 1 messages on their way to the device.

use firmware_compat::time::Instant;

use crate::endpoint::limits::ACKNOWLEDGE_TIMEOUT;

/// Sent and not acknowledged, and the next packet id.
#[derive(Debug)]
pub(super) struct Window {
    room: u16,
    next: u16,
    sent: Vec<u16>,
    /// While something is in flight: when it was sent, or when the device last said something.
    quiet_since: Option<Instant>,
}

impl Window {
    pub(super) fn new(room: u16) -> Self {
        Self { room, next: 1, sent: Vec::new(), quiet_since: None }
    }

    pub(super) fn has_room(&self) -> bool {
        self.sent.len() < usize::from(self.room)
    }

    /// The packet id that the next message gets: not 0, and none that is in flight.
    pub(super) fn peek(&mut self) -> u16 {
        while self.sent.contains(&self.next) {
            self.next = after(self.next);
        }
        self.next
    }

    /// A message was sent.
    pub(super) fn sent(&mut self, packet: u16, now: Instant) {
        self.sent.push(packet);
        self.next = after(packet);
        self.quiet_since.get_or_insert(now);
    }

    /// A message was acknowledged. An id that is not in flight says nothing; the standard has no answer to it.
    pub(super) fn acknowledged(&mut self, packet: u16, now: Instant) {
        self.sent.retain(|sent| *sent != packet);
        self.quiet_since = (!self.sent.is_empty()).then_some(now);
        if self.sent.is_empty() {
            self.sent = Vec::new();
        }
    }

    /// The device said something.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(since) = &mut self.quiet_since {
            *since = now;
        }
    }

    /// When the device is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.quiet_since.map(|since| since + ACKNOWLEDGE_TIMEOUT)
    }
}

fn after(packet: u16) -> u16 {
    packet.checked_add(1).unwrap_or(1)
}
