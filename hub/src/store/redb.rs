//! Records in one redb file. redb keeps two copies of its root with checksums, so a crash at any moment leaves the
//! last whole commit; its lock on the file keeps a second hub out, and ends with the process that holds it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use lichen_hub_core::effect::Record;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError,
};

use super::{Store, StoreError};

/// The file in the state directory.
const FILE: &str = "hub.redb";
/// Version of the records as a whole. A hub refuses a newer one: it would drop what it doesn't know.
const SCHEMA: u32 = 1;
/// Pages that redb keeps in memory. The engine holds every record itself, so they are read once.
const CACHE_BYTES: usize = 1 << 20;
/// A file below this size is not worth compacting.
const COMPACT_MIN_BYTES: u64 = 16 << 20;

const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
const ABOUT: TableDefinition<'_, &str, u32> = TableDefinition::new("about");
const SCHEMA_KEY: &str = "schema";

/// A store in a file.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    /// Compacting needs it alone.
    database: Mutex<Database>,
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
        let found = schema(&database)
            .map_err(|source| StoreError::Open { path: path.clone(), source: Box::new(source) })?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path, found, known: SCHEMA });
        }
        Ok(Self { path, database: Mutex::new(database) })
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, verb: &'static str, source: redb::Error) -> StoreError {
        StoreError::Refused { verb, path: self.path.clone(), source: Box::new(source) }
    }
}

impl Store for RedbStore {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        read_all(&self.database()).map_err(|source| self.refused("read", source))
    }

    fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        write(&self.database(), records).map_err(|source| self.refused("write", source))
    }

    fn compact(&self) -> Result<(), StoreError> {
        let mut database = self.database();
        let size = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        if size < COMPACT_MIN_BYTES {
            return Ok(());
        }
        let refused = |source| self.refused("compact", source);
        let stored = stored_bytes(&database).map_err(refused)?;
        if size / 2 > stored {
            database.compact().map_err(|error| refused(error.into()))?;
        }
        Ok(())
    }
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

fn write(database: &Database, records: &[Record]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for record in records {
            match &record.value {
                Some(value) => table.insert(record.key.as_str(), value.as_slice())?,
                None => table.remove(record.key.as_str())?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

fn stored_bytes(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    transaction.abort()?;
    Ok(stats.stored_bytes() + stats.metadata_bytes())
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
            let database = store.database();
            let transaction = database.begin_write().expect("begin");
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
