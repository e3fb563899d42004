//! What a device has on this machine: processes, mounts, cgroups. Read from `/proc` and `/sys`, not asked of the
//! programs under test.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Living processes that name the state directory, or that descend from one that does, or that are in a cgroup of
    /// a Pod.
    pub processes: Vec<u32>,
    /// Lines of any process's mount table that name the state directory.
    pub mounts: BTreeSet<String>,
    /// Control groups that name a Pod.
    pub cgroups: BTreeSet<PathBuf>,
}

impl Footprint {
    /// Looks at the whole machine for traces of a state directory and of Pods.
    #[must_use]
    pub fn of(state: &Path, pods: &[String]) -> Self {
        let state = fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
        let state = state.to_str().expect("temporary directories have plain names");
        let all = processes();
        let mut found: BTreeSet<u32> =
            all.iter().filter(|process| process.is_of(state, pods)).map(|p| p.pid).collect();
        loop {
            let before = found.len();
            found.extend(
                all.iter().filter(|p| found.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>(),
            );
            if found.len() == before {
                break;
            }
        }
        found.remove(&std::process::id());
        Self {
            processes: found.into_iter().collect(),
            mounts: all.iter().flat_map(|process| mounts(process.pid, state)).collect(),
            cgroups: cgroups(pods),
        }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a process is there and has not ended.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// The command line of a process, with spaces between the words.
#[must_use]
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// When a process was started, in clock ticks since boot: with the process id, it names a process for ever.
#[must_use]
pub fn start_ticks(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

/// Every process that can be seen.
#[must_use]
pub fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

struct Seen {
    pid: u32,
    parent: u32,
    line: String,
    cgroup: String,
}

impl Seen {
    fn is_of(&self, state: &str, pods: &[String]) -> bool {
        self.line.contains(state) || pods.iter().any(|uid| self.cgroup.contains(uid))
    }
}

fn processes() -> Vec<Seen> {
    let each = pids().into_iter();
    each.filter_map(|pid| {
        let (state, parent) = stat(pid)?;
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        (state != "Z" && state != "X").then(|| Seen {
            pid,
            parent,
            line: command_line(pid),
            cgroup,
        })
    })
    .collect()
}

/// State and parent, from `/proc/PID/stat`: the fields after the name, which may hold any character.
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn mounts(pid: u32, state: &str) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    // Without the two numbers in front, which differ between the namespaces that share a mount.
    let lines = table.lines().filter(|line| line.contains(state));
    lines.map(|line| line.splitn(3, ' ').last().unwrap_or_default().to_owned()).collect()
}

fn cgroups(pods: &[String]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            // A Pod's group, and those of its containers below it.
            let path = entry.path().to_string_lossy().into_owned();
            if pods.iter().any(|uid| path.contains(uid)) {
                found.insert(entry.path());
            }
            dirs.push(entry.path());
        }
    }
    found
}
