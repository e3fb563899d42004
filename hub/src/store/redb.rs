//! Records in one redb file. redb keeps two copies of its root with checksums, so a crash at any moment leaves the
//! last whole commit; its lock on the file keeps a second hub out, and ends with the process that holds it.

mod compact;
mod reader;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use lichen_hub_core::effect::Record;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError,
};

use super::{Reader, Sizes, Store, StoreError};

/// The file in the state directory.
const FILE: &str = "hub.redb";
/// Where it is copied to, to give space back. Of no use after a crash.
const NEW_FILE: &str = "hub.redb.new";
/// Version of the records as a whole. A hub refuses a newer one: it would drop what it doesn't know.
const SCHEMA: u32 = 1;
/// Pages that redb keeps in memory. The engine holds every record itself; but a commit reads the pages that it changes,
/// and those of thousands of Pods and devices are all over the file.
const CACHE_BYTES: usize = 8 << 20;
/// A file below this size is not worth compacting.
const COMPACT_MIN_BYTES: u64 = 16 << 20;
/// Nor is one that is less than so many times as long as what it holds. A fresh copy is less than twice as long.
const COMPACT_FACTOR: u64 = 4;

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
const ABOUT: TableDefinition<'_, &str, u32> = TableDefinition::new("about");
const SCHEMA_KEY: &str = "schema";

/// A store in a file.
#[derive(Debug)]
pub struct RedbStore {
    shared: Arc<Shared>,
    /// The thread that compacts, if there was one.
    aside: Mutex<Option<thread::JoinHandle<()>>>,
    /// Held by who reads a snapshot. True once the store is closed.
    gate: Arc<RwLock<bool>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    open: Mutex<Open>,
    /// Whether somebody is compacting.
    compacting: AtomicBool,
    /// Whether to give that up.
    closing: AtomicBool,
}

#[derive(Debug)]
struct Open {
    /// Shared with who reads a snapshot: after a change of files the old one stays open as long as it is read.
    database: Arc<Database>,
    /// Keys and values of all records.
    live_bytes: u64,
    /// What was committed while the file is being copied.
    meanwhile: Option<Vec<Record>>,
    compactions: u64,
    /// The file's size after the last compaction.
    size_after: u64,
    /// Why nothing can be promised any more.
    broken: Option<std::io::Error>,
}

impl RedbStore {
    /// Opens or creates the store in a state directory, which is created too.
    ///
    /// # Errors
    /// The directory can't be made, another hub has the store open, a newer hub wrote it, or it can't be read.
    pub fn open(state: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(state)
            .map_err(|source| StoreError::Directory { path: state.to_owned(), source })?;
        let path = state.join(FILE);
        let database = Builder::new().set_cache_size(CACHE_BYTES).create(&path);
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.clone()),
            error => StoreError::Open { path: path.clone(), source: Box::new(error.into()) },
        })?;
        let failed =
            |source: redb::Error| StoreError::Open { path: path.clone(), source: Box::new(source) };
        let found = schema(&database).map_err(failed)?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path, found, known: SCHEMA });
        }
        let live_bytes = live_bytes(&database).map_err(failed)?;
        compact::remove(&state.join(NEW_FILE)).map_err(|error| failed(error.into()))?;
        let open = Open {
            database: Arc::new(database),
            live_bytes,
            meanwhile: None,
            compactions: 0,
            size_after: 0,
            broken: None,
        };
        let shared = Shared {
            path,
            open: Mutex::new(open),
            compacting: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared), aside: Mutex::default(), gate: Arc::default() })
    }

    /// Compacts on a thread of its own, if that is worth the time.
    fn compact_aside(&self) {
        let Some(claim) = Claim::of(&self.shared) else { return };
        let aside =
            thread::Builder::new().name("compact".to_owned()).spawn(move || claim.compact());
        match aside {
            Ok(aside) => *self.aside.lock().unwrap_or_else(PoisonError::into_inner) = Some(aside),
            Err(error) => {
                tracing::warn!(%error, "could not start a thread that compacts the store");
            }
        }
    }
}

impl Drop for RedbStore {
    /// The next hub finds the file free.
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        *self.gate.write().unwrap_or_else(PoisonError::into_inner) = true;
        let aside = self.aside.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(aside) = aside {
            // If it panicked, that has been printed, and the records are in the old file.
            let _ = aside.join();
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, verb: &'static str, source: redb::Error) -> StoreError {
        StoreError::Refused { verb, path: self.path.clone(), source: Box::new(source) }
    }

    fn is_worth_compacting(&self) -> bool {
        let open = self.open();
        let size = open.size(&self.path);
        size >= COMPACT_MIN_BYTES.max(open.size_after.saturating_mul(2))
            && size >= open.live_bytes.saturating_mul(COMPACT_FACTOR)
    }
}

impl Open {
    fn size(&self, path: &Path) -> u64 {
        fs::metadata(path).map_or(0, |metadata| metadata.len())
    }
}

