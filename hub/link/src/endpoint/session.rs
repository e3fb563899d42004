//! One device's session as a state machine: bytes in, bytes and [`Step`]s out, time as an argument. It knows no socket
//! and no other session.
//!
//! ```text
//! Waiting ─CONNECT─► Admitted ─open─► Open ─DISCONNECT, error, timeout, takeover─► Ended
//! ```
//!
//! - [`received`](Session::received) takes bytes, [`next`](Session::next) makes packets of them and says what the shell
//!   has to do before the next one: at most one thing at a time, so that a slow hub slows the device down.
//! - [`deliver`](Session::deliver) takes what the hub has for the device.
//! - [`out`](Session::out) is what must be written; [`wrote`](Session::wrote) what was.
//! - [`poll_timeout`](Session::poll_timeout) and [`handle_timeout`](Session::handle_timeout) are its deadlines.
//!
//! [`connect`] is the first packet, [`subscriptions`] what the device wants to hear, [`window`] what it has not
//! acknowledged.
//!
//! Two rules of the standard need nothing here. A will's delay ends when the session does (MQTT 5, 3.1.3.2.2), and
//! sessions end with their connection. And no device can exceed the Receive Maximum: its messages are taken and
//! acknowledged one by one.

mod connect;
mod subscriptions;
mod window;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use firmware_compat::{
    frame::{Kind, MAX_FRAME_BYTES},
    id::AgentId,
    time::Instant,
    topic::{ALL, Topic},
};
use rumqttc::{
    ConnectReturnCode, Disconnect, DisconnectProperties, DisconnectReasonCode as Reason, Packet,
    PubAck, PubAckReason, Publish, QoS, SubAck, Subscribe, SubscribeReasonCode, UnsubAck,
    Unsubscribe,
};

use super::{
    access::{self, Scope},
    codec,
    identity::Credential,
    limits,
};
use connect::Admitted;
use subscriptions::Subscriptions;
use window::Window;

/// What the shell has to do before the session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A device may come in: [`Session::open`] or [`Session::turn_away`].
    Open,
    /// A frame for the engine: [`Session::taken`] says whether it was.
    Frame {
        /// What its topic says it is.
        kind: Kind,
        /// The whole frame.
        bytes: Bytes,
    },
    /// The device's newest head is asked for: [`Session::deliver`] it, if there is one.
    Head,
    /// The session has ended: write what is left and close.
    End,
}

/// A message to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// To this device alone, or to every device.
    pub(crate) scope: Scope,
    /// What the frame is.
    pub kind: Kind,
    /// The whole frame.
    pub frame: Bytes,
    /// Whether it is the answer to a subscription.
    pub answer: bool,
}

impl Down {
    /// A message to one device.
    #[must_use]
    pub fn to_one(kind: Kind, frame: Bytes) -> Self {
        Self { scope: Scope::Own, kind, frame, answer: false }
    }

    /// A message to every device.
    #[must_use]
    pub fn to_every(kind: Kind, frame: Bytes) -> Self {
        Self { scope: Scope::All, kind, frame, answer: false }
    }
}

/// What the session did, for the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages, subscriptions and connections refused.
    pub refused: u64,
    /// Frames that were too long to be one of ours.
    pub dropped: u64,
}

#[derive(Debug)]
enum State {
    Waiting { until: Instant },
    Admitted(Box<Admitted>),
    Open(Box<Open>),
    Ended { will: Option<Bytes> },
}

/// An open session.
#[derive(Debug)]
struct Open {
    device: Box<str>,
    /// How long the device may be silent: one and a half times its keep-alive.
    silence: Duration,
    will: Option<Bytes>,
    /// Largest packet that the device takes.
    packet_bytes: usize,
    window: Window,
    subscriptions: Subscriptions,
    /// The packet id to acknowledge once the frame at hand was taken; 0 for none.
    acknowledge: u16,
    /// The engine has a frame at hand.
    handing_over: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    credential: Credential,
    state: State,
    incoming: BytesMut,
    out: BytesMut,
    /// When the last whole packet came.
    heard: Instant,
    /// When bytes last left, or began to wait.
    wrote: Instant,
    tally: Tally,
}

