//! Why nothing was compiled, sorted by whose turn it is to act; see the crate's table of exit codes.

use std::path::PathBuf;

/// Wrong usage, a file that cannot be used, or a fault of the compiler.
pub const EXIT_FAULT: u8 = 1;
/// The operator's program cannot run on a device.
pub const EXIT_PROGRAM: u8 = 2;
/// A limit was hit.
pub const EXIT_LIMIT: u8 = 3;

/// Why there is no artefact.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is not understood.
    #[error("{0}; usage: {usage}", usage = crate::args::USAGE)]
    Usage(String),
    /// A file could not be read or written.
    #[error("could not {action} {path}: {cause}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// The compiler itself is at fault.
    #[error("{0}")]
    Fault(String),
    /// The bytes are not a valid program.
    #[error("not a valid WebAssembly program: {0}")]
    Invalid(String),
    /// The program imports what no device offers.
    #[error("{0}; a device offers WASI preview 1 to modules and WASI 0.2 to command components")]
    Import(String),
    /// The program cannot be started.
    #[error("{0}")]
    Entry(String),
    /// The input is too large.
    #[error("the program is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The most that is accepted.
        limit_bytes: u64,
    },
}

impl Error {
    /// See the crate's table.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::File { .. } | Error::Fault(_) => EXIT_FAULT,
            Error::Invalid(_) | Error::Import(_) | Error::Entry(_) => EXIT_PROGRAM,
            Error::TooLarge { .. } => EXIT_LIMIT,
        }
    }

    /// The message without line breaks, which parsers like to print.
    pub fn one_line(&self) -> String {
        let text = self.to_string();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
