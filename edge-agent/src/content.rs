//! The store of fetched bytes: artefacts by digest, and layers that were unpacked from them.
//!
//! A layer's packed bytes are deleted once they are unpacked; a note in `artefacts/unpacked/<digest of the packed
//! bytes>` names the layer (by its diff id), and the artefact counts as present as long as the layer is there.

mod seen;
mod turns;
mod verify;

pub use seen::Seen;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use firmware_compat::id::Hash;
use lichen_oci::{
    Digest,
    image::LayerRef,
    inventory::Depth,
    layers::{LayerError, LayerStore, Limits},
};

use crate::state::{StateDir, StateError, Written, make_dir, read_bounded};
use turns::Turns;

/// Packed bytes that are read at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// What downloads and layers leave free on the disk: what runs writes, too.
const HEADROOM: u64 = 8 << 20;

/// Why content could not be stored, listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A file of ours.
    #[error(transparent)]
    State(#[from] StateError),
    /// A layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// More than there is room for: it is not begun.
    #[error("{needed} bytes would not fit: {free} are left on the disk, and {HEADROOM} stay free")]
    NoRoom {
        /// What it would take.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// What is here is not what it was: fetch it again.
    #[error("artefact sha256:{digest} is damaged on the disk{}: it is fetched again", said(cause))]
    Damaged {
        /// Of the packed bytes.
        digest: Hash,
        /// What is wrong with it; may be empty.
        cause: String,
    },
    /// Bytes that should be here are not: fetch them again.
    #[error("artefact sha256:{0} is missing")]
    Missing(Hash),
}

fn said(cause: &str) -> String {
    if cause.is_empty() { String::new() } else { format!(" ({cause})") }
}

/// The store.
#[derive(Clone, Debug)]
pub struct Content {
    artefacts: PathBuf,
    unpacked: PathBuf,
    layers: LayerStore,
    written: Written,
    turns: Arc<Turns>,
    seen: Arc<Seen>,
}

impl Content {
    /// Opens the store of a state directory and removes what an interrupted unpacking left. What can't be made or removed
    /// is told of: the device starts with what it can read.
    #[must_use]
    pub fn open(state: &StateDir) -> Self {
        let unpacked = state.path().join("artefacts/unpacked");
        let layers = LayerStore::at(state.layers());
        if !state.is_read_only() {
            if let Err(error) = make_dir(&unpacked) {
                tracing::warn!("{error}");
            }
            if let Err(error) = layers.sweep_partial() {
                tracing::warn!("what an unpacking left stays: {error}");
            }
        }
        let written = state.written().clone();
        let (artefacts, turns, seen) = (state.artefacts(), Arc::default(), Arc::default());
        Self { artefacts, unpacked, layers, written, turns, seen }
    }

    /// The directory of artefacts.
    #[must_use]
    pub fn artefacts(&self) -> &Path {
        &self.artefacts
    }

    /// Counts the bytes written.
    #[must_use]
    pub fn written(&self) -> &Written {
        &self.written
    }

    /// The file of an artefact.
    ///
    /// # Errors
    /// [`ContentError::Missing`].
    pub fn artefact(&self, digest: &Hash) -> Result<PathBuf, ContentError> {
        let path = self.artefacts.join(digest.to_string());
        if path.is_file() { Ok(path) } else { Err(ContentError::Missing(*digest)) }
    }

    /// Whether an artefact, or what was unpacked from it, is here.
    #[must_use]
    pub fn has(&self, digest: &Hash) -> bool {
        self.artefact(digest).is_ok() || self.layer_of(digest).is_some()
    }

    /// Whether so many bytes more may be begun on this disk.
    ///
    /// # Errors
    /// [`ContentError::NoRoom`].
    pub fn admit(&self, needed: u64) -> Result<(), ContentError> {
        let Ok(disk) = rustix::fs::statvfs(&self.artefacts) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        match needed.saturating_add(HEADROOM) <= free {
            true => Ok(()),
            false => Err(ContentError::NoRoom { needed, free }),
        }
    }

    /// Every artefact that is here. What can't be listed is fetched again.
    #[must_use]
    pub fn list(&self) -> Vec<Hash> {
        let list = |dir: &Path| {
            names(dir).unwrap_or_else(|error| {
                tracing::warn!("{error}: what is there is fetched again");
                Vec::new()
            })
        };
        let mut all: BTreeSet<Hash> =
            list(&self.artefacts).iter().filter_map(|name| Hash::parse(name)).collect();
        let unpacked = list(&self.unpacked);
        all.extend(
            unpacked
                .iter()
                .filter_map(|name| Hash::parse(name))
                .filter(|digest| self.layer_of(digest).is_some()),
        );
        all.into_iter().collect()
    }

    /// Makes sure that a layer is unpacked and, the first time after the agent's start, as whole as `depth` says, and gives the packed bytes up. Blocks for as long as that takes.
    ///
    /// # Errors
    /// See [`ContentError`].
    pub fn unpack(&self, layer: &LayerRef, depth: Depth) -> Result<(), ContentError> {
        let _turn = self.turns.take(layer.diff_id);
        let packed = Hash(*layer.digest.as_bytes());
        // What is damaged is put aside; if its packed bytes are here again, it is unpacked again.
        match self.look_at_layer(&layer.diff_id, depth, &mut |_| {}) {
            Err(ContentError::Damaged { .. }) if self.artefact(&packed).is_ok() => {}
            Err(ContentError::Damaged { cause, .. }) => {
                return Err(ContentError::Damaged { digest: packed, cause });
            }
            looked => looked?,
        }
        let path = match self.layers.has(&layer.diff_id) {
            true => None,
            false => Some(self.artefact(&packed)?),
        };
        // First, so that a collection meanwhile knows whose the layer is. The same layer may come packed in two ways.
        if self.note(&packed) != Some(layer.diff_id) {
            let note = self.unpacked.join(packed.to_string());
            self.written.replace(&note, layer.diff_id.hex().as_bytes())?;
        }
        if let Some(path) = path {
            // What it unpacks to is known when it is done; it is no less than what it is packed.
            self.admit(layer.size)?;
            let file = fs::File::open(&path).map_err(|source| StateError::Io {
                action: "open",
                path: path.clone(),
                source,
            })?;
            let file = io::BufReader::with_capacity(BLOCK_BYTES, file);
            let (packing, diff_id) = (layer.compression, &layer.diff_id);
            let unpacked = self.layers.unpack(file, packing, diff_id, Limits::default())?;
            self.seen.layer(*diff_id, Depth::Bytes);
            self.written.add(unpacked.bytes);
        }
        // Without it the bytes only take space; the next collection removes them.
        let _ = fs::remove_file(self.artefacts.join(packed.to_string()));
        Ok(())
    }

    /// The store of unpacked layers.
    #[must_use]
    pub fn layers(&self) -> &LayerStore {
        &self.layers
    }

    /// Removes everything but `keep` and what was unpacked from it. Goes on after an error and returns the first.
    ///
    /// # Errors
    /// See [`ContentError`].
    pub fn retain(&self, keep: &BTreeSet<Hash>) -> Result<(), ContentError> {
        let mut first = Ok(());
        let mut attempt = |result: Result<(), ContentError>| {
            if first.is_ok() {
                first = result;
            }
        };
        for dir in [&self.artefacts, &self.unpacked] {
            for name in names(dir)? {
                let digest = Hash::parse(name.strip_suffix(".partial").unwrap_or(&name));
                if digest.is_none_or(|digest| !keep.contains(&digest)) {
                    attempt(remove(&dir.join(name)));
                }
            }
        }
        let needed: BTreeSet<Digest> = keep.iter().filter_map(|digest| self.note(digest)).collect();
        for layer in self.layers.list()? {
            if !needed.contains(&layer) {
                tracing::debug!(%layer, "removing a layer");
                attempt(self.layers.remove_layer(&layer).map_err(ContentError::from));
            }
        }
        first
    }

    fn layer_of(&self, packed: &Hash) -> Option<Digest> {
        self.note(packed).filter(|diff_id| self.layers.has(diff_id))
    }

    fn note(&self, packed: &Hash) -> Option<Digest> {
        let bytes = read_bounded(&self.unpacked.join(packed.to_string()), 64).ok()??;
        Digest::from_hex(core::str::from_utf8(&bytes).ok()?)
    }
}

fn names(dir: &Path) -> Result<Vec<String>, StateError> {
    let entries = fs::read_dir(dir).map_err(|source| StateError::Io {
        action: "list",
        path: dir.to_owned(),
        source,
    })?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

fn remove(path: &Path) -> Result<(), ContentError> {
    tracing::debug!(path = %path.display(), "removing");
    fs::remove_file(path)
        .map_err(|source| StateError::Io { action: "remove", path: path.to_owned(), source }.into())
}

#[cfg(test)]
mod tests {
    use lichen_oci::image::Compression;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn open() -> (tempfile::TempDir, StateDir, Content) {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(dir.path()).expect("a state directory");
        let content = Content::open(&state);
        (dir, state, content)
    }

    /// An empty tar: two blocks of zeros.
    fn layer(content: &Content) -> (Hash, LayerRef) {
        let bytes = [0; 1024];
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        fs::write(content.artefacts().join(Hash(digest).to_string()), bytes).expect("writable");
        let digest = Digest::from_bytes(digest);
        let layer =
            LayerRef { digest, compression: Compression::None, size: 1024, diff_id: digest };
        (Hash(*digest.as_bytes()), layer)
    }

    #[test]
    fn an_unpacked_layer_counts_as_present_without_its_packed_bytes() {
        let (_dir, _state, content) = open();
        let (digest, layer) = layer(&content);
        content.unpack(&layer, Depth::Sizes).expect("unpackable");
        assert!(content.artefact(&digest).is_err());
        assert!(content.has(&digest));
        assert_eq!(content.list(), [digest]);
        content.unpack(&layer, Depth::Sizes).expect("nothing to do");
    }

    #[test]
    fn what_is_not_retained_is_removed_with_all_that_was_unpacked_from_it() {
        let (_dir, _state, content) = open();
        let (digest, layer) = layer(&content);
        content.unpack(&layer, Depth::Sizes).expect("unpackable");
        let other = Hash([9; 32]);
        for name in [other.to_string(), format!("{other}.partial"), "rubbish".to_owned()] {
            fs::write(content.artefacts().join(name), "x").expect("writable");
        }
        content.retain(&BTreeSet::from([digest])).expect("removable");
        assert_eq!(content.list(), [digest]);
        assert_eq!(names(content.artefacts()).expect("readable"), [""; 0]);
        content.retain(&BTreeSet::new()).expect("removable");
        assert_eq!(content.list(), []);
        assert_eq!(content.layers().list().expect("readable"), []);
    }

    #[test]
    fn a_missing_layer_is_named_so_that_it_is_fetched_again() {
        let (_dir, _state, content) = open();
        let (digest, layer) = layer(&content);
        fs::remove_file(content.artefacts().join(digest.to_string())).expect("removable");
        let error = content.unpack(&layer, Depth::Sizes).expect_err("missing");
        assert!(matches!(error, ContentError::Missing(missing) if missing == digest));
    }
}
