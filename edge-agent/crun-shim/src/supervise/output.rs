//! The container's two output pipes and the log that they flow into.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::launch::Output;
use crate::log::Stream;
use crate::log::file::LogFiles;
use crate::log::line::Splitter;
use crate::log::time::stamp;
use crate::spec::LogLimits;

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// Reads of one pipe when the run ends: what a full pipe of the largest size for users holds. The writers are
/// dead by then; this bounds the case of one that could not be killed.
const LAST_READS: usize = 64;

/// Both pipes and the log.
pub(crate) struct Outputs {
    pub(crate) log: LogFiles,
    pub(crate) stdout: Pipe,
    pub(crate) stderr: Pipe,
}

/// The reading end of one pipe.
pub(crate) struct Pipe {
    stream: Stream,
    fd: Option<OwnedFd>,
    splitter: Splitter,
}

impl Outputs {
    pub(crate) fn new(dir: PathBuf, limits: LogLimits) -> Self {
        Self {
            log: LogFiles::new(dir, limits),
            stdout: Pipe::new(Stream::Stdout),
            stderr: Pipe::new(Stream::Stderr),
        }
    }

    /// Opens both pipes and returns the ends for the container.
    pub(crate) fn open(&mut self) -> io::Result<Output> {
        let (stdout_read, stdout) = pipe()?;
        let (stderr_read, stderr) = pipe()?;
        self.stdout.fd = Some(stdout_read);
        self.stderr.fd = Some(stderr_read);
        Ok(Output { stdout, stderr })
    }

    /// Takes one chunk of standard output.
    pub(crate) fn read_stdout(&mut self) {
        self.stdout.read(&mut self.log, |_| {});
        self.log.flush();
    }

    /// Takes one chunk of standard error and shows it to `overhear` as well.
    pub(crate) fn read_stderr(&mut self, overhear: impl FnMut(&[u8])) {
        self.stderr.read(&mut self.log, overhear);
        self.log.flush();
    }

    /// Takes everything that is left and closes the pipes.
    pub(crate) fn finish(&mut self) {
        for pipe in [&mut self.stdout, &mut self.stderr] {
            for _ in 0..LAST_READS {
                if !pipe.read(&mut self.log, |_| {}) {
                    break;
                }
            }
            pipe.close(&mut self.log);
        }
        self.log.flush();
    }
}

impl Pipe {
    fn new(stream: Stream) -> Self {
        Self { stream, fd: None, splitter: Splitter::default() }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Reads one chunk into the log. False when nothing was there.
    fn read(&mut self, log: &mut LogFiles, mut overhear: impl FnMut(&[u8])) -> bool {
        let Some(fd) = &self.fd else { return false };
        let mut bytes = [0; CHUNK];
        match rustix::io::read(fd, &mut bytes) {
            Ok(0) => {
                self.close(log);
                false
            }
            Ok(length) => {
                overhear(&bytes[..length]);
                let stamp = stamp();
                let stream = self.stream;
                self.splitter.feed(&bytes[..length], |tag, text| {
                    log.line(&stamp, stream, tag, text);
                });
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Err(_) => {
                self.close(log);
                false
            }
        }
    }

    fn close(&mut self, log: &mut LogFiles) {
        self.fd = None;
        let stream = self.stream;
        self.splitter.finish(|tag, text| log.line(&stamp(), stream, tag, text));
    }
}

/// A pipe whose reading end never blocks the shim. The writing end blocks as programs expect.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
    Ok((read, write))
}
