//! Hears what the broker says: decodes frames for this device, drops the rest, gives each connection its session, and
//! finds out whether a lost one was taken over.

use std::{sync::Arc, time::Duration};

use firmware_compat::{
    frame::{self, DecodeError, Frame, Kind, Stamp},
    topic::{ALL, Direction, Topic},
    v1::owned::Gone,
};
use lichen_agent_core::{Down as Heard, Event};
use lichen_link::client::{Down, Handler, Will};
use tokio::{task::spawn_blocking, time};

use super::{LinkConfig, name::is_another};
use crate::message::{Message, Sender};

/// How long after a connection was closed without a word the hub is asked who is connected now: the hub must have heard
/// the other one. Up to twice that, so that a broker that drops everybody does not make everybody ask at once.
const ASK_AFTER: Duration = Duration::from_millis(500);
/// How long the hub's answer is waited for. Without one, connecting again is right.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Hears what the broker says, on the client's task.
pub(super) struct Ear {
    pub(super) config: Arc<LinkConfig>,
    pub(super) messages: Sender,
    /// Which client of the link this is.
    pub(super) number: u32,
    /// Of the connection that is being made, or stands.
    pub(super) session: u32,
    /// The connection stands.
    pub(super) was_up: bool,
    /// The other protocol version in which the hub spoke last: the log says so once.
    pub(super) misheard: Option<u8>,
}

impl Ear {
    async fn tell(&self, message: Message) {
        let _loop_gone = self.messages.send(message).await;
    }

    /// Asks the hub whether another agent is connected under this name. A broker that lets the newer of two connections
    /// win need not say so (Mosquitto 2.0.11 does not), and connecting again would push that one out in turn.
    async fn name_is_taken(&self) -> bool {
        let jitter = crate::random::number() % ASK_AFTER.as_millis() as u64;
        time::sleep(ASK_AFTER + Duration::from_millis(jitter)).await;
        let hub = self.config.membership.hub();
        let asked = spawn_blocking(move || hub.session());
        match time::timeout(ANSWER_DEADLINE, asked).await {
            Ok(Ok(Ok(holder))) => is_another(&holder, self.config.board),
            Ok(Ok(Err(_unreachable))) => false,
            Ok(Err(_shutting_down)) => false,
            Err(_too_late) => false,
        }
    }

    fn decode(&self, topic: &str, bytes: &[u8]) -> Result<Event, String> {
        let topic = Topic::parse(topic).ok_or("not a topic of ours")?;
        let for_us = topic.device == self.config.name || topic.device == ALL;
        if !for_us || topic.direction != Direction::Down {
            return Err("not for this device".to_owned());
        }
        let frame = match Frame::parse(bytes) {
            Ok(frame) => frame,
            Err(DecodeError::Version(version)) => return Ok(Event::VersionMismatch { version }),
            Err(error) => return Err(error.to_string()),
        };
        if frame.kind != topic.kind {
            return Err("its kind is not its topic's".to_owned());
        }
        Heard::decode(&frame).map(Event::Heard).map_err(|error| error.to_string())
    }
}

impl Handler for Ear {
    fn will(&mut self) -> Option<Will> {
        // 0 is the hub's.
        self.session = u32::from_le_bytes(crate::random::bytes()).max(1);
        let stamp = Stamp { session: self.session, sequence: u32::MAX };
        let frame = frame::encode(&Gone { agent: self.config.board.agent }, stamp).ok()?;
        Some(Will { topic: Topic::up(&self.config.name, Kind::Gone).to_string(), frame })
    }

    async fn up(&mut self) {
        self.was_up = true;
        self.tell(Message::LinkUp { client: self.number, session: self.session }).await;
    }

    async fn down(&mut self, why: &Down) {
        let taken_over = matches!(why, Down::TakenOver { .. });
        let refused = matches!(
            why,
            Down::Refused { .. } | Down::CertificateRefused { .. } | Down::Impostor { .. }
        );
        let client = self.number;
        self.tell(Message::LinkDown { client, taken_over, refused, why: why.to_string() }).await;
        let without_a_word = matches!(why, Down::ClosedSilently | Down::Contested { .. });
        if std::mem::take(&mut self.was_up) && without_a_word && self.name_is_taken().await {
            let why = Down::TakenOver { client_id: self.config.name.clone() }.to_string();
            self.tell(Message::LinkDown { client, taken_over: true, refused: false, why }).await;
        }
    }

    async fn message(&mut self, topic: &str, bytes: &[u8]) {
        // An empty retained message is a removal: nothing is said.
        if bytes.is_empty() {
            return;
        }
        match self.decode(topic, bytes) {
            Ok(event) => {
                if let Event::VersionMismatch { version } = event
                    && self.misheard.replace(version) != Some(version)
                {
                    tracing::warn!(version, "the hub speaks another protocol version");
                }
                self.tell(Message::Happened(event)).await;
            }
            Err(problem) => tracing::debug!(topic, problem, "dropped a message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use firmware_compat::{
        id::{AgentId, BootId},
        v1::owned::Time,
    };

    use super::*;
    use crate::{membership::keeper::Board, test_support};

    fn ear() -> Ear {
        let (messages, _) = tokio::sync::mpsc::channel(1);
        let board = Board { agent: AgentId([1; 16]), boot: BootId([1; 16]) };
        let member = Arc::new(test_support::member("pi"));
        let config = LinkConfig::new(member, board, Duration::from_secs(60));
        Ear {
            config: Arc::new(config),
            messages,
            number: 1,
            session: 0,
            was_up: false,
            misheard: None,
        }
    }

    #[test]
    fn only_frames_for_this_device_whose_kind_is_their_topics_are_heard() {
        let bytes = frame::encode(&Time { unix_ms: 7 }, Stamp::default()).expect("small");
        let ear = ear();
        for topic in ["lichen/1/pi/down/time", "lichen/1/all/down/time"] {
            let heard = Event::Heard(Heard::Time(Time { unix_ms: 7 }));
            assert_eq!(ear.decode(topic, &bytes), Ok(heard));
        }
        for topic in
            ["lichen/1/other/down/time", "lichen/1/pi/down/head", "lichen/1/pi/up/hello", "x"]
        {
            assert!(ear.decode(topic, &bytes).is_err(), "{topic}");
        }
        assert!(ear.decode("lichen/1/pi/down/time", b"rubbish").is_err());
    }

    #[test]
    fn a_frame_of_another_protocol_version_is_told_of() {
        let mut bytes = frame::encode(&Time { unix_ms: 7 }, Stamp::default()).expect("small");
        bytes[0] = 2;
        let heard = ear().decode("lichen/1/pi/down/time", &bytes);
        assert_eq!(heard, Ok(Event::VersionMismatch { version: 2 }));
        assert!(ear().decode("lichen/1/other/down/time", &bytes).is_err());
    }

    #[test]
    fn every_connection_has_a_session_and_a_will_of_its_own() {
        let mut ear = ear();
        let first = ear.will().expect("a will");
        let second = ear.will().expect("a will");
        assert_eq!(first.topic, "lichen/1/pi/up/gone");
        assert_ne!(first.frame, second.frame);
    }
}
