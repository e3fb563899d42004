//! Encrypts what is confidential before it reaches a store, and opens it when it is loaded. The engine says which records are
//! ([`record::is_confidential`]); everything else passes as it is, and can be read by a person.
//!
//! A hub that does not have the key refuses to start: it would tell devices that their Secrets are gone.

use std::{path::Path, sync::Arc};

use lichen_hub_core::{effect::Record, record};
use lichen_trust::{OpenError, SecretsKeys};

use super::{KeySource, Reader, Sizes, Store, StoreError};

/// A store in which what is confidential is encrypted.
pub struct EncryptedStore {
    inner: Box<dyn Store>,
    keys: Arc<SecretsKeys>,
}

/// Why the records can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The hub's own key is gone, and records need it.
    #[error(
        "the key of the Secrets in the store, {path}, is missing, and {count} records were encrypted with it: put it back from \
         a backup, or give the key with --secrets-key FILE"
    )]
    Missing {
        /// The key's file.
        path: String,
        /// How many records need it.
        count: usize,
    },
    /// The keys that were given are others.
    #[error(
        "record {record} can't be opened: {cause}; {from} holds {names}: give the key that it was encrypted with, after the \
         newest one if that is another"
    )]
    OtherKey {
        /// The record.
        record: String,
        /// Which key it needs.
        cause: OpenError,
        /// Where the keys are from.
        from: String,
        /// Their names.
        names: String,
    },
    /// The record is not as this hub has written it.
    #[error("record {record} can't be opened: {cause}; restore the store from a backup")]
    Damaged {
        /// The record.
        record: String,
        /// What is wrong with it.
        cause: OpenError,
    },
}

impl EncryptedStore {
    /// Encrypts what goes into a store by keys from this source. The hub's own key is made at its first start.
    ///
    /// # Errors
    /// There is no key where there should be one, or it is none.
    pub fn open(
        inner: Box<dyn Store>,
        source: &KeySource,
        state: &Path,
    ) -> Result<Self, StoreError> {
        let keys = match source.read(state)? {
            Some(keys) => keys,
            None => {
                let records = inner.load()?;
                let count = records.iter().filter(|(key, _)| record::is_confidential(key)).count();
                let path = KeySource::own_path(state);
                if count > 0 {
                    let path = path.display().to_string();
                    return Err(SecretsError::Missing { path, count }.into());
                }
                let made = SecretsKeys::create(&path)?;
                tracing::info!(path = %path.display(), "made the key of the Secrets in the store");
                made
            }
        };
        Ok(Self { inner, keys: Arc::new(keys) })
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Arc<SecretsKeys> {
        &self.keys
    }

    fn encrypt(&self, record: &Record) -> Result<Record, StoreError> {
        let value = match &record.value {
            Some(value) if record::is_confidential(&record.key) => {
                Some(self.keys.encrypt(&record.key, value)?)
            }
            other => other.clone(),
        };
        Ok(Record { key: record.key.clone(), value })
    }

    fn failed(&self, record: &str, cause: OpenError) -> SecretsError {
        let record = record.to_owned();
        match cause {
            OpenError::Key(_) => SecretsError::OtherKey {
                record,
                cause,
                from: self.keys.from().to_owned(),
                names: self.keys.names(),
            },
            OpenError::Plain | OpenError::Changed => SecretsError::Damaged { record, cause },
        }
    }
}

impl Store for EncryptedStore {
    /// What was encrypted by an older key is encrypted anew on the way.
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let (mut records, mut outdated) = (self.inner.load()?, Vec::new());
        for (key, value) in &mut records {
            if !record::is_confidential(key) {
                continue;
            }
            let opened = self.keys.decrypt(key, value);
            let (plain, is_outdated) = opened.map_err(|cause| self.failed(key, cause))?;
            *value = plain;
            if is_outdated {
                outdated.push(Record { key: key.clone(), value: Some(value.clone()) });
            }
        }
        if !outdated.is_empty() {
            self.commit(&outdated)?;
            tracing::info!(records = outdated.len(), "encrypted Secrets anew, by the newest key");
        }
        Ok(records)
    }

    fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        if !records.iter().any(|record| record::is_confidential(&record.key)) {
            return self.inner.commit(records);
        }
        let encrypted: Vec<Record> =
            records.iter().map(|record| self.encrypt(record)).collect::<Result<_, _>>()?;
        self.inner.commit(&encrypted)
    }

    /// Gives records as they lie there, encrypted.
    fn reader(&self) -> Arc<dyn Reader> {
        self.inner.reader()
    }

    fn sizes(&self) -> Sizes {
        self.inner.sizes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{super::MemoryStore, *};

    const DB: &str = "object/Secret/default/db";
    const OLD: &str = "data/Secret/default/old";
    const MAP: &str = "object/ConfigMap/default/map";

    struct Hub {
        state: TempDir,
        store: MemoryStore,
    }

    impl Hub {
        fn new() -> Self {
            Self { state: tempfile::tempdir().expect("a directory"), store: MemoryStore::default() }
        }

        fn open(&self, source: &KeySource) -> Result<EncryptedStore, StoreError> {
            EncryptedStore::open(Box::new(self.store.clone()), source, self.state.path())
        }

        fn save(&self, source: &KeySource) {
            let record =
                |key: &str| Record { key: key.into(), value: Some(b"\x01hunter2".to_vec()) };
            let store = self.open(source).expect("a key");
            store.commit(&[record(DB), record(OLD), record(MAP)]).expect("committed");
        }

        fn file(&self, name: &str, content: &str) -> KeySource {
            let path = self.state.path().join(name);
            fs::write(&path, content).expect("writable");
            KeySource::File(path)
        }

        fn raw(&self, key: &str) -> Vec<u8> {
            let records = self.store.load().expect("loaded");
            records.into_iter().find(|(other, _)| other == key).expect("there").1
        }
    }

    fn refused(result: Result<Vec<(String, Vec<u8>)>, StoreError>) -> String {
        result.expect_err("refused").to_string()
    }

    /// 32 bytes of 1, of 2 and of 3.
    const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWO: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    #[test]
    fn secrets_are_encrypted_and_everything_else_is_not() {
        let hub = Hub::new();
        hub.save(&KeySource::Own);
        let is_clear = |key| hub.raw(key).windows(7).any(|window| window == b"hunter2");
        assert_eq!([DB, OLD, MAP].map(is_clear), [false, false, true]);
        let loaded = hub.open(&KeySource::Own).and_then(|store| store.load()).expect("loaded");
        assert!(loaded.len() == 3 && loaded.iter().all(|(_, value)| value == b"\x01hunter2"));
    }

    #[test]
    fn a_key_that_is_gone_or_another_is_told_and_made_for_nobody() {
        let hub = Hub::new();
        hub.save(&KeySource::Own);
        let path = KeySource::own_path(hub.state.path());
        let key = fs::read_to_string(&path).expect("made");
        fs::remove_file(&path).expect("removable");
        let said = hub.open(&KeySource::Own).map(drop).expect_err("refused").to_string();
        assert!(said.contains("secrets.key") && said.contains("2 records"), "{said}");
        assert!(!path.exists());
        let other = hub.file("other", ONE);
        let said = refused(hub.open(&other).and_then(|store| store.load()));
        assert!(said.contains("it was encrypted with the key"), "{said}");
        let both = hub.file("both", &format!("{ONE}\n{key}"));
        hub.open(&both).and_then(|store| store.load()).expect("the older key is there");
        hub.open(&other).and_then(|store| store.load()).expect("all are encrypted anew");
        let nothing = KeySource::File(hub.state.path().join("none"));
        let said = hub.open(&nothing).map(drop).expect_err("refused").to_string();
        assert!(said.contains("none") && said.contains("--secrets-key"), "{said}");
    }

    #[test]
    fn a_record_that_was_changed_swapped_or_written_in_clear_is_refused() {
        let hub = Hub::new();
        let source = KeySource::Text { text: TWO.to_owned().into(), from: "a variable".into() };
        hub.save(&source);
        let load = |record: &str, value: Vec<u8>| {
            let before = hub.raw(record);
            let commit =
                |value| hub.store.commit(&[Record { key: record.into(), value: Some(value) }]);
            commit(value).expect("committed");
            let said = refused(hub.open(&source).and_then(|store| store.load()));
            commit(before).expect("committed");
            said
        };
        assert!(load(DB, hub.raw(OLD)).contains("of another record"));
        assert!(load(DB, b"\x01{}".to_vec()).contains("not encrypted"));
        let mut changed = hub.raw(DB);
        changed[30] ^= 1;
        assert!(load(DB, changed).contains("has changed"));
        assert!(hub.open(&source).and_then(|store| store.load()).is_ok());
    }
}
