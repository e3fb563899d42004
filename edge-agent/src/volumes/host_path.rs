//! Paths of the device as volumes: Kubernetes' `hostPath` and its types.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt},
    path::{Component, Path},
};

use firmware_compat::v1::owned::{HostPathKind, Volume};

use super::{VolumeError, io_failed, refused};

/// Checks that a path of the device is what the manifest says, and makes it if the manifest allows that.
pub(super) fn check(volume: &Volume, path: &str, kind: HostPathKind) -> Result<(), VolumeError> {
    let at = Path::new(path);
    if !at.is_absolute() || at.components().any(|part| part == Component::ParentDir) {
        return Err(refused(volume, path, "a hostPath is absolute and has no `..`"));
    }
    match kind {
        HostPathKind::DirectoryOrCreate if !at.exists() => {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o755);
            builder.create(at).map_err(io_failed(volume, "make", at))?;
        }
        HostPathKind::FileOrCreate if !at.exists() => {
            let mut options = fs::File::options();
            options.write(true).create_new(true).mode(0o644);
            options.open(at).map_err(io_failed(volume, "make", at))?;
        }
        _ => {}
    }
    let found = fs::metadata(at).map_err(io_failed(volume, "find", at))?.file_type();
    let (fits, expected) = match kind {
        HostPathKind::Any => (true, "there"),
        HostPathKind::Directory | HostPathKind::DirectoryOrCreate => {
            (found.is_dir(), "a directory")
        }
        HostPathKind::File | HostPathKind::FileOrCreate => (found.is_file(), "a file"),
        HostPathKind::Socket => (found.is_socket(), "a unix socket"),
        HostPathKind::CharDevice => (found.is_char_device(), "a character device"),
        HostPathKind::BlockDevice => (found.is_block_device(), "a block device"),
    };
    if fits {
        Ok(())
    } else {
        Err(VolumeError::Kind { volume: volume.name.to_string(), path: at.to_owned(), expected })
    }
}
