//! A harness for tests and benchmarks that run the real programs: hub, agents, shims, and Mosquitto as a stranger's
//! broker.
//!
//! - [`programs`] finds the programs that cargo has built.
//! - [`hub`], [`agent`] and [`mosquitto`] are process guards with directories of their own; [`process`] is what they
//!   share. [`clock`] gives them a clock that is wrong.
//! - [`network`] makes several machines of this one, [`relay`] sits on the way between two programs.
//! - [`api`] talks to a hub as any client would, [`cli`] as a user does.
//! - [`docs`] runs the pages of `docs/`.
//! - [`wait`] is the one place that waits.
//! - [`footprint`] tells what a device has left on the machine.
//! - [`samples`] makes the manifests, modules and images that the tests apply.
//! - [`bench`] measures, [`soak`] breaks.
//!
//! A harness may panic: its callers are tests, and a panic is how a test says what is wrong.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a harness fails by panicking")]

pub mod agent;
pub mod api;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod docs;
pub mod footprint;
pub mod hub;
pub mod mosquitto;
pub mod network;
pub mod ports;
pub mod process;
pub mod programs;
pub mod relay;
pub mod samples;
pub mod soak;
pub mod wait;
