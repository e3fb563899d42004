//! The connection to the broker: where to connect, which frames go out, what comes in.
//!
//! The connection itself (reconnecting, subscribing, the outbox) is `lichen_link::client`. This file adds the device's
//! topics, the stamps, the will, and the question to the hub where its broker is; the last answer is kept in the state
//! directory, so that a device also finds its broker while the hub's HTTP server is away.

use std::{sync::Arc, time::Duration};

use firmware_compat::{
    frame::{self, Kind, Stamp},
    id::{AgentId, BootId},
    topic::{ALL_DOWN_FILTER, Topic, write_device_filter},
    v1::owned::Gone,
};
use lichen_agent_core::Up;
use lichen_link::client::{Client, ClientConfig, RetryPolicy};

use crate::{
    address::Address,
    hub::{self, Connect, HubError},
    message::{Message, Sender},
};

mod ear;
mod name;

use ear::Ear;
pub use name::poll_name;

/// Pauses between connections: full jitter from 0.2 s up to a minute.
const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(60),
    unwelcome: Duration::from_secs(60),
};
/// Failed attempts in a row after which the hub is asked again where its broker is.
const ASK_AFTER_FAILURES: u32 = 4;
/// Pauses between questions to a hub that does not answer while no broker is known.
const ASK_PAUSE_FIRST: Duration = Duration::from_millis(200);
const ASK_PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// What may wait to be sent: a full report of a device with many Pods, several times.
const OUTBOX_BYTES: usize = 512 * 1024;
/// Frames that may wait in the outbox before bulk (logs) has to hold back.
const BULK_WAITING: usize = 8;

/// Who connects, and how.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// The device's name.
    pub name: String,
    /// Of the state directory.
    pub agent: AgentId,
    /// This boot's.
    pub boot: BootId,
    /// Where the hub is.
    pub hub: Address,
    /// How long the connection may be silent.
    pub keep_alive: Duration,
}

/// The device's link, owned by the loop. Nothing here waits, but for [`Link::leave`].
#[derive(Debug)]
pub struct Link {
    config: Arc<LinkConfig>,
    messages: Sender,
    /// The hub's last answer, this time or before.
    known: Option<Connect>,
    wanted: bool,
    asking: bool,
    client: Option<(Client, Address)>,
    /// Number of the newest client: what an older one still says is not heeded.
    number: u32,
    failures: u32,
    /// Of the connection that stands.
    stamp: Option<Stamp>,
}

impl Link {
    /// A link that is not wanted yet. `known` is the hub's answer of an earlier time.
    #[must_use]
    pub fn new(config: LinkConfig, known: Option<Connect>, messages: Sender) -> Self {
        Self {
            config: Arc::new(config),
            messages,
            known,
            wanted: false,
            asking: false,
            client: None,
            number: 0,
            failures: 0,
            stamp: None,
        }
    }

    /// Who connects, and how.
    #[must_use]
    pub fn config(&self) -> Arc<LinkConfig> {
        self.config.clone()
    }

    /// Where the hub is.
    #[must_use]
    pub fn hub(&self) -> &Address {
        &self.config.hub
    }

    /// Connects, and goes on trying. A broker that is known from an earlier time is tried at once; if the hub then names
    /// another one, that one is used.
    pub fn connect(&mut self) {
        self.wanted = true;
        self.start_where_known();
        self.ask();
    }

    /// Asks the hub where its broker is. With an earlier answer one try is enough.
    fn ask(&mut self) {
        if std::mem::replace(&mut self.asking, true) {
            return;
        }
        let (hub, messages) = (self.config.hub.clone(), self.messages.clone());
        let insist = self.known.is_none();
        tokio::spawn(async move {
            let answer = ask(hub, insist).await;
            let _loop_gone = messages.send(Message::Asked(answer)).await;
        });
    }

    /// The hub has answered, or has not, and the device knows whom it believes. Returns the answer if it is new: it is worth
    /// keeping.
    pub fn asked(&mut self, answer: Option<Connect>) -> Option<Connect> {
        self.asking = false;
        let news = answer.filter(|answer| self.known.as_ref() != Some(answer));
        if let Some(connect) = &news {
            self.known = Some(connect.clone());
        }
        self.start_where_known();
        news
    }

    /// Starts a client for the known broker, unless there is one already or the link is not wanted.
    fn start_where_known(&mut self) {
        let (true, Some(known)) = (self.wanted, &self.known) else { return };
        if self.client.as_ref().is_none_or(|(_, address)| *address != known.broker) {
            let address = known.broker.clone();
            self.start(address);
        }
    }

