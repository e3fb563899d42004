//! `fsGroup`: the group that the Pod's own volumes belong to, so that containers that do not run as root can use them.
//!
//! The bits are those of Kubernetes (`pkg/volume/volume_linux.go`): a directory gives its group to what is made in it, and
//! the group may read files that only the device writes.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown},
    path::Path,
};

/// Access for the group to a file of a claim.
const CLAIM_FILE: u32 = 0o660;

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

/// Gives what a claim holds to the group, unless its directory says that this was done: what containers make there has the
/// group by itself from then on. The directory comes last, so that what was cut short is done again.
pub(crate) fn own_claim(path: &Path, group: u32) -> io::Result<()> {
    let found = fs::metadata(path)?;
    if found.gid() == group && found.mode() & DIRECTORY == DIRECTORY {
        return Ok(());
    }
    give(path, group)
}

fn give(path: &Path, group: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), group)?;
        }
    }
    lchown(path, None, Some(group))?;
    // A link has no mode of its own.
    let more = match found.is_dir() {
        true => DIRECTORY,
        false if found.is_symlink() => return Ok(()),
        false => CLAIM_FILE,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(found.mode() | more))
}

/// Gives a new directory to the group. Its mode is set after: a change of the group may take bits away.
pub(super) fn own_dir(path: &Path, group: u32) -> io::Result<()> {
    chown(path, None, Some(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_claim_holds_becomes_the_groups_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let (claim, own) = (dir.path().join("claim"), rustix::process::getegid().as_raw());
        fs::create_dir_all(claim.join("deep")).expect("makeable");
        fs::write(claim.join("deep/file"), "x").expect("writable");
        std::os::unix::fs::symlink("/nowhere", claim.join("link")).expect("a link");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("settable");
        };
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o7777;
        set(&claim, 0o700);
        set(&claim.join("deep/file"), 0o600);
        own_claim(&claim, own).expect("it is the owner's");
        assert_eq!(mode(&claim), 0o2770);
        assert_eq!(
            (mode(&claim.join("deep")) & 0o2070, mode(&claim.join("deep/file"))),
            (0o2070, 0o660)
        );
        set(&claim.join("deep/file"), 0o600);
        own_claim(&claim, own).expect("it is the owner's");
        assert_eq!(mode(&claim.join("deep/file")), 0o600, "it was done");
    }
}
