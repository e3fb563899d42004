//! From the hub to devices: messages are put straight into a session's queue, without a route through the broker.

use std::sync::Arc;

use firmware_compat::{frame::Kind, topic::Topic};
use rmqtt::{
    codec::types::{Publish as CodecPublish, QoS},
    shared::DefaultShared,
    types::{From as Origin, Id, Message, Publish},
};

use super::{heads::Heads, sessions::Sessions};
use crate::event::{Counters, count};

/// Messages between the hub and one session that have been neither delivered nor dropped. More than the session's own
/// queue and window hold together, so this bound is met only when a session has stopped reading its channel.
const PENDING: usize = 64;

/// The way out.
pub(crate) struct Outbound {
    pub(crate) shared: DefaultShared,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) counters: Arc<Counters>,
}

impl Outbound {
    pub(crate) fn set_head(&self, device: &str, frame: Vec<u8>) {
        self.heads.set(device, frame.clone());
        if self.sessions.session(device).is_some() {
            self.send(device, Kind::Head, frame);
        }
    }

    pub(crate) fn clear_head(&self, device: &str) {
        self.heads.clear(device);
    }

    pub(crate) fn send(&self, device: &str, kind: Kind, frame: Vec<u8>) {
        self.deliver(device, message(&Topic::down(device, kind).to_string(), frame, false));
    }

    pub(crate) fn send_all(&self, kind: Kind, frame: Vec<u8>) {
        let message =
            message(&Topic::down(firmware_compat::topic::ALL, kind).to_string(), frame, false);
        for device in self.sessions.devices() {
            self.deliver(&device, message.clone());
        }
    }

    fn deliver(&self, device: &str, message: Publish) {
        let delivered = self.sessions.session(device).is_some_and(|peer| {
            peer.take_place(PENDING)
                && self.shared.tx(device).is_some_and(|(session, _)| {
                    session.unbounded_send(Message::Forward(from_hub(), message)).is_ok()
                })
        });
        count(if delivered { &self.counters.sent } else { &self.counters.sent_dropped });
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

/// A message of ours as the broker carries it.
pub(crate) fn message(topic: &str, frame: Vec<u8>, retain: bool) -> Publish {
    Publish::from(CodecPublish {
        dup: false,
        retain,
        qos: QoS::AtLeastOnce,
        topic: topic.to_owned().into(),
        packet_id: None,
        payload: frame.into(),
        properties: None,
    })
}

/// The origin of what the hub sends. Sessions give its places back: see [`is_from_hub`].
fn from_hub() -> Origin {
    Origin::from_system(Id::from(0, "lichen-hub".into()))
}

/// Whether a message took a place on its way.
pub(crate) fn is_from_hub(origin: &Origin) -> bool {
    origin.is_system()
}

/// The origin of heads that the broker reads when a device subscribes.
pub(crate) fn from_heads() -> Origin {
    Origin::from_admin(Id::from(0, "lichen-hub".into()))
}
