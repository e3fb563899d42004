//! What the hub says to the device: one message at a time, as its subscriptions and its window allow.

use firmware_compat::{
    frame::Kind,
    time::Instant,
    topic::{ALL, Topic},
};
use rumqttc::{Packet, Publish, QoS};

use super::{Down, Session, State};
use crate::endpoint::{access::Scope, limits};

impl Session {
    /// Whether a message of the hub's could be sent now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        match &self.state {
            State::Open(open) => open.window.has_room() && self.out.len() < limits::OUT_BYTES,
            _ => false,
        }
    }

    /// Sends a message of the hub's. False if it was dropped: not subscribed to, larger than the device takes, or without
    /// room (see [`Self::has_room`]).
    pub fn deliver(&mut self, message: &Down, now: Instant) -> bool {
        if !self.has_room() {
            return false;
        }
        let State::Open(open) = &mut self.state else { return false };
        let Some(granted) = open.subscriptions.asks_for(message.scope, message.kind) else {
            return false;
        };
        let device = match message.scope {
            Scope::Own => &*open.device,
            Scope::All => ALL,
        };
        let topic = Topic::down(device, message.kind).to_string();
        let mut publish = Publish::new(topic, granted.qos, message.frame.clone(), None);
        // A head is retained; whoever had subscribed before it came sees that only if it asked to (3.3.1.3).
        publish.retain = message.answer || (granted.as_published && message.kind == Kind::Head);
        if granted.qos == QoS::AtLeastOnce {
            publish.pkid = open.window.peek();
        }
        if publish.size() > self.packet_bytes as usize {
            let (device, limit) = (&*open.device, self.packet_bytes);
            tracing::debug!(device, limit, "dropped a message: the device takes none so large");
            return false;
        }
        if publish.pkid != 0 {
            open.window.sent(publish.pkid, now);
        }
        self.write(Packet::Publish(publish), now);
        true
    }
}
