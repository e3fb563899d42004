//! What a link reports, the bounded way on which it does so, and the numbers that it keeps.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use firmware_compat::{
    frame::{Kind, MAX_FRAME_BYTES},
    id::{AgentId, BootId, Hash},
    topic::{Direction, Topic},
};
use tokio::sync::mpsc;

/// How long a frame waits for room in the engine's queue before it is dropped. While it waits, its sender is not
/// acknowledged and sends no more, so a slow hub slows its devices instead of losing what they say. Shorter than the time
/// after which our client gives a broker up that acknowledges nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a link reports to the hub's engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The hub can hear and reach devices, or can again. What they said meanwhile may be lost.
    Up,
    /// The hub can neither hear nor reach devices. The link keeps trying.
    Down {
        /// Why, for people.
        reason: String,
    },
    /// Endpoint only: a device's session has opened, and it had none.
    Connected {
        /// Its name.
        device: String,
    },
    /// A device's session has ended, and no newer one has replaced it. With an external broker only for a device that is not
    /// welcome any more; others say so themselves, by their will.
    Disconnected {
        /// Its name.
        device: String,
    },
    /// Endpoint only: a device's session has opened in place of one that was still open.
    TakenOver {
        /// The name.
        device: String,
        /// Who came.
        newcomer: Newcomer,
    },
    /// Endpoint only: a device with a certificate of this hub's is not welcome, and was kept out. Told once in ten
    /// minutes for each, as far as there is room.
    Stranger {
        /// Its name.
        device: String,
        /// SHA-256 of its public key.
        key: Hash,
        /// Of its certificate, big-endian, without leading zeros.
        serial: Vec<u8>,
        /// From where it came.
        address: SocketAddr,
    },
    /// Endpoint only: two boards come with one name, one key and one agent id, as after a copy of an SD card. The second
    /// one is kept out while the first is connected. Told once until one of them was not seen for a day.
    TwoBoards {
        /// The name.
        device: String,
        /// The one that had the name last, and the one that came.
        boards: [Board; 2],
    },
    /// A frame of a device was dropped, for the engine had no room for it in time. What the device said last is not
    /// known.
    Lost {
        /// Who sent it.
        device: String,
    },
    /// A device has sent a frame, or its will has been published.
    Frame {
        /// Who sent it, as the broker vouches.
        device: String,
        /// What its topic says it is.
        kind: Kind,
        /// The whole frame. At most [`MAX_FRAME_BYTES`]; nothing else about it has been looked at.
        bytes: Vec<u8>,
    },
}

/// Who has taken a session over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newcomer {
    /// The agent itself: it came back before its old connection was noticed as broken.
    SameAgent,
    /// Another agent with the same name.
    OtherAgent,
    /// One of the two connections did not say who is behind it: it is no agent of ours.
    Unknown,
}

/// A board as the endpoint knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Of its agent.
    pub agent: AgentId,
    /// Changes with every boot.
    pub boot: BootId,
    /// From where it connected.
    pub address: SocketAddr,
}

/// Who has a device's session, as far as it has said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its agent.
    pub agent: Option<AgentId>,
    /// The boot in which it connected.
    pub boot: Option<BootId>,
}

