//! What a hub needs to know before it starts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use firmware_compat::enrolment::Address;
use lichen_hub_core::engine;

use super::devices::Lifetimes;
use crate::{audit::log, store::KeySource};

/// The operators' address, where no other is given: every address of the machine, IPv6 and IPv4.
pub const DEFAULT_API: &str = "[::]:6180";
/// The devices' address, where no other is given.
pub const DEFAULT_DEVICES: &str = "[::]:6183";

/// What a hub needs to know.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The directory of its store and its artefacts.
    pub state: PathBuf,
    /// Where operators connect: API, registry, metrics. Port 0 lets the system choose.
    pub api: SocketAddr,
    /// Where devices connect: MQTT, artefacts, enrolment. Port 0 lets the system choose.
    pub devices: SocketAddr,
    /// Names and addresses by which the hub is found, each with the port of the device port as seen from outside; those
    /// of the machine if there are none.
    pub advertise: Vec<Address>,
    /// The operator's MQTT broker, if devices are not to speak MQTT with the hub itself: `mqtts://HOST:PORT`, or plain
    /// `mqtt://` and `unix://` on this machine.
    pub external_broker: Option<String>,
    /// How long devices' certificates last.
    pub lifetimes: Lifetimes,
    /// The machine's clock is right, however far it is ahead of the time that the hub knows of.
    pub accept_clock: bool,
    /// Where the key of the Secrets in the store is from.
    pub secrets_key: KeySource,
    /// The Wasm compiler; without it, `lichen-wasmc` beside this program or in PATH.
    pub compiler: Option<PathBuf>,
    /// How long a device may be silent before its Pods that could run elsewhere are replaced.
    pub lost_after_s: u32,
    /// How long the API's clients may take.
    pub times: ApiTimes,
    /// How much of the audit log is kept.
    pub audit: log::Limits,
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
    pub fn new(state: PathBuf, api: SocketAddr, devices: SocketAddr) -> Self {
        Self {
            state,
            api,
            devices,
            advertise: Vec::new(),
            external_broker: None,
            lifetimes: Lifetimes::default(),
            accept_clock: false,
            secrets_key: KeySource::Own,
            compiler: None,
            lost_after_s: engine::Config::default().lost_after_s,
            times: ApiTimes::default(),
            audit: log::Limits::default(),
        }
    }
}
