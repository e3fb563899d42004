//! A hub in one file: everything that a hub of another machine needs to go on in its place.
//!
//! A backup is a tar file, compressed with gzip ([`format`]): what it is, the records of the store as of one commit, the
//! files of the hub's trust, the artefacts, and at last a digest of all that. Keys may be in a file of their own.
//!
//! - [`source`] reads a hub, running or not, and [`write`] writes it: bytes leave as they are made.
//! - [`read`] reads one and believes nothing; [`restore`] makes a state directory of it, and [`place`] puts that where it
//!   belongs, in one step.
//!
//! It holds secrets. What keeps it from others is the mode of the file, and whoever stores it.

mod error;
pub mod format;
pub mod place;
pub mod read;
mod records;
pub mod restore;
pub mod source;
#[cfg(test)]
mod tests;
pub mod write;

pub use error::BackupError;
