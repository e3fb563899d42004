//! What the hub says to devices: frames, counted, and signed where their kind is. A signature costs some twenty microseconds,
//! so a head is signed once, however often it is published.

use alloc::{borrow::ToOwned, vec::Vec};

use firmware_compat::{
    frame::{self, Message, Stamp},
    id::{Generation, Hash},
    signed,
    time::LAST_UNIX_MS,
    topic::ALL,
    v1::owned::{Action, AssignmentId, Command, Head, Report, Time},
};

use crate::{
    device::{Device, Presence},
    effect::Effect,
    engine::Engine,
};

/// A frame that was signed, and which assignment it is of.
#[derive(Clone, Debug)]
pub struct SignedHead {
    generation: Generation,
    hash: Hash,
    frame: Vec<u8>,
}

impl Engine {
    /// Sends a message to one device.
    pub(crate) fn send<M: Message>(&mut self, device: &str, message: &M) {
        self.send_in(0, device, message);
    }

    /// Sends a message to every device.
    pub(crate) fn send_all<M: Message>(&mut self, message: &M) {
        if let Some(frame) = self.frame(0, ALL, message) {
            self.effects.push(Effect::SendAll { kind: M::KIND, frame });
        }
    }

    /// The connection that a device has now.
    pub(crate) fn connection(&self, device: &str) -> Option<u32> {
        match self.state.fleet.get(device)?.presence {
            Presence::Online { stamp, .. } => Some(stamp.session),
            Presence::Offline { .. } => None,
        }
    }

    /// Asks a device to do something once, in this connection of it. Returns the command's id, by which it answers.
    pub(crate) fn command(&mut self, session: u32, device: &str, action: Action) -> u64 {
        // Greater than all before, also than those of a hub that this one goes on for: a device that remembers only so many
        // carries out none that is smaller.
        let first = self.say_time().saturating_mul(1 << COMMANDS_PER_MS_BITS);
        let id = first.max(self.sessions.last_command.saturating_add(1));
        self.sessions.last_command = id;
        self.send_in(session, device, &Command { lineage: self.lineage, id, action });
        id
    }

    /// Asks a device to report at once. By a command, which needs no clock to be known as new, if a connection of it is
    /// known.
    pub(crate) fn request_report(&mut self, session: Option<u32>, device: &str) {
        match session {
            Some(session) => _ = self.command(session, device, Action::Report),
            None => {
                let (lineage, unix_ms) = (self.lineage, self.say_time());
                self.send(device, &Report { lineage, unix_ms, spread_ms: 0 });
            }
        }
    }

    /// The time, to be said now.
    pub(crate) fn time(&mut self) -> Time {
        Time { lineage: self.lineage, unix_ms: self.say_time() }
    }

    /// Publishes a device's head, unless nothing was ever assigned, a conflict pauses it, or it is not known yet what
    /// it holds. A head whose body this hub does not have (it was made by an earlier start, from other parts) would
    /// lead nowhere: the next generation follows.
    pub(crate) fn publish_head(&mut self, name: &str) {
        let known = |device: &&Device| device.met && !device.is_held();
        let Some(device) = self.state.fleet.get(name).filter(known) else { return };
        let desired = &device.desired;
        let Some(hash) = desired.hash.filter(|_| !desired.body.is_empty()) else { return };
        let generation = desired.generation;
        let is_of_it = |head: &&SignedHead| (head.generation, head.hash) == (generation, hash);
        let signed = desired.head.as_ref().filter(is_of_it).map(|head| head.frame.clone());
        let frame = match signed {
            Some(frame) => frame,
            None => {
                let assignment = AssignmentId { lineage: self.lineage, generation, hash };
                let length = u32::try_from(desired.body.len()).unwrap_or(u32::MAX);
                let Some(frame) = self.frame(0, name, &Head { assignment, length }) else { return };
                if let Some(device) = self.state.fleet.get_mut(name) {
                    let frame = frame.clone();
                    device.desired.head = Some(SignedHead { generation, hash, frame });
                }
                frame
            }
        };
        self.effects.push(Effect::SetHead { device: name.to_owned(), frame });
    }

    fn send_in<M: Message>(&mut self, session: u32, device: &str, message: &M) {
        if let Some(frame) = self.frame(session, device, message) {
            self.effects.push(Effect::Send { device: device.to_owned(), kind: M::KIND, frame });
        }
    }

    /// Messages are bounded by their types, so that each fits a frame.
    fn frame<M: Message>(&mut self, session: u32, to: &str, message: &M) -> Option<Vec<u8>> {
        self.sessions.sequence = self.sessions.sequence.wrapping_add(1);
        let stamp = Stamp { session, sequence: self.sessions.sequence };
        let mut frame = frame::encode(message, stamp).ok()?;
        if M::KIND.is_signed() {
            let signer = &self.signer;
            signed::sign(&mut frame, to, |message| signer.sign(message)).ok()?;
            self.metrics.signatures += 1;
        }
        Some(frame)
    }
}

/// Commands that may be given in a millisecond without running ahead of the time: 65,536. What is left of 64 bits holds
/// every time that is said.
const COMMANDS_PER_MS_BITS: u32 = 16;

const _: () = assert!(LAST_UNIX_MS < u64::MAX >> COMMANDS_PER_MS_BITS);
