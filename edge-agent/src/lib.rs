//! The agent's shell: everything that touches the machine. What is to be done is decided in `lichen-agent-core`.
//!
//! - [`run()`] owns the one loop: it feeds events to the core and carries its effects out.
//! - [`options`] and [`args`] say how to run; [`probe`] finds out what the device can do, [`board`] what board it is.
//! - [`state`] and [`content`] are what survives a restart: the assignment, fetched artefacts, unpacked layers.
//! - [`identity`] is who the device is: keys, certificate, by what it knows its hub. [`join`](mod@join) gets it, [`membership`]
//!   keeps it up and says how every connection is made; [`tls`] decides whom to believe, by [`known_time`]; [`signature`]
//!   checks what a hub has signed.
//! - [`link`] is the connection to the broker, [`hub`] the hub's HTTP side.
//! - [`sandbox`] makes what the containers of a Pod share, with [`volumes`]; [`runtime`] makes each container ready and
//!   starts it; [`supervise`] watches their shims and adopts those of an earlier agent; [`pod_dir`] is where they keep
//!   what they are. [`secrets`] opens what is sealed to this device, for both.
//! - [`measure`] looks what is left of the device; [`failure`] says which failures are a full disk's.
//! - [`logs`] answers log commands; [`local`] answers on the device itself.
//!
//! One thread runs the loop and every task. What blocks (disk, HTTP, spawning) runs on threads that go away again, so
//! that an idle agent is small.

#![deny(unsafe_code)]

pub mod args;
mod asking;
pub mod board;
pub mod claims;
pub mod content;
mod facts;
pub mod failure;
pub mod hub;
pub mod identity;
pub mod join;
pub mod known_time;
pub mod link;
pub mod local;
pub mod logbook;
pub mod logs;
pub mod measure;
pub mod membership;
pub mod message;
pub mod options;
pub mod pod_dir;
pub mod probe;
mod random;
mod run;
pub mod runtime;
pub mod sandbox;
pub mod secrets;
pub mod signature;
pub mod state;
pub mod supervise;
#[cfg(test)]
mod test_support;
pub mod tls;
pub mod volumes;

pub use lichen_wasm_host::run_from_file as wasm_run;
pub use options::Options;
pub use run::{AgentError, run};
