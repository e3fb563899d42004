//! An emptyDir in memory: a tmpfs in the Pod's directory, which every container of the Pod mounts.
//!
//! It lives in the device's mount namespace, so it outlives the agent, the shims and each container, and ends with the
//! Pod or the boot.

use std::{ffi::CString, fs, io, os::unix::fs::MetadataExt, path::Path};

use firmware_compat::v1::owned::Volume;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{VolumeError, io_failed};

/// Mounts the tmpfs, unless it is there. 0 bytes: the kernel's bound, half of the memory.
pub(super) fn place(
    volume: &Volume,
    path: &Path,
    size_limit_bytes: u64,
    group: Option<u32>,
) -> Result<(), VolumeError> {
    let failed = io_failed(volume, "mount memory on", path);
    fs::create_dir_all(path).map_err(&failed)?;
    if is_mount(path).map_err(&failed)? {
        return Ok(());
    }
    let mut options = match group {
        Some(group) => format!("mode=02777,gid={group}"),
        None => "mode=0777".to_owned(),
    };
    if size_limit_bytes > 0 {
        options.push_str(&format!(",size={size_limit_bytes}"));
    }
    mount_memory(path, &options, false).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => failed(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "emptyDir with medium Memory needs an agent that runs as root; leave medium out",
        )),
        _ => failed(error),
    })
}

/// Mounts a tmpfs, without devices and set-uid programs, and without any programs if `noexec`.
pub(crate) fn mount_memory(path: &Path, options: &str, noexec: bool) -> io::Result<()> {
    let options = CString::new(options)?;
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::NOEXEC, noexec);
    Ok(mount("tmpfs", path, "tmpfs", flags, options.as_c_str())?)
}

/// Unmounts what [`mount_memory`] has mounted; it ends when nobody uses it any more.
pub(crate) fn unmount_memory(path: &Path) -> io::Result<()> {
    Ok(unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// Unmounts whatever is mounted directly below a Pod's volumes.
pub(super) fn release(volumes: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(volumes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if is_mount(&path)? {
            unmount_memory(&path)?;
        }
    }
    Ok(())
}

/// A mounted file system is another device than its directory's.
pub(crate) fn is_mount(path: &Path) -> io::Result<bool> {
    let own = fs::symlink_metadata(path)?;
    let parent = path.parent().map_or_else(|| Ok(own.clone()), fs::symlink_metadata)?;
    Ok(own.is_dir() && own.dev() != parent.dev())
}

#[cfg(test)]
mod tests {
    use firmware_compat::v1::owned::VolumeSource;

    use super::*;

    #[test]
    #[ignore = "needs root: run by make test"]
    fn memory_is_mounted_once_with_its_bound_and_released() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = VolumeSource::EmptyDir { memory: true, size_limit_bytes: 8192 };
        let volume = Volume { name: "v".try_into().expect("short"), source };
        let path = dir.path().join("v");
        place(&volume, &path, 8192, None).expect("mounted");
        fs::write(path.join("kept"), "x").expect("writable");
        place(&volume, &path, 8192, None).expect("mounted already");
        assert!(path.join("kept").exists());
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o777);
        fs::write(path.join("large"), [0; 16384]).expect_err("beyond its bound");
        fs::create_dir(dir.path().join("plain")).expect("writable");
        release(dir.path()).expect("released");
        assert!(!path.join("kept").exists());
        release(dir.path()).expect("released already");
        release(&dir.path().join("none")).expect("nothing there");
    }
}
