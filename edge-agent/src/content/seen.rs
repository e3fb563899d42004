//! What was looked at since the agent's start, so that nothing is verified for every start of a container.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use firmware_compat::id::Hash;
use lichen_oci::{Digest, inventory::Depth};

/// What was found whole.
#[derive(Debug, Default)]
pub struct Seen {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    layers: BTreeMap<Digest, Depth>,
    /// With what the file system says of the file: another file is another matter.
    artefacts: BTreeMap<Hash, Stamp>,
}

/// Length, inode and time of the last change, of a file.
pub(super) type Stamp = (u64, u64, i64, i64);

impl Seen {
    /// A layer was found whole.
    pub(super) fn layer(&self, layer: Digest, depth: Depth) {
        let mut all = self.lock();
        let known = all.layers.entry(layer).or_insert(depth);
        *known = (*known).max(depth);
    }

    /// Whether a layer was found whole, as closely as that.
    pub(super) fn has_layer(&self, layer: &Digest, depth: Depth) -> bool {
        self.lock().layers.get(layer).is_some_and(|known| *known >= depth)
    }

    pub(super) fn forget_layer(&self, layer: &Digest) {
        self.lock().layers.remove(layer);
    }

    /// An artefact was found whole.
    pub(super) fn artefact(&self, artefact: Hash, stamp: Stamp) {
        self.lock().artefacts.insert(artefact, stamp);
    }

    /// Whether this very file was found whole.
    pub(super) fn has_artefact(&self, artefact: &Hash, stamp: Stamp) -> bool {
        self.lock().artefacts.get(artefact) == Some(&stamp)
    }

    pub(super) fn clear(&self) {
        *self.lock() = All::default();
    }

    /// A panic of another thread leaves it as it should be.
    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
