//! Writes the files of a configMap, or of a secret, so that a reader sees all old files or all new ones, as Kubernetes does:
//!
//! ```text
//! volume/..<random>/key      the files
//! volume/..data              -> ..<random>      replaced by one rename
//! volume/key                 -> ..data/key
//! ```

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown, symlink},
    path::{Component, Path, PathBuf},
};

use firmware_compat::v1::owned::File;

use super::{VolumeError, fs_group};
use crate::{secrets::OpenedFile, state::Written};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data.new";

/// One file that is to be there.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) path: &'a str,
    pub(super) mode: u16,
    pub(super) data: &'a [u8],
}

impl<'a> From<&'a File> for Content<'a> {
    fn from(file: &'a File) -> Self {
        Self { path: &file.path, mode: file.mode, data: &file.data }
    }
}

impl<'a> From<&'a OpenedFile<'_>> for Content<'a> {
    fn from(file: &'a OpenedFile<'_>) -> Self {
        Self { path: file.path, mode: file.mode, data: file.data }
    }
}

/// Why the files could not be written.
#[derive(Debug)]
pub enum WriteError {
    /// The system refused.
    Io {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A path that leaves the volume or hides our own links.
    Path(String),
}

impl WriteError {
    pub(super) fn in_volume(self, volume: &str) -> VolumeError {
        let volume = volume.to_owned();
        match self {
            Self::Io { action, path, source } => VolumeError::Io { volume, action, path, source },
            Self::Path(path) => VolumeError::Path {
                volume,
                path,
                problem: "a file's path is relative, has no `.` or `..`, and starts with no `..`",
            },
        }
    }
}

/// Makes the volume at `dir` hold exactly `files`. Writes nothing if it does already.
pub(super) fn write(
    dir: &Path,
    files: &[Content<'_>],
    group: Option<u32>,
    written: &Written,
) -> Result<(), WriteError> {
    for file in files {
        check(file)?;
    }
    make_dir(dir)?;
    let before = fs::read_link(dir.join(DATA)).ok();
    // Whatever an attempt has left that was cut short: it takes room, and may be an old Secret.
    sweep(dir, before.as_deref())?;
    if before.as_ref().is_some_and(|data| holds(&dir.join(data), files, group)) {
        return link(dir, files);
    }
    let name = format!("..{:016x}", crate::random::number());
    let fresh = dir.join(&name);
    if let Err(error) = fill(&fresh, files, group, written) {
        // On a full disk each further attempt would leave as much.
        let _ = fs::remove_dir_all(&fresh);
        return Err(error);
    }
    swap(dir, &name)?;
    link(dir, files)?;
    sweep(dir, Some(Path::new(&name)))
}

fn fill(
    fresh: &Path,
    files: &[Content<'_>],
    group: Option<u32>,
    written: &Written,
) -> Result<(), WriteError> {
    make_dir(fresh)?;
    for file in files {
        write_file(fresh, file, group)?;
        written.add(file.data.len() as u64);
    }
    Ok(())
}

fn check(file: &Content<'_>) -> Result<(), WriteError> {
    let path = Path::new(file.path);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    // `a/./b` and `a//b` are plain to `components`, and would not be found by the name that was asked for.
    let exact = file.path.split('/').all(|part| !part.is_empty() && part != ".");
    if plain && exact && !file.path.starts_with("..") {
        Ok(())
    } else {
        Err(WriteError::Path(file.path.to_string()))
    }
}

/// Whether a data directory has these files with this content, and no others.
fn holds(data: &Path, files: &[Content<'_>], group: Option<u32>) -> bool {
    let expected: BTreeSet<_> = files.iter().map(|file| PathBuf::from(file.path)).collect();
    let mut found = BTreeSet::new();
    list(data, Path::new(""), &mut found).is_ok()
        && found == expected
        && files.iter().all(|file| {
            let path = data.join(file.path);
            let found = fs::metadata(&path);
            found.is_ok_and(|found| {
                found.permissions().mode() & 0o777 == mode_of(file, group)
                    && group.is_none_or(|group| found.gid() == group)
            }) && fs::read(&path).is_ok_and(|bytes| bytes == file.data)
        })
}

fn list(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

fn write_file(root: &Path, file: &Content<'_>, group: Option<u32>) -> Result<(), WriteError> {
    let path = root.join(file.path);
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    let mut options = fs::File::options();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(&path).and_then(|mut out| {
        io::Write::write_all(&mut out, file.data)?;
        // After the content, so that a read-only mode does not get in the way; exempt from the umask.
        if group.is_some() {
            fchown(&out, None, group)?;
        }
        out.set_permissions(fs::Permissions::from_mode(mode_of(file, group)))
    });
    written.map_err(|source| WriteError::Io { action: "write", path, source })
}

fn mode_of(file: &Content<'_>, group: Option<u32>) -> u32 {
    u32::from(file.mode) & 0o777 | fs_group::file_bits(group)
}

/// The one moment at which the new files take the place of the old ones.
fn swap(dir: &Path, name: &str) -> Result<(), WriteError> {
    let new = dir.join(DATA_NEW);
    let _ = fs::remove_file(&new);
    let swapped = symlink(name, &new).and_then(|()| fs::rename(&new, dir.join(DATA)));
    swapped.map_err(|source| WriteError::Io { action: "replace", path: dir.join(DATA), source })
}

/// Gives every file its name at the top of the volume, and removes names that lead nowhere now.
fn link(dir: &Path, files: &[Content<'_>]) -> Result<(), WriteError> {
    let tops: BTreeSet<OsString> =
        files.iter().filter_map(|file| file.path.split('/').next()).map(OsString::from).collect();
    for top in &tops {
        let (path, target) = (dir.join(top), Path::new(DATA).join(top));
        if fs::read_link(&path).is_ok_and(|found| found == target) {
            continue;
        }
        symlink(&target, &path).map_err(|source| WriteError::Io {
            action: "link",
            path,
            source,
        })?;
    }
    for name in names(dir)? {
        let ours = name.as_encoded_bytes().starts_with(b"..");
        let path = dir.join(&name);
        // What is no link is the place of something that is mounted there.
        if !ours && !tops.contains(&name) && path.is_symlink() {
            fs::remove_file(&path).map_err(|source| WriteError::Io {
                action: "remove",
                path,
                source,
            })?;
        }
    }
    Ok(())
}

/// Removes data directories other than `current`.
fn sweep(dir: &Path, current: Option<&Path>) -> Result<(), WriteError> {
    for name in names(dir)? {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"..") && current != Some(Path::new(&name)) && name != DATA {
            let path = dir.join(name);
            fs::remove_dir_all(&path).map_err(|source| WriteError::Io {
                action: "remove",
                path,
                source,
            })?;
        }
    }
    Ok(())
}

fn names(dir: &Path) -> Result<Vec<OsString>, WriteError> {
    let entries = fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect());
    entries.map_err(|source| WriteError::Io { action: "list", path: dir.to_owned(), source })
}

/// Programs of any user may look into a configMap; its files have modes of their own.
fn make_dir(path: &Path) -> Result<(), WriteError> {
    if path.is_dir() {
        return Ok(());
    }
    let made = fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    made.map_err(|source| WriteError::Io { action: "make", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file<'a>(path: &'a str, data: &'a str) -> Content<'a> {
        Content { path, mode: 0o644, data: data.as_bytes() }
    }

    fn content(dir: &Path, name: &str) -> Option<String> {
        fs::read_to_string(dir.join(name)).ok()
    }

    #[test]
    fn files_appear_under_their_names_and_follow_updates() {
        let dir = tempfile::tempdir().expect("a directory");
        let written = Written::default();
        write(dir.path(), &[file("a", "1"), file("sub/b", "2")], None, &written).expect("writable");
        assert_eq!(content(dir.path(), "a").as_deref(), Some("1"));
        assert_eq!(content(dir.path(), "sub/b").as_deref(), Some("2"));
        write(dir.path(), &[file("a", "3"), file("c", "4")], None, &written).expect("writable");
        assert_eq!(content(dir.path(), "a").as_deref(), Some("3"));
        assert_eq!(content(dir.path(), "c").as_deref(), Some("4"));
        assert!(fs::symlink_metadata(dir.path().join("sub")).is_err());
        // `a`, `c`, `..data` and one data directory.
        assert_eq!(names(dir.path()).expect("readable").len(), 4);
    }

    #[test]
    fn the_same_files_are_not_written_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let written = Written::default();
        write(dir.path(), &[file("a", "1")], None, &written).expect("writable");
        let data = fs::read_link(dir.path().join(DATA)).expect("a link");
        write(dir.path(), &[file("a", "1")], None, &written).expect("writable");
        assert_eq!(fs::read_link(dir.path().join(DATA)).expect("a link"), data);
        assert_eq!(written.bytes(), 1);
    }

    #[test]
    fn what_a_power_loss_left_behind_is_mended() {
        let dir = tempfile::tempdir().expect("a directory");
        let written = Written::default();
        write(dir.path(), &[file("a", "1")], None, &written).expect("writable");
        fs::create_dir(dir.path().join("..half")).expect("writable");
        symlink("..half", dir.path().join(DATA_NEW)).expect("writable");
        fs::write(dir.path().join(DATA).join("a"), "").expect("writable");
        write(dir.path(), &[file("a", "1")], None, &written).expect("writable");
        assert_eq!(content(dir.path(), "a").as_deref(), Some("1"));
        assert_eq!(names(dir.path()).expect("readable").len(), 3);
    }

    #[test]
    fn what_fails_or_is_cut_short_leaves_nothing_old_or_half() {
        let dir = tempfile::tempdir().expect("a directory");
        let written = Written::default();
        write(dir.path(), &[file("a", "1")], None, &written).expect("writable");
        for _ in 0..3 {
            write(dir.path(), &[file("a", "2"), file("a/b", "3")], None, &written)
                .expect_err("a is no directory");
        }
        assert_eq!(names(dir.path()).expect("readable").len(), 3);
        assert_eq!(content(dir.path(), "a").as_deref(), Some("1"));
        // As if the agent had been killed after the swap.
        fs::create_dir(dir.path().join("..old")).expect("writable");
        fs::write(dir.path().join("..old/a"), "an old secret").expect("writable");
        write(dir.path(), &[file("a", "1")], None, &written).expect("writable");
        assert!(!dir.path().join("..old").exists());
    }

    #[test]
    fn a_reader_that_opened_the_data_directory_sees_all_old_or_all_new_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, written) = (dir.path().to_owned(), Written::default());
        let write_version = |n: u32| {
            let text = n.to_string();
            write(&path, &[file("a", &text), file("b", &text)], None, &written).expect("writable");
        };
        write_version(0);
        let reader = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut seen = 0;
                while seen < 200 {
                    let Ok(data) = fs::read_link(path.join(DATA)) else { return Err("no ..data") };
                    let data = path.join(data);
                    let (a, b) = (content(&data, "a"), content(&data, "b"));
                    // Both are gone together once a newer version took their place.
                    if let (Some(a), Some(b)) = (a, b) {
                        if a != b {
                            return Err("a mix of versions");
                        }
                        seen = a.parse().unwrap_or(0);
                    }
                }
                Ok(())
            }
        });
        (1..=200).for_each(write_version);
        assert_eq!(reader.join().expect("no panic"), Ok(()));
    }

    #[test]
    fn paths_that_leave_the_volume_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        for path in ["", "/a", "../a", "a/../b", "..data", "..x", "a//b", "./a", "a/"] {
            let result = write(dir.path(), &[file(path, "x")], None, &Written::default());
            assert!(matches!(result, Err(WriteError::Path(_))), "{path}");
        }
    }
}
