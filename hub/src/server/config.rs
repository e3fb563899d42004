//! What a hub needs to know before it starts.

use std::{net::SocketAddr, path::PathBuf};

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
    /// How long a device may be silent before copies that could run elsewhere are replaced.
    pub lost_after_s: u32,
}

impl HubConfig {
    /// A hub with the usual settings that listens where it is told to.
    #[must_use]
    pub fn new(state: PathBuf, api: SocketAddr, broker: Broker) -> Self {
        let lost_after_s = engine::Config::default().lost_after_s;
        Self { state, api, broker, compiler: None, lost_after_s }
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
