//! The `/dev/shm` that the containers of a Pod share: a tmpfs in the Pod's directory, as the sandbox's network is. It
//! ends with the sandbox or the boot.

use std::{fs, io, path::Path};

use crate::volumes::memory::{is_mount, mount_memory, unmount_memory};

/// As each container has without a Pod around it, and as Kubernetes gives a sandbox: 64 MiB. What is in it counts as
/// memory of the container that wrote it.
const OPTIONS: &str = "mode=1777,size=64m";

/// Mounts it, unless it is there.
pub(super) fn place(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if is_mount(path)? { Ok(()) } else { mount_memory(path, OPTIONS, true) }
}

/// Unmounts and removes it. A missing one is a success.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if !fs::exists(path)? {
        return Ok(());
    }
    if is_mount(path)? {
        unmount_memory(path)?;
    }
    fs::remove_dir_all(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    #[ignore = "needs root: run by make test"]
    fn it_is_mounted_once_for_everybody_and_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("shm");
        place(&path).expect("mounted");
        fs::write(path.join("kept"), "x").expect("writable");
        place(&path).expect("mounted already");
        assert!(path.join("kept").exists());
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o1777);
        fs::set_permissions(path.join("kept"), fs::Permissions::from_mode(0o755)).expect("ours");
        let run = std::process::Command::new(path.join("kept")).status();
        assert_eq!(run.expect_err("noexec").kind(), io::ErrorKind::PermissionDenied);
        remove(&path).expect("removed");
        remove(&path).expect("removed already");
        assert!(!path.exists());
    }
}
