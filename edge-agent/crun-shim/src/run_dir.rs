//! The run directory: one directory per run of a container, and the files in it.
//!
//! | file | written by | content |
//! |---|---|---|
//! | `shim.spec` | agent, before the spawn | the [`Spec`] and the boot |
//! | `shim.pid` | shim of a container (or `clean-up`) | its own pid and start time: it leads the session of the runtime's commands |
//! | `shim.sock` | shim | the socket of [`crate::protocol`] |
//! | `pid` | shim | pid and start time of the container's first process |
//! | `exit` | shim (or `clean-up`) | how the run ended; synced before anybody is told |
//! | `log`, `log.1` … | shim | output in CRI format |
//! | `oci/` | runtime | the runtime's own state |
//! | `oci.pid` | runtime | pid of the container's first process, once it is created |
//!
//! The directory itself carries an advisory lock that is held from the spawn until the shim is gone, so that
//! "is there a shim" has an answer that neither a reused pid nor a stale socket can falsify.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::protocol::{VERSION, exactly};
use crate::spec::Spec;
use crate::state::{BootId, Exit};

/// Name of the spec's file.
pub const SPEC: &str = "shim.spec";
/// Name of the file with the process whose session the runtime's commands are in.
pub const SHIM_PID: &str = "shim.pid";
/// Name of the socket.
pub const SOCKET: &str = "shim.sock";
/// Name of the file with the container's first process.
pub const PID: &str = "pid";
/// Name of the exit record.
pub const EXIT: &str = "exit";
/// Name of the newest log file; older ones have `.1`, `.2` … appended.
pub const LOG: &str = "log";
/// Name of the runtime's state directory.
pub const OCI: &str = "oci";
/// Name of the runtime's pid file.
pub const OCI_PID: &str = "oci.pid";

/// No file of ours comes near this; a larger one is not ours.
const MAX_RECORD: u64 = 4 * 1024 * 1024;

/// Content of `shim.spec`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SpecRecord {
    /// The boot during which the shim was spawned: processes and cgroups of another boot are gone.
    pub boot_id: BootId,
    /// What to run.
    pub spec: Spec,
}

/// Content of `pid` and `shim.pid`: enough to never mistake a reused pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidRecord {
    /// The boot in which the pid means anything.
    pub boot_id: BootId,
    /// The process id.
    pub pid: i32,
    /// Its start time in clock ticks since boot, from `/proc/PID/stat`.
    pub start_ticks: u64,
    /// When it was started (`shim.pid`: when it said so), in milliseconds since 1970.
    pub at_ms: u64,
}

/// Why a file of the run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The content is not what this version writes.
    #[error("{} is damaged or of another version: remove the run directory", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl RecordError {
    /// Whether the same may succeed in a moment, so that nothing is to be concluded about the disk.
    #[must_use]
    pub fn passes(&self) -> bool {
        use rustix::io::Errno;
        let Self::Io { source, .. } = self else { return false };
        let errno = Errno::from_io_error(source);
        matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR))
    }
}

