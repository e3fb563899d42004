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
    client::{Client, ClientConfig, Down, Handler, RetryPolicy},
    event::{Counters, Reporter, count},
};

/// The port of MQTT without TLS.
const DEFAULT_PORT: u16 = 1883;
/// Short, for the hub's connection is the one that everything waits for.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(10),
    unwelcome: Duration::from_secs(60),
};

/// What the client of an external broker needs to know.
#[derive(Clone, Debug)]
pub struct ExternalConfig {
    /// `mqtt://HOST` or `mqtt://HOST:PORT`. The caller has made sure that it is on loopback as long as connections
    /// carry no identities.
    pub url: String,
    /// `lichen-hub-<lineage>`: two hubs of one lineage on one broker are a mistake, and the broker lets one of them in.
    pub client_id: String,
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
        let (host, port) = host_and_port(&config.url)?;
        let counters = Arc::new(Counters::default());
        let client = ClientConfig {
            host,
            port,
            client_id: config.client_id,
            keep_alive: KEEP_ALIVE,
            subscriptions: vec![HUB_FILTER.to_owned()],
            retry: RETRY,
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
        LinkCounts { sent_dropped: counts.sent_dropped + self.client.lost(), ..counts }
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

fn host_and_port(url: &str) -> Result<(String, u16), LinkError> {
    let problem = |problem| LinkError::Url { url: url.to_owned(), problem };
    let Some(rest) = url.strip_prefix("mqtt://") else {
        return Err(problem("it does not begin with mqtt://"));
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '@', '?', '#']) {
        return Err(problem("it has more than a host and a port"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| problem("its port is not a number up to 65535"))?)
        }
        _ => (authority, DEFAULT_PORT),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || port == 0 {
        return Err(problem("it has no host or port 0"));
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_perhaps_a_port() {
        for (url, host, port) in [
            ("mqtt://localhost", "localhost", 1883),
            ("mqtt://127.0.0.1:2883", "127.0.0.1", 2883),
            ("mqtt://broker.site:1883/", "broker.site", 1883),
            ("mqtt://[::1]:2883", "::1", 2883),
            ("mqtt://[::1]", "::1", 1883),
        ] {
            assert_eq!(host_and_port(url).unwrap(), (host.to_owned(), port), "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused_with_the_fix() {
        for url in [
            "",
            "localhost",
            "mqtts://h",
            "mqtt://",
            "mqtt://h:0",
            "mqtt://h:x",
            "mqtt://u@h",
            "mqtt://h/p",
        ] {
            let message = host_and_port(url).unwrap_err().to_string();
            assert!(message.contains("write mqtt://HOST"), "{message}");
        }
    }
}