/// Numbers since the link's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Frames handed to the engine.
    pub received: u64,
    /// Frames given to the external broker's client, or sent on a device's connection.
    pub sent: u64,
    /// Frames of devices that were dropped: the engine's queue stayed full, or the frame was not one of ours.
    pub received_dropped: u64,
    /// Frames to devices that were dropped: nobody there, or the way too full.
    pub sent_dropped: u64,
    /// Connections, subscriptions and messages refused by the access rules.
    pub refused: u64,
    /// Those of them that were of devices that are not welcome: connections to the endpoint, messages by an external broker.
    pub unwelcome: u64,
    /// Those of them that were connections of a second board with the name of one that is connected. Endpoint only.
    pub second_boards: u64,
    /// Connections closed because there were too many. Endpoint only.
    pub turned_away: u64,
    /// Connections closed because too many of their address had not come in yet. Endpoint only.
    pub crowded: u64,
    /// Sessions refused because their device had opened too many. Endpoint only.
    pub too_often: u64,
    /// HTTP connections refused because there were too many. Endpoint only.
    pub http_refused: u64,
    /// Times that a device was read more slowly because it says too much. Endpoint only.
    pub slowed: u64,
    /// Handshakes of who came for the first time, or with an old ticket. Endpoint only.
    pub handshakes_full: u64,
    /// Handshakes that were spared the certificates. Endpoint only.
    pub handshakes_resumed: u64,
    /// Handshakes that came to nothing. Endpoint only.
    pub handshakes_failed: u64,
    /// Sessions that a newer connection took over. Endpoint only.
    pub takeovers: u64,
    /// Messages that wait for the broker's acknowledgement or for their turn. External only.
    pub waiting: u64,
    /// Devices that have a session now. Endpoint only.
    pub devices: u64,
    /// Devices that may have one at once. Endpoint only.
    pub devices_limit: u64,
    /// Connections of all kinds that there are now, whoever has them. Endpoint only.
    pub connections: u64,
    /// HTTP connections among them. Endpoint only.
    pub http: u64,
}

/// The live counters behind [`LinkCounts`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) received_dropped: AtomicU64,
    pub(crate) sent_dropped: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unwelcome: AtomicU64,
    pub(crate) second_boards: AtomicU64,
    pub(crate) turned_away: AtomicU64,
    pub(crate) crowded: AtomicU64,
    pub(crate) too_often: AtomicU64,
    pub(crate) http_refused: AtomicU64,
    pub(crate) slowed: AtomicU64,
    pub(crate) handshakes_full: AtomicU64,
    pub(crate) handshakes_resumed: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) takeovers: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> LinkCounts {
        LinkCounts {
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
            received_dropped: self.received_dropped.load(Relaxed),
            sent_dropped: self.sent_dropped.load(Relaxed),
            refused: self.refused.load(Relaxed),
            unwelcome: self.unwelcome.load(Relaxed),
            second_boards: self.second_boards.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
            crowded: self.crowded.load(Relaxed),
            too_often: self.too_often.load(Relaxed),
            http_refused: self.http_refused.load(Relaxed),
            slowed: self.slowed.load(Relaxed),
            handshakes_full: self.handshakes_full.load(Relaxed),
            handshakes_resumed: self.handshakes_resumed.load(Relaxed),
            handshakes_failed: self.handshakes_failed.load(Relaxed),
            takeovers: self.takeovers.load(Relaxed),
            ..LinkCounts::default()
        }
    }
}

/// Adds one to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Adds several to a counter.
pub(crate) fn add(counter: &AtomicU64, several: u64) {
    counter.fetch_add(several, Relaxed);
}

/// The sending side of the engine's queue.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    events: mpsc::Sender<LinkEvent>,
    counters: Arc<Counters>,
}

impl Reporter {
    pub(crate) fn new(events: mpsc::Sender<LinkEvent>, counters: Arc<Counters>) -> Self {
        Self { events, counters }
    }

    /// Reports who is there. Such events are few and carry state, so they wait as long as it takes; they are lost only
    /// when the engine itself is gone.
    pub(crate) async fn presence(&self, event: LinkEvent) {
        let _engine_gone = self.events.send(event).await;
    }