/// The only one who may compact.
struct Claim(Arc<Shared>);

impl Claim {
    /// None if somebody is at it, or it is not worth it.
    fn of(shared: &Arc<Shared>) -> Option<Self> {
        if shared.compacting.load(Ordering::Relaxed) || !shared.is_worth_compacting() {
            return None;
        }
        let claimed = shared.compacting.swap(true, Ordering::Relaxed);
        (!claimed).then(|| Self(shared.clone()))
    }

    /// Failing leaves all as it was: the file is longer than it need be.
    fn compact(&self) {
        let before = self.0.open().size(&self.0.path);
        match compact::run(&self.0) {
            Ok(()) => {
                let after = self.0.open().size_after;
                tracing::info!(before, after, "the store gave space back");
            }
            Err(error) => {
                // Not again before it has grown to twice this.
                self.0.open().size_after = before;
                tracing::warn!(%error, "the store could not give space back");
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.compacting.store(false, Ordering::Relaxed);
    }
}

impl Store for RedbStore {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        read_all(&self.shared.open().database).map_err(|source| self.shared.refused("read", source))
    }

    fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut open = self.shared.open();
        if let Some(error) = open.broken.take() {
            return Err(self.shared.refused("write", error.into()));
        }
        let removed = write(&open.database, records)
            .map_err(|source| self.shared.refused("write", source))?;
        let kept = records.iter().filter(|record| record.value.is_some());
        let added: usize = kept.map(weight).sum();
        open.live_bytes = (open.live_bytes + added as u64).saturating_sub(removed);
        if let Some(meanwhile) = &mut open.meanwhile {
            meanwhile.extend_from_slice(records);
        }
        drop(open);
        self.compact_aside();
        Ok(())
    }

    fn sizes(&self) -> Sizes {
        let open = self.shared.open();
        Sizes {
            file_bytes: open.size(&self.shared.path),
            live_bytes: open.live_bytes,
            compactions: open.compactions,
        }
    }

    fn reader(&self) -> Arc<dyn Reader> {
        let (shared, gate) = (Arc::downgrade(&self.shared), self.gate.clone());
        Arc::new(reader::Snapshots { shared, gate })
    }
}

/// Bytes of a record. A removal has its key.
fn weight(record: &Record) -> usize {
    record.key.len() + record.value.as_ref().map_or(0, Vec::len)
}

/// A new file with our version and no records.
fn create(path: &Path) -> Result<Database, redb::Error> {
    let database = Builder::new().set_cache_size(CACHE_BYTES).create(path)?;
    schema(&database)?;
    Ok(database)
}

/// The version in the file; a new file gets ours.
fn schema(database: &Database) -> Result<u32, redb::Error> {
    match database.begin_read()?.open_table(ABOUT) {
        Ok(table) => {
            if let Some(version) = table.get(SCHEMA_KEY)? {
                return Ok(version.value());
            }
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let transaction = database.begin_write()?;
    transaction.open_table(ABOUT)?.insert(SCHEMA_KEY, SCHEMA)?;
    transaction.open_table(RECORDS)?;
    transaction.commit()?;
    Ok(SCHEMA)
}

fn read_all(database: &Database) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        records.push((key.value().to_owned(), value.value().to_vec()));
    }
    Ok(records)
}

/// Writes records, and says how many bytes of others they took the place of.
fn write(database: &Database, records: &[Record]) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let mut replaced = 0;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for record in records {
            let key = record.key.as_str();
            let before = match &record.value {
                Some(value) => table.insert(key, value.as_slice())?,
                None => table.remove(key)?,
            };
            replaced += before.map_or(0, |before| key.len() + before.value().len());
        }
    }
    transaction.commit()?;
    Ok(replaced as u64)
}

