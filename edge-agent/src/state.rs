//! The state directory: all that survives a restart, and who may use it.
//!
//! | path | content |
//! |---|---|
//! | `lock` | held by the one agent of this directory; its pid, for people |
//! | `format` | of which shape the directory is, see [`format`] |
//! | `agent-id` | drawn once; tells two devices with one name apart |
//! | `assignment`, `assignment.previous` | the newest saved one and the one before, see [`assignment`] |
//! | `reserve` | room for saving an assignment on a full disk, see [`reserve`] |
//! | `runtime` | the container runtime that passed its trial last, see `runtimes` |
//! | `part-<hash>` | a part that one of them refers to: a Pod, the files of a ConfigMap, what is sealed of a Secret |
//! | `identity/` | who the device is, and by what and where it finds its hub, see [`crate::identity::store`] |
//! | `logbook/` | what happened on this device, in a chain, see [`crate::logbook`] |
//! | `time-floor` | a time that has certainly passed, in milliseconds since 1970 |
//! | `artefacts/sha256/<hex>` | fetched bytes, see [`crate::content`] |
//! | `artefacts/unpacked/`, `layers/` | unpacked layers, and which packed one each is of, see [`crate::content`] |
//! | `claims/`, `claim-records/` | the data of PersistentVolumeClaims, see [`crate::claims`] |
//! | `run/<Pod>/` | what runs, see [`crate::pod_dir`] |
//!
//! Files are replaced whole and only when their content changes; every byte written is counted.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write as _},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use firmware_compat::{id::AgentId, time::UnixMs};
use rustix::io::Errno;

pub mod assignment;
pub mod format;
pub mod reserve;
mod runtimes;
mod write;

pub use write::Written;
pub(crate) use write::sync_dir_of;

/// No small file of ours is larger.
const MAX_SMALL: u64 = 4096;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another agent has it.
    #[error(
        "{} is in use by the agent with process id {pid}: stop that one, or give this one a --state of its own",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// What that agent wrote; `unknown` if nothing.
        pid: String,
    },
    /// An older agent would misread it.
    #[error(
        "{} was written by a newer agent (format {found}, this one knows {known}): what runs goes on, and nothing is started \
         or stopped; install that agent again",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this agent knows.
        known: u32,
    },
    /// A path that the shims cannot be told.
    #[error("{} is not a usable state directory: its path must be UTF-8", path.display())]
    NotText {
        /// The directory.
        path: PathBuf,
    },
}

impl StateError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Whether the same may succeed in a moment, so that nothing is to be concluded about the disk.
    pub(crate) fn passes(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        let errno = Errno::from_io_error(source);
        matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR))
    }
}

/// An open state directory. The lock lasts as long as this value.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    written: Written,
    read_only: bool,
    _lock: File,
}

impl StateDir {
    /// Makes the directory if needed, and locks it.
    ///
    /// # Errors
    /// [`StateError::InUse`] if another agent has it, [`StateError::Newer`] if it is of a newer one, and those of the system.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        if !path.exists() {
            make_dir(path)?;
            sync_dir_of(path)?;
        }
        let path = fs::canonicalize(path).map_err(|source| StateError::io("open", path, source))?;
        if path.to_str().is_none() {
            return Err(StateError::NotText { path });
        }
        let (lock, read_only) = lock(&path)?;
        let written = Written::default();
        format::check(&path, &written)?;
        for dir in ["artefacts", "artefacts/sha256", "layers", "run"] {
            let dir = path.join(dir);
            if !dir.is_dir() && !read_only {
                make_dir(&dir)?;
                // What a Pod syncs below it must not go with its name.
                sync_dir_of(&dir)?;
            }
        }
        let state = Self { path, written, read_only, _lock: lock };
        state.keep_reserve();
        Ok(state)
    }

    /// Keeps room for saving an assignment, if there is any to keep.
    pub fn keep_reserve(&self) {
        if !self.read_only
            && let Err(error) = reserve::keep(&self.path)
        {
            tracing::warn!(%error, "no room could be kept for the next assignment");
        }
    }

    /// Whether nothing can be kept: the file system was mounted to be read only, as the kernel does after errors of a disk.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where fetched bytes are.
    #[must_use]
    pub fn artefacts(&self) -> PathBuf {
        self.path.join("artefacts/sha256")
    }

    /// Where unpacked layers are.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.path.join("layers")
    }

    /// Where the run directories are.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Counts the bytes written by this agent.
    #[must_use]
    pub fn written(&self) -> &Written {
        &self.written
    }

    /// The id of this directory; drawn on first use, and anew (with a warning) if its file is damaged. One that the disk
    /// does not keep is for this run.
    ///
    /// # Errors
    /// Those that pass: the system has no memory or no descriptors left.
    pub fn agent_id(&self) -> Result<AgentId, StateError> {
        let text = self.read_or_damaged("agent-id")?;
        match text.as_deref().map(str::trim).map(AgentId::parse) {
            Some(Some(id)) => return Ok(id),
            Some(None) => tracing::warn!("agent-id was damaged: this agent gets a new id"),
            None => {}
        }
        let id = AgentId(crate::random::bytes());
        if let Err(error) = self.replace("agent-id", format!("{id}\n").as_bytes()) {
            tracing::warn!("the agent's new id will be another one after a restart: {error}");
        }
        Ok(id)
    }

    /// A time that has certainly passed; 0 if none is known.
    ///
    /// # Errors
    /// Those that pass: the system has no memory or no descriptors left.
    pub fn time_floor(&self) -> Result<UnixMs, StateError> {
        let text = self.read_or_damaged("time-floor")?;
        Ok(text.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    }

    /// Keeps a time that has certainly passed.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_time_floor(&self, floor: UnixMs) -> Result<(), StateError> {
        self.replace("time-floor", format!("{floor}\n").as_bytes())
    }

    /// Replaces a file of the directory durably, unless it has this content already.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        let old = self.read_small(name).ok().flatten();
        if old.is_some_and(|old| old.as_bytes() == content) {
            return Ok(());
        }
        self.written.replace(&self.path.join(name), content)
    }

    /// What the disk no longer gives back is damage like any other, and read as nothing.
    fn read_or_damaged(&self, name: &str) -> Result<Option<String>, StateError> {
        match self.read_small(name) {
            Err(error) if !error.passes() => {
                tracing::warn!("{error}: it is taken for damaged");
                Ok(Some(String::new()))
            }
            read => read,
        }
    }

    fn read_small(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.path.join(name);
        let bytes = read_bounded(&path, MAX_SMALL)?;
        // Not text: damaged, which every reader treats as absent or unparsable.
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Reads a file of at most `max` bytes; what lies beyond is not read. `None` if there is no file.
pub(crate) fn read_bounded(path: &Path, max: u64) -> Result<Option<Vec<u8>>, StateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::io("open", path, source)),
    };
    let mut bytes = Vec::new();
    file.take(max)
        .read_to_end(&mut bytes)
        .map_err(|source| StateError::io("read", path, source))?;
    Ok(Some(bytes))
}

