//! Finds the directory for an entry of a layer without ever leaving the layer.
//!
//! A path is walked one component at a time from the layer's root, and symlinks met on the way are resolved as if
//! that root were `/`. So no entry can reach outside, whatever links came before it, on every kernel.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, XattrFlags, fchmod, fsetxattr, mkdirat, openat, readlinkat,
    statat, unlinkat,
};
use rustix::io::Errno;

/// Deepest path in a layer. Real images stay under 40; each level holds a file descriptor while it is resolved.
const MAX_DEPTH: usize = 128;
/// Most symlinks in the resolution of one path; the kernel's own limit.
const MAX_LINKS: usize = 40;

pub(crate) type Refusal = Result<(), Failure>;

/// A failure before the path is added.
pub(crate) enum Failure {
    Refused(&'static str),
    Read(io::Error),
    Os(io::Error),
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Os(error.into())
    }
}

pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Splits a path of the archive. A leading slash means the layer's root, as it does to tar.
pub(crate) fn components(path: &[u8]) -> Result<Vec<&[u8]>, Failure> {
    let mut components = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => continue,
            b".." => return Err(Failure::Refused("leaves the layer with \"..\"")),
            _ if name.contains(&0) => return Err(Failure::Refused("has a NUL in its name")),
            _ if name.len() > 255 => return Err(Failure::Refused("has a name above 255 bytes")),
            _ => components.push(name),
        }
        if components.len() > MAX_DEPTH {
            return Err(Failure::Refused("is nested too deeply"));
        }
    }
    Ok(components)
}

/// Walks to a directory below the root, making the missing ones and counting them in `made`.
pub(crate) fn resolve(
    root: BorrowedFd<'_>,
    path: &[&[u8]],
    made: &mut u64,
) -> Result<OwnedFd, Failure> {
    let mut walked = vec![openat(root, ".", DIRECTORY, Mode::empty())?];
    let mut pending: VecDeque<Vec<u8>> = path.iter().map(|name| name.to_vec()).collect();
    let mut links = 0;
    while let (Some(name), Some(here)) = (pending.pop_front(), walked.last()) {
        if name == b".." {
            // Only a symlink's target has these. As in any root directory, the parent of the root is the root.
            walked.truncate(walked.len().saturating_sub(1).max(1));
            continue;
        }
        match open_or_make(here.as_fd(), &name, made)? {
            Step::Directory(directory) => walked.push(directory),
            Step::Symlink(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Failure::Refused("goes through too many symlinks"));
                }
                if target.starts_with(b"/") {
                    walked.truncate(1);
                }
                let names = target.split(|byte| *byte == b'/');
                for name in names.rev().filter(|name| !matches!(*name, b"" | b".")) {
                    pending.push_front(name.to_vec());
                }
            }
        }
        if walked.len() > MAX_DEPTH {
            return Err(Failure::Refused("is nested too deeply"));
        }
    }
    walked.pop().ok_or(Failure::Refused("has no name"))
}

/// One component of a path.
enum Step {
    Directory(OwnedFd),
    Symlink(Vec<u8>),
}

/// Opens a directory on the way to an entry. A missing one is made: archives may leave parents out.
fn open_or_make(here: BorrowedFd<'_>, name: &[u8], made: &mut u64) -> Result<Step, Failure> {
    match openat(here, name, DIRECTORY, Mode::empty()) {
        Ok(directory) => return Ok(Step::Directory(directory)),
        Err(Errno::NOENT) => {
            *made += 1;
            return Ok(Step::Directory(open_or_replace(here, name)?));
        }
        Err(Errno::LOOP | Errno::NOTDIR) => {}
        Err(error) => return Err(error.into()),
    }
    match readlinkat(here, name, Vec::new()) {
        Ok(target) => Ok(Step::Symlink(target.into_bytes())),
        Err(Errno::INVAL) if is_whiteout(here, name)? => {
            Ok(Step::Directory(open_or_replace(here, name)?))
        }
        Err(Errno::INVAL) => Err(Failure::Refused("is below something that is not a directory")),
        Err(error) => Err(error.into()),
    }
}

/// Opens the directory of that name itself (no link), replacing anything else that has the name.
pub(crate) fn open_or_replace(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Failure> {
    let mut hides_lower = false;
    match openat(parent, name, DIRECTORY, Mode::empty()) {
        Ok(directory) => return Ok(directory),
        Err(Errno::NOENT) => {}
        Err(_) => {
            hides_lower = is_whiteout(parent, name)?;
            unlinkat(parent, name, AtFlags::empty())?;
        }
    }
    mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    let directory = openat(parent, name, DIRECTORY, Mode::empty())?;
    fchmod(&directory, Mode::from_raw_mode(0o755))?; // whatever the umask is
    if hides_lower {
        set_opaque(directory.as_fd())?;
    }
    Ok(directory)
}

fn is_whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Failure> {
    let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    Ok(kind == FileType::CharacterDevice && found.st_rdev == 0)
}

pub(crate) fn set_opaque(directory: BorrowedFd<'_>) -> Refusal {
    match fsetxattr(directory, "trusted.overlay.opaque", b"y", XattrFlags::empty()) {
        Err(Errno::PERM) => {
            Err(Failure::Refused("marks a directory as opaque, which only root can do"))
        }
        other => Ok(other?),
    }
}
