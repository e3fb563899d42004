//! Looks how much is left of the device, and how much of it Pods hold. What follows is decided in the core.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use firmware_compat::id::AgentId;
use lichen_agent_core::{
    ToMeasure,
    event::{Measured, PodUse, Room, VolumeUse},
};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, StatVfsMountFlags, openat, statat, statvfs},
};

use crate::{pod_dir::PodDir, sandbox};

/// Entries of one volume that are looked at, at most: what is beyond is not counted. A look at so many takes seconds on a
/// slow card, and they come round again after ten times as long.
const MAX_ENTRIES: usize = 200_000;
/// Directories above one another that are gone into.
const MAX_DEPTH: usize = 128;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Places {
    /// The state directory.
    pub state: PathBuf,
    /// Where the Pods' directories are.
    pub run: PathBuf,
    /// In the names of cgroups.
    pub agent: AgentId,
}

/// Measures the device, and these Pods of it. Blocks for as long as it takes to go through their volumes.
#[must_use]
pub fn measure(places: &Places, pods: &[ToMeasure]) -> Measured {
    let mut measured = device(&places.state);
    for asked in pods {
        let volumes = PodDir::new(&places.run, asked.pod).volumes();
        let mut disk_bytes = 0_u64;
        for volume in &asked.volumes {
            let bytes = bytes_below(&volumes.join(volume));
            disk_bytes = disk_bytes.saturating_add(bytes);
            measured.volumes.push(VolumeUse { pod: asked.pod, volume: volume.clone(), bytes });
        }
        measured.pods.push(PodUse {
            pod: asked.pod,
            memory_bytes: lichen_shim::cgroup::memory_bytes(&sandbox::cgroup(
                places.agent,
                asked.pod,
            )),
            memory_request_bytes: asked.memory_request_bytes,
            disk_bytes,
        });
    }
    measured
}

/// Whether the file system of a directory can only be read.
#[must_use]
pub fn is_read_only(dir: &Path) -> bool {
    statvfs(dir).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn device(state: &Path) -> Measured {
    let (disk, inodes) = match statvfs(state) {
        Ok(disk) => {
            let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
            let room = Room { free: bytes(disk.f_bavail), total: bytes(disk.f_blocks) };
            (room, Room { free: disk.f_favail, total: disk.f_files })
        }
        Err(_) => Default::default(),
    };
    Measured { memory: memory(), disk, inodes, pids: pids(), ..Measured::default() }
}

fn memory() -> Room {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    match (of("MemAvailable:"), of("MemTotal:")) {
        (Some(free), Some(total)) => Room { free, total },
        _ => Room::default(),
    }
}

/// Every thread has an id.
fn pids() -> Room {
    let number = |path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let bounds = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"].map(number);
    let used = || {
        let text = fs::read_to_string("/proc/loadavg").ok()?;
        text.split(' ').nth(3)?.split('/').nth(1)?.parse::<u64>().ok()
    };
    match (bounds.into_iter().flatten().min(), used()) {
        (Some(total), Some(used)) => Room { free: total.saturating_sub(used), total },
        _ => Room::default(),
    }
}

/// What the files below a directory take on the disk, each once. No link is followed and no other file system entered.
fn bytes_below(dir: &Path) -> u64 {
    let (mut bytes, mut entries, mut seen) = (0_u64, 0_usize, BTreeSet::new());
    let Some(root) = open_dir(CWD, dir) else { return 0 };
    let device = rustix::fs::fstat(&root).map(|stat| stat.st_dev).ok();
    let mut below: Vec<OwnedFd> = vec![root];
    let mut depths = vec![0_usize];
    while let (Some(dir), Some(depth)) = (below.pop(), depths.pop()) {
        let Ok(list) = Dir::read_from(&dir) else { continue };
        for entry in list.flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            entries += 1;
            let Ok(stat) = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if entries > MAX_ENTRIES || Some(stat.st_dev) != device {
                continue;
            }
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if !is_dir && stat.st_nlink > 1 && !seen.insert(stat.st_ino) {
                continue;
            }
            bytes = bytes
                .saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
            if is_dir
                && depth < MAX_DEPTH
                && below.len() < MAX_DEPTH
                && let Some(inner) = open_dir(&dir, name)
            {
                below.push(inner);
                depths.push(depth + 1);
            }
        }
    }
    bytes
}

fn open_dir(at: impl rustix::fd::AsFd, name: impl rustix::path::Arg) -> Option<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_take_is_counted_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("big"), vec![1; 1 << 20]).expect("writable");
        let empty = bytes_below(dir.path());
        fs::create_dir_all(dir.path().join("a/b")).expect("writable");
        fs::write(dir.path().join("a/b/file"), vec![1; 100_000]).expect("writable");
        fs::hard_link(dir.path().join("a/b/file"), dir.path().join("again")).expect("a link");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).expect("a link");
        let file = fs::File::create(dir.path().join("holes")).expect("writable");
        file.set_len(1 << 30).expect("it has holes");
        let bytes = bytes_below(dir.path()) - empty;
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
        assert_eq!(bytes_below(&dir.path().join("missing")), 0);
    }

    #[test]
    fn this_machine_has_something_left() {
        let measured = device(Path::new("/"));
        for room in [measured.memory, measured.disk, measured.pids] {
            assert!(room.free > 0 && room.free <= room.total, "{room:?}");
        }
    }
}
