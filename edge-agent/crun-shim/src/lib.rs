//! The per-container supervisor: a small process per run of a container, and the library to start it, ask it
//! and find it again.
//!
//! ```text
//!   agent ──spawn──► lichen-shim launch ──► lichen-shim supervise ──► process
//!     │  (leaves at once, so that the shim     │    its own session      or
//!     │   is a child of init)                  │    and mount namespace  runtime create/start ► container
//!     └────────────── shim.sock ───────────────┘
//! ```
//!
//! * The agent may be killed, restarted or upgraded at any time: the shim holds the output pipes and the
//!   parenthood, and nothing connects it to the agent but files and a socket in the run directory.
//! * [`inspect`] answers "what became of this run" from the directory's lock, which dies with the shim, and never
//!   from a pid. After [`Found::Lost`], [`clean_up`] leaves no process, container or cgroup; mounts live in the
//!   shim's namespace and need no cleaning.
//!   [`Orphan`] is for asking a container to end before.
//! * [`Exit`] is on disk, synced, before anybody is told, and before the shim leaves.
//! * What must not be on a disk (an environment with secrets in it) is handed over in memory: [`Private`].
//! * A failure to start is an exit with a reason ([`Outcome::StartError`]), not silence.
//!
//! ```no_run
//! use std::path::Path;
//! use lichen_shim::{Found, Kind, LogLimits, Process, Request, Spec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let run_dir = Path::new("/var/lib/lichen/runs/web-0.1");
//! let kind = Kind::Process(Process {
//!     argv: vec!["/bin/echo".into(), "hello".into()],
//!     env: Vec::new(),
//!     cwd: "/".into(),
//!     private: false,
//!     group: None,
//! });
//! let spec = Spec { kind, log: LogLimits::default(), label: "default/web-0".into() };
//! lichen_shim::spawn(Path::new("/usr/bin/lichen-shim"), run_dir, &spec)?;
//! match lichen_shim::inspect(run_dir)? {
//!     Found::Running(_) => {
//!         let stop = Request::Stop { signal: 15, grace_ms: 10_000 };
//!         lichen_shim::request(run_dir, &stop)?;
//!     }
//!     Found::Exited(exit) => println!("ended with {}", exit.outcome.exit_code()),
//!     Found::Lost => {
//!         lichen_shim::clean_up(Path::new("/usr/bin/lichen-shim"), run_dir)?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An agent with an event loop takes [`connect`]'s stream, makes it non-blocking, writes
//! [`protocol::encode`]d requests and feeds what it reads to a [`Decoder`].

pub mod adopt;
pub mod beneath;
pub mod cgroup;
pub mod client;
pub mod log;
pub mod orphan;
pub mod pause;
pub mod private;
mod procfs;
pub mod protocol;
pub mod run_dir;
pub mod spawn;
pub mod spec;
pub mod state;
mod supervise;

pub use adopt::{AdoptError, Found, clean_up, inspect, inspect_within};
pub use client::{Client, ClientError, connect, request};
pub use orphan::Orphan;
pub use private::{Private, keep_out_of_cores, take_input};
pub use protocol::{Decoder, Refusal, Reply, Request};
pub use run_dir::RunDir;
pub use spawn::{SpawnError, Spawned, spawn, spawn_private};
pub use spec::{
    Container, Group, Kind, Limits, LogLimits, Overlay, Process, Spec, SpecError, SubPath,
};
pub use state::{BootId, Exit, Outcome, Phase, Started, State};
pub use supervise::run;
