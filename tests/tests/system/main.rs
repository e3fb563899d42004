//! The promises, kept by real processes: hub, agents, shims, modules, containers, brokers.
//!
//! What needs neither root nor other programs runs with plain `cargo test`; the rest is marked, and `make test` runs it.
//! Each test has hubs, devices and ports of its own, so that they run beside each other.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod backup;
mod broker;
mod container;
mod docs;
mod edge;
mod fleet;
mod machines;
mod offline;
mod quickstart;
mod rotation;
mod secret;
mod sidecar;
mod site;
mod supervision;
mod survival;
mod threats;
mod wasm;
mod words;
