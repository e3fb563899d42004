//! Gives space back while the hub runs. redb keeps the pages of what was removed, and can give them back only while
//! nobody writes. So the records are copied into a new file beside the old one, from a snapshot, while turns go on; what
//! they commit meanwhile is copied after; and only for the last few records, and the change of files, a turn has to wait.
//!
//! The old file is whole until the new one, which is whole and on disk, takes its name.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use lichen_hub_core::effect::Record;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};

use super::{NEW_FILE, RECORDS, Shared, create, weight, write};
use crate::store::StoreError;

/// Bytes of records that are written in one transaction.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes of records that a turn may have to wait for at the change of files.
const LAST_BYTES: usize = 256 << 10;
/// How often what was committed meanwhile is copied while turns go on. More than a few only if turns write faster than
/// this does, and then they have to wait.
const ROUNDS: usize = 8;

/// Copies the records into a new file, and goes on with that.
pub(super) fn run(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let refused = |source: redb::Error| StoreError::Refused {
        verb: "compact",
        path: shared.path.clone(),
        source: Box::new(source),
    };
    let new_path = shared.path.with_file_name(NEW_FILE);
    let done = remove(&new_path)
        .map_err(redb::Error::from)
        .and_then(|()| copy(shared, &new_path))
        .map_err(refused);
    if done.is_err() {
        shared.open().meanwhile = None;
        // What is left there is removed by the next attempt, or the next start.
        let _ = remove(&new_path);
    }
    done
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy(shared: &Arc<Shared>, new_path: &Path) -> Result<(), redb::Error> {
    let snapshot = {
        let mut open = shared.open();
        open.meanwhile = Some(Vec::new());
        open.database.begin_read()?.open_table(RECORDS)?
    };
    let new = create(new_path)?;
    copy_all(shared, &snapshot, &new)?;
    drop(snapshot);
    for _ in 0..ROUNDS {
        let records = {
            let mut open = shared.open();
            let meanwhile = open.meanwhile.get_or_insert_default();
            if meanwhile.iter().map(weight).sum::<usize>() <= LAST_BYTES {
                break;
            }
            std::mem::take(meanwhile)
        };
        write(&new, &records)?;
    }
    // Opened while all can still be left as it was: for lack of a descriptor after the change of files the hub would end.
    let directory = shared.path.parent().map(File::open).transpose()?;
    let mut open = shared.open();
    let last = open.meanwhile.take().unwrap_or_default();
    write(&new, &last)?;
    fs::rename(new_path, &shared.path)?;
    let old = std::mem::replace(&mut open.database, Arc::new(new));
    // Until this has worked, a loss of power may bring the old name of the file back, without what is written from now on.
    open.broken = directory.and_then(|directory| directory.sync_all().err());
    open.compactions += 1;
    open.size_after = open.size(&shared.path);
    drop(open);
    // Closing the old file takes time that no turn has to wait for.
    drop(old);
    Ok(())
}

fn copy_all(
    shared: &Shared,
    snapshot: &ReadOnlyTable<&'static str, &'static [u8]>,
    new: &Database,
) -> Result<(), redb::Error> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for entry in snapshot.iter()? {
        let (key, value) = entry?;
        let record = Record { key: key.value().to_owned(), value: Some(value.value().to_vec()) };
        bytes += weight(&record);
        batch.push(record);
        if bytes >= BATCH_BYTES {
            if shared.closing.load(Ordering::Relaxed) {
                return Err(io::Error::other("the hub is stopping").into());
            }
            write(new, &std::mem::take(&mut batch))?;
            bytes = 0;
        }
    }
    write(new, &batch)?;
    Ok(())
}
