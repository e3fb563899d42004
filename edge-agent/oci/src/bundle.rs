//! The directory of one running container: bundle and overlay directories.
//!
//! ```text
//! <run dir>/bundle/config.json   for the runtime
//! <run dir>/bundle/rootfs        where the shim mounts the overlay
//! <run dir>/upper, work          what the container writes
//! <run dir>/sub-paths/0 …        where the shim shows parts of volumes
//! ```
//!
//! The files shown at `/etc` are the Pod's: see [`crate::etc`]. A run directory is laid out anew for each start and is worth nothing after a loss of power, so nothing here
//! waits for the disk. Volumes that outlive a container are the agent's and live elsewhere.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;

use crate::tree::remove_tree;

/// Why a run directory can't be laid out or removed.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A step on the file system failed.
    #[error("could not {what} {path}: {cause}", path = path.display())]
    Io {
        /// The step.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// The directories of one overlay mount, as the shim takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// Overlayfs' own directory.
    pub work: PathBuf,
    /// Where it is mounted.
    pub target: PathBuf,
}

/// The paths below one run directory. The directory belongs to this type as a whole: [`RunDir::create`] and
/// [`RunDir::remove`] remove everything in it, so the shim's own files (its log!) live in another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Names the directory; nothing is made yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The bundle, as the runtime's `--bundle`.
    pub fn bundle(&self) -> PathBuf {
        self.root.join("bundle")
    }

    /// Where the root file system is mounted.
    pub fn rootfs(&self) -> PathBuf {
        self.root.join("bundle/rootfs")
    }

    /// Where one of the volumes' parts is shown to the runtime.
    pub fn sub_path(&self, number: usize) -> PathBuf {
        self.root.join("sub-paths").join(number.to_string())
    }

    /// The overlay of these layers (topmost first) on this run directory. The shim names them to the kernel by
    /// descriptor, so neither their number nor their names meet a limit of mount options.
    pub fn overlay(&self, lower: Vec<PathBuf>) -> Overlay {
        Overlay {
            lower,
            upper: self.root.join("upper"),
            work: self.root.join("work"),
            target: self.rootfs(),
        }
    }

    /// Makes the empty directories, after removing whatever a former container left.
    pub fn create(&self) -> Result<(), BundleError> {
        self.remove()?;
        make_directory(&self.root, 0o700)?;
        // The upper directory lends its mode to the container's `/`.
        for (name, mode) in
            [("bundle", 0o755), ("bundle/rootfs", 0o755), ("upper", 0o755), ("work", 0o755)]
        {
            make_directory(&self.root.join(name), mode)?;
        }
        Ok(())
    }

    /// Writes `config.json`; a reader sees all of it or none.
    pub fn write_config(&self, config: &Value) -> Result<(), BundleError> {
        let (path, partial) =
            (self.bundle().join("config.json"), self.bundle().join("config.json.partial"));
        write_file(&partial, config.to_string().as_bytes())?;
        fs::rename(&partial, &path).map_err(failed("rename", &partial))
    }

    /// Removes the run directory. See [`remove_run_dir`].
    pub fn remove(&self) -> Result<(), BundleError> {
        remove_run_dir(&self.root)
    }
}

/// Removes a run directory without following a symlink or entering a mount. A root file system that is still mounted in
/// the agent's own mount namespace is detached first; any other mount is an error. A missing directory is a success.
pub fn remove_run_dir(path: &Path) -> Result<(), BundleError> {
    let rootfs = path.join("bundle/rootfs");
    if rootfs.is_dir() {
        // Not mounted, or not ours to unmount: the removal tells.
        let _ = unmount(&rootfs, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
    remove_tree(path).map_err(failed("remove (is something still mounted there?)", path))
}

pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), BundleError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed("create", path))
}

/// Writes a file in place: a bind mount shows the same file, not one that was renamed over it. One that can't be written
/// any more is damaged, and another takes its place.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let write = || options.open(path).and_then(|mut file| file.write_all(bytes));
    let written = write().or_else(|_| {
        fs::remove_file(path)?;
        write()
    });
    written.map_err(failed("write", path))
}

pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BundleError {
    let path = path.to_owned();
    move |cause| BundleError::Io { what, path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_directory_is_laid_out_anew_and_removed() {
        let scratch = tempfile::tempdir().expect("scratch");
        let run = RunDir::new(scratch.path().join("run/x"));
        run.create().expect("create");
        fs::write(run.rootfs().join("old"), "").expect("leftover");
        run.create().expect("create again");
        assert!(!run.rootfs().join("old").exists());
        run.write_config(&serde_json::json!({"a": 1})).expect("config");
        let config = fs::read_to_string(run.bundle().join("config.json")).expect("config");
        assert_eq!(config, r#"{"a":1}"#);
        run.remove().expect("remove");
        run.remove().expect("a missing one is removed already");
        assert!(!scratch.path().join("run/x").exists());
    }
}
