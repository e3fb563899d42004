//! A broker of the operator's, which hub and devices both connect to: Mosquitto, EMQX, VerneMQ, HiveMQ, a cluster.
//!
//! The hub is one client among others here. It hears every device through one subscription, and keeps every device's
//! head on the broker as a retained message, published again after each connect, for the broker may have lost them.
//! Who is there it learns from frames alone: hello, and gone from the will.
//!
//! Whom the broker lets in is the broker's business. Whom the hub hears, and says anything to, is the engine's: see
//! [`roster`]. Who is not welcome any more is put out of the broker by [`eviction`].

mod eviction;
mod roster;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use firmware_compat::{
    enrolment::Broker,
    frame::Kind,
    topic::{ALL, Direction, HUB_FILTER, Topic},
};
use tokio::sync::{mpsc, watch};

use crate::{
    LinkCounts, LinkEvent,
    client::{Client, ClientConfig, Down, Handler, Place, RetryPolicy, Route, Tls, Way},
    event::{Counters, Reporter, count},
};
use eviction::Evictions;
use roster::Roster;

/// Short, for the hub's connection is the one that everything waits for.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(10),
    unwelcome: Duration::from_secs(60),
};

/// What may wait for the broker: small bodies for a fleet of thousands. Devices ask for what did not fit.
const OUTBOX_BYTES: usize = 16 * 1024 * 1024;

/// What the client of an external broker needs to know.
#[derive(Clone, Debug)]
pub struct ExternalConfig {
    /// Where it is.
    pub broker: Broker,
    /// What is shown to it and believed of it. Not asked for a broker without TLS.
    pub tls: TlsSource,
    /// `lichen-hub-<lineage>`: two hubs of one lineage on one broker are a mistake, and the broker lets one of them in.
    pub client_id: String,
}

/// As whom a connection to the broker is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As<'n> {
    /// The hub.
    Hub,
    /// A device of this name, to end the session that it has.
    Device(&'n str),
}

/// Gives the TLS of the next connection.
#[derive(Clone)]
pub struct TlsSource(pub Arc<TlsFn>);

/// From who connects to how that is protected.
pub type TlsFn = dyn Fn(As<'_>) -> Tls + Send + Sync;

impl std::fmt::Debug for TlsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsSource")
    }
}

/// The running client.
#[derive(Debug)]
pub struct External {
    client: Client,
    counters: Arc<Counters>,
    roster: Shared,
    evictions: Evictions,
    reporter: Reporter,
}

/// The roster, which the client's task looks at too.
type Shared = Arc<Mutex<Roster>>;

impl External {
    /// Starts to connect. [`LinkEvent::Up`] is reported once the hub can hear devices. A broker that is not there is not an
    /// error: the link goes on trying.
    #[must_use]
    pub fn start(config: ExternalConfig, events: mpsc::Sender<LinkEvent>) -> Self {
        let ExternalConfig { broker, tls, client_id } = config;
        let way = move |who: As<'_>| way(&broker, &tls, who);
        let counters = Arc::new(Counters::default());
        let roster = Shared::default();
        let (up, is_up) = watch::channel(false);
        let evictions = Evictions::start(Arc::new(way.clone()), is_up);
        let reporter = Reporter::new(events, counters.clone());
        let client = ClientConfig {
            route: Route::new(move || way(As::Hub)),
            client_id,
            keep_alive: KEEP_ALIVE,
            subscriptions: vec![HUB_FILTER.to_owned()],
            retry: RETRY,
            outbox_bytes: OUTBOX_BYTES,
        };
        let ears = Ears {
            reporter: reporter.clone(),
            counters: counters.clone(),
            roster: roster.clone(),
            evictions: evictions.clone(),
            up,
            started: Instant::now(),
            last: None,
        };
        Self { client: Client::start(client, ears), counters, roster, evictions, reporter }
    }

    /// See [`crate::Link::set_head`].
    pub fn set_head(&self, device: &str, frame: Vec<u8>) {
        if lock(&self.roster).is_welcome(device) {
            self.client.keep(Topic::down(device, Kind::Head).to_string(), frame);
            count(&self.counters.sent);
        }
    }

    /// See [`crate::Link::clear_head`].
    pub fn clear_head(&self, device: &str) {
        self.client.keep(Topic::down(device, Kind::Head).to_string(), Vec::new());
    }

