//! The process that a Pod's shared process namespace lives by: its first. It starts nothing, reaps what its Pod's containers
//! leave behind, and ends with the Pod. As `pause` in Kubernetes.
//!
//! The namespace is held by a bind mount on a file, as the Pod's other namespaces are. It is of use only as long as this
//! process lives, and ends with it, and so does everybody in it. So it is found by the namespace that it is in, never by a
//! number that may be another's by now.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::mount_bind;
use rustix::process::{WaitOptions, setsid, wait};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use signal_hook::consts::SIGCHLD;

use crate::procfs;

/// What the second process says once it reaps.
const READY: &str = "ready";
/// How long killed processes may take to end.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often they are looked for meanwhile.
const INTERVAL: Duration = Duration::from_millis(2);

/// Makes a process namespace, held by `file`, which is made if it is missing. Blocks for a few milliseconds.
///
/// # Errors
/// In words.
pub fn make(shim_binary: &Path, file: &Path, label: &str) -> Result<(), String> {
    let output = Command::new(shim_binary)
        .arg("pause")
        .arg(file)
        .arg(label.replace('\0', ""))
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("could not run {}: {error}", shim_binary.display()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
    }
}

/// Whether the namespace that a file holds has a first process.
#[must_use]
pub fn is_alive(file: &Path) -> bool {
    members(file).iter().any(|member| is_first(member.pid))
}

/// Kills everybody in the namespace that a file holds. Nobody there is a success.
///
/// # Errors
/// In words, if somebody does not end.
pub fn end(file: &Path) -> Result<(), String> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let members = members(file);
        if members.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("{} processes of {} do not end", members.len(), file.display()));
        }
        for member in members {
            procfs::kill_exactly(member.pid, member.start_ticks);
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Who is in the namespace that a file holds. Costs a walk over `/proc`.
fn members(file: &Path) -> Vec<procfs::Stat> {
    let namespace = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let (Some(held), Some(own)) = (namespace(file), namespace(Path::new("/proc/self/ns/pid")))
    else {
        return Vec::new();
    };
    // A file that holds nothing has a number of its own file system; the device's own namespace is never ended.
    if held == own {
        return Vec::new();
    }
    let all = procfs::all().into_iter().filter(procfs::Stat::is_alive);
    all.filter(|stat| namespace(format!("/proc/{}/ns/pid", stat.pid).as_ref()) == Some(held))
        .collect()
}

/// Whether it is number 1 where it lives.
fn is_first(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.and_then(|line| line.split_whitespace().next_back()) == Some("1")
}

/// `lichen-shim pause FILE LABEL`: starts the first process of a namespace and holds that.
pub(crate) fn start(file: &Path, label: &[OsString]) -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        format!("could not {what} for the pod's processes at {}: {error}", file.display())
    };
    setsid().map_err(|errno| failed("make a session", &errno))?;
    // SAFETY: only `CLONE_FILES` is dangerous, and it is not among the flags. It counts for children of this process, which
    // has one thread.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID) }
        .map_err(|errno| failed("make a namespace (is CONFIG_PID_NS in the kernel?)", &errno))?;
    let mut first = Command::new("/proc/self/exe")
        .arg0("lichen-shim")
        .arg("paused")
        .arg(file)
        .args(label)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed("start a process", &error))?;
    let mut said = [0; READY.len()];
    let ready = first.stdout.take().map(|mut stdout| stdout.read_exact(&mut said));
    let held = match ready {
        Some(Ok(())) if said == *READY.as_bytes() => File::create(file)
            .and_then(|_| Ok(mount_bind(format!("/proc/{}/ns/pid", first.id()), file)?)),
        _ => Err(io::Error::other("it ended at once")),
    };
    held.map_err(|error| {
        // Nobody would find it.
        let _ = first.kill();
        failed("hold the namespace", &error)
    })
}

/// `lichen-shim paused`: the first process. It ends when it is killed from outside: to those within, number 1 is deaf.
pub(crate) fn pause() -> Result<(), String> {
    let failed = |error: io::Error| format!("could not wait for children: {error}");
    let (mut read, write) = UnixStream::pair().map_err(failed)?;
    signal_hook::low_level::pipe::register(SIGCHLD, write).map_err(failed)?;
    let mut stdout = io::stdout();
    stdout.write_all(READY.as_bytes()).and_then(|()| stdout.flush()).map_err(failed)?;
    let null = File::options().write(true).open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdout(null).map_err(|errno| failed(errno.into()))?;
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        read.read(&mut [0; 64]).map_err(failed)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_namespace_has_nobody_and_the_machines_own_is_left_alone() {
        let scratch = tempfile::tempdir().expect("a directory");
        let file = scratch.path().join("processes");
        assert!(!is_alive(&file));
        end(&file).expect("nobody is there");
        File::create(&file).expect("a file");
        assert!(!is_alive(&file));
        end(&file).expect("nobody is there");
        assert_eq!(members(Path::new("/proc/self/ns/pid")), []);
    }
}
