//! Snapshots: redb keeps the pages of an older commit as long as somebody reads them. The file grows meanwhile, so whoever
//! reads should not wait for a slow peer in between.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock, Weak},
};

use redb::{ReadableDatabase, ReadableTable};

use super::{FILE, RECORDS, Shared};
use crate::store::{Each, ReadError, Reader, StoreError};

/// Reads a store that it does not keep open.
pub(super) struct Snapshots {
    pub(super) shared: Weak<Shared>,
    /// See [`super::RedbStore`].
    pub(super) gate: Arc<RwLock<bool>>,
}

impl Reader for Snapshots {
    fn read(&self, each: &mut Each<'_>) -> Result<(), ReadError> {
        let closed = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let shared = self.shared.upgrade().filter(|_| !*closed).ok_or_else(gone)?;
        let refused = |source: redb::Error| shared.refused("read", source);
        // No turn has to wait for more than the beginning.
        let database = shared.open().database.clone();
        let snapshot = database.begin_read().map_err(|error| refused(error.into()))?;
        let table = snapshot.open_table(RECORDS).map_err(|error| refused(error.into()))?;
        for entry in table.iter().map_err(|error| refused(error.into()))? {
            let (key, value) = entry.map_err(|error| refused(error.into()))?;
            each(key.value(), value.value()).map_err(ReadError::Taker)?;
        }
        Ok(())
    }
}

fn gone() -> StoreError {
    let source = Box::new(io::Error::other("the hub is stopping").into());
    StoreError::Refused { verb: "read", path: FILE.into(), source }
}
