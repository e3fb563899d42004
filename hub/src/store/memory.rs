//! Records in memory: the store of tests. Clones share the records, so that a test can "restart" a hub on them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lichen_hub_core::effect::Record;

use super::{Each, ReadError, Reader, Sizes, Store, StoreError};

/// A store that survives nothing but its clones.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl MemoryStore {
    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(self.records().clone().into_iter().collect())
    }

    fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut kept = self.records();
        for record in records {
            match &record.value {
                Some(value) => kept.insert(record.key.clone(), value.clone()),
                None => kept.remove(&record.key),
            };
        }
        Ok(())
    }

    fn sizes(&self) -> Sizes {
        let bytes = |(key, value): (&String, &Vec<u8>)| (key.len() + value.len()) as u64;
        Sizes { live_bytes: self.records().iter().map(bytes).sum(), ..Sizes::default() }
    }
    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(self.clone())
    }
}

impl Reader for MemoryStore {
    fn read(&self, each: &mut Each<'_>) -> Result<(), ReadError> {
        let records = self.records().clone();
        records.iter().try_for_each(|(key, value)| each(key, value)).map_err(ReadError::Taker)
    }
}
