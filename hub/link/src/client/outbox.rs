//! What is still to be sent, and what was sent and awaits its acknowledgement. Knows nothing of sockets.
//!
//! Messages leave in the order in which they were given, paced by the broker's acknowledgements, so that a head goes before
//! the bodies that follow it and no device waits for those of all others. Those of the moment may hold so many bytes
//! together; what does not fit is refused to the caller at once. Kept ones are in memory anyway, and only their topics wait.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// Messages sent and not acknowledged. Below Mosquitto's default of 20, and enough to fill a link.
pub(super) const SEND_WINDOW: u16 = 16;
/// How long the broker may leave all that is in flight unacknowledged.
pub(super) const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a kept message that the broker did not take waits before it is sent again. Access rules are changed by people.
const RETRY_KEPT: Duration = Duration::from_secs(30);
/// Time between two log lines about refused messages: a broker may refuse those for a whole fleet.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Room for an MQTT packet's header, topic length, packet id and properties.
const PACKET_OVERHEAD: usize = 16;
/// What a waiting message holds besides its topic and its frame: so that empty ones are bounded too.
const WAITING_OVERHEAD: usize = 64;

/// A message to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) frame: Vec<u8>,
    pub(super) retain: bool,
}

impl Outgoing {
    /// Bytes that it holds while it waits.
    fn held(&self) -> usize {
        self.topic.len() + self.frame.len() + WAITING_OVERHEAD
    }
}

/// What the broker has said that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) packet_bytes: usize,
    pub(super) window: u16,
}

/// What the broker says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is the broker's now.
    Taken,
    /// A hub's endpoint had no room for it; it will ask for what it misses.
    TooBusy,
    /// It may not be sent.
    Refused,
}

/// What waits for its turn.
#[derive(Debug)]
enum Waiting {
    /// The kept message of this topic, as it is by then.
    Kept(String),
    /// A message of the moment.
    Moment(Outgoing),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Bytes that messages of the moment may hold while they wait.
    budget: usize,
    held: usize,
    /// What each topic shall hold. An empty frame is a removal that the broker has not acknowledged.
    kept: BTreeMap<String, Vec<u8>>,
    /// Topics of `kept` that the broker may not hold as they are here, and that wait in their turn: they have changed.
    changed: BTreeSet<String>,
    /// The same, after everything else: the connection is new, and the broker may have lost them.
    renewed: BTreeSet<String>,
    /// Topics of `kept` that the broker did not take, and when they are sent again.
    refused: BTreeSet<String>,
    retry_at: Option<Instant>,
    /// When it was said last that the broker refuses messages.
    complained: Option<Instant>,
    waiting: VecDeque<Waiting>,
    /// Handed out, in order, and not yet numbered by the client.
    unnumbered: VecDeque<Outgoing>,
    /// Numbered and not yet acknowledged.
    unacknowledged: HashMap<u16, Outgoing>,
    /// While something is in flight and we listen: when the first of it was handed out, or the broker last acknowledged
    /// something. What we send ourselves does not move it.
    quiet_since: Option<Instant>,
    /// Our owner is busy with what it was told, and nothing is read.
    deaf: bool,
    /// Present while connected.
    limits: Option<Limits>,
    lost: u64,
}

