//! Tidies up after a shim that was killed before it could.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

use super::launch::{self, Output};
use super::machine::{DELETE_DEADLINE_MS, Verb};
use super::{namespace, output, reap};
use crate::log::time::wall_ms;
use crate::procfs;
use crate::run_dir::{OCI, PidRecord, RunDir, SOCKET};
use crate::spec::{Container, Kind};
use crate::state::{BootId, Exit, Outcome};

/// How long a killed process may take to go.
const DEATH_DEADLINE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

const LOST: &str = "the shim was gone: the machine lost power, or something killed the shim";

/// Removes processes, container and cgroup of a run whose shim is dead, and records the run as lost.
pub(crate) fn clean_up(dir: &Path) -> Result<(), String> {
    let run = RunDir::open(dir).map_err(|error| error.to_string())?;
    if !run.try_lock().map_err(|error| error.to_string())? {
        return Err("its shim lives: ask it to stop".to_owned());
    }
    let boot_id = procfs::boot_id().map_err(|error| format!("could not read boot_id: {error}"))?;
    // Damaged records come from a power loss, after which no process of theirs is left.
    let pid = run.pid().ok().flatten().filter(|pid| pid.boot_id == boot_id);
    let spec = run.spec().ok().flatten().filter(|record| record.boot_id == boot_id);
    if let Some(pid) = &pid {
        kill_session(pid)?;
    }
    if let Some(Kind::Container(container)) = spec.map(|record| record.spec.kind) {
        delete(&run, &container)?;
    }
    let _ = fs::remove_dir_all(run.file(OCI));
    let _ = fs::remove_file(run.file(SOCKET));
    record_loss(&run, boot_id, pid)
}

/// Kills the instance's first process and what else is in its session. A session's number is not given to a
/// new process while a member lives, so if the number now belongs to another process, none is left.
fn kill_session(pid: &PidRecord) -> Result<(), String> {
    let mut dying = Vec::new();
    dying.extend(procfs::kill_exactly(pid.pid, pid.start_ticks));
    let reused = procfs::stat(pid.pid).is_some_and(|stat| stat.start_ticks != pid.start_ticks);
    if !reused {
        let members = procfs::all().into_iter().filter(|stat| stat.session == pid.pid);
        dying.extend(members.filter_map(|stat| procfs::kill_exactly(stat.pid, stat.start_ticks)));
    }
    for descriptor in dying {
        let mut fds = [PollFd::new(&descriptor, PollFlags::IN)];
        if !matches!(poll(&mut fds, Some(&DEATH_DEADLINE)), Ok(1..)) {
            return Err(format!("process {} or one of its session does not die", pid.pid));
        }
    }
    Ok(())
}

/// Lets the runtime delete the container: its state, its cgroup, and its processes if the pid was not recorded.
fn delete(run: &RunDir, container: &Container) -> Result<(), String> {
    let root = run.file(OCI);
    if !root.join(&container.id).exists() {
        return Ok(());
    }
    // The same surroundings as in the shim, but no overlay: deleting needs none.
    let surroundings = Container { overlay: None, ..container.clone() };
    namespace::enter(&surroundings)?;
    set_child_subreaper(Some(getpid())).map_err(|errno| format!("no subreaper: {errno}"))?;
    let failed = |error| format!("could not open a pipe: {error}");
    let (read, stdout) = output::pipe().map_err(failed)?;
    let handed = Output { stderr: stdout.try_clone().map_err(failed)?, stdout };
    let pid = launch::runtime(container, Verb::Delete, root.as_ref(), "".as_ref(), handed)?;
    let outcome = wait_for(pid);
    let mut said = vec![0; 4096];
    let length = rustix::io::read(&read, &mut said).unwrap_or(0);
    reap::kill_rest();
    if outcome || !root.join(&container.id).exists() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said[..length]).into_owned();
    Err(format!("the runtime could not delete container {}: {}", container.id, said.trim()))
}

/// True if the command ended well in time.
fn wait_for(pid: Pid) -> bool {
    let deadline = Instant::now() + Duration::from_millis(DELETE_DEADLINE_MS);
    while Instant::now() < deadline {
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => return status.exit_status() == Some(0),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => return false,
        }
    }
    reap::kill_group(pid.as_raw_pid());
    false
}

fn record_loss(run: &RunDir, boot_id: BootId, pid: Option<PidRecord>) -> Result<(), String> {
    // A damaged exit record was torn by a power loss during its first write; it is replaced.
    if matches!(run.exit(), Ok(Some(_))) {
        return Ok(());
    }
    let exit = Exit {
        outcome: Outcome::Lost,
        oom_killed: false,
        started_at_ms: pid.map(|pid| pid.at_ms),
        finished_at_ms: wall_ms(),
        boot_id,
        message: LOST.to_owned(),
    };
    run.store_exit(&exit).map_err(|error| error.to_string())
}
