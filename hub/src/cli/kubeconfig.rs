//! Kubeconfigs, in kubectl's own format: how the command line, kubectl and everything that is made with Kubernetes' client
//! libraries know a hub, whom to believe, and who is asking.
//!
//! - [`Document`] is one file. What is not known here is kept as it stands.
//! - [`Choice`] and [`Places`] say where files are looked for, [`Group`] and [`Found`] what is in them, [`resolve()`] what it
//!   means.
//! - [`mod@file`] reads and writes; nobody but the owner reads what it writes.
//! - [`admin`] is the one that a hub leaves for its owner; [`show`] prints.

pub mod admin;
mod document;
mod entries;
mod error;
pub mod file;
mod found;
mod group;
mod places;
mod resolve;
pub mod show;

use super::client::Connection;
pub use document::{Document, Section, mark};
pub use error::KubeconfigError;
pub use found::Found;
pub use group::{Entry, Group, Place, Source};
pub use places::{Choice, Places};
pub use resolve::{entry_server, portable, resolve};

/// What it takes to reach the hub that is meant.
///
/// # Errors
/// It is not known which one, or what a file says of it can't be used.
pub fn connection(choice: &Choice) -> Result<Connection, KubeconfigError> {
    let found = Found::look(choice)?;
    let meant = found.context(choice.context.as_deref());
    let (group, name) = meant.map_err(|error| match (error, &choice.server) {
        (KubeconfigError::NoHub { .. }, Some(server)) => {
            KubeconfigError::Stranger { server: server.clone() }
        }
        (error, _) => error,
    })?;
    resolve(group, &name, choice)
}
