//! Every device, and the last generation of those that were deleted.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String};

use firmware_compat::id::Generation;

use crate::device::Device;

/// Every device, by name.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    devices: BTreeMap<String, Device>,
    retired: BTreeMap<String, Generation>,
}

impl Fleet {
    /// One device.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Device> {
        self.devices.get(name)
    }

    /// One device, to change.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Device> {
        self.devices.get_mut(name)
    }

    /// Whether a device is known.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.devices.contains_key(name)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// All of them, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Device> {
        self.devices.values_mut()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.devices.keys()
    }

    /// Adds a device.
    pub fn insert(&mut self, device: Device) {
        self.devices.insert(device.name.clone(), device);
    }

    /// Takes a device out. Its last generation stays known.
    pub fn retire(&mut self, name: &str) -> Option<Generation> {
        let generation = self.devices.remove(name)?.desired.generation;
        self.retired.insert(name.to_owned(), generation);
        Some(generation)
    }

    /// Writes the last generation of a device that was deleted.
    pub fn set_retired(&mut self, name: &str, generation: Generation) {
        self.retired.insert(name.to_owned(), generation);
    }

    /// The last generation of a device that was deleted and is there again.
    pub fn take_retired(&mut self, name: &str) -> Option<Generation> {
        self.retired.remove(name)
    }
}
