//! Control groups: makes that of a plain process, and makes sure that groups are gone, whatever a runtime has said: a container's, or a Pod's with those of its
//! containers.
//!
//! A runtime that was killed half way does not know its groups any more. And runc ends well even if it could not remove
//! them: it gives up after a third of a second, which is short for the threads of a killed process on a busy board.

mod limited;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::procfs;
pub use limited::exists;
pub(crate) use limited::make;

/// Where control groups are mounted, of either version.
const ROOT: &str = "/sys/fs/cgroup";

/// How long killed members may take to go.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often their group is tried meanwhile.
const INTERVAL: Duration = Duration::from_millis(2);

/// Removes a group, such as `lichen/<Pod>/<container>`, with those below it, from every hierarchy, and kills who is in
/// them. Nothing there is a success.
///
/// # Errors
/// In words, if a group does not go.
pub fn remove(path: &str) -> Result<(), String> {
    remove_below(Path::new(ROOT), &own_groups(), path)
}

/// The groups directly below another, such as `lichen`, in any hierarchy, by name.
#[must_use]
pub fn children(path: &str) -> Vec<String> {
    let groups = find(Path::new(ROOT), &[], path);
    let children = groups.iter().flat_map(|group| groups_in(group));
    let mut names: Vec<String> =
        children.filter_map(|child| child.file_name()?.to_str().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

/// What the processes of a group and of those below it hold of the memory, but for what of their files the kernel would give
/// up first. 0 if nobody counts it.
#[must_use]
pub fn memory_bytes(path: &str) -> u64 {
    memory_below(Path::new(ROOT), &own_groups(), path)
}

fn memory_below(root: &Path, own: &[String], path: &str) -> u64 {
    let one = |group: &Path| {
        let number = |text: String| text.trim().parse::<u64>().ok();
        // Of version 2, else of version 1.
        let files = [
            ("memory.current", "inactive_file "),
            ("memory.usage_in_bytes", "total_inactive_file "),
        ];
        files.into_iter().find_map(|(used, given_up)| {
            let used = number(fs::read_to_string(group.join(used)).ok()?)?;
            let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
            let given_up = stat.lines().find_map(|line| line.strip_prefix(given_up)?.parse().ok());
            Some(used.saturating_sub(given_up.unwrap_or(0)))
        })
    };
    let groups = find(root, own, path);
    // A group of version 1 may not count those below it.
    let of_group = |group: &PathBuf| {
        let below: u64 = groups_in(group).iter().filter_map(|below| one(below)).sum();
        one(group).unwrap_or(0).max(below)
    };
    groups.iter().map(of_group).max().unwrap_or(0)
}

fn remove_below(root: &Path, own: &[String], path: &str) -> Result<(), String> {
    let deadline = Instant::now() + DEADLINE;
    for group in find(root, own, path) {
        while let Err(error) = remove_one(&group) {
            if Instant::now() >= deadline {
                return Err(format!("could not remove the cgroup {}: {error}", group.display()));
            }
            std::thread::sleep(INTERVAL);
        }
    }
    Ok(())
}

/// A group's directories. Version 2 has one hierarchy, version 1 a directory with one per controller. In each, a path is
/// looked for at the root and in the groups in `own`, which a runtime's own choice of a place is relative to.
fn find(root: &Path, own: &[String], path: &str) -> Vec<PathBuf> {
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return Vec::new();
    }
    let mut hierarchies = groups_in(root);
    hierarchies.push(root.to_owned());
    let below = own.iter().map(|group| format!("{}/{path}", group.trim_matches('/')));
    let places: BTreeSet<String> = below
        .chain([path.to_owned()])
        .map(|place| place.trim_start_matches('/').to_owned())
        .collect();
    let all = hierarchies.iter().flat_map(|root| places.iter().map(|place| root.join(place)));
    all.filter(|group| group.is_dir()).collect()
}

/// Where this process is, in any hierarchy: `ID:CONTROLLERS:PATH` (see cgroups(7)).
fn own_groups() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2).map(str::to_owned)).collect()
}

/// Groups are directories; links are other names of hierarchies, such as `cpu` of `cpu,cpuacct`.
fn groups_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Kills the members, and removes the group with those below it.
fn remove_one(group: &Path) -> Result<(), std::io::Error> {
    for child in groups_in(group) {
        remove_one(&child)?;
    }
    for pid in members(group) {
        if let Some(stat) = procfs::stat(pid) {
            procfs::kill_exactly(stat.pid, stat.start_ticks);
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process that this namespace can't see.
    text.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_their_path_in_every_hierarchy() {
        let root = tempfile::tempdir().expect("a directory");
        for dir in ["a/lichen/p/x", "b/lichen/p/x", "b/lichen/p/xy", "c/d/lichen/p/x"] {
            fs::create_dir_all(root.path().join(dir)).expect("a directory");
        }
        std::os::unix::fs::symlink("a", root.path().join("same-as-a")).expect("a link");
        let found = |own: &[&str], path| {
            let own: Vec<String> = own.iter().map(|&group| group.to_owned()).collect();
            let mut found = find(root.path(), &own, path);
            found.sort();
            found
        };
        let expected = [root.path().join("a/lichen/p/x"), root.path().join("b/lichen/p/x")];
        assert_eq!(found(&["/"], "/lichen/p/x"), expected);
        assert_eq!(
            found(&["/d", "/"], "lichen/p/x"),
            [&expected[..], &[root.path().join("c/d/lichen/p/x")]].concat()
        );
        assert_eq!(found(&["/a"], "/"), Vec::<PathBuf>::new());
        fs::create_dir_all(root.path().join("lichen/p/x")).expect("a directory");
        assert_eq!(found(&[], "lichen/p/x").len(), 3, "version 2");
    }

    #[test]
    fn memory_is_counted_in_both_versions_without_what_can_be_given_up() {
        let root = tempfile::tempdir().expect("a directory");
        let group = |dir: &str, files: &[(&str, &str)]| {
            let dir = root.path().join(dir);
            fs::create_dir_all(&dir).expect("a directory");
            for (name, text) in files {
                fs::write(dir.join(name), text).expect("writable");
            }
        };
        let used = |path| memory_below(root.path(), &[], path);
        group(
            "lichen/a",
            &[("memory.current", "1000\n"), ("memory.stat", "anon 1\ninactive_file 300\n")],
        );
        assert_eq!(used("lichen/a"), 700);
        group("memory/lichen/b", &[("memory.usage_in_bytes", "0\n")]);
        group("memory/lichen/b/main-0", &[("memory.usage_in_bytes", "50\n")]);
        group(
            "memory/lichen/b/main-1",
            &[("memory.usage_in_bytes", "60\n"), ("memory.stat", "total_inactive_file 10\n")],
        );
        assert_eq!(used("lichen/b"), 100);
        assert_eq!(used("lichen/nobody"), 0);
    }

    #[test]
    fn a_group_goes_with_those_below_it() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("memory/lichen/p/x")).expect("a directory");
        fs::create_dir_all(root.path().join("memory/lichen/q")).expect("a directory");
        remove_below(root.path(), &[], "lichen/p").expect("removable");
        remove_below(root.path(), &[], "lichen/p").expect("removed already");
        assert!(!root.path().join("memory/lichen/p").exists());
        assert!(root.path().join("memory/lichen/q").exists());
    }
}
