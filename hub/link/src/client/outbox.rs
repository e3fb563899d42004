//! What is still to be sent, and what was sent and awaits its acknowledgement. Knows nothing of sockets.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Messages that may wait besides the kept ones.
const WAITING: usize = 1024;
/// Messages sent and not acknowledged. Below Mosquitto's default of 20, and enough to fill a link.
pub(super) const SEND_WINDOW: u16 = 16;
/// Room for an MQTT packet's header, topic length, packet id and properties.
const PACKET_OVERHEAD: usize = 16;

/// A message to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) frame: Vec<u8>,
    pub(super) retain: bool,
}

/// What the broker has said that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) packet_bytes: usize,
    pub(super) window: u16,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// What each topic shall hold. An empty frame is a removal that the broker has not acknowledged.
    kept: BTreeMap<String, Vec<u8>>,
    /// Topics of `kept` that the broker may not hold as they are here.
    due: BTreeSet<String>,
    waiting: VecDeque<Outgoing>,
    /// Handed out, in order, and not yet numbered by the client.
    unnumbered: VecDeque<Outgoing>,
    /// Numbered and not yet acknowledged.
    unacknowledged: HashMap<u16, Outgoing>,
    /// Present while connected.
    limits: Option<Limits>,
    lost: u64,
}

impl Outbox {
    pub(super) fn keep(&mut self, topic: String, frame: Vec<u8>) {
        self.due.insert(topic.clone());
        self.kept.insert(topic, frame);
    }

    pub(super) fn send(&mut self, topic: String, frame: Vec<u8>) -> bool {
        let accepted = self.limits.is_some() && self.waiting.len() < WAITING;
        if accepted {
            self.waiting.push_back(Outgoing { topic, frame, retain: false });
        }
        accepted
    }

    /// A connection is there: everything kept is due again, for the broker may have lost it.
    pub(super) fn connected(&mut self, limits: Limits) {
        self.limits = Some(Limits { window: limits.window.clamp(1, SEND_WINDOW), ..limits });
        self.due = self.kept.keys().cloned().collect();
    }

    /// The connection is gone, and with it what was meant for the moment. True if it had been there.
    pub(super) fn disconnected(&mut self) -> bool {
        let was_connected = self.limits.take().is_some();
        let sent = self
            .unnumbered
            .drain(..)
            .chain(self.unacknowledged.drain().map(|(_, message)| message));
        let lost = sent.chain(self.waiting.drain(..)).filter(|message| !message.retain).count();
        self.lost += lost as u64;
        was_connected
    }

    /// The next message, if the window has room. Messages of the moment go before kept ones, of which there may be
    /// thousands after a connect.
    pub(super) fn next(&mut self) -> Option<Outgoing> {
        let limits = self.limits?;
        while self.in_flight() < usize::from(limits.window) {
            let message = self.waiting.pop_front().or_else(|| self.next_due())?;
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
            return Some(message);
        }
        None
    }

    fn next_due(&mut self) -> Option<Outgoing> {
        let topic = self.due.pop_first()?;
        let frame = self.kept.get(&topic)?.clone();
        Some(Outgoing { topic, frame, retain: true })
    }

    /// The client could not take the message that was handed out last.
    pub(super) fn put_back(&mut self) {
        match self.unnumbered.pop_back() {
            Some(message) if message.retain => {
                self.due.insert(message.topic);
            }
            Some(message) => self.waiting.push_front(message),
            None => {}
        }
    }

    /// The client has numbered the message that was handed out first.
    pub(super) fn numbered(&mut self, packet: u16) {
        if let Some(message) = self.unnumbered.pop_front() {
            self.unacknowledged.insert(packet, message);
        }
    }

    /// The broker has answered. True if that was awaited.
    pub(super) fn acknowledged(&mut self, packet: u16, accepted: bool) -> bool {
        let Some(message) = self.unacknowledged.remove(&packet) else { return false };
        if !accepted {
            self.lost += 1;
            tracing::warn!(
                topic = message.topic,
                "the broker refused a message; check its access rules"
            );
        }
        let removal = message.retain && message.frame.is_empty();
        if removal && self.kept.get(&message.topic).is_some_and(Vec::is_empty) {
            self.kept.remove(&message.topic);
            self.due.remove(&message.topic);
        }
        true
    }

