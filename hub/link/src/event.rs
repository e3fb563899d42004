//! What a link reports, the bounded way on which it does so, and the numbers that it keeps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use firmware_compat::{
    frame::{Kind, MAX_FRAME_BYTES},
    topic::{Direction, Topic},
};
use tokio::sync::mpsc;

/// How long a frame waits for room in the engine's queue before it is dropped. While it waits, its sender is not
/// acknowledged and sends no more, so a slow hub slows its devices instead of losing what they say.
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// Embedded only: a device's session has opened.
    Connected {
        /// Its name.
        device: String,
    },
    /// Embedded only: a device's session has ended, and no newer one has replaced it.
    Disconnected {
        /// Its name.
        device: String,
    },
    /// Embedded only: a second connection with the same name has replaced the first, which was still open. A device
    /// that came back before its old connection was noticed as broken causes one; two devices with one name cause many.
    TakenOver {
        /// The name.
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

/// Numbers since the link's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Frames handed to the engine.
    pub received: u64,
    /// Frames handed to the broker for a device, or to a session.
    pub sent: u64,
    /// Frames of devices that were dropped: the engine's queue stayed full, or the frame was not one of ours.
    pub received_dropped: u64,
    /// Frames to devices that were dropped: nobody there, or the way too full.
    pub sent_dropped: u64,
    /// Connections, subscriptions and messages refused by the access rules. Embedded only.
    pub refused: u64,
}

/// The live counters behind [`LinkCounts`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) received_dropped: AtomicU64,
    pub(crate) sent_dropped: AtomicU64,
    pub(crate) refused: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> LinkCounts {
        LinkCounts {
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
            received_dropped: self.received_dropped.load(Relaxed),
            sent_dropped: self.sent_dropped.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}

/// Adds one to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
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

    /// Hands over what arrived on `topic`.
    pub(crate) async fn message(&self, topic: &str, bytes: &[u8]) {
        let topic = Topic::parse(topic).filter(|topic| topic.direction == Direction::Up);
        match topic {
            Some(topic) if bytes.len() <= MAX_FRAME_BYTES => {
                let frame = LinkEvent::Frame {
                    device: topic.device.to_owned(),
                    kind: topic.kind,
                    bytes: bytes.to_vec(),
                };
                self.frame(frame).await;
            }
            _ => count(&self.counters.received_dropped),
        }
    }

    async fn frame(&self, frame: LinkEvent) {
        match self.events.send_timeout(frame, PATIENCE).await {
            Ok(()) => count(&self.counters.received),
            Err(_full_or_gone) => count(&self.counters.received_dropped),
        }
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
    async fn a_frame_is_dropped_and_counted_when_the_engine_does_not_make_room() {
        let (reporter, mut events, counters) = reporter(1);
        reporter.message("lichen/1/pi/up/hello", b"1").await;
        reporter.message("lichen/1/pi/up/hello", b"2").await;
        assert_eq!(counters.snapshot().received_dropped, 1);
        assert!(
            matches!(events.recv().await, Some(LinkEvent::Frame { bytes, .. }) if bytes == b"1")
        );
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
