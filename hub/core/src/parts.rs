//! The parts of assignments that are the files of ConfigMap volumes. Made once for all Pods and devices that mount the
//! same, and again when the ConfigMap's data changes: a ConfigMap may have a megabyte and ten thousand devices.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use firmware_compat::id::Hash;
use sha2::{Digest, Sha256};

/// Content that devices ask for by its hash.
pub type Content = Arc<[u8]>;

/// Data of a ConfigMap, by key.
pub type Data = Arc<BTreeMap<String, Vec<u8>>>;

/// Volumes whose parts are remembered. Beyond that all are forgotten and made anew as they are needed.
const MOST: usize = 4096;

/// Parts that were made, by the namespace and the volume that they are for.
#[derive(Debug, Default)]
pub struct PartCache {
    made: BTreeMap<(String, String), (Data, Hash, Content)>,
}

impl PartCache {
    /// The part of a volume of this data, if it was made of the same.
    #[must_use]
    pub fn get(&self, volume: &(String, String), data: &Data) -> Option<(Hash, Content)> {
        let (of, hash, content) = self.made.get(volume)?;
        Arc::ptr_eq(of, data).then(|| (*hash, Arc::clone(content)))
    }

    /// Remembers a part.
    pub fn insert(&mut self, volume: (String, String), data: Data, hash: Hash, content: Content) {
        if self.made.len() >= MOST {
            self.made.clear();
        }
        self.made.insert(volume, (data, hash, content));
    }
}

/// The hash by which a device asks for content.
#[must_use]
pub fn hash(content: &[u8]) -> Hash {
    Hash(Sha256::digest(content).into())
}
