//! The parts of assignments that are files of ConfigMaps and Secrets. Made once for all Pods and devices that take the
//! same, and again when the data changes: a ConfigMap may have a megabyte and ten thousand devices.
//!
//! What is secret is sealed to each device, which would be a megabyte for each. So what is kept is what all of them share,
//! without a seal, and for each device only the name of the sealed part. It is sealed again when the device asks for it,
//! to the same bytes.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use firmware_compat::{id::Hash, sealed::about};
use sha2::{Digest, Sha256};

use crate::{
    api::{Key, core::secret},
    hidden::Hidden,
    sealing::Seal,
};

/// Content that devices ask for by its hash.
pub type Content = Arc<[u8]>;

/// Data of a ConfigMap or a Secret, by key.
pub type Data = Arc<secret::Data>;

/// What parts are remembered for. Beyond that all are forgotten and made anew as they are needed.
const MOST: usize = 4096;
/// Bytes that cost as much to seal as there is to a seal besides.
const BYTES_OF_A_SEAL: usize = 32 * 1024;

/// A part of a device's assignment.
#[derive(Clone, Debug)]
pub enum Part {
    /// Sent as it is.
    Clear(Content),
    /// Sealed when it is sent.
    Secret(Arc<SecretPart>),
}

impl Part {
    /// Its bytes on the wire.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Self::Clear(content) => content.len(),
            Self::Secret(secret) => secret.length,
        }
    }

    /// Its bytes on the wire. `None` if it can't be sealed any more.
    #[must_use]
    pub fn bytes(&self, device: &str, seal: &dyn Seal) -> Option<Content> {
        match self {
            Self::Clear(content) => Some(content.clone()),
            Self::Secret(secret) => secret.sealed(device, seal).map(Content::from),
        }
    }
}

/// Files of a Secret, sealed to one device.
#[derive(Debug)]
pub struct SecretPart {
    of: Key,
    plain: Arc<Hidden>,
    to: [u8; 32],
    length: usize,
}

impl SecretPart {
    /// Seals the files of a Secret to a device's key. Gives the name of the part, too. `None` if nothing can be sealed to
    /// this key.
    #[must_use]
    pub fn new(
        of: &Key,
        plain: &Arc<Hidden>,
        device: &str,
        to: &[u8; 32],
        seal: &dyn Seal,
    ) -> Option<(Hash, Self)> {
        let part = Self { of: of.clone(), plain: Arc::clone(plain), to: *to, length: 0 };
        let sealed = part.sealed(device, seal)?;
        Some((hash(&sealed), Self { length: sealed.len(), ..part }))
    }

    /// Whether this is those files, sealed to that key.
    #[must_use]
    pub fn is(&self, of: &Key, plain: &Arc<Hidden>, to: &[u8; 32]) -> bool {
        let is_same = Arc::ptr_eq(&self.plain, plain) || self.plain == *plain;
        is_same && self.of == *of && self.to == *to
    }

    fn sealed(&self, device: &str, seal: &dyn Seal) -> Option<Vec<u8>> {
        let about = about(device, &self.of.namespace, &self.of.name)?;
        let sealed = seal.seal(&self.to, &about, &self.plain)?;
        // Bounded by construction: encoding it only allocates.
        postcard::to_allocvec(&sealed).ok()
    }

    /// What it costs to seal it, in seals of nothing.
    #[must_use]
    pub fn cost(&self) -> usize {
        1 + self.length / BYTES_OF_A_SEAL
    }
}

/// What was made of files.
#[derive(Clone, Debug)]
pub enum Made {
    /// Of a ConfigMap's: the part.
    Clear(Hash, Content),
    /// Of a Secret's: what is to be sealed.
    Secret(Arc<Hidden>),
}

/// Parts that were made, by the ConfigMap or Secret and by what was chosen of it.
#[derive(Debug, Default)]
pub struct PartCache {
    made: BTreeMap<(Key, String), (Data, Made)>,
}

impl PartCache {
    /// What was made of this data, if it was.
    #[must_use]
    pub fn get(&self, choice: &(Key, String), data: &Data) -> Option<Made> {
        let (of, made) = self.made.get(choice)?;
        Arc::ptr_eq(of, data).then(|| made.clone())
    }

    /// Remembers what was made.
    pub fn insert(&mut self, choice: (Key, String), data: Data, made: Made) {
        if self.made.len() >= MOST {
            self.made.clear();
        }
        self.made.insert(choice, (data, made));
    }

    /// Forgets what was made of data that is gone.
    pub fn forget(&mut self, of: &Key) {
        let first = (of.clone(), String::new());
        let gone: Vec<_> = self
            .made
            .range(first..)
            .take_while(|((key, _), _)| key == of)
            .map(|(choice, _)| choice.clone())
            .collect();
        gone.iter().for_each(|choice| _ = self.made.remove(choice));
    }
}

/// The hash by which a device asks for content.
#[must_use]
pub fn hash(content: &[u8]) -> Hash {
    Hash(Sha256::digest(content).into())
}
