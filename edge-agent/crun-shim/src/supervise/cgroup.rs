//! Makes sure that a container's control groups are gone, whatever its runtime has said.
//!
//! A runtime that was killed half way does not know its groups any more. And runc ends well even if it could not remove
//! them: it gives up after a third of a second, which is short for the threads of a killed process on a busy board.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::procfs;

/// Where control groups are mounted, of either version.
const ROOT: &str = "/sys/fs/cgroup";

/// How far below [`ROOT`] a container's group is looked for: version 1 has a directory per controller, then come the
/// agent's own group and the container's.
const DEPTH: usize = 4;

/// How long killed members may take to go.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often their group is tried meanwhile.
const INTERVAL: Duration = Duration::from_millis(2);

/// Removes every group with the container's id as its name, and kills who is in it. The id is unique on the machine, so
/// nobody else's group has that name. Costs a walk over the groups of the machine.
pub(crate) fn remove(id: &str) -> Result<(), String> {
    let deadline = Instant::now() + DEADLINE;
    for group in find(Path::new(ROOT), id, DEPTH) {
        while let Err(error) = remove_one(&group) {
            if Instant::now() >= deadline {
                return Err(format!("could not remove the cgroup {}: {error}", group.display()));
            }
            std::thread::sleep(INTERVAL);
        }
    }
    Ok(())
}

fn find(dir: &Path, name: &str, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for child in groups_in(dir) {
        if child.file_name().is_some_and(|own| own == name) {
            found.push(child);
        } else if depth > 1 {
            found.extend(find(&child, name, depth - 1));
        }
    }
    found
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
    fn groups_are_found_by_their_whole_name_in_every_hierarchy_and_not_too_deep() {
        let root = tempfile::tempdir().expect("a directory");
        for dir in ["a/lichen/x", "b/lichen/x", "b/lichen/xy", "c/lichen/deep/er/x"] {
            fs::create_dir_all(root.path().join(dir)).expect("a directory");
        }
        std::os::unix::fs::symlink("a", root.path().join("same-as-a")).expect("a link");
        let mut found = find(root.path(), "x", DEPTH);
        found.sort();
        assert_eq!(found, [root.path().join("a/lichen/x"), root.path().join("b/lichen/x")]);
    }
}
