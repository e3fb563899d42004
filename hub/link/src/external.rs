//! A broker of the operator's, which hub and devices both connect to: Mosquitto, EMQX, VerneMQ, HiveMQ, a cluster.
//!
//! The hub is one client among others here. It hears every device through one subscription, and keeps every device's
//! head on the broker as a retained message, published again after each connect, for the broker may have lost them.
//! Who is there it learns from frames alone: hello, and gone from the will.

use std::{sync::Arc, time::Duration};

use firmware_compat::{
    frame::Kind,
    topic::{ALL, HUB_FILTER, Topic},
};
use tokio::sync::mpsc;

use crate::{
    LinkCounts, LinkError, LinkEvent,
    client::{Client, ClientConfig, Down, Handler, Place, RetryPolicy, Route, Tls, Way},
    event::{Counters, Reporter, count},
};

/// The ports of MQTT without TLS, and with.
const PLAIN_PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;
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
    /// `mqtts://HOST[:PORT]`, `mqtt://HOST[:PORT]` or `unix:///PATH`. The caller has made sure that `mqtt://` leads
    /// nowhere beyond this machine.
    pub url: String,
    /// For `mqtts://`: what is shown and believed. Asked before each connection.
    pub tls: Option<TlsSource>,
    /// `lichen-hub-<lineage>`: two hubs of one lineage on one broker are a mistake, and the broker lets one of them in.
    pub client_id: String,
}

/// Gives the TLS of the next connection.
#[derive(Clone)]
pub struct TlsSource(pub Arc<dyn Fn() -> Tls + Send + Sync>);

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
}

impl External {
    /// Starts to connect. [`LinkEvent::Up`] is reported once the hub can hear devices.
    ///
    /// # Errors
    /// If the URL is not one. A broker that is not there is not an error: the link goes on trying.
    pub fn start(
        config: ExternalConfig,
        events: mpsc::Sender<LinkEvent>,
    ) -> Result<Self, LinkError> {
        let route = route(&config.url, config.tls)?;
        let counters = Arc::new(Counters::default());
        let client = ClientConfig {
            route,
            client_id: config.client_id,
            keep_alive: KEEP_ALIVE,
            subscriptions: vec![HUB_FILTER.to_owned()],
            retry: RETRY,
            outbox_bytes: OUTBOX_BYTES,
        };
        let client = Client::start(
            client,
            Ears { reporter: Reporter::new(events, counters.clone()), last: None },
        );
        Ok(Self { client, counters })
    }

    /// See [`crate::Link::set_head`].
    pub fn set_head(&self, device: &str, frame: Vec<u8>) {
        self.client.keep(Topic::down(device, Kind::Head).to_string(), frame);
        count(&self.counters.sent);
    }

    /// See [`crate::Link::clear_head`].
    pub fn clear_head(&self, device: &str) {
        self.client.keep(Topic::down(device, Kind::Head).to_string(), Vec::new());
    }

    /// See [`crate::Link::send`].
    pub fn send(&self, device: &str, kind: Kind, frame: Vec<u8>) -> bool {
        let accepted = self.client.send(Topic::down(device, kind).to_string(), frame);
        count(if accepted { &self.counters.sent } else { &self.counters.sent_dropped });
        accepted
    }

    /// See [`crate::Link::send_all`].
    pub fn send_all(&self, kind: Kind, frame: Vec<u8>) {
        self.send(ALL, kind, frame);
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
        self.client.shutdown().await;
    }
}

/// Turns what the client tells into events of the link.
struct Ears {
    reporter: Reporter,
    /// The reason reported last: the engine need not hear of every failed attempt.
    last: Option<Down>,
}

impl Handler for Ears {
    async fn up(&mut self) {
        self.last = None;
        tracing::info!("connected to the external broker");
        self.reporter.presence(LinkEvent::Up).await;
    }

    async fn down(&mut self, why: &Down) {
        if self.last.as_ref() == Some(why) {
            return;
        }
        self.last = Some(why.clone());
        tracing::warn!("no connection to the external broker: {why}");
        self.reporter.presence(LinkEvent::Down { reason: why.to_string() }).await;
    }

    async fn message(&mut self, topic: &str, bytes: &[u8]) {
        self.reporter.message(topic, bytes).await;
    }
}

fn route(url: &str, tls: Option<TlsSource>) -> Result<Route, LinkError> {
    let (place, is_tls) = place(url)?;
    if !is_tls {
        return Ok(Route::plain(place));
    }
    let problem = "this hub has no certificate to show to it";
    let source = tls.ok_or_else(|| LinkError::Url { url: url.to_owned(), problem })?;
    Ok(Route::new(move || Way { places: vec![place.clone()], tls: Some((source.0)()) }))
}

/// Where a URL leads, and whether it is TLS.
fn place(url: &str) -> Result<(Place, bool), LinkError> {
    let problem = |problem| LinkError::Url { url: url.to_owned(), problem };
    let (rest, is_tls) = match url.split_once("://") {
        Some(("unix", path)) if path.len() > 1 && path.starts_with('/') => {
            return Ok((Place::Unix(path.into()), false));
        }
        Some(("unix", _)) => return Err(problem("it has no absolute path")),
        Some(("mqtt", rest)) => (rest, false),
        Some(("mqtts", rest)) => (rest, true),
        _ => return Err(problem("it begins with neither mqtts:// nor mqtt:// nor unix://")),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '@', '?', '#']) {
        return Err(problem("it has more than a host and a port"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| problem("its port is not a number up to 65535"))?)
        }
        _ => (authority, if is_tls { TLS_PORT } else { PLAIN_PORT }),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || port == 0 {
        return Err(problem("it has no host or port 0"));
    }
    Ok((Place::Tcp { host: host.to_owned(), port }, is_tls))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_perhaps_a_port_or_a_socket() {
        for (url, shown, is_tls) in [
            ("mqtt://localhost", "localhost:1883", false),
            ("mqtt://127.0.0.1:2883", "127.0.0.1:2883", false),
            ("mqtts://broker.site:8884/", "broker.site:8884", true),
            ("mqtts://broker.site", "broker.site:8883", true),
            ("mqtt://[::1]:2883", "[::1]:2883", false),
            ("mqtt://[::1]", "[::1]:1883", false),
            ("unix:///run/mosquitto.sock", "unix:///run/mosquitto.sock", false),
        ] {
            let (place, tls) = place(url).unwrap();
            assert_eq!((place.to_string().as_str(), tls), (shown, is_tls), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_with_the_fix() {
        for url in [
            "",
            "localhost",
            "http://h",
            "mqtt://",
            "mqtt://h:0",
            "mqtt://h:x",
            "mqtts://u@h",
            "mqtt://h/p",
            "unix://run/x",
            "unix:///",
        ] {
            let message = place(url).unwrap_err().to_string();
            assert!(message.contains("write mqtts://HOST"), "{message}");
        }
        let message = route("mqtts://h", None).unwrap_err().to_string();
        assert!(message.contains("no certificate"), "{message}");
    }
}
