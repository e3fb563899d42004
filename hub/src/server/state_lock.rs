//! One hub per state directory. The lock is taken before anything in the directory is read or written, and says who has
//! it, so that a second hub can name the first.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io::{self, Read, Seek, Write},
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The file in the state directory. It stays when the hub ends; the lock on it does not.
const FILE: &str = "hub.lock";
/// More than a holder writes.
const MAX_HOLDER_BYTES: u64 = 200;

/// Why the directory can't be had.
#[derive(Debug, thiserror::Error)]
pub enum StateLockError {
    /// Another hub has it.
    #[error(
        "the state directory {} is in use by another hub ({holder}): stop that one first, or give this one another \
         --state directory",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Its process, and where it answers.
        holder: String,
    },
    /// The hub that is to be saved has it.
    #[error(
        "the hub of {} runs ({holder}): leave out --state, and the hub makes the backup itself",
        path.display()
    )]
    Runs {
        /// The directory.
        path: PathBuf,
        /// Its process, and where it answers.
        holder: String,
    },
    /// The file system refuses.
    #[error("could not lock the state directory {}", path.display())]
    Refused {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Keeps other hubs out of a state directory, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct StateLock {
    file: File,
}

impl StateLock {
    /// Takes the directory, which is created for its owner alone if it is not there.
    pub(crate) fn take(state: &Path) -> Result<Self, StateLockError> {
        let refused = |source| StateLockError::Refused { path: state.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(refused)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(state.join(FILE))
            .map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(&mut file).map_err(refused)?;
                return Err(StateLockError::InUse { path: state.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        let mut lock = Self { file };
        lock.write(&format!("process {}", std::process::id())).map_err(refused)?;
        Ok(lock)
    }

    /// Adds where the hub answers. Only people read it, so failing changes nothing.
    pub(crate) fn answers_at(&mut self, api: SocketAddr) {
        let holder = format!("process {}, https://{api}", std::process::id());
        if let Err(error) = self.write(&holder) {
            tracing::warn!(%error, "could not write into the state directory's lock");
        }
    }

    fn write(&mut self, holder: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(holder.as_bytes())
    }
}

fn read_holder(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(MAX_HOLDER_BYTES).read_to_end(&mut bytes)?;
    let holder = String::from_utf8_lossy(&bytes).trim().to_owned();
    Ok(if holder.is_empty() { "it is just starting".to_owned() } else { holder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_hub_is_told_of_the_first_until_that_has_gone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let state = dir.path().join("hub");
        let mut first = StateLock::take(&state).expect("free");
        first.answers_at("127.0.0.1:6180".parse().expect("address"));
        let error = StateLock::take(&state).expect_err("in use").to_string();
        let holder = format!("(process {}, https://127.0.0.1:6180)", std::process::id());
        assert!(error.contains(&holder) && error.contains("stop that one first"), "{error}");
        drop(first);
        StateLock::take(&state).expect("free again");
    }
}
