//! Where devices connect: an MQTT 5 server endpoint inside the hub.
//!
//! It is no broker. Devices talk to the hub alone, so nothing is routed, stored or queued for those who are away: the
//! hub's state answers for the retained head, and the engine says again what matters.
//!
//! ```text
//!                      ┌─ mqtt ── connection ── session ──► LinkEvent
//! device ── handshake ─┤               ▲ mailbox
//!                      │            registry ◄── set_head, send, admit, dismiss
//!                      └─ http/1.1 ── HttpHandler
//! ```
//!
//! - [`listener`] accepts, [`doors`] counts who comes from where, [`handshake`] bounds how long it takes until it is known
//!   who it is; [`tls`] encrypts. All of it happens on threads of its own ([`runtime`]).
//! - [`identity`] is the one place that decides who a session is, by its certificate. Who is welcome, and whether it is a
//!   second board with a copy of a device's key, is decided in [`lichen_hub_core::admission`]. [`strangers`] bounds what is told of who is kept out.
//! - [`session`] decides: one device's session as a state machine without IO. [`codec`] makes packets of bytes,
//!   [`access`] says which topics a device may use, [`bucket`] how much it may say.
//! - [`registry`] knows which connection is a device's session, and every head; [`mailbox`] is what waits for one
//!   connection. [`connection`] moves bytes.
//! - [`http`] passes on who speaks HTTP. [`limits`] are the bounds of it all, that of log lines ([`paced`]) among them.
//!
//! Why a codec and not a protocol machine: rumqttc's codec (`rumqttc::mqttbytes::v5` on `mqttbytes-core-next`) reads and
//! writes every packet of both sides, and is in the hub and the agent already, so it costs no crate; what a server has to
//! decide is this module's few hundred lines. `mqtt-protocol-core` 0.7 is a machine without IO too, but brings about
//! thirty crates (serde_json, derive_builder, strum, indexmap among them) and a store of packets per connection, answers
//! QoS 2 and topic aliases that we refuse, and leaves wills, takeovers, access and subscriptions to its user all the same.
//! Both check lengths, flags and UTF-8; neither allocates by an unchecked length.

pub(crate) mod access;
mod bucket;
pub(crate) mod codec;
mod connection;
mod doors;
mod handshake;
pub mod http;
pub mod identity;
pub(crate) mod limits;
mod listener;
mod mailbox;
pub(crate) mod paced;
mod registry;
mod runtime;
pub mod session;
mod strangers;
mod tls;

use std::{fmt, net::SocketAddr, sync::Arc};

use firmware_compat::{
    enrolment::{ALPN_HTTP, ALPN_MQTT},
    frame::Kind,
    id::Hash,
};
use lichen_hub_core::admission::roster::Verdict;
use lichen_trust::KnownTime;
use rustls::ServerConfig;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    LinkCounts, LinkError, LinkEvent,
    event::{Counters, Reporter, add, count},
};
use connection::{Said, Shared};
use doors::Doors;
use http::{Guestbook, HttpHandler};
use limits::{HTTP_SHARE, LEAST_HTTP, MOST_HTTP, OVERFLOW};
use registry::Registry;
use runtime::Threads;
use session::Down;
use strangers::Strangers;

/// The protocols that the endpoint speaks, as TLS names them (ALPN): [`EndpointConfig::tls`] has to offer these. Whoever
/// names none speaks MQTT.
pub const PROTOCOLS: [&[u8]; 2] = [ALPN_MQTT, ALPN_HTTP];

/// What the endpoint needs to know.
#[derive(Clone)]
pub struct EndpointConfig {
    /// Where devices connect. Port 0 lets the system choose. `[::]` is every address of this machine, of IPv4 too.
    pub listen: SocketAddr,
    /// Devices at once; each holds one file descriptor. More are needed for HTTP and for those that come and go, see
    /// [`EndpointConfig::descriptors`].
    pub devices: usize,
    /// What the hub shows of itself, and which certificates it believes. With [`PROTOCOLS`].
    pub tls: Arc<ServerConfig>,
    /// By which certificates of devices are judged.
    pub time: Arc<KnownTime>,
    /// Who answers HTTP.
    pub http: Arc<dyn HttpHandler>,
}

impl EndpointConfig {
    /// File descriptors that the endpoint may hold at most, with this many devices.
    #[must_use]
    pub fn descriptors(devices: usize) -> usize {
        // The listener, and one that was accepted and is closed again.
        Self::connections(devices) + 2
    }

    /// How many devices there may be with so many file descriptors.
    #[must_use]
    pub fn most_devices(descriptors: usize) -> usize {
        let left = descriptors.saturating_sub(OVERFLOW + 2);
        // One more share than there is for each device alone.
        let http = left.div_ceil(HTTP_SHARE + 1).clamp(LEAST_HTTP, MOST_HTTP);
        left.saturating_sub(http)
    }

    fn connections(devices: usize) -> usize {
        devices + Self::http_connections(devices) + OVERFLOW
    }

