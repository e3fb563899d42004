//! The per-instance supervisor: a small process per run of an instance, and the library to start, ask and
//! re-adopt it.
pub mod adopt;
pub mod client;
pub mod log;
mod procfs;
pub mod protocol;
pub mod run_dir;
pub mod spawn;
pub mod spec;
pub mod state;
mod supervise;

pub use adopt::{AdoptError, Found, clean_up, inspect};
pub use client::{Client, ClientError, connect, request};
pub use protocol::{Decoder, Refusal, Reply, Request};
pub use run_dir::RunDir;
pub use spawn::{SpawnError, Spawned, spawn};
pub use spec::{Container, Kind, LogLimits, Overlay, Process, Spec, SpecError};
pub use state::{BootId, Exit, Outcome, Phase, Started, State};
pub use supervise::run;