    /// See [`crate::Link::send`].
    pub fn send(&self, device: &str, kind: Kind, frame: Vec<u8>) -> bool {
        let welcome = device == ALL || lock(&self.roster).is_welcome(device);
        let accepted = welcome && self.client.send(Topic::down(device, kind).to_string(), frame);
        count(if accepted { &self.counters.sent } else { &self.counters.sent_dropped });
        accepted
    }

    /// See [`crate::Link::send_all`].
    pub fn send_all(&self, kind: Kind, frame: Vec<u8>) {
        self.send(ALL, kind, frame);
    }

    /// Hears a device, and says to it what the engine says. Which key it has is for the broker to know.
    pub fn admit(&self, device: &str) {
        if lock(&self.roster).admit(device) {
            // It may have stayed connected, unheard: it says hello when it connects again.
            self.evictions.ask(device);
        }
    }

    /// Ends the session of a device, and neither hears it nor says anything to it from then on.
    pub fn dismiss(&self, device: &str) {
        if lock(&self.roster).dismiss(device) {
            self.end_session(device);
        }
    }

    /// As [`Self::dismiss`], of a device that is to be known no more.
    pub fn forget(&self, device: &str) {
        if lock(&self.roster).forget(device) {
            self.end_session(device);
        }
    }

    fn end_session(&self, device: &str) {
        self.clear_head(device);
        self.evictions.ask(device);
        // Nothing is heard of it any more, its will neither. With no room the engine finds it silent, a little later.
        self.reporter.try_tell(LinkEvent::Disconnected { device: device.to_owned() });
    }

    /// See [`crate::Link::counts`].
    #[must_use]
    pub fn counts(&self) -> LinkCounts {
        let counts = self.counters.snapshot();
        LinkCounts {
            sent_dropped: counts.sent_dropped + self.client.lost(),
            waiting: self.client.waiting() as u64,
            ..counts
        }
    }

    /// Sends what waits if that takes a second at most, and disconnects. Heads stay on the broker.
    pub async fn shutdown(self) {
        self.evictions.stop();
        self.client.shutdown().await;
    }
}

fn lock(roster: &Shared) -> MutexGuard<'_, Roster> {
    // No code panics while it holds the lock.
    roster.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Turns what the client tells into events of the link.
struct Ears {
    reporter: Reporter,
    counters: Arc<Counters>,
    roster: Shared,
    evictions: Evictions,
    up: watch::Sender<bool>,
    started: Instant,
    /// The reason reported last: the engine need not hear of every failed attempt.
    last: Option<Down>,
}

impl Handler for Ears {
    async fn up(&mut self) {
        self.last = None;
        tracing::info!("connected to the external broker");
        self.up.send_replace(true);
        self.reporter.presence(LinkEvent::Up).await;
    }

    async fn down(&mut self, why: &Down) {
        self.up.send_replace(false);
        if self.last.as_ref() == Some(why) {
            return;
        }
        self.last = Some(why.clone());
        tracing::warn!("no connection to the external broker: {why}");
        self.reporter.presence(LinkEvent::Down { reason: why.to_string() }).await;
    }

    async fn message(&mut self, topic: &str, bytes: &[u8]) {
        if let Some(unwelcome) = self.unwelcome(topic) {
            count(&self.counters.refused);
            count(&self.counters.unwelcome);
            // A will is published when its device is gone already.
            let is_there = unwelcome.kind != Kind::Gone;
            if is_there && lock(&self.roster).comes(unwelcome.device, self.started.elapsed()) {
                self.evictions.ask(unwelcome.device);
            }
            return;
        }
        self.reporter.message(topic, bytes).await;
    }
}

impl Ears {
    /// What comes of a device that is not to be heard.
    fn unwelcome<'t>(&self, topic: &'t str) -> Option<Topic<'t>> {
        let topic = Topic::parse(topic).filter(|topic| topic.direction == Direction::Up)?;
        (!lock(&self.roster).is_welcome(topic.device)).then_some(topic)
    }
}

/// How a connection to the broker is made.
fn way(broker: &Broker, tls: &TlsSource, who: As<'_>) -> Way {
    let tcp = |address: &firmware_compat::enrolment::Address| Place::Tcp {
        host: address.host().to_owned(),
        port: address.port(),
    };
    match broker {
        Broker::Tls(address) => Way { places: vec![tcp(address)], tls: Some((tls.0)(who)) },
        Broker::Plain(address) => Way { places: vec![tcp(address)], tls: None },
        Broker::Unix(path) => Way { places: vec![Place::Unix(path.into())], tls: None },
    }
}
