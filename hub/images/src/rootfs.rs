//! Looking for programs in a directory that will be a root file system, the way the container will see it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::elf::{self, Program};
use crate::tree::{MAX_ENTRIES, sorted_names};

/// Most symbolic links followed to find a program.
const MAX_LINKS: usize = 16;

/// Finds a path of a root file system on the disk, following links as they will be followed inside the container, so
/// that an absolute link stays inside. `None` if there is no such file.
pub fn find(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut todo: Vec<PathBuf> = names(path);
    let mut inside = PathBuf::new();
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name.as_os_str() == ".." {
            inside.pop();
            continue;
        }
        let here = root.join(&inside).join(&name);
        let metadata = fs::symlink_metadata(&here).ok()?;
        if !metadata.is_symlink() {
            inside.push(name);
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return None;
        }
        let target = fs::read_link(&here).ok()?;
        if target.is_absolute() {
            inside = PathBuf::new();
        }
        todo.extend(names(&target));
    }
    let found = root.join(inside);
    found.is_file().then_some(found)
}

/// The first program in a directory, in the order of packing: it tells the platform where the entry point doesn't.
pub fn first_program(root: &Path) -> Option<Program> {
    let mut dirs = vec![root.to_owned()];
    let mut looked_at = 0;
    while let Some(dir) = dirs.pop() {
        let mut below = Vec::new();
        for name in sorted_names(&dir).ok()? {
            looked_at += 1;
            let path = dir.join(name);
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if looked_at > MAX_ENTRIES {
                return None;
            }
            if metadata.is_dir() {
                below.push(path);
            } else if metadata.is_file() && metadata.mode() & 0o111 != 0 {
                let program = File::open(&path).ok().and_then(|mut file| elf::read(&mut file).ok());
                if program.is_some() {
                    return program;
                }
            }
        }
        dirs.extend(below.into_iter().rev());
    }
    None
}

/// The names in a path, last first, without the root.
fn names(path: &Path) -> Vec<PathBuf> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    let mut named: Vec<PathBuf> = named.collect();
    named.reverse();
    named
}
