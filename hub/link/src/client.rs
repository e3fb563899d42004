//! One lasting connection to an MQTT 5 broker: connects, subscribes, connects again when it breaks.
//!
//! What it adds to `rumqttc`, each from a failing probe: a pause before it connects again (rumqttc retries at once and
//! burns a core), explicit packet sizes (its default of 10 KiB loops for ever on a larger message), an outbox of its
//! own (rumqttc forgets unacknowledged messages when the broker has no session), and a bound on how long the broker may
//! leave a message unacknowledged (a half-open connection shows in no other way before the next ping).
//!
//! Every connection starts clean, with a new `rumqttc` event loop, so that nothing of an old one can be sent again.
//!
//! - [`way`] is where to connect and how it is protected; [`dial`] does it. - [`outbox`] decides what is sent next.
//! - [`retry`] decides when to connect again. - [`connack`] hears why a broker refuses. - [`cut`] keeps a message that is
//!   too long from ending the connection, again and again.

mod connack;
mod connection;
mod cut;
mod dial;
mod outbox;
mod retry;
mod way;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rumqttc::{ConnectReturnCode, DisconnectReasonCode};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::sleep,
};

use dial::{Turn, still_listens};
use outbox::Outbox;
pub use retry::RetryPolicy;
pub use way::{Place, Route, Tls, Way};

/// A connection is a good one once it has lasted this many of the longest pauses; the next pause then starts from the
/// shortest again. Two programs that replace each other by turns never have a good one.
const GOOD_AFTER_PAUSES: u32 = 2;
/// A connection that stood and ended for no reason of ours (the broker stopped, or is gone) leaves at most this many
/// failures behind: whoever restarts a hub several times is not waited for longer each time.
const FAILURES_AFTER_UP: u32 = 2;
/// A connection that the broker closes within this time, without a reason, may be one that was replaced.
const EARLY: Duration = Duration::from_secs(5);
/// Such closes in a row before they are taken for a conflict. After each the broker must be there as before: one that is
/// restarted is no second client.
const EARLY_CLOSES: u32 = 3;
/// A user property of the CONNACK: this server tells every client that it replaces (0x8E). Our endpoint says so; a
/// connection that it closes without a word was never taken over.
pub const TELLS_TAKEOVERS: (&str, &str) = ("lichen-takeover", "told");

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where the broker is, and how the connection is protected. Asked before each connection.
    pub route: Route,
    /// The MQTT client id. A second connection with the same one replaces the first.
    pub client_id: String,
    /// How long the connection may be idle before a ping.
    pub keep_alive: Duration,
    /// Filters to subscribe to, QoS 1, after each connect.
    pub subscriptions: Vec<String>,
    /// Pauses between connections.
    pub retry: RetryPolicy,
    /// Bytes that messages may hold while they wait to be sent.
    pub outbox_bytes: usize,
}

/// The message that the broker publishes when the connection breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: String,
    /// What.
    pub frame: Vec<u8>,
}

/// What a client tells its owner, in order, from one task. While a call waits, the connection reads no further.
pub trait Handler: Send + 'static {
    /// Called before each attempt to connect: the will for that connection.
    fn will(&mut self) -> Option<Will> {
        None
    }
    /// Connected and subscribed.
    fn up(&mut self) -> impl Future<Output = ()> + Send;
    /// Not connected any more, or again not. Called once for each failed attempt too.
    fn down(&mut self, why: &Down) -> impl Future<Output = ()> + Send;
    /// A message has arrived.
    fn message(&mut self, topic: &str, bytes: &[u8]) -> impl Future<Output = ()> + Send;
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Down {
    /// Someone else has connected under the same client id.
    #[error(
        "another program has connected to the broker as {client_id:?} and replaced this connection"
    )]
    TakenOver {
        /// The client id.
        client_id: String,
    },
    /// The broker does not want this client.
    #[error("the broker refused the connection ({code:?}{}); check its users and access rules", in_words(reason.as_ref()))]
    Refused {
        /// The reason it gave.
        code: ConnectReturnCode,
        /// The same in its own words, if it had any. It may be anything.
        reason: Option<String>,
    },
    /// What answers is not the broker, or its certificate can't be believed.
    #[error("what answers is not the broker that it should be: {why}")]
    Impostor {
        /// What is wrong with its certificate.
        why: String,
    },
    /// The broker does not believe this client's certificate.
    #[error("the broker refused this program's certificate ({why})")]
    CertificateRefused {
        /// What it finds wrong with it.
        why: String,
    },
    /// The broker does not let this client subscribe.
    #[error("the broker refused the subscription to {filter:?}; check its access rules")]
    SubscriptionRefused {
        /// The first filter refused.
        filter: String,
    },
    /// What a conflict looks like on a broker that does not say [`Down::TakenOver`], such as Mosquitto 2.0.11.
    #[error(
        "the broker closes the connection soon after it opens, again and again and without a \
         reason; perhaps another program connects to it as {client_id:?}"
    )]
    Contested {
        /// The client id.
        client_id: String,
    },
    /// The broker has closed the connection and said why.
    #[error("the broker closed the connection ({code})")]
    Closed {
        /// The reason it gave.
        code: String,
    },
    /// The broker has closed the connection without a reason.
    #[error("the broker closed the connection without a reason")]
    ClosedSilently,
    /// The broker is connected and does not answer.
    #[error("the broker did not acknowledge a message in time")]
    Silent,
    /// The network, or whatever else.
    #[error("{0}")]
    Lost(String),
}

fn in_words(reason: Option<&String>) -> String {
    // Quoted: what the broker says is not ours, and may not look like more of a log.
    reason.map(|reason| format!(": {reason:?}")).unwrap_or_default()
}

