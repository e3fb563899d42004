//! What the shell says once, at the start: who the device is and what it saved.

use alloc::{string::String, vec::Vec};

use firmware_compat::{
    keys::PinnedHub,
    signed::Verify,
    time::UnixMs,
    v1::owned::{AssignmentId, Hello},
};

pub use crate::assignment::parts::{Part, Parts};

/// Who the device is and what the operator asked for.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every Hello says. `assignment`, `keys` and `clock_ms` are filled in by the core; `runtimes` and `wasm` follow
    /// [`crate::Event::Runtimes`]; `max_assignment_bytes` is also the bound that the core enforces.
    pub hello: Hello,
    /// The device's name, for which the hub signs.
    pub name: String,
    /// Whom to believe, as it is on disk. Without it nobody is believed before [`crate::Event::HubPinned`].
    pub hub: Option<PinnedHub>,
    /// Checks a signature.
    pub verify: Verify,
    /// Time floor that is on disk; 0 if none.
    pub time_floor_ms: UnixMs,
}

/// An assignment as it is kept on disk. The core makes it, the shell stores it unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedAssignment {
    /// Which assignment.
    pub id: AssignmentId,
    /// The body's bytes: the hash in `id` is over these.
    pub body: Vec<u8>,
    /// Every part that it refers to. Parts that are on disk already are not written again.
    pub parts: Parts,
}
