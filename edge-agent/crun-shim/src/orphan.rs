//! A container that outlived its shim, for whoever wants to end it gently before [`crate::clean_up`] kills it.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use crate::adopt::AdoptError;
use crate::procfs;
use crate::run_dir::{RecordError, RunDir};

/// The first process of a container whose shim is gone.
#[derive(Debug)]
pub struct Orphan {
    process: OwnedFd,
}

impl Orphan {
    /// Looks for the process of a run. `None` if a shim lives, or nothing of the run does. A process that its shim
    /// had not recorded yet is not found; [`crate::clean_up`] ends that one, too.
    ///
    /// # Errors
    /// The run directory's.
    pub fn find(run_dir: &Path) -> Result<Option<Self>, AdoptError> {
        let run = RunDir::open(run_dir)?;
        if !run.try_lock()? {
            return Ok(None);
        }
        run.unlock();
        let boot_id = procfs::boot_id().map_err(|source| RecordError::Io {
            action: "read",
            path: "/proc/sys/kernel/random/boot_id".into(),
            source,
        })?;
        // A damaged record comes from a power loss, after which nothing lives.
        let pid = run.pid().ok().flatten().filter(|pid| pid.boot_id == boot_id);
        let process = pid.and_then(|pid| procfs::open_exactly(pid.pid, pid.start_ticks));
        Ok(process.map(|process| Self { process }))
    }

    /// Sends a signal. One that has just ended takes none, which is what was wanted.
    pub fn signal(&self, signal: i32) {
        if let Some(signal) = Signal::from_named_raw(signal) {
            let _ = pidfd_send_signal(&self.process, signal);
        }
    }

    /// Whether it has ended. Does not block.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.process, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
    }
}
