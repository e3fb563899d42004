//! A hollow fleet: many agents in one process against a real hub in a process of its own.
//!
//! A hollow device is the agent's real core ([`lichen_agent_core`]) and its real connection ([`lichen_agent::link`]),
//! with one socket; only what touches a machine is in memory: the disk, the store of artefacts, the runtime.
//!
//! - [`machine`] is that memory; [`device`] the loop around one core; [`fleet`] all of them on one tokio runtime. They
//!   become devices of the hub in [`joining`].
//! - [`site`] is a hub with its fleet, and what every scenario does with it; [`plan`] says how large it all is.
//! - [`scenario`] has one file for each thing that is measured; each can be run alone.
//! - [`watch`] records what a hub shows, [`sockets`] counts and cuts connections, [`usage`] reads CPU time and memory.
//! - [`limits`] raises what the system allows, or says what is too low; [`report`] makes the table.
//!
//! It judges results (everything ready, nothing restarted, everything gone), never times.

#![forbid(unsafe_code)]

pub mod device;
pub mod fleet;
pub mod joining;
pub mod limits;
pub mod machine;
pub mod placement;
pub mod plan;
pub mod report;
pub mod scenario;
pub mod site;
pub mod sockets;
pub mod usage;
pub mod watch;
