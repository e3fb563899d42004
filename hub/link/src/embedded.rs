//! The broker inside the hub: `rmqtt` as a library, behind a listener of our own.
//!
//! ```text
//! device ──TCP── front ──loopback── rmqtt ── hooks ──► LinkEvent
//!                                     ▲
//!                 heads, in-process sends
//! ```
//!
//! - [`front`] accepts connections and waits for their CONNECT ([`connect`]); a [`pipe`] then carries each to the broker.
//!   TLS will end there.
//! - [`identity`] is the one place that decides who a session is.
//! - [`access`] says which topics a device may use.
//! - [`sessions`] knows which connection is a device's newest.
//! - [`hooks`] is what the broker asks and tells; [`heads`] is what it reads retained messages from; [`outbound`] is the
//!   hub's way into its sessions.
//!
//! The broker itself stores nothing: what must survive a restart is in the hub's store.

mod access;
mod connect;
mod front;
mod heads;
mod hooks;
mod identity;
mod outbound;
mod pipe;
mod sessions;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use firmware_compat::frame::{Kind, MAX_FRAME_BYTES};
use rmqtt::{
    context::ServerContext,
    net::{Builder, Listener},
    server::MqttServer,
    shared::DefaultShared,
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    LinkCounts, LinkError, LinkEvent,
    event::{Counters, Reporter},
};
use front::Front;
use heads::Heads;
use outbound::Outbound;
use sessions::Sessions;

/// Largest MQTT packet in either direction: a frame, its topic and its properties.
pub(crate) const MAX_PACKET_BYTES: u32 = MAX_FRAME_BYTES as u32 + 1024;
/// Messages that one session may have queued. A device that is further behind than this reads the newest head instead.
const SESSION_QUEUE: usize = 32;
/// Messages on their way to one device, sent and not yet acknowledged.
const SESSION_INFLIGHT: NonZeroU16 = NonZeroU16::new(16).expect("16 is not zero");
/// How long a session outlives its connection. Devices start clean, so only as long as the broker insists on.
const SESSION_EXPIRY: Duration = Duration::from_secs(1);
/// A device that takes no bytes for this long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that may be between CONNECT and CONNACK at once.
const HANDSHAKES: usize = 1024;
/// Attempts to find a free loopback port for the broker behind the front.
const PORT_ATTEMPTS: u32 = 16;

/// What the embedded broker needs to know.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Where devices connect. Port 0 lets the system choose. The caller has made sure that it is a loopback address as
    /// long as devices have no identities.
    pub listen: SocketAddr,
}

/// The running broker.
#[derive(Debug)]
pub struct Embedded {
    outbound: Outbound,
    counters: Arc<Counters>,
    front: JoinHandle<()>,
    broker: JoinHandle<()>,
}

impl Embedded {
    /// Listens and starts the broker. Returns it with the address that devices connect to; by then they can, and
    /// [`LinkEvent::Up`] is in the queue.
    ///
    /// # Errors
    /// If the address cannot be listened on, or the broker does not start.
    pub async fn start(
        config: EmbeddedConfig,
        events: mpsc::Sender<LinkEvent>,
    ) -> Result<(Self, SocketAddr), LinkError> {
        let (listener, address) = front::listen(config.listen)?;
        let counters = Arc::new(Counters::default());
        let sessions = Arc::new(Sessions::default());
        let heads = Arc::new(Heads::default());
        let reporter = Reporter::new(events, counters.clone());

        let context = ServerContext::new().busy_check_enable(false).build().await;
        let shared = DefaultShared::new(Some(context.clone()));
        *context.extends.shared_mut().await = Box::new(shared.clone());
        *context.extends.retain_mut().await = Box::new(heads::Storage(heads.clone()));
        hooks::register(&context, sessions.clone(), reporter.clone(), counters.clone()).await;

        let (inner, inner_address) = listen_inside()?;
        let server = MqttServer::new(context).listener(inner).build();
        let broker = tokio::spawn(async move {
            if let Err(error) = server.run().await {
                tracing::error!(%error, "the embedded broker has ended");
            }
        });
        let front =
            Front { broker: inner_address, sessions: sessions.clone(), reporter: reporter.clone() };
        let front = tokio::spawn(front.serve(listener));
        reporter.presence(LinkEvent::Up).await;
        tracing::info!(%address, "devices can connect");

        let outbound = Outbound { shared, sessions, heads, counters: counters.clone() };
        Ok((Self { outbound, counters, front, broker }, address))
    }

    /// See [`crate::Link::set_head`].
    pub fn set_head(&self, device: &str, frame: Vec<u8>) {
        self.outbound.set_head(device, frame);
    }

    /// See [`crate::Link::clear_head`].
    pub fn clear_head(&self, device: &str) {
        self.outbound.clear_head(device);
    }

    /// See [`crate::Link::send`].
    pub fn send(&self, device: &str, kind: Kind, frame: Vec<u8>) {
        self.outbound.send(device, kind, frame);
    }

    /// See [`crate::Link::send_all`].
    pub fn send_all(&self, kind: Kind, frame: Vec<u8>) {
        self.outbound.send_all(kind, frame);
    }

    /// See [`crate::Link::counts`].
    #[must_use]
    pub fn counts(&self) -> LinkCounts {
        self.counters.snapshot()
    }

    /// Closes the listener and every connection.
    pub async fn shutdown(self) {
        for task in [self.front, self.broker] {
            task.abort();
            let _aborted = task.await;
        }
    }
}

/// The broker's own listener, which only the front may use: see [`sessions`].
fn listen_inside() -> Result<(Listener, SocketAddr), LinkError> {
    let mut last = String::new();
    for _ in 0..PORT_ATTEMPTS {
        // rmqtt does not tell which port it was given, so we find a free one and ask for that.
        match free_loopback_address()
            .map(|address| (inner_settings(address).bind().and_then(Listener::tcp), address))
        {
            Ok((Ok(listener), address)) => return Ok((listener, address)),
            Ok((Err(error), _)) => last = error.to_string(),
            Err(error) => last = error.to_string(),
        }
    }
    Err(LinkError::Broker { detail: format!("found no free loopback port: {last}") })
}

fn free_loopback_address() -> io::Result<SocketAddr> {
    StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn inner_settings(address: SocketAddr) -> Builder {
    Builder::new()
        .name("lichen")
        .laddr(address)
        .reuseaddr(Some(true))
        .backlog(front::BACKLOG)
        .nodelay(true)
        .tcp_keepalive(false)
        .allow_anonymous(false)
        .allow_zero_keepalive(false)
        .max_connections(front::MAX_CONNECTIONS)
        .max_handshaking_limit(HANDSHAKES)
        .max_packet_size(MAX_PACKET_BYTES)
        .max_clientid_len(firmware_compat::topic::MAX_DEVICE_NAME)
        .max_topic_levels(8)
        .max_subscriptions(8)
        .max_inflight(SESSION_INFLIGHT)
        .max_mqueue_len(SESSION_QUEUE)
        .send_timeout(SEND_TIMEOUT)
        .session_expiry_interval(SESSION_EXPIRY)
        .max_session_expiry_interval(SESSION_EXPIRY)
        // Zero means never: within one connection TCP already repeats, and frames carry their own age.
        .message_retry_interval(Duration::ZERO)
        .message_expiry_interval(Duration::ZERO)
}
