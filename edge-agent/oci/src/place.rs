//! Places the entries of one layer below a directory, in the form that overlayfs stacks.
//!
//! Everything is done relative to the directory that `resolve.rs` found, on the last name alone and without following
//! it. The layer's directory is private to the agent while it is filled; nobody else changes it meanwhile.
//!
//! Whiteouts become what overlayfs understands: `.wh.x` a character device 0:0 named `x`, `.wh..wh..opq` the attribute
//! `trusted.overlay.opaque` on its directory. They hide lower layers only, wherever they stand in the archive.
//! Sources: OCI image specification `layer.md` (changesets, whiteouts), kernel `overlayfs.rst`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat,
    chownat, fchmod, fchown, fsetxattr, futimens, linkat, makedev, mknodat, openat, statat,
    symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::entries::{Entry, Kind, TarError, printable};
use crate::resolve::{
    DIRECTORY, Failure, Refusal, components, open_or_replace, resolve, set_opaque,
};
use crate::tree::remove_at;

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
const COPY_BUFFER_BYTES: usize = 64 << 10;

/// Why an entry can't be placed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(transparent)]
    Tar(#[from] TarError),
    #[error("{path} {why}")]
    Refused { path: String, why: &'static str },
    #[error("could not write {path}: {cause}")]
    Write { path: String, cause: io::Error },
}

impl PlaceError {
    /// What the system said when it refused to write.
    pub(crate) fn into_io(self) -> Option<io::Error> {
        match self {
            Self::Write { cause, .. } => Some(cause),
            Self::Tar(_) | Self::Refused { .. } => None,
        }
    }
}

/// A layer's directory while it is being filled.
pub(crate) struct Placer {
    root: OwnedFd,
    /// Only root can give files away and make device nodes; without it those steps are left out or refused.
    privileged: bool,
    /// The directory of the previous entry: archives list a directory's files one after another.
    parent: Option<(Vec<u8>, OwnedFd)>,
    buffer: Box<[u8]>,
    /// Directories that no entry was for, made because an entry lies below them.
    implied: u64,
}

impl Placer {
    /// Opens the empty directory that will hold the layer.
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        let root = openat(CWD, directory, DIRECTORY, Mode::empty())?;
        fchmod(&root, Mode::from_raw_mode(0o755))?; // for archives without an entry for their root
        Ok(Self {
            root,
            privileged: rustix::process::geteuid().is_root(),
            parent: None,
            buffer: vec![0; COPY_BUFFER_BYTES].into(),
            implied: 0,
        })
    }

    /// How many directories were made that no entry was for.
    pub(crate) fn implied(&self) -> u64 {
        self.implied
    }

    /// Writes everything placed so far to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }

    /// Places one entry; `data` gives a file's bytes.
    pub(crate) fn place(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<(), PlaceError> {
        self.place_entry(entry, data).map_err(|failure| {
            let path = printable(&entry.path);
            match failure {
                Failure::Refused(why) => PlaceError::Refused { path, why },
                Failure::Read(cause) => PlaceError::Tar(TarError::Read(cause)),
                Failure::Os(cause) => PlaceError::Write { path, cause },
            }
        })
    }

    fn place_entry(&mut self, entry: &Entry, data: &mut dyn Read) -> Refusal {
        let components = components(&entry.path)?;
        let Some((name, parents)) = components.split_last() else {
            return match entry.kind {
                Kind::Directory => self.describe(self.root.as_fd(), entry, 0),
                _ => Err(Failure::Refused("has no name")),
            };
        };
        let parent = self.parent(parents)?;
        let result = match name.strip_prefix(WHITEOUT_PREFIX) {
            Some(hidden) => self.whiteout(parent.as_fd(), name, hidden),
            None => self.create(parent.as_fd(), name, entry, data),
        };
        self.parent = Some((parents.join(&b'/'), parent));
        result
    }

    /// The directory that holds the entry, from the previous one's if it is the same.
    fn parent(&mut self, parents: &[&[u8]]) -> Result<OwnedFd, Failure> {
        match self.parent.take() {
            Some((path, directory)) if path == parents.join(&b'/') => Ok(directory),
            _ => resolve(self.root.as_fd(), parents, &mut self.implied),
        }
    }

    fn create(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
        data: &mut dyn Read,
    ) -> Refusal {
        match &entry.kind {
            Kind::Directory => return self.directory(parent, name, entry),
            Kind::Hardlink { target } => return self.hardlink(parent, name, target),
            _ => remove_at(parent, name)?,
        }
        match &entry.kind {
            Kind::File { size } => return self.file(parent, name, entry, *size, data),
            Kind::Symlink { target } => symlinkat(target.as_slice(), parent, name)?,
            Kind::Fifo => mknodat(parent, name, FileType::Fifo, Mode::RUSR, 0)?,
            Kind::Char { major: 0, minor: 0 } => {
                return Err(Failure::Refused("is a device 0:0, which would hide a file"));
            }
            Kind::Char { major, minor } => {
                self.device(parent, name, FileType::CharacterDevice, makedev(*major, *minor))?
            }
            Kind::Block { major, minor } => {
                self.device(parent, name, FileType::BlockDevice, makedev(*major, *minor))?
            }
            Kind::Directory | Kind::Hardlink { .. } => {}
        }
        self.describe_named(parent, name, entry)
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
        size: u64,
        data: &mut dyn Read,
    ) -> Refusal {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = openat(parent, name, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
        let mut file = std::fs::File::from(file);
        let mut written = 0;
        loop {
            let read = match data.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Read(error)),
            };
            file.write_all(&self.buffer[..read]).map_err(Failure::Os)?;
            written += read as u64;
        }
        if written != size {
            return Err(Failure::Refused("is cut short: the archive ends inside it"));
        }
        self.describe(file.as_fd(), entry, 0)
    }

    fn directory(&mut self, parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Refusal {
        let directory = open_or_replace(parent, name)?;
        // Without root, a directory that its owner can't write would refuse the entries that follow.
        let extra_mode = if self.privileged { 0 } else { 0o700 };
        self.describe(directory.as_fd(), entry, extra_mode)
    }

    fn hardlink(&mut self, parent: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> Refusal {
        let components = components(target)?;
        let Some((target_name, target_parents)) = components.split_last() else {
            return Err(Failure::Refused("is a hard link to the root directory"));
        };
        let target_parent = resolve(self.root.as_fd(), target_parents, &mut self.implied)?;
        let found = statat(&target_parent, *target_name, AtFlags::SYMLINK_NOFOLLOW);
        let found = match found {
            Err(Errno::NOENT) => {
                return Err(Failure::Refused("is a hard link to a file that is not in its layer"));
            }
            other => other?,
        };
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino) => {
                return Ok(());
            }
            Ok(_) => remove_at(parent, name)?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(linkat(&target_parent, *target_name, parent, name, AtFlags::empty())?)
    }

    fn device(&self, parent: BorrowedFd<'_>, name: &[u8], kind: FileType, dev: Dev) -> Refusal {
        if !self.privileged {
            return Err(Failure::Refused("is a device node, which only root can make"));
        }
        Ok(mknodat(parent, name, kind, Mode::RUSR, dev)?)
    }

    fn whiteout(&self, parent: BorrowedFd<'_>, name: &[u8], hidden: &[u8]) -> Refusal {
        if name == OPAQUE_MARKER {
            return set_opaque(parent);
        }
        if hidden.starts_with(WHITEOUT_PREFIX) {
            return Ok(()); // bookkeeping of aufs, which means nothing to others
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Failure::Refused("is a whiteout of no file"));
        }
        match statat(parent, hidden, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                Ok(mknodat(parent, hidden, FileType::CharacterDevice, Mode::empty(), 0)?)
            }
            Err(error) => Err(error.into()),
            // This layer has its own entry of that name, which hides the lower one already, except for a directory.
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                set_opaque(openat(parent, hidden, DIRECTORY, Mode::empty())?.as_fd())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Owner, mode, attributes and time of something open. The order matters: a change of owner drops set-id bits
    /// and capabilities.
    fn describe(&self, file: BorrowedFd<'_>, entry: &Entry, extra_mode: u32) -> Refusal {
        if self.privileged {
            let (owner, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            fchown(file, Some(owner), Some(group))?;
        }
        fchmod(file, Mode::from_raw_mode(entry.mode | extra_mode))?;
        for (name, value) in &entry.xattrs {
            // Others are either meaningless here or could change what overlayfs shows (`trusted.overlay.redirect`).
            let wanted = name.as_slice() == b"security.capability" || name.starts_with(b"user.");
            if !wanted {
                continue;
            }
            match fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                Err(Errno::PERM) if !self.privileged => {}
                Err(Errno::NOTSUP) if name.starts_with(b"user.") => {}
                other => other?,
            }
        }
        Ok(futimens(file, &timestamps(entry.mtime))?)
    }

    /// Owner, mode and time of something that can't be opened: a link, a FIFO or a device.
    fn describe_named(&self, parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Refusal {
        if self.privileged {
            let (owner, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            chownat(parent, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if !matches!(entry.kind, Kind::Symlink { .. }) {
            chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
        }
        Ok(utimensat(parent, name, &timestamps(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn timestamps(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
