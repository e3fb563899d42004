//! `fsGroup`: the group that the Pod's own volumes belong to, so that containers that do not run as root can use them.
//!
//! The bits are those of Kubernetes (`pkg/volume/volume_linux.go`): a directory gives its group to what is made in it, and
//! the group may read files that only the device writes.

use std::{io, os::unix::fs::chown, path::Path};

/// Set-group-id, and access for the group.
const DIRECTORY: u32 = 0o2770;
/// Reading, of a file that no container may write.
const FILE: u32 = 0o440;

/// What a directory's mode has more.
pub(super) fn dir_bits(group: Option<u32>) -> u32 {
    if group.is_some() { DIRECTORY } else { 0 }
}

/// What a file's mode has more.
pub(super) fn file_bits(group: Option<u32>) -> u32 {
    if group.is_some() { FILE } else { 0 }
}

/// Gives a new directory to the group. Its mode is set after: a change of the group may take bits away.
pub(super) fn own_dir(path: &Path, group: u32) -> io::Result<()> {
    chown(path, None, Some(group))
}
