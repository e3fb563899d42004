//! Where devices connect: an MQTT 5 server endpoint inside the hub.
//!
//! It is no broker. Devices talk to the hub alone, so nothing is routed, stored or queued for those who are away: the
//! hub's state answers for the retained head, and the engine says again what matters.
//!
//! ```text
//! device ── stream ── connection ── session ──► LinkEvent
//!                          ▲ mailbox
//!                       registry ◄── set_head, send
//! ```
//!
//! - [`session`] decides: one device's session as a state machine without IO. [`codec`] makes packets of bytes,
//!   [`access`] says which topics a device may use, [`identity`] is the one place that decides who a session is.
//! - [`registry`] knows which connection is a device's session, and every head; [`mailbox`] is what waits for one
//!   connection.
//! - [`connection`] moves bytes; [`listener`] accepts. [`limits`] are the bounds of it all, that of log lines ([`paced`])
//!   among them.
//!
//! Why a codec and not a protocol machine: rumqttc's codec (`rumqttc::mqttbytes::v5` on `mqttbytes-core-next`) reads and
//! writes every packet of both sides, and is in the hub and the agent already, so it costs no crate; what a server has to
//! decide is this module's few hundred lines. `mqtt-protocol-core` 0.7 is a machine without IO too, but brings about
//! thirty crates (serde_json, derive_builder, strum, indexmap among them) and a store of packets per connection, answers
//! QoS 2 and topic aliases that we refuse, and leaves wills, takeovers, access and subscriptions to its user all the same.
//! Both check lengths, flags and UTF-8; neither allocates by an unchecked length.

pub(crate) mod access;
pub(crate) mod codec;
mod connection;
pub mod identity;
pub(crate) mod limits;
mod listener;
mod mailbox;
pub(crate) mod paced;
mod registry;
pub mod session;

use std::{net::SocketAddr, sync::Arc};

use firmware_compat::frame::Kind;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    LinkCounts, LinkError, LinkEvent,
    event::{Counters, Reporter, add, count},
};
use connection::Shared;
use paced::Paced;
use registry::Registry;
use session::Down;

/// What the endpoint needs to know.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Where devices connect. Port 0 lets the system choose. The caller has made sure that it is a loopback address as
    /// long as devices have no identities.
    pub listen: SocketAddr,
    /// Devices at once; each holds one file descriptor. A few more are needed for those that come and go, see
    /// [`EndpointConfig::descriptors`].
    pub devices: usize,
}

impl EndpointConfig {
    /// File descriptors that the endpoint may hold at most, with this many devices.
    #[must_use]
    pub fn descriptors(devices: usize) -> usize {
        // The listener, and one that was accepted and is closed again.
        devices + limits::OVERFLOW + 2
    }
}

/// The running endpoint.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

impl Endpoint {
    /// Listens. Returns the endpoint with the address that devices connect to; by then they can, and
    /// [`LinkEvent::Up`] is in the queue.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn start(
        config: EndpointConfig,
        events: mpsc::Sender<LinkEvent>,
    ) -> Result<(Self, SocketAddr), LinkError> {
        let (socket, address) = listener::listen(config.listen)?;
        let counters = Arc::new(Counters::default());
        let reporter = Reporter::new(events, counters.clone());
        reporter.presence(LinkEvent::Up).await;
        let shared = Arc::new(Shared {
            registry: Registry::default(),
            reporter,
            counters,
            limit: config.devices,
            epoch: tokio::time::Instant::now(),
            too_many: Paced::default(),
        });
        let (stop, stopping) = watch::channel(false);
        let listener = tokio::spawn(listener::serve(socket, shared.clone(), stopping));
        tracing::info!(%address, limit = config.devices, "devices can connect");
        Ok((Self { shared, stop, listener }, address))
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
            ..self.shared.counters.snapshot()
        }
    }

    /// Tells every device that the hub stops, and closes.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        let _ended = self.listener.await;
    }
}