    /// Waits for room for one event that must not be overtaken. `None` when the engine is gone.
    #[cfg(feature = "endpoint")]
    pub(crate) async fn room(&self) -> Option<mpsc::Permit<'_, LinkEvent>> {
        self.events.reserve().await.ok()
    }

    /// Reports what is told again if it stays so. False if there was no room.
    pub(crate) fn try_tell(&self, event: LinkEvent) -> bool {
        self.events.try_send(event).is_ok()
    }

    /// Hands over what arrived on `topic`.
    pub(crate) async fn message(&self, topic: &str, bytes: &[u8]) {
        let topic = Topic::parse(topic).filter(|topic| topic.direction == Direction::Up);
        match topic {
            Some(topic) if bytes.len() <= MAX_FRAME_BYTES => {
                self.frame(topic.device, topic.kind, bytes).await;
            }
            _ => count(&self.counters.received_dropped),
        }
    }

    /// Hands over a frame. False if it was dropped; the engine is told that then, however long it takes, and the device
    /// waits: one that goes on talking would lose more.
    pub(crate) async fn frame(&self, device: &str, kind: Kind, bytes: &[u8]) -> bool {
        let device = device.to_owned();
        let frame = LinkEvent::Frame { device, kind, bytes: bytes.to_vec() };
        let Err(error) = self.events.send_timeout(frame, PATIENCE).await else {
            count(&self.counters.received);
            return true;
        };
        count(&self.counters.received_dropped);
        if let LinkEvent::Frame { device, .. } = error.into_inner() {
            tracing::warn!(device, "dropped a frame: the hub was too busy to take it");
            self.presence(LinkEvent::Lost { device }).await;
        }
        false
    }

    /// Hands over a device's will, which tells who is there.
    #[cfg(feature = "endpoint")]
    pub(crate) async fn will(&self, device: &str, bytes: &[u8]) {
        let (device, bytes) = (device.to_owned(), bytes.to_vec());
        self.presence(LinkEvent::Frame { device, kind: Kind::Gone, bytes }).await;
        count(&self.counters.received);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    fn reporter(room: usize) -> (Reporter, mpsc::Receiver<LinkEvent>, Arc<Counters>) {
        let (sender, receiver) = mpsc::channel(room);
        let counters = Arc::new(Counters::default());
        (Reporter::new(sender, counters.clone()), receiver, counters)
    }

    #[tokio::test]
    async fn only_upward_topics_of_known_kinds_become_frames() {
        let (reporter, mut events, counters) = reporter(8);
        for foreign in [
            "lichen/1/pi/down/head",
            "lichen/1/all/up/hello",
            "lichen/2/pi/up/hello",
            "lichen/1/pi/up/x",
        ] {
            reporter.message(foreign, b"x").await;
        }
        reporter.message("lichen/1/pi/up/hello", b"x").await;
        let frame =
            LinkEvent::Frame { device: "pi".into(), kind: Kind::Hello, bytes: b"x".to_vec() };
        assert_eq!(events.recv().await, Some(frame));
        assert_eq!(
            counters.snapshot(),
            LinkCounts { received: 1, received_dropped: 4, ..LinkCounts::default() }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_is_dropped_counted_and_told_of_when_the_engine_does_not_make_room() {
        let (reporter, mut events, counters) = reporter(1);
        assert!(reporter.frame("pi", Kind::Hello, b"1").await);
        let slow = reporter.clone();
        let late = tokio::spawn(async move { slow.frame("pi", Kind::Hello, b"2").await });
        tokio::time::sleep(PATIENCE * 3).await;
        assert_eq!(counters.snapshot().received_dropped, 1);
        assert!(!late.is_finished());
        assert!(
            matches!(events.recv().await, Some(LinkEvent::Frame { bytes, .. }) if bytes == b"1")
        );
        assert_eq!(events.recv().await, Some(LinkEvent::Lost { device: "pi".into() }));
        assert!(!late.await.unwrap());
        assert!(events.try_recv().is_err());
    }

    #[tokio::test]
    async fn an_oversized_frame_is_dropped() {
        let (reporter, mut events, counters) = reporter(1);
        reporter.message("lichen/1/pi/up/hello", &vec![0; MAX_FRAME_BYTES + 1]).await;
        assert_eq!(counters.snapshot().received_dropped, 1);
        assert!(events.try_recv().is_err());
    }
}
