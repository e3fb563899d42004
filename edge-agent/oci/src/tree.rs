//! Deletes a directory tree that a container may have shaped: any depth, any names, symlinks, forgotten mounts.
//!
//! Nothing is followed: symlinks are unlinked, and a mount point stops the removal with an error, because the
//! kernel answers `rmdir` on it with EBUSY before anything below is touched. Depth costs neither stack nor file
//! descriptors: a directory inside a directory is first moved up to the top, so only two are ever open.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fchmod, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Removes `path` and everything below it. A path that does not exist is a success.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match openat(CWD, parent, DIRECTORY, Mode::empty()) {
        Ok(parent) => Ok(remove_at(parent.as_fd(), name)?),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes the entry `name` of the directory `parent`, whatever it is.
pub(crate) fn remove_at<N>(parent: BorrowedFd<'_>, name: N) -> rustix::io::Result<()>
where
    N: rustix::path::Arg + Copy,
{
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::NOENT) => return Ok(()),
        other => return other,
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        other => return other,
    }
    let top = open_directory(parent, name)?;
    empty(top.as_fd())?;
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_directory<N>(parent: BorrowedFd<'_>, name: N) -> rustix::io::Result<OwnedFd>
where
    N: rustix::path::Arg + Copy,
{
    let directory = openat(parent, name, DIRECTORY, Mode::empty())?;
    // Without root, a read-only directory would keep its entries. With root this changes nothing that matters.
    let _ = fchmod(&directory, Mode::RWXU);
    Ok(directory)
}

/// Empties `top`: files and empty directories go at once, full directories have their subdirectories moved up.
fn empty(top: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut moved = 0;
    loop {
        let mut found = false;
        for entry in Dir::read_from(top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dot(name) {
                continue;
            }
            found = true;
            if remove_leaf(top, name, entry.file_type())? {
                continue;
            }
            let directory = open_directory(top, name)?;
            flatten(directory.as_fd(), top, &mut moved)?;
            unlinkat(top, name, AtFlags::REMOVEDIR)?;
        }
        if !found {
            return Ok(());
        }
    }
}

/// Removes what is in `directory`, moving its full subdirectories into `top` under fresh names.
fn flatten(
    directory: BorrowedFd<'_>,
    top: BorrowedFd<'_>,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    loop {
        let mut found = false;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dot(name) {
                continue;
            }
            found = true;
            if remove_leaf(directory, name, entry.file_type())? {
                continue;
            }
            // Moving a directory rewrites its "..", which needs write permission on it.
            drop(open_directory(directory, name)?);
            move_up(directory, name, top, moved)?;
        }
        if !found {
            return Ok(());
        }
    }
}

fn move_up(
    directory: BorrowedFd<'_>,
    name: &core::ffi::CStr,
    top: BorrowedFd<'_>,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    loop {
        *moved += 1;
        match renameat(directory, name, top, format!(".removing-{moved}")) {
            // The tree has this very name already: it is taken by an entry, so the next number is tried.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            other => return other,
        }
    }
}

/// Whether the entry is gone: true for everything but a directory with something in it.
fn remove_leaf(
    parent: BorrowedFd<'_>,
    name: &core::ffi::CStr,
    kind: FileType,
) -> rustix::io::Result<bool> {
    if kind != FileType::Directory {
        match unlinkat(parent, name, AtFlags::empty()) {
            // File systems without types in their entries, and file-less ones: decide below.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(Errno::NOENT) => return Ok(true),
            other => return other.map(|()| true),
        }
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_dot(name: &core::ffi::CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_the_limit_of_open_files_is_removed() {
        let scratch = tempfile::tempdir().expect("scratch");
        let root = scratch.path().join("tree");
        std::fs::create_dir(&root).expect("root");
        let mut directory = openat(CWD, &root, DIRECTORY, Mode::empty()).expect("open");
        for _ in 0..3000 {
            rustix::fs::mkdirat(&directory, "d", Mode::RWXU).expect("mkdir");
            directory = openat(&directory, "d", DIRECTORY, Mode::empty()).expect("open");
        }
        remove_tree(&root).expect("removed");
        assert!(!root.exists());
    }

    #[test]
    fn symlinks_are_removed_and_what_they_point_at_stays() {
        let scratch = tempfile::tempdir().expect("scratch");
        let (root, outside) = (scratch.path().join("tree"), scratch.path().join("outside"));
        std::fs::create_dir_all(root.join("a/b")).expect("tree");
        std::fs::create_dir(&outside).expect("outside");
        std::fs::write(outside.join("keep"), "x").expect("file");
        std::fs::write(root.join(".removing-1"), "a name that the removal uses").expect("file");
        std::os::unix::fs::symlink(&outside, root.join("a/b/link")).expect("link");
        remove_tree(&root).expect("removed");
        assert!(!root.exists());
        assert!(outside.join("keep").exists());
    }

    #[test]
    fn a_symlink_as_the_root_is_only_unlinked() {
        let scratch = tempfile::tempdir().expect("scratch");
        let (link, outside) = (scratch.path().join("link"), scratch.path().join("outside"));
        std::fs::create_dir(&outside).expect("outside");
        std::os::unix::fs::symlink(&outside, &link).expect("link");
        remove_tree(&link).expect("removed");
        assert!(outside.exists() && !link.exists());
    }

    #[test]
    fn a_missing_tree_is_a_success() {
        let scratch = tempfile::tempdir().expect("scratch");
        assert!(remove_tree(&scratch.path().join("none/here")).is_ok());
    }
}