fn live_bytes(database: &Database) -> Result<u64, redb::Error> {
    let table = database.begin_read()?.open_table(RECORDS)?;
    let mut bytes = 0;
    for entry in table.iter()? {
        let (key, value) = entry?;
        bytes += key.value().len() + value.value().len();
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_hub_on_the_same_state_is_refused_with_the_fix() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = RedbStore::open(dir.path()).expect("open");
        let error = RedbStore::open(dir.path()).expect_err("in use").to_string();
        assert!(error.contains("in use by another hub: stop that one first"), "{error}");
        drop(first);
        RedbStore::open(dir.path()).expect("free again");
    }

    #[test]
    fn records_of_a_newer_hub_are_refused_with_the_fix() {
        let dir = tempfile::tempdir().expect("temporary directory");
        {
            let store = RedbStore::open(dir.path()).expect("open");
            let transaction = store.shared.open().database.begin_write().expect("begin");
            transaction
                .open_table(ABOUT)
                .expect("table")
                .insert(SCHEMA_KEY, SCHEMA + 1)
                .expect("insert");
            transaction.commit().expect("commit");
        }
        let error = RedbStore::open(dir.path()).expect_err("newer").to_string();
        assert!(error.contains("written by a newer hub"), "{error}");
        assert!(error.contains("start the newer hub again, or restore a backup"), "{error}");
    }

    /// Writes much, removes most of it, and goes on writing until the store has compacted. Says what must be in it.
    fn churn(store: &RedbStore) -> std::collections::BTreeMap<String, Vec<u8>> {
        let mut expected = std::collections::BTreeMap::new();
        let mut write = |round: u32, large: bool| {
            let size = if large { 4 << 20 } else { 100 };
            let value =
                |part: u8| (!(round + u32::from(part)).is_multiple_of(5)).then(|| vec![part; size]);
            let record = |part: u8| Record {
                key: format!("k{}", (round + u32::from(part)) % 11),
                value: value(part),
            };
            let records: Vec<Record> = (0..8).map(record).collect();
            store.commit(&records).expect("commit");
            for Record { key, value } in records {
                match value {
                    Some(value) => drop(expected.insert(key, value)),
                    None => drop(expected.remove(&key)),
                }
            }
        };
        write(0, true);
        write(3, true);
        for round in 4.. {
            write(round, false);
            if store.sizes().compactions > 0 {
                break;
            }
        }
        expected
    }

    #[test]
    fn a_store_that_is_written_to_stays_short_and_loses_nothing() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = RedbStore::open(dir.path()).expect("open");
        let expected = churn(&store);
        let live: usize = expected.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert_eq!(store.sizes().live_bytes, live as u64);
        let loaded = |store: &RedbStore| store.load().expect("load").into_iter().collect();
        assert_eq!(expected, loaded(&store));
        drop(store);
        let store = RedbStore::open(dir.path()).expect("open");
        assert_eq!(expected, loaded(&store));
        assert_eq!(store.sizes().live_bytes, live as u64);
        assert!(!dir.path().join(NEW_FILE).exists());
    }

    #[test]
    fn who_reads_sees_one_commit_whatever_is_committed_and_compacted_meanwhile() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = RedbStore::open(dir.path()).expect("open");
        let record = |key: &str| Record { key: key.into(), value: Some(vec![1]) };
        store.commit(&[record("a"), record("b"), record("c")]).expect("commit");
        let reader = store.reader();
        let mut seen = Vec::new();
        let read = reader.read(&mut |key, _| {
            if seen.is_empty() {
                let gone = Record { key: "c".into(), value: None };
                store.commit(&[record("b2"), gone]).map_err(std::io::Error::other)?;
                churn(&store);
            }
            seen.push(key.to_owned());
            Ok(())
        });
        read.expect("read");
        assert_eq!(seen, ["a", "b", "c"]);
        assert!(store.sizes().compactions > 0, "the file was changed under the reader");
    }

    #[test]
    fn a_reader_that_has_enough_ends_early_and_keeps_no_closed_store_open() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = RedbStore::open(dir.path()).expect("open");
        store.commit(&[Record { key: "a".into(), value: Some(vec![1]) }]).expect("commit");
        let reader = store.reader();
        let full = |_: &str, _: &[u8]| Err(std::io::Error::other("full"));
        assert_eq!(reader.read(&mut { full }).expect_err("ended").to_string(), "full");
        drop(store);
        let _next = RedbStore::open(dir.path()).expect("it is free");
        let error = reader.read(&mut |_, _| Ok(())).expect_err("closed");
        assert!(error.to_string().contains("could not read the store"), "{error}");
    }

    #[test]
    fn a_removal_weighs_what_it_holds_in_memory_and_adds_nothing_to_the_store() {
        let removal = Record { key: "gone".into(), value: None };
        assert_eq!(weight(&removal), 4);
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = RedbStore::open(dir.path()).expect("open");
        store.commit(&[Record { key: "a".into(), value: Some(vec![7; 9]) }]).expect("commit");
        store.commit(&[removal]).expect("commit");
        assert_eq!(store.sizes().live_bytes, 10);
    }

    #[test]
    fn what_a_crash_amid_compacting_left_is_removed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join(NEW_FILE), b"half a store").expect("write");
        let store = RedbStore::open(dir.path()).expect("open");
        assert!(!dir.path().join(NEW_FILE).exists());
        store.commit(&[Record { key: "a".into(), value: Some(vec![]) }]).expect("commit");
        compact::run(&store.shared).expect("compact");
        assert_eq!(store.load().expect("load").len(), 1);
        assert_eq!(store.sizes().compactions, 1);
    }

    #[test]
    fn a_file_that_is_no_store_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join(FILE);
        fs::write(&path, b"notes").expect("write");
        let error = RedbStore::open(dir.path()).expect_err("no store");
        assert!(matches!(error, StoreError::Open { .. }), "{error}");
        assert_eq!(fs::read(&path).expect("read"), b"notes");
    }
}