impl Outbox {
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget,
            held: 0,
            kept: BTreeMap::new(),
            changed: BTreeSet::new(),
            renewed: BTreeSet::new(),
            refused: BTreeSet::new(),
            retry_at: None,
            complained: None,
            waiting: VecDeque::new(),
            unnumbered: VecDeque::new(),
            unacknowledged: HashMap::new(),
            quiet_since: None,
            deaf: false,
            limits: None,
            lost: 0,
        }
    }

    pub(super) fn keep(&mut self, topic: String, frame: Vec<u8>) {
        // Without a connection, the next one makes everything kept due.
        if self.limits.is_some() {
            self.renewed.remove(&topic);
            self.refused.remove(&topic);
            if self.changed.insert(topic.clone()) {
                self.waiting.push_back(Waiting::Kept(topic.clone()));
            }
        }
        self.kept.insert(topic, frame);
    }

    pub(super) fn send(&mut self, topic: String, frame: Vec<u8>) -> bool {
        let message = Outgoing { topic, frame, retain: false };
        let held = self.held + message.held();
        let accepted = self.limits.is_some() && held <= self.budget;
        if accepted {
            self.held = held;
            self.waiting.push_back(Waiting::Moment(message));
        }
        accepted
    }

    /// A connection is there: everything kept is due again, for the broker may have lost it.
    pub(super) fn connected(&mut self, limits: Limits) {
        self.limits = Some(Limits { window: limits.window.clamp(1, SEND_WINDOW), ..limits });
        self.renewed = self.kept.keys().cloned().collect();
    }

    /// The connection is gone, and with it what was meant for the moment. True if it had been there.
    pub(super) fn disconnected(&mut self) -> bool {
        let was_connected = self.limits.take().is_some();
        let sent = self
            .unnumbered
            .drain(..)
            .chain(self.unacknowledged.drain().map(|(_, message)| message));
        let sent = sent.filter(|message| !message.retain).count();
        let waiting =
            self.waiting.drain(..).filter(|waiting| matches!(waiting, Waiting::Moment(_)));
        self.lost += (sent + waiting.count()) as u64;
        self.held = 0;
        self.changed.clear();
        self.renewed.clear();
        self.refused.clear();
        self.retry_at = None;
        self.quiet_since = None;
        self.deaf = false;
        was_connected
    }

    /// The next message, if the window has room.
    pub(super) fn next(&mut self, now: Instant) -> Option<Outgoing> {
        let limits = self.limits?;
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.renewed.append(&mut self.refused);
        }
        while self.in_flight() < usize::from(limits.window) {
            let message = self.next_waiting()?;
            if message.topic.len() + message.frame.len() + PACKET_OVERHEAD > limits.packet_bytes {
                tracing::warn!(
                    topic = message.topic,
                    limit = limits.packet_bytes,
                    "dropped a message: the broker takes none so large; raise its packet size limit"
                );
                self.lost += 1;
                continue;
            }
            self.unnumbered.push_back(message.clone());
            self.quiet_since.get_or_insert(now);
            return Some(message);
        }
        None
    }

    fn next_waiting(&mut self) -> Option<Outgoing> {
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting {
                Waiting::Moment(message) => {
                    self.held -= message.held();
                    return Some(message);
                }
                Waiting::Kept(topic) => {
                    self.changed.remove(&topic);
                    if let Some(frame) = self.kept.get(&topic) {
                        return Some(Outgoing { topic, frame: frame.clone(), retain: true });
                    }
                }
            }
        }
        let topic = self.renewed.pop_first()?;
        let frame = self.kept.get(&topic)?.clone();
        Some(Outgoing { topic, frame, retain: true })
    }

    /// The client could not take the message that was handed out last.
    pub(super) fn put_back(&mut self) {
        match self.unnumbered.pop_back() {
            Some(Outgoing { topic, retain: true, .. }) => self.change_next(topic),
            Some(message) => {
                self.held += message.held();
                self.waiting.push_front(Waiting::Moment(message));
            }
            None => {}
        }
        if self.in_flight() == 0 {
            self.quiet_since = None;
        }
    }

    fn change_next(&mut self, topic: String) {
        if self.changed.insert(topic.clone()) {
            self.waiting.push_front(Waiting::Kept(topic));
        }
    }

    /// The client has numbered the message that was handed out first.
    pub(super) fn numbered(&mut self, packet: u16) {
        if let Some(message) = self.unnumbered.pop_front() {
            self.unacknowledged.insert(packet, message);
        }
    }

    /// The broker has answered. True if that was awaited.
    pub(super) fn acknowledged(&mut self, packet: u16, answer: Answer, now: Instant) -> bool {
        let Some(message) = self.unacknowledged.remove(&packet) else { return false };
        self.quiet_since = (self.in_flight() > 0).then_some(now);
        let Outgoing { topic, frame, retain } = message;
        match answer {
            Answer::Taken if retain && frame.is_empty() => self.removed(&topic),
            Answer::Taken => {}
            Answer::TooBusy => {
                tracing::info!(topic, again = retain, "the broker was too busy to take a message");
                self.not_taken(topic, retain, now);
            }
            Answer::Refused => {
                if self.complained.is_none_or(|last| now >= last + COMPLAIN_EVERY) {
                    self.complained = Some(now);
                    tracing::warn!(topic, "the broker refused a message; check its access rules");
                }
                self.not_taken(topic, retain, now);
            }
        }
        true
    }

    /// The broker holds nothing on this topic now. Nor do we, unless a message was put there meanwhile.
    fn removed(&mut self, topic: &str) {
        if self.kept.get(topic).is_some_and(Vec::is_empty) {
            self.kept.remove(topic);
            self.renewed.remove(topic);
        }
    }

    /// What is kept is sent again, after a while and as it is by then; what was for the moment is lost.
    fn not_taken(&mut self, topic: String, retain: bool, now: Instant) {
        if !retain {
            self.lost += 1;
        } else if !self.changed.contains(&topic) && !self.renewed.contains(&topic) {
            self.refused.insert(topic);
            self.retry_at.get_or_insert(now + RETRY_KEPT);
        }
    }

    /// Nothing is read from now on, until [`Self::listens`]: if the broker seems silent meanwhile, that is ours.
    pub(super) fn is_deaf(&mut self) {
        self.deaf = true;
    }

    /// We read again.
    pub(super) fn listens(&mut self, now: Instant) {
        self.deaf = false;
        if let Some(since) = &mut self.quiet_since {
            *since = now;
        }
    }

    /// When the broker is given up, if it stays silent.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.quiet_since.filter(|_| !self.deaf).map(|since| since + ACKNOWLEDGE_TIMEOUT)
    }

    /// Messages handed out and not acknowledged.
    fn in_flight(&self) -> usize {
        self.unnumbered.len() + self.unacknowledged.len()
    }

    /// When [`Self::next`] has something again that the broker did not take before.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Messages that wait or are in flight, kept ones included.
    pub(super) fn unsettled(&self) -> usize {
        self.due() + self.refused.len()
    }

    /// Whether nothing is in flight, or waits for anything but a later try.
    pub(super) fn is_idle(&self) -> bool {
        self.due() == 0
    }

    fn due(&self) -> usize {
        self.waiting.len() + self.renewed.len() + self.in_flight()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests;
