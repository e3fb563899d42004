//! How a device comes to its identity: the documents of the hub's device port, the word that is pasted on a device, and
//! the names that both sides agree on. Not MQTT: these travel as JSON over TLS, and the shells read and write the JSON.
//!
//! - [`token`] is the join token, one word of text. - [`address`] is where a hub or a broker is found.
//! - [`encoded`] holds fingerprints and keys, which are text in JSON.
//!
//! Every text and list has a bound. A reader hands at most [`MAX_DOCUMENT_BYTES`] to its JSON parser. Fields that a reader
//! does not know are passed over, so that either side may be the newer one.

pub mod address;
pub mod encoded;
pub mod token;

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

pub use crate::form::owned::{List, Text};
use crate::{
    capacity::full,
    id::{AgentId, BootId, Lineage, PublicKey},
    time::UnixMs,
};
pub use address::{Address, AddressError, Broker};
pub use encoded::{Fingerprint, SealingKey};
pub use token::{JoinSecret, JoinToken, TokenError};

/// The name in every certificate of a hub. Devices check it instead of the address that they dialled, so that a hub that
/// moves stays the same hub.
pub const HUB_NAME: &str = "lichen-hub";
/// The name in the certificate of a broker beside the hub. Another one than the hub's: a broker carries frames, and must
/// not be able to hand out keys or certificates.
pub const BROKER_NAME: &str = "lichen-broker";
/// The organisation in the certificate of every device.
pub const DEVICES: &str = "lichen:device";
/// The port for devices when none is said.
pub const DEVICE_PORT: u16 = 6183;
/// ALPN of MQTT on the device port.
pub const ALPN_MQTT: &[u8] = b"mqtt";
/// ALPN of HTTP on the device port.
pub const ALPN_HTTP: &[u8] = b"http/1.1";

/// POST [`EnrolRequest`], without a certificate: 200 [`Enrolled`] or 202 [`Pending`].
pub const ENROL_PATH: &str = "/lichen/v1/enrol";
/// POST [`RenewRequest`], with a certificate that may have expired: 200 [`Enrolled`].
pub const RENEW_PATH: &str = "/lichen/v1/renew";
/// GET, with a certificate: [`HubFacts`].
pub const CONNECT_PATH: &str = "/lichen/v1/connect";
/// GET, with a certificate: [`Holder`]. With `?agent=HEX&boot=HEX` the device says which of its boards asks.
pub const SESSION_PATH: &str = "/lichen/v1/session";

/// Largest document in either direction: four CA certificates, a chain and eight addresses take a third of it.
pub const MAX_DOCUMENT_BYTES: usize = 32 * 1024;
/// Certificates in PEM: a chain, or the CAs during a rotation.
pub const CERTIFICATES_BYTES: usize = 16 * 1024;
/// A certificate signing request in PEM. One for an RSA key of 8192 bits takes a half of it.
pub const REQUEST_BYTES: usize = 8 * 1024;
/// A name as somebody wishes it: as long as a host's name may be. What may be used is
/// [`topic::is_device_name`](crate::topic::is_device_name).
pub const WISHED_NAME: usize = 253;
/// A board's serial number. The longest that firmware of PCs reports is 64 characters.
pub const SERIAL: usize = 64;
/// Addresses under which one hub is found.
pub const ADDRESSES: usize = 8;
/// Keys of one hub at a time: the one that it signs with, and the next one while it changes them.
pub const SIGNING_KEYS: usize = 2;

/// A device asks for an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolRequest {
    /// What a join token says. Without it an operator decides, or the serial number is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<JoinSecret>,
    /// For the key of the certificate, PEM. Only its public key counts.
    pub csr: Text<REQUEST_BYTES>,
    /// To which secrets for this device are sealed.
    pub sealing_key: SealingKey,
    /// The name that it would like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<WISHED_NAME>>,
    /// Of its state directory.
    pub agent: AgentId,
    /// Of the running kernel.
    pub boot: BootId,
    /// Of the board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Text<SERIAL>>,
    /// Of the board, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Text<{ full::DESCRIPTION }>>,
}

/// A device asks for a new certificate in place of the one that it shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewRequest {
    /// As in [`EnrolRequest`]. The key may be a new one.
    pub csr: Text<REQUEST_BYTES>,
    /// As in [`EnrolRequest`].
    pub sealing_key: SealingKey,
    /// Of its state directory.
    pub agent: AgentId,
    /// Of the running kernel.
    pub boot: BootId,
}

/// An identity, and the hub that gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    /// The device's name from now on.
    pub name: Text<{ crate::topic::MAX_DEVICE_NAME }>,
    /// The device's certificate and those between it and the CA, PEM.
    pub certificate: Text<CERTIFICATES_BYTES>,
    /// Whom to believe, and where to find it.
    #[serde(flatten)]
    pub hub: HubFacts,
}

/// What a device keeps of its hub, and asks for anew now and then: all of it may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubFacts {
    /// The CAs that are believed, PEM; two during a rotation.
    pub ca: Text<CERTIFICATES_BYTES>,
    /// The keys with which the hub signs frames, newest first.
    pub signing_keys: List<PublicKey, SIGNING_KEYS>,
    /// Of the hub's store.
    pub lineage: Lineage,
    /// Where the hub's device port is, best first.
    pub addresses: List<Address, ADDRESSES>,
    /// Where MQTT is spoken, if not at the hub itself.
    pub broker: Option<Broker>,
    /// The hub's known time.
    pub unix_ms: UnixMs,
    /// Which certificates to renew before their time; said while the hub changes its CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
}

/// Certificates of an old CA end with it. Who has one renews it early, at a time of its own choice, so that a fleet does not
/// come all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renewal {
    /// Those that were issued before this, by the hub's known time.
    pub issued_before_ms: UnixMs,
    /// Are renewed before this.
    pub by_ms: UnixMs,
}

/// An operator has to decide first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// True. Tells this document from [`Enrolled`].
    pub pending: bool,
    /// The name under which an operator finds the request.
    pub name: Text<{ crate::topic::MAX_DEVICE_NAME }>,
    /// A sentence for people.
    pub message: Text<{ full::MESSAGE }>,
    /// When to ask again.
    pub retry_after_s: u32,
}

/// Who is connected under a device's name. A cloned card has one agent id on two boards: they differ in their boots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The agent; none if nobody is connected.
    pub agent: Option<AgentId>,
    /// The kernel under it, if the hub knows.
    #[serde(default)]
    pub boot: Option<BootId>,
}

/// The reading half of a Kubernetes `Status`, which answers what is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// Why, and what to do.
    #[serde(default)]
    pub message: String,
    /// The CamelCase word for it.
    #[serde(default)]
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.message.as_str(), self.reason.as_str()) {
            ("", "") => f.write_str("it gave no reason"),
            ("", reason) => f.write_str(reason),
            (message, _) => f.write_str(message),
        }
    }
}
