//! What a device has left on the machine: processes, mounts, cgroups, sockets, run directories. Read from `/proc`, `/sys` and
//! the file system, by all that can betray a process: command line, working directory, open files, mounts, cgroup.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use crate::footprint::{Footprint, command_line, is_alive};

/// Looks for traces of devices. `states` are their state directories, `shared` what their Pods have mounted beside,
/// `pods` the ids of all that ever ran. Each finding is a sentence.
#[must_use]
pub fn leftovers(states: &[PathBuf], shared: &Path, pods: &[String]) -> Vec<String> {
    let mut findings = BTreeSet::new();
    for state in states {
        let footprint = Footprint::of(state, pods);
        for pid in footprint.processes {
            findings.insert(format!("process {pid} is left: {}", command_line(pid)));
        }
        findings.extend(footprint.mounts.iter().map(|mount| format!("a mount is left: {mount}")));
        for cgroup in footprint.cgroups {
            findings.insert(format!("cgroup {} is left", cgroup.display()));
        }
        findings.extend(sockets(state));
        for run in entries(&state.join("run")) {
            findings.insert(format!("run directory {} is left", run.display()));
        }
    }
    let mut places: Vec<&Path> = states.iter().map(PathBuf::as_path).collect();
    places.push(shared);
    for (pid, place) in users(&places) {
        let line = command_line(pid);
        findings.insert(format!("process {pid} still uses {}: {line}", place.display()));
    }
    findings.into_iter().collect()
}

/// Processes that have something in one of these places open, mounted, or as their directory, and the place.
#[must_use]
pub fn users(places: &[&Path]) -> Vec<(u32, PathBuf)> {
    let places: Vec<PathBuf> = places
        .iter()
        .map(|place| fs::canonicalize(place).unwrap_or_else(|_| place.into()))
        .collect();
    let mut found = Vec::new();
    for process in entries(Path::new("/proc")) {
        let name = process.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<u32>() else { continue };
        if pid == std::process::id() || !is_alive(pid) {
            continue;
        }
        let mut links = vec![process.join("cwd"), process.join("root"), process.join("exe")];
        links.extend(entries(&process.join("fd")));
        let at = |place: &PathBuf| {
            links.iter().any(|link| fs::read_link(link).is_ok_and(|to| to.starts_with(place)))
        };
        let mounts = mounts_of_its_own(&process);
        for place in &places {
            if mounts.contains(&*place.to_string_lossy()) || at(place) {
                found.push((pid, place.clone()));
            }
        }
    }
    found
}

/// The mounts of a process without those that this one sees too: what is mounted for the whole machine, as the network
/// and the memory of a Pod are, every process sees, and uses no more for that.
fn mounts_of_its_own(process: &Path) -> String {
    let seen = mounts(Path::new("/proc/self"));
    let own = mounts(process).into_iter().filter(|mount| !seen.contains(mount));
    own.map(|mount| format!("{mount}\n")).collect()
}

/// The lines of a process' mount table without their first two words, the ids of a mount and of its parent: those alone
/// differ between the mount namespaces that hold one mount.
fn mounts(process: &Path) -> BTreeSet<String> {
    let table = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
    table.lines().filter_map(|line| Some(line.splitn(3, ' ').nth(2)?.to_owned())).collect()
}