    /// Messages handed out and not acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.unnumbered.len() + self.unacknowledged.len()
    }

    /// Messages that wait or are in flight, kept ones included.
    pub(super) fn unsettled(&self) -> usize {
        self.waiting.len() + self.due.len() + self.in_flight()
    }

    /// Whether nothing waits or is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.due.is_empty() && self.in_flight() == 0
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { packet_bytes: 1000, window: 2 };

    fn topics(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.next()).map(|message| message.topic).collect()
    }

    #[test]
    fn nothing_leaves_before_a_connection_and_only_kept_messages_wait_for_one() {
        let mut outbox = Outbox::default();
        outbox.keep("head".into(), b"1".to_vec());
        assert!(!outbox.send("command".into(), b"x".to_vec()));
        assert_eq!(outbox.next(), None);
        outbox.connected(LIMITS);
        assert_eq!(topics(&mut outbox), ["head"]);
    }

    #[test]
    fn only_the_newest_of_a_kept_message_is_sent() {
        let mut outbox = Outbox::default();
        outbox.keep("head".into(), b"1".to_vec());
        outbox.keep("head".into(), b"2".to_vec());
        outbox.connected(LIMITS);
        assert_eq!(outbox.next().unwrap().frame, b"2");
        assert_eq!(outbox.next(), None);
    }

    #[test]
    fn every_kept_message_is_sent_again_after_a_connect_and_the_others_are_lost() {
        let mut outbox = Outbox::default();
        outbox.connected(LIMITS);
        outbox.keep("head".into(), b"1".to_vec());
        assert!(outbox.send("command".into(), b"x".to_vec()));
        assert_eq!(topics(&mut outbox), ["command", "head"]);
        outbox.numbered(1);
        outbox.numbered(2);
        assert!(outbox.acknowledged(2, true));
        outbox.disconnected();
        assert_eq!(outbox.lost(), 1);
        outbox.connected(LIMITS);
        assert_eq!(topics(&mut outbox), ["head"]);
    }

    #[test]
    fn the_window_opens_with_acknowledgements() {
        let mut outbox = Outbox::default();
        outbox.connected(LIMITS);
        for topic in ["a", "b", "c"] {
            assert!(outbox.send(topic.into(), b"x".to_vec()));
        }
        assert_eq!(topics(&mut outbox), ["a", "b"]);
        outbox.numbered(7);
        assert!(outbox.acknowledged(7, true));
        assert!(!outbox.acknowledged(7, true));
        assert_eq!(topics(&mut outbox), ["c"]);
    }

    #[test]
    fn a_removal_is_repeated_until_it_is_acknowledged() {
        let mut outbox = Outbox::default();
        outbox.keep("head".into(), Vec::new());
        for _ in 0..2 {
            outbox.connected(LIMITS);
            assert_eq!(topics(&mut outbox), ["head"]);
            outbox.numbered(1);
            if outbox.lost() == 0 {
                outbox.disconnected();
            }
        }
        outbox.connected(LIMITS);
        assert_eq!(topics(&mut outbox), ["head"]);
        outbox.numbered(1);
        assert!(outbox.acknowledged(1, true));
        outbox.disconnected();
        outbox.connected(LIMITS);
        assert_eq!(topics(&mut outbox), Vec::<String>::new());
        assert!(outbox.is_idle());
    }

    #[test]
    fn a_head_set_again_after_its_removal_was_sent_stays() {
        let mut outbox = Outbox::default();
        outbox.connected(LIMITS);
        outbox.keep("head".into(), Vec::new());
        assert_eq!(topics(&mut outbox), ["head"]);
        outbox.numbered(1);
        outbox.keep("head".into(), b"3".to_vec());
        assert!(outbox.acknowledged(1, true));
        assert_eq!(outbox.next().unwrap().frame, b"3");
    }

    #[test]
    fn a_message_larger_than_the_broker_takes_is_dropped_alone() {
        let mut outbox = Outbox::default();
        outbox.connected(LIMITS);
        assert!(outbox.send("large".into(), vec![0; 1000]));
        assert!(outbox.send("small".into(), b"x".to_vec()));
        assert_eq!(topics(&mut outbox), ["small"]);
        assert_eq!(outbox.lost(), 1);
    }

    #[test]
    fn a_message_put_back_is_the_next_again() {
        let mut outbox = Outbox::default();
        outbox.connected(LIMITS);
        assert!(outbox.send("a".into(), b"x".to_vec()));
        assert!(outbox.send("b".into(), b"x".to_vec()));
        assert_eq!(outbox.next().unwrap().topic, "a");
        outbox.put_back();
        assert_eq!(topics(&mut outbox), ["a", "b"]);
    }

    #[test]
    fn waiting_messages_are_bounded() {
        let mut outbox = Outbox::default();
        outbox.connected(LIMITS);
        let accepted = (0..2 * WAITING).filter(|_| outbox.send("a".into(), Vec::new())).count();
        assert_eq!(accepted, WAITING);
    }
}
