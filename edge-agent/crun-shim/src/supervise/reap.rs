//! Children and what is left of them.
//!
//! The shim is a subreaper: every descendant whose parent ends becomes its child. So after the container's
//! first process has ended, killing children until there are none leaves nothing, however it was daemonised.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait,
};

use crate::procfs;
use crate::state::Outcome;

/// How long killed descendants are waited for. Only a process stuck in the kernel takes longer.
const REST_DEADLINE: Duration = Duration::from_secs(5);

/// How often the children are looked at while they die; SIGKILL takes effect within this.
const REST_INTERVAL: Duration = Duration::from_millis(2);

/// Calls `ended` for every child that has ended.
pub(crate) fn reap(mut ended: impl FnMut(Pid, Outcome)) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if let Some(outcome) = outcome(status) {
            ended(pid, outcome);
        }
    }
}

/// Kills and reaps every descendant, as far as the kernel lets them go.
pub(crate) fn kill_rest() {
    let deadline = Instant::now() + REST_DEADLINE;
    let me = getpid().as_raw_pid();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => continue,
            Ok(None) => {}
            Err(_) => return,
        }
        for stat in procfs::all().iter().filter(|stat| stat.parent == me && stat.is_alive()) {
            signal(stat.pid, Signal::KILL);
        }
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(REST_INTERVAL);
    }
}

/// Signals a child. A child that was not reaped yet keeps its pid, so this cannot hit another process.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended already; the loop learns that from its status.
        let _ = kill_process(pid, signal);
    }
}

/// Kills a child and the process group that it leads.
pub(crate) fn kill_group(pid: i32) {
    if let Some(group) = Pid::from_raw(pid) {
        // There is no such group if the child leads none.
        let _ = kill_process_group(group, Signal::KILL);
    }
    signal(pid, Signal::KILL);
}

fn outcome(status: WaitStatus) -> Option<Outcome> {
    status
        .exit_status()
        .map(Outcome::Code)
        .or_else(|| status.terminating_signal().map(Outcome::Signal))
}