/// Makes a directory that only this user can look into.
pub(crate) fn make_dir(path: &Path) -> Result<(), StateError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|source| StateError::io("make", path, source))
}

/// Takes the lock, and says whether the directory can only be read.
fn lock(dir: &Path) -> Result<(File, bool), StateError> {
    let path = dir.join("lock");
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let opened = match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            // The directory itself takes a lock as well as any file in it.
            let file = File::open(&path).or_else(|_| File::open(dir));
            file.map(|file| (file, true))
        }
        opened => opened.map(|file| (file, false)),
    };
    let (mut file, read_only) = opened.map_err(|source| StateError::io("open", &path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.take(32).read_to_string(&mut pid);
            let pid = match pid.trim() {
                "" => "unknown".to_owned(),
                pid => pid.to_owned(),
            };
            return Err(StateError::InUse { path: dir.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(StateError::io("lock", &path, source)),
    }
    // Its pid is for people: a full disk keeps no agent from starting.
    if !read_only
        && let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()))
    {
        tracing::warn!(%error, "could not write the process id into {}", path.display());
    }
    Ok((file, read_only))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(&dir.path().join("state")).expect("a state directory");
        (dir, state)
    }

    #[test]
    fn a_second_agent_on_the_same_directory_is_refused_with_the_pid_of_the_first() {
        let (_dir, state) = open();
        let error = StateDir::open(state.path()).expect_err("it is in use");
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        let path = state.path().to_owned();
        drop(state);
        StateDir::open(&path).expect("it is free again");
    }

    #[test]
    fn the_agent_id_is_drawn_once() {
        let (_dir, state) = open();
        let id = state.agent_id().expect("an id");
        let written = state.written().bytes();
        assert_eq!(state.agent_id().expect("an id"), id);
        assert_eq!(state.written().bytes(), written);
    }

    #[test]
    fn a_damaged_agent_id_is_replaced() {
        let (_dir, state) = open();
        fs::write(state.path().join("agent-id"), b"\xff\x00").expect("writable");
        let id = state.agent_id().expect("an id");
        assert_eq!(state.agent_id().expect("an id"), id);
    }

    /// A device with a bad sector there starts what is left.
    #[test]
    fn what_the_disk_does_not_give_back_keeps_no_agent_from_starting() {
        let (_dir, state) = open();
        for name in ["agent-id", "time-floor"] {
            fs::create_dir(state.path().join(name)).expect("writable");
        }
        assert_eq!(state.time_floor().expect("it is as if there were none"), 0);
        let (one, other) = (state.agent_id().expect("an id"), state.agent_id().expect("an id"));
        assert_ne!(one, other);
    }

    #[test]
    fn nothing_is_written_when_nothing_changes() {
        let (_dir, state) = open();
        let before = state.written().bytes();
        state.set_time_floor(5).expect("writable");
        let written = state.written().bytes();
        assert_eq!(written - before, 2);
        state.set_time_floor(5).expect("writable");
        assert_eq!(state.written().bytes(), written);
        assert_eq!(state.time_floor().expect("readable"), 5);
    }
}
