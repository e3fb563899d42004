//! Opens what lies beneath a directory that somebody else changes at the same time: a `subPath` in a volume that containers
//! write to.
//!
//! A path that was looked at and is then handed on can lead elsewhere by the time that it is used (CVE-2021-25741). So the
//! way is gone step by step, each name opened in the directory before it and never through a symbolic link, and what is
//! handed on is the descriptor. Unlike `openat2`, this works on every kernel and can make what is missing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;

/// Whether this is a way down: names only. An empty path is one, of no step.
#[must_use]
pub fn is_inner(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}

/// Opens what is there, to be named by [`by_descriptor`] only. `root` itself is trusted.
///
/// # Errors
/// `ELOOP` at a symbolic link, `EINVAL` for a path that is not [`is_inner`], and what the system says.
pub fn open(root: &Path, inner: &Path) -> io::Result<OwnedFd> {
    walk(root, inner, |_, _| Err(Errno::NOENT))
}

/// As [`open`], but makes the directories that are missing.
///
/// # Errors
/// As [`open`].
pub fn make(root: &Path, inner: &Path) -> io::Result<OwnedFd> {
    walk(root, inner, |here, name| match mkdirat(here, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    })
}

/// A path that leads to what a descriptor of this process is of, for as long as it is open.
#[must_use]
pub fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// Whether it is a directory.
///
/// # Errors
/// Those of the system.
pub fn is_dir(fd: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Directory)
}

fn walk(
    root: &Path,
    inner: &Path,
    missing: impl Fn(&OwnedFd, &Path) -> rustix::io::Result<()>,
) -> io::Result<OwnedFd> {
    const STEP: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
    if !is_inner(inner) {
        return Err(Errno::INVAL.into());
    }
    let mut here = openat(CWD, root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    for part in inner.components() {
        let name: &Path = part.as_ref();
        let found = match openat(&here, name, STEP, Mode::empty()) {
            Err(Errno::NOENT) => {
                missing(&here, name)?;
                openat(&here, name, STEP, Mode::empty())?
            }
            found => found?,
        };
        if FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP.into());
        }
        here = found;
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;

    fn errno(result: io::Result<OwnedFd>) -> Option<Errno> {
        Errno::from_io_error(&result.expect_err("refused"))
    }

    #[test]
    fn what_is_missing_is_made_and_no_step_is_through_a_link_or_upwards() {
        let dir = tempfile::tempdir().expect("a directory");
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        fs::create_dir(&volume).expect("makeable");
        fs::create_dir(&outside).expect("makeable");
        fs::write(volume.join("file"), "x").expect("writable");
        symlink(&outside, volume.join("out")).expect("a link");
        symlink("file", volume.join("in")).expect("a link");
        assert_eq!(errno(open(&volume, "a/b".as_ref())), Some(Errno::NOENT));
        make(&volume, "a//b/".as_ref()).expect("made");
        assert!(volume.join("a/b").is_dir());
        assert!(is_dir(&open(&volume, "a/b".as_ref()).expect("there")).expect("readable"));
        assert!(!is_dir(&open(&volume, "file".as_ref()).expect("there")).expect("readable"));
        assert_eq!(errno(make(&volume, "file/x".as_ref())), Some(Errno::NOTDIR));
        for link in ["out", "in", "out/deep", "in/deep"] {
            assert_eq!(errno(make(&volume, link.as_ref())), Some(Errno::LOOP), "{link}");
        }
        for crooked in ["..", "a/../..", "/etc", "a\0b"] {
            assert_eq!(errno(make(&volume, crooked.as_ref())), Some(Errno::INVAL), "{crooked}");
        }
        assert_eq!(fs::read_dir(&outside).expect("readable").count(), 0);
    }

    #[test]
    fn a_link_that_takes_the_place_of_a_directory_again_and_again_never_leads_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        fs::create_dir_all(volume.join("swapped")).expect("makeable");
        fs::create_dir_all(outside.join("deep")).expect("makeable");
        symlink(&outside, volume.join("link")).expect("a link");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let [one, other] = ["swapped", "link"].map(|name| volume.join(name));
                while !is_over.load(Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(CWD, &one, CWD, &other, flags).expect("exchanged");
                }
            });
            for _ in 0..2000 {
                if let Ok(found) = make(&volume, "swapped/deep".as_ref()) {
                    let real = fs::read_link(by_descriptor(&found)).expect("it has a name");
                    assert!(real.starts_with(&volume), "{}", real.display());
                }
            }
            is_over.store(true, Relaxed);
        });
        assert_eq!(fs::read_dir(&outside).expect("readable").count(), 1);
    }
}
