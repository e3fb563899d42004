//! Tidies up after a shim that was killed before it could.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, setsid, waitpid};

use super::launch::{self, Output};
use super::machine::{DELETE_DEADLINE_MS, Verb};
use super::{claim_session, namespace, output, reap};
use crate::cgroup;
use crate::log::time::wall_ms;
use crate::procfs::{self, Stat};
use crate::run_dir::{OCI, OCI_PID, PidRecord, RunDir, SHIM_PID, SOCKET};
use crate::spec::{Container, Kind, Process};
use crate::state::{BootId, Exit, Outcome};

/// How long a lock is waited for whose shim may have just died.
const LOCK_DEADLINE: Duration = Duration::from_secs(2);

/// How long a command of the runtime that outlived the shim may go on.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(10);

/// How long a killed process may take to go.
const DEATH_DEADLINE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// The boot of a run whose spec was damaged, by a power loss: none that anybody is in.
const NO_BOOT: BootId = BootId([0; 16]);

const LOST: &str = "the shim was gone: the machine lost power, or something killed the shim";

/// Removes processes, container and cgroup of a run whose shim is dead, and records the run as lost.
pub(crate) fn clean_up(dir: &Path) -> Result<(), String> {
    let run = RunDir::open(dir).map_err(|error| error.to_string())?;
    lock(&run)?;
    let boot_id = procfs::boot_id().map_err(|error| format!("could not read boot_id: {error}"))?;
    // Damaged records come from a power loss, after which no process of theirs is left.
    let pid = run.pid().ok().flatten().filter(|pid| pid.boot_id == boot_id);
    let spec = run.spec().ok().flatten();
    let lost_in = spec.as_ref().map_or(NO_BOOT, |record| record.boot_id);
    let spec = spec.filter(|record| record.boot_id == boot_id);
    let shim = run.shim_pid().ok().flatten().filter(|shim| shim.boot_id == boot_id);
    if let Some(shim) = &shim {
        await_runtime(&run, shim)?;
    }
    if let Some(pid) = &pid {
        kill_session(pid)?;
    }
    let kind = spec.map(|record| record.spec.kind);
    if let Some(Kind::Process(Process { group: Some(group), .. })) = &kind {
        cgroup::remove(&group.path)?;
    }
    if let Some(Kind::Container(container)) = kind {
        if container.private {
            kill_unrecorded(&run)?;
        }
        let deleted = delete(&run, &container, boot_id);
        if let Some(group) = &container.cgroup {
            cgroup::remove(group)?;
        }
        deleted?;
    }
    let _ = fs::remove_dir_all(run.file(OCI));
    for name in [OCI_PID, SHIM_PID, SOCKET] {
        let _ = fs::remove_file(run.file(name));
    }
    record_loss(&run, lost_in, pid)
}