/// An open run directory.
#[derive(Debug)]
pub struct RunDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl RunDir {
    /// Opens the directory, which must exist.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let failed = |source| RecordError::Io { action: "open", path: path.to_owned(), source };
        let path = fs::canonicalize(path).map_err(failed)?;
        let file = File::open(&path).map_err(|source| RecordError::Io {
            action: "open",
            path: path.clone(),
            source,
        })?;
        Ok(Self { fd: file.into(), path })
    }

    /// Takes over a descriptor that was inherited with the lock on it.
    pub(crate) fn inherited(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    /// The absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The absolute path of a file in the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A path of the socket that fits the 108 bytes of a socket address however deep the directory is.
    /// It is valid in this process and as long as this value lives.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}/{SOCKET}", self.fd.as_raw_fd()).into()
    }

    /// Takes the lock. `false` means that a shim (or a clean-up) holds it.
    pub(crate) fn try_lock(&self) -> Result<bool, RecordError> {
        match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(self.failed("lock", errno.into())),
        }
    }

    pub(crate) fn unlock(&self) {
        // Closing the descriptor does the same; an error leaves nothing to do.
        let _ = rustix::fs::flock(&self.fd, FlockOperation::Unlock);
    }

    /// The descriptor, to be inherited by a shim together with the lock.
    pub(crate) fn try_clone_fd(&self) -> Result<OwnedFd, RecordError> {
        self.fd.try_clone().map_err(|source| self.failed("duplicate the descriptor of", source))
    }

    /// The exit record, or `None` if the run has not ended.
    pub fn exit(&self) -> Result<Option<Exit>, RecordError> {
        self.load(EXIT)
    }

    /// The stored spec.
    pub fn spec(&self) -> Result<Option<SpecRecord>, RecordError> {
        self.load(SPEC)
    }

    /// The container's first process.
    pub fn pid(&self) -> Result<Option<PidRecord>, RecordError> {
        self.load(PID)
    }

    /// Who leads the session of the runtime's commands.
    pub(crate) fn shim_pid(&self) -> Result<Option<PidRecord>, RecordError> {
        self.load(SHIM_PID)
    }

    pub(crate) fn store_shim_pid(&self, record: &PidRecord) -> Result<(), RecordError> {
        self.store(SHIM_PID, record, Durability::UntilPowerLoss)
    }

    pub(crate) fn store_spec(&self, record: &SpecRecord) -> Result<(), RecordError> {
        self.store(SPEC, record, Durability::UntilPowerLoss)
    }

    pub(crate) fn store_pid(&self, record: &PidRecord) -> Result<(), RecordError> {
        self.store(PID, record, Durability::UntilPowerLoss)
    }

    pub(crate) fn store_exit(&self, exit: &Exit) -> Result<(), RecordError> {
        self.store(EXIT, exit, Durability::Synced)
    }

    fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, RecordError> {
        let path = self.file(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Io { action: "open", path, source }),
        };
        let mut bytes = Vec::new();
        if let Err(source) = file.take(MAX_RECORD).read_to_end(&mut bytes) {
            return Err(RecordError::Io { action: "read", path, source });
        }
        match bytes.split_first() {
            Some((&VERSION, message)) => {
                exactly(message).map(Some).ok_or(RecordError::Damaged { path })
            }
            _ => Err(RecordError::Damaged { path }),
        }
    }

    /// Replaces a file at once: readers see the old content or the new, never a part.
    fn store<T: Serialize>(
        &self,
        name: &str,
        value: &T,
        durability: Durability,
    ) -> Result<(), RecordError> {
        let bytes = postcard::to_extend(value, vec![VERSION])
            .map_err(|_| RecordError::Damaged { path: self.file(name) })?;
        let temporary = self.file(&format!("{name}.tmp"));
        // Only for the owner: a spec carries the container's environment, and that may carry secrets.
        let file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
        let written = file.and_then(|mut file| {
            file.write_all(&bytes)?;
            if durability == Durability::Synced { file.sync_all() } else { Ok(()) }
        });
        written.map_err(|source| RecordError::Io {
            action: "write",
            path: temporary.clone(),
            source,
        })?;
        fs::rename(&temporary, self.file(name)).map_err(|source| RecordError::Io {
            action: "replace",
            path: self.file(name),
            source,
        })?;
        if durability == Durability::Synced {
            rustix::fs::fsync(&self.fd).map_err(|errno| self.failed("sync", errno.into()))?;
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> RecordError {
        RecordError::Io { action, path: self.path.clone(), source }
    }
}

impl AsFd for RunDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Records about processes mean nothing after a power loss, so they are not worth a flash write barrier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    UntilPowerLoss,
    Synced,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::state::Outcome;

    fn exit(message: &str) -> Exit {
        Exit {
            outcome: Outcome::Code(3),
            oom_killed: false,
            started_at_ms: None,
            finished_at_ms: 5,
            boot_id: BootId([1; 16]),
            message: message.into(),
        }
    }

    #[test]
    fn an_exit_record_reads_back_and_replaces_the_one_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = RunDir::open(dir.path()).expect("it exists");
        assert_eq!(run.exit().expect("readable"), None);
        for message in ["first", "second"] {
            run.store_exit(&exit(message)).expect("writable");
            assert_eq!(run.exit().expect("readable"), Some(exit(message)));
        }
        assert!(!run.file("exit.tmp").exists());
        let mode = fs::metadata(run.file(EXIT)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_not_a_guess() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = RunDir::open(dir.path()).expect("it exists");
        run.store_exit(&exit("x")).expect("writable");
        let sound = fs::read(run.file(EXIT)).expect("readable");
        for length in 0..sound.len() {
            fs::write(run.file(EXIT), &sound[..length]).expect("writable");
            assert!(matches!(run.exit(), Err(RecordError::Damaged { .. })), "{length}");
        }
        fs::write(run.file(EXIT), [&sound[..], &[0]].concat()).expect("writable");
        assert!(matches!(run.exit(), Err(RecordError::Damaged { .. })));
    }

    #[test]
    fn the_lock_is_held_as_long_as_any_copy_of_the_descriptor_lives() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = RunDir::open(dir.path()).expect("it exists");
        let second = RunDir::open(dir.path()).expect("it exists");
        assert!(first.try_lock().expect("lockable"));
        let copy = first.try_clone_fd().expect("a descriptor");
        drop(first);
        assert!(!second.try_lock().expect("lockable"));
        drop(copy);
        assert!(second.try_lock().expect("lockable"));
    }
}
