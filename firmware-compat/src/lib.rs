//! The wire contract between the hub and its devices: what a frame looks like, what each message holds, and on which
//! topic it travels. Boards and microcontrollers share it, so it is `no_std` and needs no allocator.
//!
//! - [`topic`] builds and parses topic names.
//! - [`frame`] is the header in front of every message, and the numbers of the kinds.
//! - [`signed`] says what the hub signs, [`keys`] by which keys a device knows its hub, [`guard`] what it believes.
//! - [`time`] is time as both sides' cores see it.
//! - [`id`] holds the identifiers that both sides compare.
//! - [`capabilities`] numbers what containers may be allowed.
//! - [`capacity`] names every bound, with its reason.
//! - [`session`] is the device's side of it: what moves a device, and what does not.
//! - `enrolment`, with the feature `alloc`, is how a device comes to its identity: documents over HTTPS, and the join token.
//! - `logbook`, with the same feature, is how a device hands over what it noted while the hub was away.
//! - [`sealed`] says how what is secret is sealed to a device's key.
//! - [`v1`] holds the messages of protocol version 1, each in two forms with the same bytes: `v1::fixed`
//!   (heapless, capacities for a microcontroller) and, with the feature `alloc`, `v1::owned` (String and Vec).
//!
//! Rules of change: variants and fields are appended to a *new* version module, never to a released one; golden
//! bytes under `tests/golden` pin what is released. MQTT only carries: order and duplicates are told apart by
//! sequence and generation numbers.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod capabilities;
pub mod capacity;
#[cfg(feature = "alloc")]
pub mod enrolment;
pub mod frame;
pub mod guard;
pub mod id;
pub mod keys;
#[cfg(feature = "alloc")]
pub mod logbook;
pub mod sealed;
pub mod session;
pub mod signed;
pub mod time;
pub mod topic;
pub mod v1;

mod form;
