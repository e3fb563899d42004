//! Why a run failed, and the exit code that says so to the shim.
//!
//! A guest that ends by itself keeps its own exit code. The codes below are for ends that the
//! guest did not choose; the message on standard error says which one it was.

use std::path::PathBuf;

use crate::spec::SpecError;

/// The host could not load or start the artefact.
pub const EXIT_HOST: i32 = 125;
/// The guest trapped. The same as a process killed by SIGABRT, as shells show it.
pub const EXIT_TRAP: i32 = 134;
/// The guest aborted after it was refused memory, or needs more than its limit to start. The same as a container killed for its memory.
pub const EXIT_OUT_OF_MEMORY: i32 = 137;

/// Why an artefact could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The spec file is unusable.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The artefact could not be read.
    #[error("could not read artefact {path}")]
    Unreadable {
        /// The artefact.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no precompiled code.
    #[error("{path} is not a precompiled module or component: the hub compiles it for a device")]
    NotPrecompiled {
        /// The artefact.
        path: PathBuf,
    },
    /// The artefact was compiled for another class or by another version.
    #[error(
        "artefact {path} does not fit this device, which needs {needed}: {cause}; \
         the hub has to compile it for this device"
    )]
    Incompatible {
        /// The artefact.
        path: PathBuf,
        /// What this host loads; see [`crate::profile::description`].
        needed: String,
        /// What wasmtime says the artefact was made for.
        cause: String,
    },
    /// A directory cannot be given to the guest.
    #[error("could not open directory {host} for the guest's {guest}: {cause}")]
    Preopen {
        /// The directory on the host.
        host: PathBuf,
        /// The guest's name for it.
        guest: String,
        /// Why.
        cause: String,
    },
    /// The guest could not be linked or set up.
    #[error("could not start the guest: {0}")]
    Unstartable(String),
    /// The guest did what WebAssembly forbids, or aborted.
    #[error("trap: {trap}{at}")]
    Trap {
        /// wasmtime's name for the trap.
        trap: String,
        /// The guest's functions that it came through, innermost first; empty if unknown.
        at: String,
    },
    /// The guest aborted after a request for memory was refused, or could not start for it.
    #[error(
        "out of memory: the guest wanted {wanted_bytes} bytes, its limit is {limit_bytes}{ending}"
    )]
    OutOfMemory {
        /// What it would have held in all.
        wanted_bytes: u64,
        /// What it may hold; all that the machine has, when no limit was set.
        limit_bytes: u64,
        /// How it ended then.
        ending: String,
    },
    /// This process could not set itself up.
    #[error("could not set up the host: {0}")]
    Host(String),
}

impl RunError {
    /// The exit code of the process that prints this error.
    pub fn exit_code(&self) -> i32 {
        match self {
            RunError::Trap { .. } => EXIT_TRAP,
            RunError::OutOfMemory { .. } => EXIT_OUT_OF_MEMORY,
            RunError::Spec(_)
            | RunError::Unreadable { .. }
            | RunError::NotPrecompiled { .. }
            | RunError::Incompatible { .. }
            | RunError::Preopen { .. }
            | RunError::Unstartable(_)
            | RunError::Host(_) => EXIT_HOST,
        }
    }

    /// The message with its causes, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