    fn start(&mut self, address: Address) {
        self.stop();
        let mut own = String::new();
        write_device_filter(&self.config.name, &mut own).expect("a string takes all");
        let config = ClientConfig {
            host: address.host().to_owned(),
            port: address.port(),
            client_id: self.config.name.clone(),
            keep_alive: self.config.keep_alive,
            subscriptions: vec![own, ALL_DOWN_FILTER.to_owned()],
            retry: RETRY,
            outbox_bytes: OUTBOX_BYTES,
        };
        tracing::debug!(broker = %address, "connecting");
        let handler = Ear {
            config: self.config.clone(),
            messages: self.messages.clone(),
            number: self.number,
            session: 0,
            was_up: false,
        };
        self.client = Some((Client::start(config, handler), address));
    }

    /// Ends the connection in the background.
    fn stop(&mut self) {
        self.stamp = None;
        self.failures = 0;
        self.number = self.number.wrapping_add(1);
        if let Some((client, _)) = self.client.take() {
            tokio::spawn(client.shutdown());
        }
    }

    /// Closes the connection and stays away.
    pub fn disconnect(&mut self) {
        self.wanted = false;
        self.stop();
    }

    /// Takes note of a new connection. False if it is not that of the newest client.
    pub fn up(&mut self, client: u32, session: u32) -> bool {
        if client != self.number || self.client.is_none() {
            return false;
        }
        self.failures = 0;
        self.stamp = Some(Stamp { session, sequence: 0 });
        true
    }

    /// Takes note of the connection's end, or of a failed attempt. False if it is not that of the newest client.
    pub fn down(&mut self, client: u32) -> bool {
        if client != self.number || self.client.is_none() {
            return false;
        }
        self.failures += 1;
        if self.failures.is_multiple_of(ASK_AFTER_FAILURES) && self.wanted {
            self.ask();
        }
        self.stamp = None;
        true
    }

    /// Whether a connection stands.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.stamp.is_some()
    }

    /// Whether bulk may be sent now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.is_up()
            && self.client.as_ref().is_some_and(|(client, _)| client.waiting() < BULK_WAITING)
    }

    /// Sends a message. False if there is no connection, too much waits, or the message is too long.
    pub fn send(&mut self, message: &Up) -> bool {
        let kind = message.kind();
        self.send_frame(kind, |stamp| message.encode(stamp))
    }

    fn send_frame(
        &mut self,
        kind: Kind,
        encode: impl FnOnce(Stamp) -> Result<Vec<u8>, frame::EncodeError>,
    ) -> bool {
        let (Some(stamp), Some((client, _))) = (&mut self.stamp, &self.client) else {
            return false;
        };
        match encode(*stamp) {
            Ok(bytes) => {
                stamp.sequence = stamp.sequence.wrapping_add(1);
                client.send(Topic::up(&self.config.name, kind).to_string(), bytes)
            }
            Err(error) => {
                tracing::warn!(kind = kind.topic_level(), %error, "dropped a message of ours");
                false
            }
        }
    }

    /// Says that the agent leaves, and closes the connection. A broker does not publish the will after that.
    pub async fn leave(mut self) {
        let gone = Gone { agent: self.config.agent, boot: self.config.boot };
        self.send_frame(Kind::Gone, |stamp| frame::encode(&gone, stamp));
        if let Some((client, _)) = self.client.take() {
            client.shutdown().await;
        }
    }
}

/// Asks until the hub answers, or once if that is enough.
async fn ask(hub: Address, insist: bool) -> Option<Connect> {
    let mut pause = ASK_PAUSE_FIRST;
    let mut last = String::new();
    loop {
        let hub = hub.clone();
        let answer = tokio::task::spawn_blocking(move || hub::connect(&hub)).await;
        match answer {
            Ok(Ok(connect)) => return Some(connect),
            Ok(Err(error)) => note(&error, &mut last),
            Err(_shutting_down) => return None,
        }
        if !insist {
            return None;
        }
        tokio::time::sleep(jitter(pause)).await;
        pause = (pause * 2).min(ASK_PAUSE_LONGEST);
    }
}

/// One line per new trouble, not one per attempt.
fn note(error: &HubError, last: &mut String) {
    let text = error.to_string();
    if text != *last {
        tracing::info!("{text}");
        *last = text;
    }
}

/// Somewhere up to `bound`.
pub(crate) fn jitter(bound: Duration) -> Duration {
    let share = (crate::random::number() >> 32) as u32;
    bound.mul_f64(f64::from(share) / f64::from(u32::MAX))
}
