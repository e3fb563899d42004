//! The hub's way to its devices: the MQTT endpoint of its own, or a client of an external broker.
//!
//! A [`Link`] is a pipe. It carries frames both ways, keeps the newest assignment head of every device where a device
//! finds it when it connects, and reports who is there as [`LinkEvent`]s. It decides nothing and promises nothing: a
//! frame may be lost, doubled or overtaken, and the hub's engine repeats what matters until a device has confirmed it.
//!
//! - [`endpoint`]: an MQTT 5 server inside the hub's own process. Devices connect to the hub.
//! - [`external`]: any MQTT 5 broker, which hub and devices both connect to.
//! - [`client`]: one lasting MQTT connection with an outbox; the external link is built on it, and so can an agent be.
//!
//! What the frames mean is `firmware-compat`'s business, and what to do about them `lichen-hub-core`'s.

#![forbid(unsafe_code)]

pub mod client;
#[cfg(feature = "endpoint")]
pub mod endpoint;
mod error;
mod event;
pub mod external;

use firmware_compat::frame::Kind;
#[cfg(feature = "endpoint")]
use firmware_compat::id::Hash;

#[cfg(feature = "endpoint")]
pub use endpoint::{Endpoint, EndpointConfig, PROTOCOLS};
pub use error::LinkError;
pub use event::{Board, Holder, LinkCounts, LinkEvent, Newcomer};
pub use external::{As, External, ExternalConfig, TlsSource};

/// How the hub reaches its devices. Both kinds take the same calls and report the same events.
#[derive(Debug)]
pub enum Link {
    /// Devices connect to the hub.
    #[cfg(feature = "endpoint")]
    Embedded(Endpoint),
    /// Hub and devices connect to a broker of the operator's.
    External(External),
}

impl Link {
    /// Sets the newest assignment head of `device`: sent now if the device is connected, and found by it whenever it
    /// connects. Replaces the one before.
    pub fn set_head(&self, device: &str, frame: Vec<u8>) {
        match self {
            #[cfg(feature = "endpoint")]
            Self::Embedded(link) => link.set_head(device, frame),
            Self::External(link) => link.set_head(device, frame),
        }
    }

    /// Forgets the head of `device`.
    pub fn clear_head(&self, device: &str) {
        match self {
            #[cfg(feature = "endpoint")]
            Self::Embedded(link) => link.clear_head(device),
            Self::External(link) => link.clear_head(device),
        }
    }

    /// Sends a frame to `device` if it is there now. False if it was dropped, and counted: the device is not there, or
    /// too much waits for it already. A device asks for what it misses.
    pub fn send(&self, device: &str, kind: Kind, frame: Vec<u8>) -> bool {
        match self {
            #[cfg(feature = "endpoint")]
            Self::Embedded(link) => link.send(device, kind, frame),
            Self::External(link) => link.send(device, kind, frame),
        }
    }

    /// Sends a frame to every device that is there now.
    pub fn send_all(&self, kind: Kind, frame: Vec<u8>) {
        match self {
            #[cfg(feature = "endpoint")]
            Self::Embedded(link) => link.send_all(kind, frame),
            Self::External(link) => link.send_all(kind, frame),
        }
    }

    /// Lets `device` in with one of these keys (SHA-256 of the public key in its certificate), two at most, and with no
    /// other: a session with another key ends. An external broker knows certificates by itself; from then on what comes of
    /// this device is heard.
    #[cfg(feature = "endpoint")]
    pub fn admit(&self, device: &str, keys: &[Hash]) {
        match self {
            Self::Embedded(link) => link.admit(device, keys),
            Self::External(link) => link.admit(device),
        }
    }

    /// Ends the session of `device`, and keeps it out. It is told `why`; an external broker tells nobody anything.
    #[cfg(feature = "endpoint")]
    pub fn dismiss(&self, device: &str, why: &str) {
        match self {
            Self::Embedded(link) => link.dismiss(device, why),
            Self::External(link) => link.dismiss(device),
        }
    }

    /// Ends the session of `device`, and knows nothing of it any more: whoever comes by this name is a stranger.
    #[cfg(feature = "endpoint")]
    pub fn forget(&self, device: &str) {
        match self {
            Self::Embedded(link) => link.forget(device),
            Self::External(link) => link.forget(device),
        }
    }

    /// What has passed and what was lost since the start.
    #[must_use]
    pub fn counts(&self) -> LinkCounts {
        match self {
            #[cfg(feature = "endpoint")]
            Self::Embedded(link) => link.counts(),
            Self::External(link) => link.counts(),
        }
    }

    /// Closes every connection and waits until the listener or the client has ended.
    pub async fn shutdown(self) {
        match self {
            #[cfg(feature = "endpoint")]
            Self::Embedded(link) => link.shutdown().await,
            Self::External(link) => link.shutdown().await,
        }
    }
}
