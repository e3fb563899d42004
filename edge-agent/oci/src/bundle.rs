//! The directory of one running container: bundle and overlay directories.
//!
//! ```text
//! <run dir>/bundle/config.json   for the runtime
//! <run dir>/bundle/rootfs        where the shim mounts the overlay
//! <run dir>/upper, work          what the container writes
//! ```
//!
//! The files shown at `/etc` are the Pod's: see [`crate::etc`]. A run directory is laid out anew for each start and is worth nothing after a loss of power, so nothing here
//! waits for the disk. Volumes that outlive a container are the agent's and live elsewhere.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;

use crate::mounts::is_inner_path;
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
    /// A sub path leaves its volume.
    #[error("subPath {sub_path:?} {why}")]
    SubPath {
        /// The sub path.
        sub_path: String,
        /// What is wrong with it.
        why: &'static str,
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

/// Makes sure that a sub path exists inside a volume and that no symlink leads out of it; missing directories are
/// made. Returns the full path. Call it before each start: what a container left in the volume is untrusted.
pub fn prepare_sub_path(volume: &Path, sub_path: &str) -> Result<PathBuf, BundleError> {
    let refuse = |why| BundleError::SubPath { sub_path: sub_path.to_owned(), why };
    if !is_inner_path(sub_path) {
        return Err(refuse("must be relative and without \"..\""));
    }
    let full = volume.join(sub_path);
    let step = |cause: Errno| failed("open", &full)(cause.into());
    let path_only = OFlags::PATH | OFlags::CLOEXEC;
    let mut here =
        openat(CWD, volume, path_only | OFlags::DIRECTORY, Mode::empty()).map_err(step)?;
    for name in sub_path.split('/').filter(|name| !matches!(*name, "" | ".")) {
        let flags = path_only | OFlags::NOFOLLOW;
        let found = match openat(&here, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                mkdirat(&here, name, Mode::from_raw_mode(0o755)).map_err(step)?;
                openat(&here, name, flags, Mode::empty()).map_err(step)?
            }
            Err(Errno::NOTDIR) => return Err(refuse("goes through a file")),
            found => found.map_err(step)?,
        };
        let kind = rustix::fs::fstat(&found).map_err(step)?.st_mode;
        if rustix::fs::FileType::from_raw_mode(kind) == rustix::fs::FileType::Symlink {
            return Err(refuse("goes through a symlink, which could lead out of the volume"));
        }
        here = found;
    }
    Ok(full)
}

pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), BundleError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed("create", path))
}

/// Writes a file in place: a bind mount shows the same file, not one that was renamed over it.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
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

    #[test]
    fn sub_paths_stay_inside_their_volume() {
        let scratch = tempfile::tempdir().expect("scratch");
        let volume = scratch.path().join("volume");
        fs::create_dir(&volume).expect("volume");
        std::os::unix::fs::symlink("/etc", volume.join("link")).expect("link");
        fs::write(volume.join("file"), "").expect("file");
        let prepare = |path| prepare_sub_path(&volume, path).map_err(|error| error.to_string());
        assert_eq!(prepare("a//b/./c"), Ok(volume.join("a/b/c")));
        assert!(volume.join("a/b/c").is_dir());
        assert_eq!(prepare("file"), Ok(volume.join("file")));
        assert!(prepare("link").expect_err("refused").contains("symlink"));
        assert!(prepare("link/passwd").expect_err("refused").contains("symlink"));
        assert!(prepare("file/x").expect_err("refused").contains("through a file"));
        for path in ["../x", "/etc", "a/../../x", "a\0b"] {
            assert!(prepare(path).expect_err("refused").contains("relative"), "{path}");
        }
    }
}
