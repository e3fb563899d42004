//! Device nodes of the machine: those that a mounted path shows, and all of them for a privileged container.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Where the kernel and udev put them.
const DEV: &str = "/dev";
/// Most nodes that one container is given. A PC has some 300, most of them terminals.
const MAX_DEVICES: usize = 2048;
/// Directories below one another: `/dev/bus/usb/001/002` has three.
const MAX_DEPTH: usize = 8;
/// Below `/dev`, each container has its own of these.
const OWN: [&str; 5] = ["pts", "shm", "mqueue", "hugepages", "console"];

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where it is on the machine.
    pub path: PathBuf,
    /// Whether it is a block device; else it is a character device.
    pub block: bool,
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// What a container may do with a device that it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allowed {
    /// Whether it is a block device.
    pub block: bool,
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
    /// Whether it may write, too.
    pub write: bool,
}

impl Device {
    /// The node at a path, through links. `None` if it is something else.
    ///
    /// # Errors
    /// Those of the system.
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        let found = fs::metadata(path)?;
        let kind = found.file_type();
        if !kind.is_char_device() && !kind.is_block_device() {
            return Ok(None);
        }
        let number = found.rdev();
        Ok(Some(Self {
            path: path.to_owned(),
            block: kind.is_block_device(),
            major: rustix::fs::major(number),
            minor: rustix::fs::minor(number),
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
        }))
    }

    /// All nodes of the machine that a privileged container is given.
    pub fn all() -> Vec<Self> {
        let mut found = Vec::new();
        collect(Path::new(DEV), MAX_DEPTH, &mut found);
        found
    }

    /// The nodes that a container sees that mounts this path: the node itself, or those in a directory at or below `/dev`.
    /// Other directories are not looked through: they may be a whole disk.
    pub fn shown_by(path: &Path) -> Vec<Self> {
        if let Ok(Some(device)) = Self::at(path) {
            return vec![device];
        }
        let mut found = Vec::new();
        if fs::canonicalize(path).is_ok_and(|real| real.starts_with(DEV) && real.is_dir()) {
            collect(path, MAX_DEPTH, &mut found);
        }
        found
    }

    /// The right to use it.
    pub fn allowed(&self, write: bool) -> Allowed {
        Allowed { block: self.block, major: self.major, minor: self.minor, write }
    }

    /// As the runtime takes it, to make it in a container.
    pub(crate) fn section(&self) -> Value {
        json!({
            "path": self.path, "type": kind(self.block), "major": self.major, "minor": self.minor,
            "fileMode": self.mode, "uid": self.uid, "gid": self.gid,
        })
    }
}

impl Allowed {
    /// As a rule of the device cgroup.
    pub(crate) fn rule(self) -> Value {
        json!({
            "allow": true, "type": kind(self.block), "major": self.major, "minor": self.minor,
            "access": if self.write { "rw" } else { "r" },
        })
    }
}

fn kind(block: bool) -> &'static str {
    if block { "b" } else { "c" }
}

/// Adds the nodes in a directory, in the order of their names. Links are left alone: what they lead to is found in its place.
fn collect(dir: &Path, depth: usize, found: &mut Vec<Device>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let Ok(kind) = entry.file_type() else { continue };
        let own = dir == Path::new(DEV) && OWN.iter().any(|name| entry.file_name() == *name);
        if own || found.len() >= MAX_DEVICES {
            continue;
        }
        if kind.is_dir() && depth > 0 {
            collect(&entry.path(), depth - 1, found);
        } else if kind.is_char_device() || kind.is_block_device() {
            found.extend(Device::at(&entry.path()).ok().flatten());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_its_numbers_and_other_files_are_none() {
        let null = Device::at(Path::new("/dev/null")).expect("there").expect("a device");
        // Documentation/admin-guide/devices.txt: 1 char, 3 = /dev/null.
        assert_eq!((null.block, null.major, null.minor), (false, 1, 3));
        assert_eq!(Device::at(Path::new("/proc/version")).expect("there"), None);
        assert!(Device::at(Path::new("/dev/no-such-node")).is_err());
        assert_eq!(null.allowed(false).rule()["access"], "r");
        assert_eq!(null.allowed(true).rule()["access"], "rw");
        assert_eq!(null.section()["type"], "c");
    }

    #[test]
    fn a_directory_shows_its_nodes_only_below_dev() {
        let names = |found: Vec<Device>| -> Vec<PathBuf> {
            found.into_iter().map(|device| device.path).collect()
        };
        assert_eq!(names(Device::shown_by(Path::new("/dev/zero"))), [Path::new("/dev/zero")]);
        let all = names(Device::shown_by(Path::new("/dev")));
        assert!(all.contains(&PathBuf::from("/dev/full")));
        assert_eq!(all, names(Device::all()));
        assert!(!all.iter().any(|path| path.starts_with("/dev/pts")), "each has its own");
        assert_eq!(Device::shown_by(Path::new("/")), []);
        let scratch = tempfile::tempdir().expect("scratch");
        std::os::unix::fs::symlink("/dev/null", scratch.path().join("link")).expect("a link");
        assert_eq!(Device::shown_by(scratch.path()), []);
        let through = Device::shown_by(&scratch.path().join("link"));
        assert_eq!(through.len(), 1, "a link itself may be mounted");
    }
}
