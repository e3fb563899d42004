//! What operators wrote, the data of ConfigMaps and Secrets, which workloads use which image, and who may do what.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
};

use firmware_compat::{id::Hash, time::Instant};

use super::Tally;
use super::claims::Volumes;
use crate::{
    api::{Key, Kind, Object},
    authorizer::Rules,
    parts::Data,
    pod::Revision,
    registry::Stock,
    resolve,
};

/// An object that an operator wrote.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The object.
    pub object: Arc<Object>,
    /// Of its last change.
    pub resource_version: u64,
    /// Bytes of its JSON.
    pub bytes: usize,
    /// For workloads: the template as understood, with the digests of its images.
    pub revision: Option<Arc<Revision>>,
    /// For workloads: how far the newest revision was when that last changed.
    pub progress: Progress,
    /// For Jobs: what was counted of its Pods.
    pub tally: Tally,
}

/// How far a workload is with its newest revision, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The newest revision.
    pub revision: String,
    /// Pods of it, those of them that are available, and Pods of older ones.
    pub reached: (usize, usize, usize),
    /// When it last came further.
    pub since: Instant,
    /// Whether all of its Pods were of this revision and available once.
    pub complete: bool,
    /// Whether it was held: the time of that does not count.
    pub paused: bool,
}

/// Every object, by key.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    stored: BTreeMap<Key, Stored>,
    data: BTreeMap<Key, Data>,
    kinds: BTreeMap<Kind, usize>,
    bytes: usize,
    replicas: u64,
    images: BTreeMap<String, BTreeSet<Key>>,
    roots: BTreeMap<Hash, BTreeSet<Key>>,
    workloads: BTreeSet<Key>,
    /// Roles and bindings.
    rules: Rules,
    /// PersistentVolumes by device.
    volumes: Volumes,
}

impl Objects {
    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Stored> {
        self.stored.get(key)
    }

