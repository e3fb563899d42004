//! Hears what the broker says: passes on what comes on this device's topics, drops the rest, gives each connection its
//! session, and finds out whether a lost one was taken over.

use std::{sync::Arc, time::Duration};

use firmware_compat::{
    frame::{self, Kind, Stamp},
    topic::{ALL, Direction, Topic},
    v1::owned::Gone,
};
use lichen_agent_core::Event;
use lichen_link::client::{Down, Handler, Will};
use tokio::{task::spawn_blocking, time};

use super::{LinkConfig, name::is_another};
use crate::{
    hub::HubError,
    message::{Message, Sender},
};

/// How long after a connection was closed without a word the hub is asked who is connected now: the hub must have heard
/// the other one. Up to twice that, so that a broker that drops everybody does not make everybody ask at once.
const ASK_AFTER: Duration = Duration::from_millis(500);
/// How long the hub's answer is waited for. Without one, connecting again is right.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Why a connection was closed without a word, as far as the hub knows.
enum Why {
    Unknown,
    /// Another agent has the name.
    Taken,
    /// The device was revoked, or is known no more.
    Refused,
}

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
}

impl Ear {
    async fn tell(&self, message: Message) {
        let _loop_gone = self.messages.send(message).await;
    }

    /// Asks the hub whether another agent is connected under this name. A broker that lets the newer of two connections
    /// win need not say so (Mosquitto 2.0.11 does not), and connecting again would push that one out in turn. Nor does it say
    /// that the hub has put this device out.
    async fn ask_why(&self) -> Why {
        let jitter = crate::random::number() % ASK_AFTER.as_millis() as u64;
        time::sleep(ASK_AFTER + Duration::from_millis(jitter)).await;
        let (hub, board) = (self.config.membership.hub(), self.config.board);
        let asked = spawn_blocking(move || hub.session(board));
        match time::timeout(ANSWER_DEADLINE, asked).await {
            Ok(Ok(Ok(holder))) if is_another(&holder, self.config.board) => Why::Taken,
            Ok(Ok(Ok(_))) => Why::Unknown,
            Ok(Ok(Err(HubError::Refused { .. }))) => Why::Refused,
            Ok(Ok(Err(_unreachable))) => Why::Unknown,
            Ok(Err(_shutting_down)) => Why::Unknown,
            Err(_too_late) => Why::Unknown,
        }
    }

    /// What comes on a topic of this device. Whether it is of the hub is for the core to find out.
    fn heard(&self, topic: &str, bytes: &[u8]) -> Option<Event> {
        let topic = Topic::parse(topic).filter(|topic| topic.direction == Direction::Down)?;
        let to_all = topic.device == ALL;
        let is_for_us = to_all || topic.device == self.config.name;
        is_for_us.then(|| Event::Heard { to_all, frame: bytes.to_vec() })
    }
}

impl Handler for Ear {
    fn will(&mut self) -> Option<Will> {
        // 0 is the hub's.
        self.session = u32::from_le_bytes(crate::random::bytes()).max(1);
        let stamp = Stamp { session: self.session, sequence: u32::MAX };
        let frame = frame::encode(
            &Gone { agent: self.config.board.agent, boot: self.config.board.boot },
            stamp,
        )
        .ok()?;
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
        if !std::mem::take(&mut self.was_up) || !without_a_word {
            return;
        }
        let (taken_over, refused, why) = match self.ask_why().await {
            Why::Unknown => return,
            Why::Taken => {
                let why = Down::TakenOver { client_id: self.config.name.clone() };
                (true, false, why.to_string())
            }
            Why::Refused => (false, true, "the hub does not take this device".to_owned()),
        };
        self.tell(Message::LinkDown { client, taken_over, refused, why }).await;
    }

    async fn message(&mut self, topic: &str, bytes: &[u8]) {
        // An empty retained message is a removal: nothing is said.
        if bytes.is_empty() {
            return;
        }
        match self.heard(topic, bytes) {
            Some(event) => self.tell(Message::Happened(event)).await,
            None => tracing::debug!(topic, "dropped a message: not on a topic of this device"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use firmware_compat::id::{AgentId, BootId};

    use super::*;
    use crate::{membership::keeper::Board, test_support};

    fn ear() -> Ear {
        let (messages, _) = tokio::sync::mpsc::channel(1);
        let board = Board { agent: AgentId([1; 16]), boot: BootId([1; 16]) };
        let member = Arc::new(test_support::member("pi"));
        let config = LinkConfig::new(member, board, Duration::from_secs(60));
        Ear { config: Arc::new(config), messages, number: 1, session: 0, was_up: false }
    }

    #[test]
    fn only_what_comes_on_a_topic_of_this_device_is_heard() {
        let ear = ear();
        let heard = |to_all| Some(Event::Heard { to_all, frame: b"anything".to_vec() });
        assert_eq!(ear.heard("lichen/1/pi/down/time", b"anything"), heard(false));
        assert_eq!(ear.heard("lichen/1/all/down/time", b"anything"), heard(true));
        for topic in ["lichen/1/other/down/time", "lichen/1/pi/up/hello", "x"] {
            assert_eq!(ear.heard(topic, b"anything"), None, "{topic}");
        }
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
