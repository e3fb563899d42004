//! What is in a backup, in this order:
//!
//! | entry | holds |
//! |---|---|
//! | `manifest.json` | [`Manifest`]: whose backup it is, and the entries up to the artefacts with their digests |
//! | `records` | the store, see `records.rs`; not in a file of keys |
//! | `trust/NAME` | the files of the hub's trust; not if the keys are apart |
//! | `artefacts/HEX` | an artefact, named by its SHA-256; in ascending order, as many as were there |
//! | `end.json` | [`End`]: how many artefacts there were, and the digest of everything before |
//!
//! Entries in another order, or others, are refused. Of the tar headers nothing but name and length is read.

use std::io::Read;

use firmware_compat::id::Lineage;
use lichen_images::{Digest, digest::Digester};
use serde::{Deserialize, Serialize};

/// Version of the format that is written, and the newest that is read.
pub const VERSION: u32 = 1;
/// Names of entries.
pub const MANIFEST: &str = "manifest.json";
/// See [`MANIFEST`].
pub const RECORDS: &str = "records";
/// See [`MANIFEST`].
pub const END: &str = "end.json";
/// Before the name of a file of the hub's trust.
pub const TRUST: &str = "trust/";
/// Before the hex digits of an artefact.
pub const ARTEFACTS: &str = "artefacts/";
/// Largest [`Manifest`] that is read: that of as many files as a hub's trust may have takes a tenth.
pub const MAX_MANIFEST: u64 = 256 << 10;
/// Largest [`End`] that is read.
pub const MAX_END: u64 = 4 << 10;
/// Largest file of the hub's trust that is read.
pub const MAX_KEY_FILE: u64 = 256 << 10;

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`VERSION`].
    pub lichen_backup: u32,
    /// What it holds.
    pub contents: Contents,
    /// Version of the program that wrote it.
    pub hub: String,
    /// Of the store.
    pub lineage: Lineage,
    /// When it was made, by the hub's known time. RFC 3339.
    pub made_at: String,
    /// The same in seconds since 1970.
    pub known_time: u64,
    /// By what devices know the hub: the fingerprint of its CA.
    pub authority: Digest,
    /// [`lichen_trust::copy::digest_of`] the keys, wherever they are.
    pub keys_digest: Digest,
    /// Whether the keys are in it.
    pub keys: bool,
    /// Whether artefacts are in it.
    pub artefacts: bool,
    /// How many records.
    pub records: u64,
    /// The entries between this one and the artefacts.
    pub files: Vec<File>,
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contents {
    /// A hub.
    Hub,
    /// Only the keys of one.
    Keys,
}

/// An entry that is known beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Of its content.
    pub digest: Digest,
}

/// The last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Artefacts that are in it.
    pub artefacts: u64,
    /// [`Running`] digest of every entry before.
    pub digest: Digest,
}

/// The digest of entries: of each its name, its length and its content.
#[derive(Default)]
pub struct Running(Digester);

impl Running {
    /// An entry begins; its content follows.
    pub fn begin(&mut self, name: &str, bytes: u64) {
        self.0.update(&(name.len() as u64).to_be_bytes());
        self.0.update(name.as_bytes());
        self.0.update(&bytes.to_be_bytes());
    }

    /// Content.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all entries.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

/// Reads content and hashes it on the way.
pub struct Hashed<'a, R> {
    inner: R,
    running: &'a mut Running,
    own: Digester,
    bytes: u64,
}

impl<'a, R: Read> Hashed<'a, R> {
    /// The content of an entry that has begun.
    pub fn new(inner: R, running: &'a mut Running) -> Self {
        Self { inner, running, own: Digester::default(), bytes: 0 }
    }

    /// How much was read so far.
    pub fn read_bytes(&self) -> u64 {
        self.bytes
    }

    /// How much was read, and its digest.
    pub fn finish(self) -> (u64, Digest) {
        (self.bytes, self.own.finish())
    }
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.running.update(&buffer[..read]);
        self.own.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
