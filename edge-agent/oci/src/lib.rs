//! Containers on a device: unpacked layers, config.json, finding and trying an OCI runtime.
//!
//! Everything between verified image bytes and a bundle that `crun`, `runc` or `youki` can run. It owns no
//! process of a container (the shim does), talks to no network (the agent's shell does) and decides nothing about
//! when something runs (the agent's core does).
//!
//! In the order of a container's life: [`image`] reads manifest and config, [`layers`] unpacks each layer once,
//! [`user`] finds the user in those layers, [`namespace`] and [`etc`] are what the containers of a Pod share,
//! [`security`] and [`devices`] say what a container may do, [`config`] writes `config.json`, [`bundle`] lays out the run directory, and [`runtime`] has found, at the agent's
//! start, what runs it.

pub mod bundle;
mod child;
pub mod config;
mod container;
pub mod controllers;
pub mod devices;
mod digest;
mod entries;
pub mod etc;
pub mod expand;
pub mod image;
pub mod index;
pub mod inventory;
pub mod layers;
mod mounts;
pub mod namespace;
mod place;
mod probe;
mod profile;
mod resolve;
pub mod resolver;
pub mod runtime;
pub mod security;
pub mod signal;
mod tree;
mod trial;
mod trial_program;
pub mod user;

pub use digest::{Digest, DigestError};
