//! Why a command failed, how that is printed, and the exit code that says it to scripts.

use std::{error::Error, io, path::PathBuf};

use super::{client::ClientError, kubeconfig::KubeconfigError, ui::Ui};
use crate::{
    backup::BackupError,
    manifest::{Problems, report::MAX_SHOWN},
    server::HubError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line can't be understood: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The hub can't be reached or says no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A kubeconfig can't be used or written.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    /// Manifests can't be taken.
    #[error("{0}")]
    Manifests(Problems),
    /// A file can't be read.
    #[error("could not read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The terminal or pipe can't be written.
    #[error("could not write the output")]
    Output(#[from] io::Error),
    /// An image can't be read.
    #[error(transparent)]
    Source(#[from] lichen_images::source::SourceError),
    /// An image can't be made.
    #[error(transparent)]
    Pack(#[from] lichen_images::pack::PackError),
    /// An image can't be written.
    #[error(transparent)]
    Write(#[from] lichen_images::write::WriteError),
    /// The hub does not start, or failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A backup can't be made or used.
    #[error("{what}")]
    Backup {
        /// What could not be done.
        what: String,
        /// The cause.
        #[source]
        source: BackupError,
    },
    /// Something else, with what to do.
    #[error("{0}")]
    Failed(String),
    /// It was asked whether something may be done, and may not; that has been printed.
    #[error("no")]
    No,
    /// Several things failed; each has been printed.
    #[error("{0}")]
    Told(String),
}

impl CliError {
    /// What scripts see.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// Whether whoever read the output has gone, as with `| head`. That is no failure.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the hub was asked and said no, or has no such thing.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Client(ClientError::Refused(_)) | Self::Failed(_))
    }

    /// Prints it, with its causes, on stderr.
    pub fn print(&self, ui: &mut Ui) {
        match self {
            Self::Manifests(Problems(problems)) => {
                for problem in problems.iter().take(MAX_SHOWN) {
                    ui.error(&problem.to_string());
                }
                if problems.len() > MAX_SHOWN {
                    ui.error(&format!("and {} more problems", problems.len() - MAX_SHOWN));
                }
            }
            Self::No => {}
            other => ui.error(&chain(other)),
        }
    }
}

/// An error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
