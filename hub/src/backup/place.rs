//! Puts a restored state where it belongs, in one step as far as anybody can see: it is written into `restore.partial` in
//! the state directory, which becomes `restore.ready` once it is whole and on the disk. From then on it counts. What remains
//! is moving, which a loss of power may interrupt anywhere: whoever takes the directory next, a hub or another restore,
//! carries on with it first ([`finish`]).
//!
//! It is all within the state directory, since that may be a file system of its own. Whoever calls has its lock.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use lichen_hub_core::api::time::rfc3339;

use super::BackupError;

/// Being written. Of no use to anybody else.
const PARTIAL: &str = "restore.partial";
/// To be moved.
const READY: &str = "restore.ready";
/// The file in it that names the directory to which what is there goes first.
const KEEP_IN: &str = "keep-in";
/// How such a directory's name begins.
const KEPT: &str = "before-restore-";
/// What is never moved, beside the above: the lock, and what file systems have in their root.
const STAYS: [&str; 4] = ["hub.lock", "lost+found", PARTIAL, READY];

/// Where the state that is there now would be kept.
pub(super) fn kept(state: &Path) -> PathBuf {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = rfc3339(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let name: String = now.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut kept = state.join(format!("{KEPT}{name}"));
    let mut number = 1_u32;
    while kept.exists() {
        number += 1;
        kept = state.join(format!("{KEPT}{name}-{number}"));
    }
    kept
}

/// An empty directory to write into.
pub(super) fn stage(state: &Path) -> Result<PathBuf, BackupError> {
    let partial = state.join(PARTIAL);
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(BackupError::disk("remove", &partial)(error));
        }
        Ok(()) | Err(_) => {}
    }
    directory(&partial)?;
    Ok(partial)
}

/// What was written counts from now on. `keep_in`: where what is there goes.
pub(super) fn commit(state: &Path, keep_in: Option<&PathBuf>) -> Result<(), BackupError> {
    let (partial, ready) = (state.join(PARTIAL), state.join(READY));
    if let Some(name) = keep_in.and_then(|path| path.file_name()).and_then(|name| name.to_str()) {
        check_movable(state)?;
        let path = partial.join(KEEP_IN);
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(name.as_bytes())?;
            file.sync_all()
        };
        write().map_err(BackupError::disk("write", &path))?;
    }
    sync(&partial)?;
    fs::rename(&partial, &ready).map_err(BackupError::disk("rename", &partial))?;
    sync(state)
}

/// Carries on with what [`commit`] has decided, if anything. What is there and what comes is never mixed up, however often
/// this is interrupted: nothing comes before everything has gone.
///
/// # Errors
/// The file system refuses. Then the directory is of no use until this has worked.
pub fn finish(state: &Path) -> Result<(), BackupError> {
    let ready = state.join(READY);
    if !ready.is_dir() {
        return Ok(());
    }
    let note = ready.join(KEEP_IN);
    match fs::read_to_string(&note) {
        Ok(name) => {
            if !name.starts_with(KEPT) || name.contains('/') {
                return Err(BackupError::disk("use", &note)(io::ErrorKind::InvalidData.into()));
            }
            let kept = state.join(name);
            directory(&kept)?;
            for path in entries(state)?.iter().filter(|path| goes(path)) {
                move_into(&kept, path)?;
            }
            sync(&kept)?;
            sync(state)?;
            fs::remove_file(&note).map_err(BackupError::disk("remove", &note))?;
            sync(&ready)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(BackupError::disk("read", &note)(error)),
    }
    for path in entries(&ready)? {
        move_into(state, &path)?;
    }
    sync(state)?;
    fs::remove_dir(&ready).map_err(BackupError::disk("remove", &ready))?;
    sync(state)
}

/// Nothing can be moved out of another file system by renaming it.
fn check_movable(state: &Path) -> Result<(), BackupError> {
    let device = |path: &Path| {
        fs::symlink_metadata(path)
            .map(|found| found.dev())
            .map_err(BackupError::disk("examine", path))
    };
    let own = device(state)?;
    for path in entries(state)?.iter().filter(|path| goes(path)) {
        if device(path)? != own {
            return Err(BackupError::disk("move", path)(io::ErrorKind::CrossesDevices.into()));
        }
    }
    Ok(())
}

/// Whether something in the state directory is the old hub's.
fn goes(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_none_or(|name| !STAYS.contains(&name) && !name.starts_with(KEPT))
}

fn move_into(dir: &Path, path: &Path) -> Result<(), BackupError> {
    let to = path.file_name().map(|name| dir.join(name)).unwrap_or_default();
    fs::rename(path, to).map_err(BackupError::disk("move", path))
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let list = fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    list.map_err(BackupError::disk("list", dir))
}

fn directory(path: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(BackupError::disk("create the directory", path))
}

fn sync(dir: &Path) -> Result<(), BackupError> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(BackupError::disk("sync", dir))
}
