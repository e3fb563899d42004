//! The logbook of a device: what happened on it, kept by the device itself in a chain of lines, and handed over to its hub when
//! it is there again. Not MQTT: it travels as JSON over TLS, as what [`crate::enrolment`] describes does, so that the broker
//! neither carries it nor says that it has arrived.
//!
//! A line is a [`Record`] as JSON. Each carries the SHA-256 of the whole line before it, so that whoever alters or takes out
//! one has to alter all that follow, of which the hub has the last that it was handed. A device that has lost its logbook
//! begins another one, with another id: that shows, too.

use serde::{Deserialize, Serialize};

pub use crate::form::owned::{List, Text};
use crate::{
    capacity::full,
    id::{BootId, PodId},
    time::UnixMs,
};

/// POST [`Handover`], with a certificate: 200 [`Kept`].
pub const LOGBOOK_PATH: &str = "/lichen/v1/logbook";

/// Hexadecimal digits of a logbook's id.
pub const LOGBOOK_ID: usize = 16;
/// Hexadecimal digits of a hash.
pub const HASH: usize = 64;
/// Bytes of what a record says in words.
pub const MESSAGE: usize = full::CONTAINER_MESSAGE;
/// Bytes of a line. A record whose message is all quotes takes two thirds of it.
pub const LINE: usize = 1280;
/// Lines that are handed over at once: in JSON again, they fit a document.
pub const LINES: usize = 16;
/// The number of a record: more than anybody can write.
pub const MAX_SEQUENCE: u64 = 1 << 53;

/// Something that happened on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Of the logbook: drawn when it was begun.
    pub log: Text<LOGBOOK_ID>,
    /// Counts the records of the logbook, from 1.
    pub sequence: u64,
    /// By the device's clock, in milliseconds since 1970, whatever it is worth.
    pub at_ms: UnixMs,
    /// The latest time that the hub had told the device until then, and what had gone by since.
    pub known_ms: UnixMs,
    /// Of the running kernel.
    pub boot: BootId,
    /// The Pod that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodId>,
    /// CamelCase.
    pub reason: Text<{ full::REASON }>,
    /// In words.
    pub message: Text<MESSAGE>,
    /// SHA-256 of the line before, in hexadecimal; zeros in the first.
    pub previous: Text<HASH>,
}

/// A device hands over what its hub does not have yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handover {
    /// Records, in order, each as it stands in the logbook: the hashes are over these bytes.
    pub lines: List<Text<LINE>, LINES>,
}

/// What the hub has of a logbook. What comes after it is to be handed over; what comes until then need not be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Of which logbook.
    pub log: Text<LOGBOOK_ID>,
    /// The last record.
    pub sequence: u64,
    /// The hash of its line.
    pub hash: Text<HASH>,
}