impl Down {
    /// Whether the broker has gone away, whoever was connected.
    fn is_of_the_broker(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Closed { code } => {
                *code == format!("{:?}", DisconnectReasonCode::ServerShuttingDown)
            }
            Self::TakenOver { .. }
            | Self::Refused { .. }
            | Self::Impostor { .. }
            | Self::CertificateRefused { .. }
            | Self::SubscriptionRefused { .. }
            | Self::Contested { .. }
            | Self::ClosedSilently
            | Self::Silent => false,
        }
    }
}

/// The handle of a running client. Sending never waits. Dropping it breaks the connection off as a crash would, so that
/// the broker publishes the will; [`Client::shutdown`] does not.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Client {
    /// Starts to connect.
    #[must_use]
    pub fn start<H: Handler>(config: ClientConfig, handler: H) -> Self {
        let outbox = Mutex::new(Outbox::new(config.outbox_bytes));
        let shared = Arc::new(Shared { outbox, changed: Notify::new(), hurry: Hurry::default() });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(config, handler, shared.clone(), stopped));
        Self { shared, stop, task }
    }

    /// Keeps a retained message on `topic`: published now or once connected, and again after each connect. An empty
    /// one removes what the broker holds.
    pub fn keep(&self, topic: String, frame: Vec<u8>) {
        self.shared.outbox().keep(topic, frame);
        self.shared.changed.notify_one();
    }

    /// Sends a message, QoS 1. False if it was dropped: not connected, or those that wait hold too much already.
    pub fn send(&self, topic: String, frame: Vec<u8>) -> bool {
        let accepted = self.shared.outbox().send(topic, frame);
        self.shared.changed.notify_one();
        accepted
    }

    /// Sent messages that turned out to be lost: the connection broke before they were acknowledged, or the broker
    /// refused them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.outbox().lost()
    }

    /// Messages that wait to be sent or acknowledged. A sender of much watches this, and goes on when it is small.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.outbox().unsettled()
    }

    /// Ends the pause before the next attempt: what kept the last one may be put right.
    pub fn hurry(&self) {
        self.shared.hurry.say();
    }

    /// Sends what waits if that takes a second at most, disconnects without leaving the will, and ends.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        let _ended = self.task.await;
    }
}

/// What the handle and the task share.
#[derive(Debug)]
struct Shared {
    outbox: Mutex<Outbox>,
    changed: Notify,
    hurry: Hurry,
}

/// The owner's word that the pause before the next attempt is over. It counts for an attempt that is under way, too: that
/// one may still fail for what was put right meanwhile.
#[derive(Debug, Default)]
struct Hurry {
    said: AtomicBool,
    changed: Notify,
}

impl Hurry {
    fn say(&self) {
        self.said.store(true, Relaxed);
        self.changed.notify_waiters();
    }

    /// It was meant for a connection that has come about.
    fn forget(&self) {
        self.said.store(false, Relaxed);
    }

    async fn wait(&self) {
        let said = self.changed.notified();
        if !self.said.swap(false, Relaxed) {
            said.await;
            self.said.store(false, Relaxed);
        }
    }
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // No code panics while it holds the lock.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many failures in a row there are after one more.
fn failures_after(before: u32, was_up: bool, good: bool, why: &Down) -> u32 {
    let before = match (good, was_up && why.is_of_the_broker()) {
        (true, _) => 0,
        (false, true) => before.min(FAILURES_AFTER_UP),
        (false, false) => before,
    };
    before.saturating_add(1)
}

async fn run<H: Handler>(
    config: ClientConfig,
    mut handler: H,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut failures = 0;
    let mut early_closes = 0;
    let turn = Turn::default();
    while !*stop.borrow() {
        let started = Instant::now();
        let way = Arc::new(config.route.way());
        let ended =
            connection::connect(&config, &way, &turn, &mut handler, &shared, &mut stop).await;
        let was_up = shared.outbox().disconnected();
        match was_up {
            true => shared.hurry.forget(),
            false => turn.pass(),
        }
        let Some(mut why) = ended.filter(|_| !*stop.borrow()) else { return };

        let lasted = started.elapsed();
        let good = was_up && lasted >= config.retry.longest * GOOD_AFTER_PAUSES;
        failures = failures_after(failures, was_up, good, &why);
        let early = was_up
            && why == Down::ClosedSilently
            && lasted < EARLY
            && still_listens(&way, &turn).await;
        early_closes = if early { early_closes + 1 } else { 0 };
        if early_closes >= EARLY_CLOSES {
            why = Down::Contested { client_id: config.client_id.clone() };
        }
        handler.down(&why).await;

        let pause = config.retry.pause(&why, failures, retry::random());
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.hurry.wait() => {}
            _ = stop.changed() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_add_up_but_a_broker_that_was_there_and_went_away_is_not_waited_for_long() {
        let gone = Down::Lost("gone".to_owned());
        let stops = Down::Closed { code: "ServerShuttingDown".to_owned() };
        let replaced = Down::TakenOver { client_id: "pi".to_owned() };
        for (before, was_up, good, why, after) in [
            (0, false, false, &gone, 1),
            (9, false, false, &gone, 10),
            (9, true, false, &gone, FAILURES_AFTER_UP + 1),
            (9, true, false, &stops, FAILURES_AFTER_UP + 1),
            (0, true, false, &stops, 1),
            (9, true, false, &replaced, 10),
            (9, true, false, &Down::ClosedSilently, 10),
            (9, true, true, &replaced, 1),
        ] {
            assert_eq!(failures_after(before, was_up, good, why), after, "{before} {why}");
        }
    }
}
