//! `lichen-shim exec`: one more program in a container that runs, for a probe or a hook; with the container's user, environment
//! and cgroup, as its runtime has them.
//!
//! It works in the shim's mount namespace, where the runtime's state is as the shim left it. It is a subreaper, so that of a
//! program that takes too long nothing is left, whatever it has started. What is said of it, and its output, goes to standard
//! output once it has ended: nobody waits for a pipe that some descendant keeps open.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, WaitOptions, getpid, pidfd_open, set_child_subreaper, waitpid,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::output::pipe;
use super::reap;
use crate::procfs;
use crate::run_dir::{OCI, RunDir};
use crate::spec::{Container, Kind};

/// Output that is kept. Kubernetes' bound.
const MAX_OUTPUT: usize = 10 * 1024;

/// Carries out `lichen-shim exec DIR TIMEOUT_MS WORD…`.
pub(super) fn exec(dir: &Path, words: &[String]) -> Result<(), String> {
    let (timeout, command) = words.split_first().ok_or("give a timeout and a program")?;
    let timeout: u64 = timeout.parse().map_err(|_| format!("{timeout} is no time in ms"))?;
    let deadline = (timeout > 0).then(|| Instant::now() + Duration::from_millis(timeout));
    let run = RunDir::open(dir).map_err(|error| error.to_string())?;
    let record = run.spec().map_err(|error| error.to_string())?;
    let Some(Kind::Container(container)) = record.map(|record| record.spec.kind) else {
        return Err("there is no container in which something could be run".to_owned());
    };
    set_child_subreaper(Some(getpid()))
        .map_err(|errno| format!("could not be a subreaper: {errno}"))?;
    enter(&run)?;
    let (verdict, output) = run_in(&container, &run, command, deadline)?;
    let mut answer = format!("{verdict}\n").into_bytes();
    answer.extend(output);
    io::stdout().write_all(&answer).map_err(|error| format!("could not answer: {error}"))
}

/// Enters the mount namespace of the shim.
fn enter(run: &RunDir) -> Result<(), String> {
    let gone = "the container's shim is gone";
    let record = run.shim_pid().map_err(|error| error.to_string())?.ok_or(gone)?;
    let mounts = File::open(format!("/proc/{}/ns/mnt", record.pid)).map_err(|_| gone)?;
    // After the file was opened: what it is of can't change any more.
    procfs::open_exactly(record.pid, record.start_ticks).ok_or(gone)?;
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
        .map_err(|errno| format!("could not enter the shim's mount namespace: {errno}"))
}

/// Runs a program. Returns what became of it, in a word, and what it said.
fn run_in(
    container: &Container,
    run: &RunDir,
    words: &[String],
    deadline: Option<Instant>,
) -> Result<(String, Vec<u8>), String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("could not run {}: {error}", container.runtime.display())
    };
    let (output, theirs) = pipe().map_err(|error| failed(&error))?;
    let also = theirs.try_clone().map_err(|error| failed(&error))?;
    let mut command = Command::new(&container.runtime);
    command.args(&container.runtime_args).arg("--root").arg(run.file(OCI));
    command.arg("exec").arg(&container.id).args(words);
    command.current_dir("/").stdin(Stdio::null()).stdout(theirs).stderr(also).process_group(0);
    let child = command.spawn().map_err(|error| failed(&error))?;
    // It holds both writing ends.
    drop(command);
    let pid = Pid::from_child(&child);
    let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(&errno))?;
    let mut said = Vec::new();
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            reap::kill_group(pid.as_raw_pid());
            reap::kill_rest();
            return Ok(("timeout".to_owned(), said));
        }
        let wait = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        let mut fds = [PollFd::new(&output, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(&errno)),
        }
        let (has_said, has_ended) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
        let is_open = has_said && read(&output, &mut said);
        if has_ended {
            while read(&output, &mut said) {}
            break;
        }
        if has_said && !is_open {
            // Closed: only the end is left to wait for.
            let mut fds = [PollFd::new(&ended, PollFlags::IN)];
            let _ = poll(&mut fds, wait.as_ref());
        }
    }
    let status = waitpid(Some(pid), WaitOptions::empty()).ok().flatten().map(|(_, status)| status);
    let code = status.and_then(|status| {
        let code = status.exit_status();
        code.or_else(|| status.terminating_signal().map(|signal| 128 + signal))
    });
    Ok((format!("code {}", code.unwrap_or(-1)), said))
}

/// Reads what is there, and keeps what has room. False if there is nothing now.
fn read(output: &impl AsFd, said: &mut Vec<u8>) -> bool {
    let mut bytes = [0; 4096];
    match rustix::io::read(output, &mut bytes) {
        Ok(0) => false,
        Ok(length) => {
            let room = MAX_OUTPUT.saturating_sub(said.len()).min(length);
            said.extend_from_slice(&bytes[..room]);
            true
        }
        Err(Errno::INTR) => true,
        Err(_) => false,
    }
}
