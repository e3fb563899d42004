//! The endpoint as tests start it: with an authority of its own, and devices that are welcome.

use std::{net::SocketAddr, sync::Arc};

use lichen_link::{Endpoint, Link, LinkError, LinkEvent};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::client::TlsStream;

use super::{
    Events, Rig,
    device::Broker,
    fleet::{Fleet, dial},
};

/// Devices that are welcome in every test. `many-0` to `many-49` are, too.
const WELCOME: [&str; 11] =
    ["pi", "pi-2", "good", "bad", "slow", "old", "one", "two", "three", "newcomer", "strangers"];

/// Starts an endpoint for so many devices, whose reports wait in a queue for so many.
pub async fn start_at(
    fleet: Arc<Fleet>,
    listen: SocketAddr,
    devices: usize,
    queue: usize,
) -> Result<Rig, LinkError> {
    let (sender, events) = mpsc::channel(queue);
    let (endpoint, address) = Endpoint::start(fleet.config(listen, devices), sender).await?;
    let many = (0..50).map(|number| format!("many-{number}"));
    for name in WELCOME.into_iter().map(str::to_owned).chain(many) {
        endpoint.admit(&name, &[fleet.device(&name).0.hash]);
    }
    let (link, broker) = (Link::Embedded(endpoint), Broker::Tls(address, fleet));
    let mut rig = Rig { link, events: Events(events), broker };
    assert_eq!(rig.events.next().await, LinkEvent::Up);
    Ok(rig)
}

/// On any port, with room for what is reported.
pub async fn start(devices: usize) -> Rig {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    start_at(Fleet::new(), any_port, devices, 1024).await.expect("it starts")
}

impl Rig {
    pub fn fleet(&self) -> &Arc<Fleet> {
        match &self.broker {
            Broker::Tls(_, fleet) => fleet,
            Broker::Plain(_) => panic!("a broker without TLS has no authority"),
        }
    }

    /// A connection of a device that has said nothing yet, for bytes that no client library would send.
    pub async fn raw(&self, name: &str) -> TlsStream<TcpStream> {
        let (_, config) = self.fleet().device(name);
        dial(self.broker.address(), config).await.expect("its certificate is good")
    }
}