fn sockets(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in entries(dir) {
        let Ok(kind) = fs::symlink_metadata(&path).map(|data| data.file_type()) else { continue };
        if kind.is_dir() {
            found.extend(sockets(&path));
        } else if kind.is_socket() {
            found.push(format!("socket {} is left", path.display()));
        }
    }
    found
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::net::UnixListener,
        process::{Child, Command, Stdio},
    };

    use tempfile::TempDir;

    use super::*;
    use crate::wait::wait_for;

    /// A device that leaves nothing, for the test to leave something.
    struct Clean {
        dir: TempDir,
        children: Vec<Child>,
    }

    impl Clean {
        fn new() -> Self {
            let dir = TempDir::with_prefix("lt-left-").expect("a directory");
            fs::create_dir_all(dir.path().join("state/run")).expect("a directory");
            fs::create_dir_all(dir.path().join("marks")).expect("a directory");
            let clean = Self { dir, children: Vec::new() };
            assert_eq!(clean.look(), Vec::<String>::new());
            clean
        }

        fn state(&self) -> PathBuf {
            self.dir.path().join("state")
        }

        fn look(&self) -> Vec<String> {
            leftovers(&[self.state()], &self.dir.path().join("marks"), &[self.uid()])
        }

        /// The id of a Pod of this device only.
        fn uid(&self) -> String {
            let name = self.dir.path().file_name().expect("a name");
            format!("canary-{}", name.to_string_lossy())
        }

        /// Starts a shell that says when it is ready and stays.
        fn leave_process(&mut self, script: &str, dir: &Path) {
            let script = format!("{script} && : > \"$READY\" && exec sleep 1000");
            let ready = self.dir.path().join("ready");
            let mut command = Command::new("unshare");
            // Without an option it only runs the program; with -m, in a mount namespace of its own.
            if script.contains("mount") {
                command.arg("-m");
            }
            command.args(["sh", "-c", &script]).current_dir(dir).env("READY", &ready);
            self.children.push(command.stdin(Stdio::null()).spawn().expect("a shell"));
            wait_for("the process is ready", || ready.exists());
        }

        fn assert_finds(&self, word: &str) {
            let found = self.look();
            assert!(found.iter().any(|finding| finding.contains(word)), "{word}: {found:?}");
        }
    }

    impl Drop for Clean {
        fn drop(&mut self) {
            for child in &mut self.children {
                let _gone = child.kill();
                let _status = child.wait();
            }
        }
    }

    #[test]
    fn a_socket_and_a_run_directory_that_are_left_are_noticed() {
        let clean = Clean::new();
        let run = clean.state().join("run/01/0");
        fs::create_dir_all(&run).expect("a directory");
        clean.assert_finds("run directory");
        let _listener = UnixListener::bind(run.join("shim.sock")).expect("a socket");
        clean.assert_finds("socket");
    }

    #[test]
    fn a_process_that_is_left_is_noticed_by_its_words_its_directory_and_its_open_files() {
        let mut clean = Clean::new();
        let state = clean.state();
        clean.leave_process(":", &state);
        clean.assert_finds("still uses");

        let mut clean = Clean::new();
        let script = format!("exec 9> {}/file", clean.dir.path().join("marks").display());
        clean.leave_process(&script, Path::new("/"));
        clean.assert_finds("still uses");

        let mut clean = Clean::new();
        let mut command = Command::new("sh");
        // Waits for input that never comes.
        command.args(["-c", "read line", "named"]).arg(clean.state()).stdin(Stdio::piped());
        clean.children.push(command.spawn().expect("a shell"));
        wait_for("it is noticed", || clean.look().iter().any(|finding| finding.contains("named")));
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_mount_that_is_left_is_noticed_in_any_namespace() {
        let mut clean = Clean::new();
        let target = clean.dir.path().join("marks");
        clean.leave_process(&format!("mount --bind /etc {}", target.display()), Path::new("/"));
        clean.assert_finds("still uses");

        let mut clean = Clean::new();
        let target = clean.state().join("mnt");
        fs::create_dir_all(&target).expect("a directory");
        clean.leave_process(&format!("mount --bind /etc {}", target.display()), Path::new("/"));
        clean.assert_finds("a mount is left");
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_cgroup_that_is_left_is_noticed() {
        let clean = Clean::new();
        let roots = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"];
        let name = format!("lichen-{}", clean.uid());
        let group = roots.iter().map(|root| Path::new(root).join(&name));
        let group = group.into_iter().find(|path| fs::create_dir(path).is_ok());
        let group = group.expect("root can make a control group");
        let found = clean.look();
        fs::remove_dir(&group).expect("an empty control group");
        assert!(found.iter().any(|finding| finding.contains("cgroup")), "{found:?}");
    }
}