impl Session {
    /// A connection that has said nothing.
    #[must_use]
    pub fn new(credential: Credential, now: Instant) -> Self {
        Self {
            credential,
            state: State::Waiting { until: now + limits::CONNECT_TIMEOUT },
            incoming: BytesMut::new(),
            out: BytesMut::new(),
            heard: now,
            wrote: now,
            tally: Tally::default(),
        }
    }

    /// Whether more bytes are wanted: not while the device does not take what is said to it.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        !matches!(self.state, State::Ended { .. }) && self.out.len() < limits::OUT_BYTES
    }

    /// Takes bytes of the device.
    pub fn received(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
    }

    /// Reads packets until there is something to do for the shell; `None` when more bytes must come, or some must
    /// leave.
    pub fn next(&mut self, now: Instant) -> Option<Step> {
        loop {
            match &self.state {
                State::Ended { .. } => return Some(Step::End),
                State::Admitted(_) => return Some(Step::Open),
                State::Open(open) if open.handing_over => return None,
                State::Open(_) | State::Waiting { .. } => {}
            }
            if self.out.len() >= limits::OUT_BYTES {
                return None;
            }
            let packet = match &self.state {
                State::Waiting { .. } => codec::connect(&mut self.incoming),
                _ => codec::packet(&mut self.incoming),
            };
            if self.incoming.is_empty() {
                // Gives the memory back: most of the time a connection has nothing to say.
                self.incoming = BytesMut::new();
            }
            match packet {
                Ok(None) => return None,
                Ok(Some(packet)) => {
                    self.heard = now;
                    if let Some(step) = self.on_packet(packet, now) {
                        return Some(step);
                    }
                }
                Err(error) => self.on_bad_bytes(error, now),
            }
        }
    }

    fn on_bad_bytes(&mut self, error: codec::Bad, now: Instant) {
        match (&self.state, error) {
            (State::Waiting { .. }, error) => self.refuse_bytes(error, now),
            (_, error) => self.end_because(error.reason(), &error.to_string(), now),
        }
    }

    fn on_packet(&mut self, packet: Packet, now: Instant) -> Option<Step> {
        let open = match &mut self.state {
            State::Waiting { .. } => {
                self.on_connect(packet, now);
                return None;
            }
            State::Open(open) => open,
            State::Admitted(_) | State::Ended { .. } => return None,
        };
        open.window.heard(now);
        match packet {
            Packet::Publish(publish) => return self.on_publish(publish, now),
            Packet::PubAck(puback) => open.window.acknowledged(puback.pkid, now),
            Packet::Subscribe(subscribe) => return self.on_subscribe(subscribe, now),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(unsubscribe, now),
            Packet::PingReq => self.write(&Packet::PingResp, now),
            Packet::Disconnect(disconnect) => {
                let clean = disconnect.reason_code == Reason::NormalDisconnection;
                let will = open.will.take().filter(|_| !clean);
                self.state = State::Ended { will };
            }
            Packet::Connect(..) => self.violated("a second CONNECT", now),
            Packet::Auth(_) => self.violated("an AUTH, though no method was agreed on", now),
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => {
                self.violated("a packet of QoS 2, which is not in use", now);
            }
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                self.violated("a packet that only servers send", now)
            }
        }
        None
    }

    fn violated(&mut self, what: &str, now: Instant) {
        self.end_because(Reason::ProtocolError, what, now);
    }

    fn on_publish(&mut self, publish: Publish, now: Instant) -> Option<Step> {
        let State::Open(open) = &mut self.state else { return None };
        let properties = publish.properties.as_ref();
        if publish.qos == QoS::ExactlyOnce {
            self.end_because(Reason::QoSNotSupported, "QoS 2 is not supported; use 1", now);
            return None;
        }
        if properties.is_some_and(|properties| properties.topic_alias.is_some()) {
            self.end_because(Reason::TopicAliasInvalid, "topic aliases are not supported", now);
            return None;
        }
        if properties.is_some_and(|properties| !properties.subscription_identifiers.is_empty()) {
            self.violated("a message with a subscription identifier", now);
            return None;
        }
        if publish.topic.is_empty() {
            self.violated("a message without a topic", now);
            return None;
        }
        let topic = str::from_utf8(&publish.topic).unwrap_or_default();
        let kind = access::published(&open.device, topic);
        let (Some(kind), false) = (kind, publish.retain) else {
            tracing::warn!(
                device = &*open.device,
                topic,
                retain = publish.retain,
                "refused a message: a device publishes on its own upward topics, and retains nothing"
            );
            self.tally.refused += 1;
            self.acknowledge(publish.pkid, PubAckReason::NotAuthorized, now);
            return None;
        };
        if publish.payload.len() > MAX_FRAME_BYTES {
            self.tally.dropped += 1;
            self.acknowledge(publish.pkid, PubAckReason::QuotaExceeded, now);
            return None;
        }
        open.acknowledge = publish.pkid;
        open.handing_over = true;
        Some(Step::Frame { kind, bytes: publish.payload })
    }

    /// The engine has taken the frame at hand, or has not.
    pub fn taken(&mut self, taken: bool, now: Instant) {
        let State::Open(open) = &mut self.state else { return };
        if std::mem::take(&mut open.handing_over) {
            let packet = std::mem::take(&mut open.acknowledge);
            let reason = if taken { PubAckReason::Success } else { PubAckReason::QuotaExceeded };
            self.acknowledge(packet, reason, now);
        }
    }

    fn acknowledge(&mut self, pkid: u16, reason: PubAckReason, now: Instant) {
        if pkid != 0 {
            self.write(&Packet::PubAck(PubAck { pkid, reason, properties: None }), now);
        }
    }

    fn on_subscribe(&mut self, subscribe: Subscribe, now: Instant) -> Option<Step> {
        let State::Open(open) = &mut self.state else { return None };
        if subscribe.properties.is_some_and(|properties| properties.id.is_some()) {
            let why = "subscription identifiers are not supported";
            self.end_because(Reason::SubscriptionIdentifiersNotSupported, why, now);
            return None;
        }
        let mut wants_head = false;
        let mut return_codes = Vec::new();
        for asked in &subscribe.filters {
            match open.subscriptions.add(&open.device, asked) {
                Ok(added) => {
                    wants_head |= added.wants_head;
                    return_codes.push(SubscribeReasonCode::Success(added.qos));
                }
                Err(code) => {
                    let (device, filter) = (&*open.device, &*asked.path);
                    tracing::warn!(device, filter, ?code, "refused a subscription");
                    self.tally.refused += 1;
                    return_codes.push(code);
                }
            }
        }
        let pkid = subscribe.pkid;
        self.write(&Packet::SubAck(SubAck { pkid, return_codes, properties: None }), now);
        wants_head.then_some(Step::Head)
    }

    fn on_unsubscribe(&mut self, unsubscribe: Unsubscribe, now: Instant) {
        let State::Open(open) = &mut self.state else { return };
        if unsubscribe.filters.is_empty() {
            return self.violated("an UNSUBSCRIBE without a filter", now);
        }
        let remove = |filter: &String| open.subscriptions.remove(&open.device, filter);
        let reasons = unsubscribe.filters.iter().map(remove).collect();
        let pkid = unsubscribe.pkid;
        self.write(&Packet::UnsubAck(UnsubAck { pkid, reasons, properties: None }), now);
    }

    /// Whether a message of the hub's could be sent now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        match &self.state {
            State::Open(open) => open.window.has_room() && self.out.len() < limits::OUT_BYTES,
            _ => false,
        }
    }

    /// Sends a message of the hub's. False if it was dropped: not subscribed to, or larger than the device takes.
    pub fn deliver(&mut self, message: &Down, now: Instant) -> bool {
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
        if publish.size() > open.packet_bytes {
            let (device, limit) = (&*open.device, open.packet_bytes);
            tracing::warn!(device, limit, "dropped a message: the device takes none so large");
            return false;
        }
        if publish.pkid != 0 {
            open.window.sent(publish.pkid, now);
        }
        self.write(&Packet::Publish(publish), now);
        true
    }

    /// Ends the session: a newer one has the name.
    pub fn take_over(&mut self, now: Instant) {
        let why = "another connection has this client id";
        self.end_because(Reason::SessionTakenOver, why, now);
    }

    /// Ends the session: the hub stops.
    pub fn shut_down(&mut self, now: Instant) {
        self.end_because(Reason::ServerShuttingDown, "the hub stops", now);
    }

    /// The connection is gone.
    pub fn lose(&mut self) {
        let will = match &mut self.state {
            State::Open(open) => open.will.take(),
            State::Ended { .. } => return,
            State::Waiting { .. } | State::Admitted(_) => None,
        };
        self.out = BytesMut::new();
        self.state = State::Ended { will };
    }

    /// Says why, if the far end can understand it, and ends. A will is due then.
    fn end_because(&mut self, reason_code: Reason, why: &str, now: Instant) {
        let will = match &mut self.state {
            State::Open(open) => {
                let (device, will) = (&*open.device, open.will.take());
                tracing::debug!(device, ?reason_code, why, "ends a session");
                will
            }
            // Before its CONNACK a client is told nothing (3.14).
            State::Waiting { .. } | State::Admitted(_) => return self.lose(),
            State::Ended { .. } => return,
        };
        let properties = DisconnectProperties {
            session_expiry_interval: None,
            reason_string: Some(why.to_owned()),
            user_properties: Vec::new(),
            server_reference: None,
        };
        let disconnect = Disconnect { reason_code, properties: Some(properties) };
        self.write(&Packet::Disconnect(disconnect), now);
        self.state = State::Ended { will };
    }

    /// Whether the session is over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. })
    }

    /// The will, if the session ended in a way that makes it due.
    pub fn due_will(&mut self) -> Option<Bytes> {
        match &mut self.state {
            State::Ended { will } => will.take(),
            _ => None,
        }
    }

    /// The name, from the moment it may come in until the end.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        match &self.state {
            State::Admitted(admitted) => Some(&admitted.device),
            State::Open(open) => Some(&open.device),
            State::Waiting { .. } | State::Ended { .. } => None,
        }
    }

    /// The agent that the will names, before the session opens.
    #[must_use]
    pub fn agent(&self) -> Option<AgentId> {
        match &self.state {
            State::Admitted(admitted) => admitted.agent,
            _ => None,
        }
    }

    /// What must be written.
    #[must_use]
    pub fn out(&self) -> &[u8] {
        &self.out
    }

    /// Some of it was.
    pub fn wrote(&mut self, bytes: usize, now: Instant) {
        self.wrote = now;
        let _written = self.out.split_to(bytes.min(self.out.len()));
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
    }

    /// What was counted since the last call.
    pub fn tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let writes = (!self.out.is_empty()).then(|| self.wrote + limits::WRITE_TIMEOUT);
        let own = match &self.state {
            State::Waiting { until } => *until,
            State::Admitted(_) => self.heard + limits::CONNECT_TIMEOUT,
            // While a frame is handed over nothing is read: the device's silence is ours.
            State::Open(open) if open.handing_over => Instant(u64::MAX),
            State::Open(open) => {
                let silent = self.heard + open.silence;
                open.window.deadline().map_or(silent, |deadline| deadline.min(silent))
            }
            State::Ended { .. } => Instant(u64::MAX),
        };
        writes.map_or(own, |writes| writes.min(own))
    }

    /// Ends what has waited too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.poll_timeout() {
            return;
        }
        if !self.out.is_empty() && now >= self.wrote + limits::WRITE_TIMEOUT {
            return self.lose();
        }
        match &self.state {
            State::Waiting { .. } | State::Admitted(_) => self.lose(),
            State::Open(open) if open.window.deadline().is_some_and(|at| now >= at) => {
                let why = "messages were not acknowledged in time";
                self.end_because(Reason::UnspecifiedError, why, now);
            }
            State::Open(_) => {
                let why = "nothing was heard for one and a half times the keep-alive";
                self.end_because(Reason::KeepAliveTimeout, why, now);
            }
            State::Ended { .. } => {}
        }
    }

    fn write(&mut self, packet: &Packet, now: Instant) {
        if self.out.is_empty() {
            self.wrote = now;
        }
        let before = self.out.len();
        // What we make ourselves can be encoded: ids are not 0, topics and reasons are text, sizes are bounded.
        if let Err(error) = packet.write(&mut self.out, None) {
            tracing::error!(%error, "could not encode a packet");
            self.out.truncate(before);
        }
    }

    /// Ends a connection that was never a session with a CONNACK that says why.
    fn refuse(&mut self, code: ConnectReturnCode, why: &str, now: Instant) {
        self.write(&connect::refusal(code, why), now);
        self.tally.refused += 1;
        self.state = State::Ended { will: None };
    }
}
