//! The connection to the broker: which frames go out, what comes in.
//!
//! The connection itself (reconnecting, subscribing, the outbox) is `lichen_link::client`. This file adds the device's
//! topics, the stamps and the will. Where to connect and what to show there is the membership's, which is asked before each
//! connection and told when something is wrong.

use std::{sync::Arc, time::Duration};

use firmware_compat::{
    frame::{self, Kind, Stamp},
    topic::{ALL_DOWN_FILTER, Topic, write_device_filter},
    v1::owned::Gone,
};
use lichen_agent_core::{Up, membership::upkeep::Sign};
use lichen_link::client::{Client, ClientConfig, RetryPolicy};

use crate::{
    hub::HubClient,
    membership::{
        Membership,
        keeper::{Board, Keeper},
    },
    message::Sender,
};

mod ear;
mod name;

use ear::Ear;
pub use name::poll_name;

/// Pauses between connections: full jitter from 0.2 s up to a minute. Where one side does not want the other, a handshake
/// in vain is some kilobytes on a metered link: ten minutes.
const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(60),
    unwelcome: Duration::from_secs(600),
};
/// Failed attempts in a row after which something may be wrong with where the hub is looked for.
const ASK_AFTER_FAILURES: u32 = 4;
/// What may wait to be sent: a full report of a device with many Pods, several times.
const OUTBOX_BYTES: usize = 512 * 1024;
/// Frames that may wait in the outbox before bulk (logs) has to hold back.
const BULK_WAITING: usize = 8;

/// Who connects, and how.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// The device's name.
    pub name: String,
    /// Which board speaks.
    pub board: Board,
    /// Where to connect, and what to show there.
    pub membership: Arc<Membership>,
    /// How long the connection may be silent.
    pub keep_alive: Duration,
}

impl LinkConfig {
    /// The link of a member.
    #[must_use]
    pub fn new(membership: Arc<Membership>, board: Board, keep_alive: Duration) -> Self {
        Self { name: membership.name(), board, membership, keep_alive }
    }
}

/// The device's link, owned by the loop. Nothing here waits, but for [`Link::leave`].
#[derive(Debug)]
pub struct Link {
    /// None: the identity is damaged, and there is nobody to connect as.
    config: Option<Arc<LinkConfig>>,
    messages: Sender,
    client: Option<Client>,
    keeper: Option<Keeper>,
    /// Number of the newest client: what an older one still says is not heeded.
    number: u32,
    failures: u32,
    /// Of the connection that stands.
    stamp: Option<Stamp>,
}

impl Link {
    /// A link that is not wanted yet. Without a configuration it never stands.
    #[must_use]
    pub fn new(config: Option<LinkConfig>, messages: Sender) -> Self {
        Self {
            config: config.map(Arc::new),
            messages,
            client: None,
            keeper: None,
            number: 0,
            failures: 0,
            stamp: None,
        }
    }

    /// Who connects, and how.
    #[must_use]
    pub fn config(&self) -> Option<Arc<LinkConfig>> {
        self.config.clone()
    }

    /// The hub's HTTP side.
    #[must_use]
    pub fn hub(&self) -> Option<HubClient> {
        self.config.as_ref().map(|config| config.membership.hub())
    }

    /// Connects, and goes on trying. The membership is kept up from then on.
    pub fn connect(&mut self) {
        let Some(config) = self.config.clone() else { return };
        if self.keeper.is_none() {
            let membership = config.membership.clone();
            self.keeper = Some(Keeper::start(membership, config.board, self.messages.clone()));
        }
        if self.client.is_none() {
            self.client = Some(self.start(config));
        }
    }

    fn start(&self, own: Arc<LinkConfig>) -> Client {
        let mut filter = String::new();
        write_device_filter(&own.name, &mut filter).expect("a string takes all");
        let config = ClientConfig {
            route: own.membership.route(),
            client_id: own.name.clone(),
            keep_alive: own.keep_alive,
            subscriptions: vec![filter, ALL_DOWN_FILTER.to_owned()],
            retry: RETRY,
            outbox_bytes: OUTBOX_BYTES,
        };
        let handler = Ear {
            config: own,
            messages: self.messages.clone(),
            number: self.number,
            session: 0,
            was_up: false,
        };
        Client::start(config, handler)
    }

    /// What the membership says of the next connection has changed: it need not wait any longer.
    pub fn hurry(&self) {
        if let Some(client) = &self.client {
            client.hurry();
        }
    }

    fn tell(&self, sign: Sign) {
        if let Some(keeper) = &self.keeper {
            keeper.saw(sign);
        }
    }

    /// Ends the connection in the background.
    fn stop(&mut self) {
        self.stamp = None;
        self.failures = 0;
        self.number = self.number.wrapping_add(1);
        if let Some(client) = self.client.take() {
            tokio::spawn(client.shutdown());
        }
    }

    /// Closes the connection and stays away.
    pub fn disconnect(&mut self) {
        self.stop();
    }

    /// Takes note of a new connection. False if it is not that of the newest client.
    pub fn up(&mut self, client: u32, session: u32) -> bool {
        if client != self.number || self.client.is_none() {
            return false;
        }
        self.failures = 0;
        self.stamp = Some(Stamp { session, sequence: 0 });
        self.tell(Sign::Up);
        true
    }

    /// Takes note of the connection's end, or of a failed attempt. False if it is not that of the newest client.
    /// `refused`: one of both sides does not want the other.
    pub fn down(&mut self, client: u32, refused: bool) -> bool {
        if client != self.number || self.client.is_none() {
            return false;
        }
        self.failures += 1;
        if refused {
            self.tell(Sign::Refused);
        } else if self.failures.is_multiple_of(ASK_AFTER_FAILURES) {
            self.tell(Sign::Failing);
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
        self.is_up() && self.client.as_ref().is_some_and(|client| client.waiting() < BULK_WAITING)
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
        let (Some(stamp), Some(client), Some(config)) =
            (&mut self.stamp, &self.client, &self.config)
        else {
            return false;
        };
        match encode(*stamp) {
            Ok(bytes) => {
                stamp.sequence = stamp.sequence.wrapping_add(1);
                client.send(Topic::up(&config.name, kind).to_string(), bytes)
            }
            Err(error) => {
                tracing::warn!(kind = kind.topic_level(), %error, "dropped a message of ours");
                false
            }
        }
    }

    /// Says that the agent leaves, and closes the connection. A broker does not publish the will after that.
    pub async fn leave(mut self) {
        if let Some(config) = self.config.clone() {
            let gone = Gone { agent: config.board.agent, boot: config.board.boot };
            self.send_frame(Kind::Gone, |stamp| frame::encode(&gone, stamp));
        }
        if let Some(client) = self.client.take() {
            client.shutdown().await;
        }
    }
}

/// Somewhere up to `bound`.
pub(crate) fn jitter(bound: Duration) -> Duration {
    let share = (crate::random::number() >> 32) as u32;
    bound.mul_f64(f64::from(share) / f64::from(u32::MAX))
}
