//! Waiting for a short-lived program and its output, always with a deadline.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Most bytes of a program's output that are kept; nothing that is asked here has a long answer.
pub(crate) const MAX_OUTPUT_BYTES: u64 = 4096;

/// Waits for a child until the deadline, then ends it. `None` means that it had to be ended.
pub(crate) fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    if let Ok(pidfd) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) {
        if !readable(&pidfd, deadline)? {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        return child.wait().map(Some);
    }
    // Kernels before 5.3 have no descriptor for a process.
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reads an output until all its writers are gone; `None` if they are not by the deadline.
pub(crate) fn read_until_end(
    pipe: &mut PipeReader,
    deadline: Instant,
) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    while readable(&*pipe, deadline)? {
        let read = pipe.read(&mut buffer)?;
        if read == 0 {
            return Ok(Some(bytes));
        }
        if (bytes.len() as u64) < MAX_OUTPUT_BYTES {
            bytes.extend(&buffer[..read]);
        }
    }
    Ok(None)
}

fn readable(fd: impl AsFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_that_does_not_end_is_ended_at_the_deadline() {
        let mut child =
            Command::new("sleep").arg("600").spawn().expect("sleep is part of every system");
        assert_eq!(wait(&mut child, Instant::now()).expect("wait"), None);
        let mut child = Command::new("true").spawn().expect("true is part of every system");
        let status = wait(&mut child, Instant::now() + Duration::from_secs(60)).expect("wait");
        assert!(status.is_some_and(|status| status.success()));
    }
}
