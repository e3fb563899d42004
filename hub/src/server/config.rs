//! What a hub needs to know before it starts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use lichen_hub_core::engine;

/// The API's address, where no other is given.
pub const DEFAULT_API: &str = "127.0.0.1:6180";

/// What a hub needs to know.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The directory of its store and its artefacts.
    pub state: PathBuf,
    /// Where API, artefacts and registry listen. Port 0 lets the system choose.
    pub api: SocketAddr,
    /// The way to the devices.
    pub broker: Broker,
    /// The Wasm compiler; without it, `lichen-wasmc` beside this program or in PATH.
    pub compiler: Option<PathBuf>,
    /// How long a device may be silent before its Pods that could run elsewhere are replaced.
    pub lost_after_s: u32,
    /// How long the API's clients may take.
    pub times: ApiTimes,
}

/// How long a client of the API may keep its connection waiting, before it is let go.
#[derive(Clone, Copy, Debug)]
pub struct ApiTimes {
    /// For a request's head, from its first byte; and for a connection's first request.
    pub head: Duration,
    /// Between two requests. Go's clients give up an idle connection after 90 s themselves.
    pub idle: Duration,
    /// While there is something to send, of which the client takes nothing.
    pub write: Duration,
}

impl Default for ApiTimes {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(100),
            write: Duration::from_secs(30),
        }
    }
}

impl HubConfig {
    /// A hub with the usual settings that listens where it is told to.
    #[must_use]
    pub fn new(state: PathBuf, api: SocketAddr, broker: Broker) -> Self {
        let lost_after_s = engine::Config::default().lost_after_s;
        Self { state, api, broker, compiler: None, lost_after_s, times: ApiTimes::default() }
    }
}

/// The way to the devices.
#[derive(Clone, Debug)]
pub enum Broker {
    /// An MQTT endpoint in this process, listening here. Port 0 lets the system choose.
    Embedded(SocketAddr),
    /// A broker of the operator's, `mqtt://HOST:PORT`.
    External(String),
}
