//! Why a kubeconfig can't be used. No message quotes what a file holds: it may be a key.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::cli::client::Server;

/// Why a kubeconfig can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The disk refuses.
    #[error("could not {what} {}", path.display())]
    File {
        /// In words.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file is no kubeconfig.
    #[error("{} is no kubeconfig: {cause}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// What a field says can't be used.
    #[error("{}: {field}: {cause}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// `clusters[hub].cluster.server`.
        field: String,
        /// What is wrong, and what to do.
        cause: String,
    },
    /// Two programs change a file at once, or one of them ended while it did.
    #[error(
        "{} is being changed by another program; try again, and if none is, remove {}",
        path.display(), lock.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// What says so, as kubectl does.
        lock: PathBuf,
    },
    /// No file says anything.
    #[error(
        "no hub is known here: start one on this machine with `lichen hub`, or log in to one with `lichen login HUB \
         --token TOKEN`{}",
        listed(skipped)
    )]
    NoHub {
        /// Files that were looked into and say nothing of use, with why.
        skipped: Vec<(PathBuf, String)>,
    },
    /// An address is given, and nothing is known of what is there.
    #[error(
        "nothing is known of the hub at {server}, by which it could be told from another; log in: lichen login {} \
         --token TOKEN", server.authority()
    )]
    Stranger {
        /// The address.
        server: Server,
    },
    /// There is no context of that name.
    #[error("there is no context {name:?}; {}{}", known(names), listed(skipped))]
    NoContext {
        /// What was asked for.
        name: String,
        /// Those that there are.
        names: Vec<String>,
        /// Files that were looked into and say nothing of use, with why.
        skipped: Vec<(PathBuf, String)>,
    },
    /// There are contexts, and none is the current one.
    #[error("none of the contexts is the current one ({}); choose: lichen config use-context NAME", names.join(", "))]
    NoCurrent {
        /// Those that there are.
        names: Vec<String>,
    },
    /// What the files say together can't be used.
    #[error("could not use {origin}: {cause}")]
    Unusable {
        /// Which part of them.
        origin: String,
        /// What is wrong.
        cause: String,
    },
}

impl KubeconfigError {
    pub(super) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what, path: path.to_owned(), source }
    }

    pub(super) fn shape(path: &Path, cause: impl Into<String>) -> Self {
        Self::Shape { path: path.to_owned(), cause: cause.into() }
    }

    /// Whether the file is there and may not be read.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

fn listed(skipped: &[(PathBuf, String)]) -> String {
    skipped.iter().map(|(path, why)| format!("; {}: {why}", path.display())).collect()
}

fn known(names: &[String]) -> String {
    if names.is_empty() {
        "there are none: log in with `lichen login HUB --token TOKEN`".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    }
}
