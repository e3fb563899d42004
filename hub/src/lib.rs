//! The hub's shell: it owns the clock, the files and the sockets, and carries out what the engine of `lichen-hub-core`
//! decides.
//!
//! - [`cli`]: the command line of the program `lichen`.
//! - [`server`]: API, artefacts, registry, and the one task that owns the engine.
//! - [`store`]: where accepted objects survive.
//! - [`audit`]: who did what, in a log that can be checked.
//! - [`backup`]: a hub in one file, and back.
//! - [`manifest`]: from what an operator wrote to an object, or to every field that can't be taken.

#![forbid(unsafe_code)]

pub mod audit;
pub mod backup;
pub mod cli;
pub mod manifest;
pub mod server;
pub mod store;
