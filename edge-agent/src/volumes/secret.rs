//! The files of a Secret: a tmpfs in the Pod's directory, which holds them as a configMap volume does and is on no disk.
//!
//! As other volumes in memory it lives in the device's mount namespace and ends with the Pod or the boot; then the files
//! are opened anew.

use std::{fs, io, path::Path};

use firmware_compat::v1::owned::Volume;
use lichen_agent_core::PodSpec;

use super::{
    VolumeError, config_map, io_failed,
    memory::{is_mount, mount_memory},
};
use crate::{
    secrets::{SecretError, Secrets},
    state::Written,
};

/// Any user of a container may look into it, as in Kubernetes; its files have modes of their own. Twice as many files as a
/// volume has, each of whole pages of the largest size, for they are replaced all at once.
const OPTIONS: &str = "mode=0755,size=24m,nr_inodes=1024";

/// Mounts the memory, unless it is there, and makes it hold the files of a Secret.
pub(super) fn place(
    pod: &PodSpec,
    volume: &Volume,
    path: &Path,
    secret: u8,
    secrets: &Secrets,
) -> Result<(), VolumeError> {
    let refused =
        |cause: SecretError| VolumeError::Secret { volume: volume.name.to_string(), cause };
    let opened = secrets.open(pod, secret).map_err(refused)?;
    let files = opened.files().map_err(refused)?;
    let files: Vec<config_map::Content<'_>> = files.iter().map(Into::into).collect();
    write(volume, path, &files, pod.security.fs_group)
}

/// Mounts the memory, unless it is there, and makes it hold these files.
pub(super) fn write(
    volume: &Volume,
    path: &Path,
    files: &[config_map::Content<'_>],
    group: Option<u32>,
) -> Result<(), VolumeError> {
    let failed = io_failed(volume, "mount memory on", path);
    fs::create_dir_all(path).map_err(&failed)?;
    if !is_mount(path).map_err(&failed)? {
        mount(path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => failed(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "files of a Secret are in memory alone, which needs an agent that runs as root; take it as variables (env)",
            )),
            _ => failed(error),
        })?;
    }
    // What is in memory wears no flash.
    config_map::write(path, files, group, &Written::default())
        .map_err(|error| error.in_volume(&volume.name))
}

/// Memory that is never swapped to a disk, where the kernel knows such (Linux 6.4).
fn mount(path: &Path) -> io::Result<()> {
    match mount_memory(path, &format!("{OPTIONS},noswap"), true) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            mount_memory(path, OPTIONS, true)
        }
        mounted => mounted,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::{secrets::tests::Device, volumes};

    #[test]
    #[ignore = "needs root: run by make test"]
    fn its_files_are_in_memory_alone_and_follow_the_secret() {
        let (device, dir) = (Device::new("pi"), tempfile::tempdir().expect("a directory"));
        let (volume, written) = (dir.path().join("v"), Written::default());
        let place = |text: &str| {
            let pod = device.pod(&[("password", 0o400, text.as_bytes())]);
            volumes::place(&pod, dir.path(), &written, &device.secrets).expect("placeable");
        };
        place("hunter2");
        let read = || fs::read_to_string(volume.join("password")).expect("readable");
        assert_eq!(read(), "hunter2");
        let data = fs::metadata(volume.join("password")).expect("there");
        assert_eq!(data.permissions().mode() & 0o777, 0o400);
        assert_ne!(data.dev(), fs::metadata(dir.path()).expect("there").dev());
        place("hunter3");
        assert_eq!(read(), "hunter3");
        assert_eq!(written.bytes(), 0, "nothing of it is written to the disk");
        let shell = volume.join("..data/password");
        fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).expect("ours");
        let run = std::process::Command::new(shell).status();
        assert_eq!(run.expect_err("noexec").kind(), io::ErrorKind::PermissionDenied);
        volumes::release(dir.path()).expect("released");
        assert_eq!(fs::read_dir(&volume).expect("a directory").count(), 0);
    }

    #[test]
    fn one_that_does_not_open_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let pod = Device::new("pi").pod(&[("password", 0o400, b"hunter2")]);
        let other = Device::new("pi").secrets;
        let error = volumes::place(&pod, dir.path(), &Written::default(), &other);
        let said = error.expect_err("refused").to_string();
        assert!(said.contains("volume v") && said.contains("default/db"), "{said}");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
    }
}
