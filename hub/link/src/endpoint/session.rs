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
//! [`connect`] is the first packet, [`incoming`] the others, [`outgoing`] what the hub says, [`ending`] how it ends;
//! [`subscriptions`] is what the device wants to hear, [`window`] what it has not acknowledged.
//!
//! Two rules of the standard need nothing here. A will's delay ends when the session does (MQTT 5, 3.1.3.2.2), and
//! sessions end with their connection. And no device can exceed the Receive Maximum: its messages are taken and
//! acknowledged one by one.

mod connect;
mod ending;
mod incoming;
mod outgoing;
mod subscriptions;
mod window;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use firmware_compat::{frame::Kind, id::Hash, time::Instant};
use rumqttc::{ConnAck, ConnectReturnCode, Packet};

use super::{access::Scope, bucket::Bucket, codec, identity::Credential, limits};
use crate::Holder;
use connect::Admitted;
pub use connect::Rejection;
use subscriptions::Subscriptions;
use window::Window;

/// What the shell has to do before the session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A device may come in, if it is welcome: [`Session::open`] or [`Session::reject`].
    Open,
    /// A frame for the engine: [`Session::taken`] says whether it was.
    Frame {
        /// What its topic says it is.
        kind: Kind,
        /// The whole frame.
        bytes: Bytes,
    },
    /// The device's newest head is asked for, and there is room for it: [`Session::deliver`] it, if there is one.
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
    pub(crate) kind: Kind,
    /// The whole frame.
    pub(crate) frame: Bytes,
    /// Whether it is the answer to a subscription.
    pub(crate) answer: bool,
}

impl Down {
    /// A message to one device.
    #[must_use]
    pub fn to_one(kind: Kind, frame: Bytes) -> Self {
        Self { scope: Scope::Own, kind, frame, answer: false }
    }

    /// The same as the answer to a subscription: retained.
    #[must_use]
    pub fn as_answer(self) -> Self {
        Self { answer: true, ..self }
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
    /// Times that reading stopped for a moment, because the device says too much.
    pub slowed: u64,
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
    window: Window,
    subscriptions: Subscriptions,
    /// The packet id to acknowledge once the frame at hand was taken; 0 for none.
    acknowledge: u16,
    /// The engine has a frame at hand.
    handing_over: bool,
    /// A subscription has to be answered with the newest head.
    wants_head: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    credential: Credential,
    /// By which certificates are judged: seconds since 1970.
    known_time: u64,
    state: State,
    incoming: BytesMut,
    out: BytesMut,
    /// When the last whole packet came, or we began to listen again.
    heard: Instant,
    /// When bytes last left, began to wait, or could leave again.
    wrote: Instant,
    tally: Tally,
    /// What the device may still say without being slowed down.
    saying: Bucket,
    /// It has said too much: nothing is read until then.
    slowed_until: Option<Instant>,
    /// Largest packet that the device takes.
    packet_bytes: u32,
}

impl Session {
    /// A connection that has said nothing. `known_time`: seconds since 1970.
    #[must_use]
    pub fn new(credential: Credential, known_time: u64, now: Instant) -> Self {
        Self {
            credential,
            known_time,
            state: State::Waiting { until: now + limits::CONNECT_TIMEOUT },
            incoming: BytesMut::new(),
            out: BytesMut::new(),
            heard: now,
            wrote: now,
            tally: Tally::default(),
            saying: Bucket::default(),
            slowed_until: None,
            packet_bytes: limits::MAX_PACKET_BYTES,
        }
    }

    /// Whether more bytes are wanted: not while the device does not take what is said to it, or has said too much.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        !matches!(self.state, State::Ended { .. })
            && self.out.len() < limits::OUT_BYTES
            && self.slowed_until.is_none()
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
                State::Open(open) if open.wants_head && self.has_room() => return self.ask_head(),
                State::Open(_) | State::Waiting { .. } => {}
            }
            if self.out.len() >= limits::OUT_BYTES || self.is_slowed(now) {
                return None;
            }
            let before = self.incoming.len();
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
                    self.charge(before - self.incoming.len(), now);
                    if let Some(step) = self.on_packet(packet, now) {
                        return Some(step);
                    }
                }
                Err(error) => self.on_bad_bytes(error, now),
            }
        }
    }

    /// Takes what a packet costs, and stops reading for as long as it takes to earn it.
    fn charge(&mut self, bytes: usize, now: Instant) {
        let tokens = bytes as u64 + limits::PACKET_TOKENS;
        self.slowed_until = self.saying.take(tokens, limits::SAYING, now);
        self.tally.slowed += u64::from(self.slowed_until.is_some());
    }

    fn is_slowed(&mut self, now: Instant) -> bool {
        self.slowed_until = self.slowed_until.filter(|until| now < *until);
        self.slowed_until.is_some()
    }

    fn on_bad_bytes(&mut self, error: codec::Bad, now: Instant) {
        match (&self.state, error) {
            (State::Waiting { .. }, error) => self.refuse_bytes(error, now),
            (_, error) => self.end_because(error.reason(), &error.to_string(), now),
        }
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

    /// Before the session opens: SHA-256 of the public key in the device's certificate.
    #[must_use]
    pub fn key(&self) -> Option<Hash> {
        match &self.state {
            State::Admitted(admitted) => Some(admitted.key),
            _ => None,
        }
    }

    /// Before the session opens: who has it, as far as the will says so.
    #[must_use]
    pub fn holder(&self) -> Holder {
        match &self.state {
            State::Admitted(admitted) => admitted.holder,
            _ => Holder { agent: None, boot: None },
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

    /// A packet that is larger than the device takes goes without what only explains it; one that still is counts as
    /// sent, and is not (MQTT-3.1.2-24 and -25).
    fn write(&mut self, mut packet: Packet, now: Instant) {
        let limit = self.packet_bytes as usize;
        if packet.size() > limit {
            leave_out_explanations(&mut packet);
        }
        if packet.size() > limit {
            tracing::debug!(limit, "did not send a packet: the device takes none so large");
            return;
        }
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
        self.write(connect::refusal(code, why), now);
        self.tally.refused += 1;
        self.state = State::Ended { will: None };
    }
}

/// Takes out of a packet what must not make it too large: the reason string and the user properties (MQTT 5, 3.2.2.3 and
/// 3.14.2.2).
fn leave_out_explanations(packet: &mut Packet) {
    match packet {
        Packet::ConnAck(ConnAck { properties: Some(properties), .. }) => {
            properties.reason_string = None;
            properties.user_properties = Vec::new();
        }
        // Ours have nothing else.
        Packet::Disconnect(disconnect) => disconnect.properties = None,
        _ => {}
    }
}

#[cfg(test)]
mod tests;