    fn http_connections(devices: usize) -> usize {
        (devices / HTTP_SHARE).clamp(LEAST_HTTP, MOST_HTTP)
    }
}

impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, devices, .. } = self;
        f.debug_struct("EndpointConfig")
            .field("listen", listen)
            .field("devices", devices)
            .finish_non_exhaustive()
    }
}

/// The running endpoint. Dropping it breaks every connection off, as a crash would; [`Endpoint::shutdown`] does not.
pub struct Endpoint {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
    threads: Threads,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Listens. Returns the endpoint with the address that devices connect to; by then they can, and
    /// [`LinkEvent::Up`] is in the queue.
    ///
    /// # Errors
    /// If the address cannot be listened on, or the system gives no threads.
    pub async fn start(
        config: EndpointConfig,
        events: mpsc::Sender<LinkEvent>,
    ) -> Result<(Self, SocketAddr), LinkError> {
        let threads = Threads::start().map_err(LinkError::Threads)?;
        let (socket, address) = {
            // Its events come to these threads.
            let _there = threads.handle().enter();
            listener::listen(config.listen)?
        };
        let counters = Arc::new(Counters::default());
        let reporter = Reporter::new(events, counters.clone());
        reporter.presence(LinkEvent::Up).await;
        let EndpointConfig { listen: _, devices, tls, time, http } = config;
        let shared = Arc::new(Shared {
            registry: Registry::default(),
            guestbook: Guestbook::new(EndpointConfig::http_connections(devices)),
            doors: Doors::new(EndpointConfig::connections(devices)),
            strangers: Strangers::default(),
            reporter,
            counters,
            tls,
            time,
            http,
            limit: devices,
            epoch: tokio::time::Instant::now(),
            said: Said::default(),
        });
        let (stop, stopping) = watch::channel(false);
        let serving = listener::serve(socket, shared.clone(), stopping);
        let listener = threads.handle().spawn(serving);
        tracing::info!(%address, limit = devices, "devices can connect");
        Ok((Self { shared, stop, listener, threads }, address))
    }

    /// See [`crate::Link::admit`].
    pub fn admit(&self, device: &str, keys: &[Hash]) {
        self.shared.registry.admit(device, keys);
        self.end_http(device);
    }

    /// See [`crate::Link::dismiss`].
    pub fn dismiss(&self, device: &str, why: &str) {
        self.shared.registry.dismiss(device, why);
        self.end_http(device);
    }

    /// See [`crate::Link::forget`].
    pub fn forget(&self, device: &str) {
        self.shared.registry.forget(device);
        self.end_http(device);
    }

    /// Ends the HTTP connections of a device by keys that are not welcome any more.
    fn end_http(&self, device: &str) {
        let registry = &self.shared.registry;
        self.shared
            .guestbook
            .dismiss(device, |key| registry.verdict(device, key) == Verdict::Welcome);
    }

    /// See [`crate::Link::set_head`].
    pub fn set_head(&self, device: &str, frame: Vec<u8>) {
        self.shared.registry.set_head(device, frame.into());
    }

    /// See [`crate::Link::clear_head`].
    pub fn clear_head(&self, device: &str) {
        self.shared.registry.clear_head(device);
    }

    /// See [`crate::Link::send`].
    pub fn send(&self, device: &str, kind: Kind, frame: Vec<u8>) -> bool {
        let message = Down::to_one(kind, frame.into());
        let accepted = self.shared.registry.session(device).is_some_and(|peer| peer.put(message));
        if !accepted {
            count(&self.shared.counters.sent_dropped);
        }
        accepted
    }

    /// See [`crate::Link::send_all`].
    pub fn send_all(&self, kind: Kind, frame: Vec<u8>) {
        let message = Down::to_every(kind, frame.into());
        let mut dropped = 0;
        self.shared.registry.each(|peer| dropped += u64::from(!peer.put(message.clone())));
        add(&self.shared.counters.sent_dropped, dropped);
    }

    /// See [`crate::Link::counts`].
    #[must_use]
    pub fn counts(&self) -> LinkCounts {
        LinkCounts {
            devices: self.shared.registry.sessions() as u64,
            devices_limit: self.shared.limit as u64,
            connections: self.shared.doors.connections() as u64,
            http: self.shared.guestbook.connections() as u64,
            ..self.shared.counters.snapshot()
        }
    }

    /// Tells every device that the hub stops, and closes.
    pub async fn shutdown(self) {
        let Self { stop, listener, threads, .. } = self;
        stop.send_replace(true);
        let _ended = listener.await;
        drop(threads);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_devices_as_descriptors_allow() {
        for descriptors in (82..6000).chain([20_000, 65_536, 1 << 20]) {
            let devices = EndpointConfig::most_devices(descriptors);
            assert!(EndpointConfig::descriptors(devices) <= descriptors, "{descriptors}");
            // Rounding leaves one place at the most.
            assert!(EndpointConfig::descriptors(devices + 2) > descriptors, "{descriptors}");
        }
        assert_eq!(EndpointConfig::most_devices(0), 0);
    }
}