/// Takes the lock. A child that a killed shim had just forked holds on to it (and to the socket) until its exec,
/// so the lock is waited for a little.
fn lock(run: &RunDir) -> Result<(), String> {
    let deadline = Instant::now() + LOCK_DEADLINE;
    while !run.try_lock().map_err(|error| error.to_string())? {
        if Instant::now() >= deadline {
            return Err("its shim lives: ask it to stop".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Lets a command of the runtime that outlived the shim come to its end, or kills it when it takes too long.
///
/// Such a command is known by its session (see [`launch`]). So is the first process of a container in its first
/// moments, and for one that does not leave the session there is the runtime's pid file.
fn await_runtime(run: &RunDir, shim: &PidRecord) -> Result<(), String> {
    let deadline = Instant::now() + RUNTIME_DEADLINE;
    loop {
        let init = fs::read_to_string(run.file(OCI_PID)).unwrap_or_default();
        let init: Option<i32> = init.trim().parse().ok();
        let mut commands = session(shim);
        commands.retain(|stat| Some(stat.pid) != init);
        if commands.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return kill_stuck(run, &commands);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Kills commands that take too long. To kill, the session's number is not proof enough: it may have been another
/// shim's, long ago. The run directory's path among the arguments is.
fn kill_stuck(run: &RunDir, commands: &[Stat]) -> Result<(), String> {
    let root = run.file(OCI);
    let ours = procfs::with_argument(root.as_os_str().as_bytes());
    let mut dying = Vec::new();
    for stat in commands {
        if !ours.iter().any(|own| own.pid == stat.pid) {
            return Err(format!("process {} is in its shim's session and does not end", stat.pid));
        }
        dying.extend(procfs::kill_exactly(stat.pid, stat.start_ticks));
    }
    await_deaths(dying).map_err(|()| "the runtime's command does not die".to_owned())
}

/// Kills what a runtime made whose shim was gone before it could record it, and whose state in memory went with the shim: the
/// first process of a container that was never started. Until it is, it has the arguments of the command that made it.
fn kill_unrecorded(run: &RunDir) -> Result<(), String> {
    let root = run.file(OCI);
    let left = procfs::with_argument(root.as_os_str().as_bytes());
    let dying = left.iter().filter_map(|stat| procfs::kill_exactly(stat.pid, stat.start_ticks));
    await_deaths(dying.collect()).map_err(|()| "a process of the runtime does not die".to_owned())
}

/// Living members of the session that a process led or leads, without itself. A session's number is not given to a
/// new process while a member lives, so if the number now belongs to another process, none is left.
fn session(leader: &PidRecord) -> Vec<Stat> {
    let reused =
        procfs::stat(leader.pid).is_some_and(|stat| stat.start_ticks != leader.start_ticks);
    if reused {
        return Vec::new();
    }
    let mut members = procfs::all();
    members.retain(|stat| stat.session == leader.pid && stat.pid != leader.pid && stat.is_alive());
    members
}

/// Kills the container's first process and what else is in its session.
fn kill_session(pid: &PidRecord) -> Result<(), String> {
    let mut dying = Vec::new();
    dying.extend(procfs::kill_exactly(pid.pid, pid.start_ticks));
    let members = session(pid);
    dying
        .extend(members.iter().filter_map(|stat| procfs::kill_exactly(stat.pid, stat.start_ticks)));
    await_deaths(dying)
        .map_err(|()| format!("process {} or one of its session does not die", pid.pid))
}

fn await_deaths(dying: Vec<OwnedFd>) -> Result<(), ()> {
    for descriptor in dying {
        let mut fds = [PollFd::new(&descriptor, PollFlags::IN)];
        if !matches!(poll(&mut fds, Some(&DEATH_DEADLINE)), Ok(1..)) {
            return Err(());
        }
    }
    Ok(())
}

/// Lets the runtime delete the container: its state, its cgroup, and its processes if the pid was not recorded.
fn delete(run: &RunDir, container: &Container, boot_id: BootId) -> Result<(), String> {
    let root = run.file(OCI);
    if !root.join(&container.id).exists() {
        return Ok(());
    }
    // A clean-up may be killed as well; the next one waits for its command. A person's shell that leads a group of its
    // own is refused a session, and then nothing is claimed.
    if setsid().is_ok() {
        claim_session(run, boot_id)?;
    }
    // The same surroundings as in the shim, but no file systems: deleting needs none.
    let surroundings = Container { overlay: None, sub_paths: Vec::new(), ..container.clone() };
    namespace::enter(&surroundings, None)?;
    set_child_subreaper(Some(getpid())).map_err(|errno| format!("no subreaper: {errno}"))?;
    let init = first_process(run);
    let failed = |error| format!("could not open a pipe: {error}");
    let (read, stdout) = output::pipe().map_err(failed)?;
    let handed = Output { stderr: stdout.try_clone().map_err(failed)?, stdout };
    let pid = launch::runtime(container, Verb::Delete, root.as_ref(), "".as_ref(), handed)?;
    let outcome = wait_for(pid);
    let mut said = vec![0; 4096];
    let length = rustix::io::read(&read, &mut said).unwrap_or(0);
    reap::kill_rest();
    if outcome || !root.join(&container.id).exists() {
        // It was killed, and nobody has waited for its end. The number may be another process's by now, which does not
        // end: that is no failure.
        let _ = await_deaths(init.into_iter().collect());
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said[..length]).into_owned();
    Err(format!("the runtime could not delete container {}: {}", container.id, said.trim()))
}

/// The container's first process by the runtime's own record: the shim's may not have been written yet.
fn first_process(run: &RunDir) -> Option<OwnedFd> {
    let text = fs::read_to_string(run.file(OCI_PID)).ok()?;
    let pid = text.trim().parse().ok()?;
    procfs::open_exactly(pid, procfs::stat(pid)?.start_ticks)
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

/// `boot_id`: of the run. A loss in an earlier boot says no more than that the machine was switched off.
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
