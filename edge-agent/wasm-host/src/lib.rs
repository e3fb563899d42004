//! Runs one precompiled WebAssembly module or component in this process.
//!
//! The hub compiles (`lichen-wasmc`); the device runs, with a wasmtime that holds no compiler. Both
//! sides take their engine settings from [`profile`], so that they can only ever disagree loudly.
//! One process runs one instance: the shim starts `lichen-agent wasm-run <spec-file>`, and that
//! command is [`run_from_file`].
//!
//! It does not fetch, verify or compile anything: the agent has checked the artefact's digest
//! against its assignment before it writes the [`Run`].
//!
//! Look next at [`run`](mod@run) for the order of steps, [`offer`] for what a guest may import,
//! [`confine`] for the second wall around it, `limits` for the memory limit, [`error`] for exit codes.

#![deny(unsafe_code)]

mod artefact;
mod component;
pub mod confine;
pub mod error;
mod guest;
mod limits;
mod module;
pub mod offer;
pub mod profile;
pub mod run;
pub mod spec;

pub use error::{EXIT_HOST, EXIT_OUT_OF_MEMORY, EXIT_TRAP, RunError};
pub use profile::{Class, compatibility};
pub use run::{run, run_from_file};
pub use spec::{Preopen, Run, STANDARD_INPUT};