    /// Whether there is one.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.stored.contains_key(key)
    }

    /// All of them, by kind, namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Stored)> {
        self.stored.iter()
    }

    /// All of a kind, by namespace and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Stored)> {
        let first = Key { kind, namespace: String::new(), name: String::new() };
        self.stored.range(first..).take_while(move |(key, _)| key.kind == kind)
    }

    /// Roles and bindings, by whom they concern.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// PersistentVolumes, by the devices that they are on.
    #[must_use]
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Every workload.
    #[must_use]
    pub fn workloads(&self) -> &BTreeSet<Key> {
        &self.workloads
    }

    /// Workloads whose template names an image, tag included.
    pub fn naming_image(&self, image: &str) -> impl Iterator<Item = &Key> {
        self.images.get(image).into_iter().flatten()
    }

    /// Workloads whose image has this digest.
    pub fn of_root(&self, root: Hash) -> impl Iterator<Item = &Key> {
        self.roots.get(&root).into_iter().flatten()
    }

    /// What is stored but for the object of this key, for bounds.
    #[must_use]
    pub fn stock_without(&self, key: &Key) -> Stock {
        let own = self.stored.get(key);
        Stock {
            objects: self.stored.len(),
            of_kind: self.kinds.get(&key.kind).copied().unwrap_or(0),
            bytes: self.bytes - own.map_or(0, |stored| stored.bytes),
            pods: self.replicas - own.map_or(0, |stored| u64::from(stored.object.replicas())),
        }
    }

    /// Stores an object.
    pub fn insert(&mut self, key: &Key, stored: Stored) {
        self.remove(key);
        *self.kinds.entry(key.kind).or_default() += 1;
        self.bytes += stored.bytes;
        self.replicas += u64::from(stored.object.replicas());
        if let Some(revision) = stored.revision.clone() {
            self.workloads.insert(key.clone());
            self.index_images(key, &revision);
        }
        self.rules.put(&stored.object);
        self.volumes.put(&stored.object);
        self.stored.insert(key.clone(), stored);
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &Key) -> Option<Stored> {
        let stored = self.stored.remove(key)?;
        if let Some(count) = self.kinds.get_mut(&key.kind) {
            *count -= 1;
        }
        self.bytes -= stored.bytes;
        self.replicas -= u64::from(stored.object.replicas());
        self.rules.remove(key);
        self.volumes.remove(key);
        if let Some(revision) = &stored.revision {
            self.workloads.remove(key);
            self.forget_images(key, revision);
        }
        Some(stored)
    }

    /// Writes the size of an object's record.
    pub fn set_bytes(&mut self, key: &Key, bytes: usize) {
        if let Some(stored) = self.stored.get_mut(key) {
            self.bytes = self.bytes - stored.bytes + bytes;
            stored.bytes = bytes;
        }
    }

    /// Writes a workload's status: the same object otherwise.
    pub fn set_status(&mut self, key: &Key, object: Arc<Object>, resource_version: u64) {
        if let Some(stored) = self.stored.get_mut(key) {
            (stored.object, stored.resource_version) = (object, resource_version);
        }
    }

    /// Writes how far a workload is.
    pub fn set_progress(&mut self, key: &Key, progress: Progress) {
        if let Some(stored) = self.stored.get_mut(key) {
            stored.progress = progress;
        }
    }

    /// Writes what a Job has counted.
    pub fn set_tally(&mut self, key: &Key, tally: Tally) {
        if let Some(stored) = self.stored.get_mut(key) {
            stored.tally = tally;
        }
    }

    /// Gives a workload another revision: its image's name has another meaning, or the same was saved before.
    pub fn set_revision(&mut self, key: &Key, revision: Arc<Revision>) {
        let Some(stored) = self.stored.get_mut(key) else { return };
        let old = stored.revision.replace(revision.clone());
        if let Some(old) = old {
            self.forget_images(key, &old);
        }
        self.index_images(key, &revision);
    }

    /// Data of a ConfigMap or Secret; of a deleted one while it is in use.
    #[must_use]
    pub fn data(&self, key: &Key) -> Option<&Data> {
        self.data.get(key)
    }

    /// Writes the data of a ConfigMap or Secret.
    pub fn set_data(&mut self, key: &Key, data: Data) {
        self.data.insert(key.clone(), data);
    }

    /// Drops the data of a ConfigMap or Secret.
    pub fn drop_data(&mut self, key: &Key) {
        self.data.remove(key);
    }

    fn index_images(&mut self, key: &Key, revision: &Revision) {
        for (image, root) in &revision.roots {
            self.images.entry(resolve::tagged(image)).or_default().insert(key.clone());
            if let Some(root) = root {
                self.roots.entry(*root).or_default().insert(key.clone());
            }
        }
    }

    fn forget_images(&mut self, key: &Key, revision: &Revision) {
        for (image, root) in &revision.roots {
            let image = resolve::tagged(image);
            if let Some(users) = self.images.get_mut(&image) {
                users.remove(key);
                if users.is_empty() {
                    self.images.remove(&image);
                }
            }
            if let Some(root) = root
                && let Some(users) = self.roots.get_mut(root)
            {
                users.remove(key);
                if users.is_empty() {
                    self.roots.remove(root);
                }
            }
        }
    }

    /// Compares every index and count with what they are made from.
    ///
    /// # Errors
    /// Names the first that is not true.
    pub fn check(&self) -> Result<(), &'static str> {
        let mut anew = Self::default();
        for (key, stored) in &self.stored {
            anew.insert(key, stored.clone());
        }
        anew.kinds.retain(|_, count| *count > 0);
        let mut kinds = self.kinds.clone();
        kinds.retain(|_, count| *count > 0);
        let same = [
            ("objects by kind", anew.kinds == kinds),
            ("bytes of objects", anew.bytes == self.bytes),
            ("Pods wanted", anew.replicas == self.replicas),
            ("workloads by image", anew.images == self.images && anew.roots == self.roots),
            ("workloads", anew.workloads == self.workloads),
            ("roles and bindings", anew.rules == self.rules),
            ("volumes by device", anew.volumes == self.volumes),
        ];
        same.iter().find(|(_, same)| !same).map_or(Ok(()), |(what, _)| Err(*what))
    }
}
