//! Writes lines to `log` and keeps the number and size of the log files bounded.
//!
//! A disk that takes no more bytes costs lines, which are counted; it never blocks or ends the container.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::{Stream, Tag};
use crate::run_dir::LOG;
use crate::spec::LogLimits;

/// Lines are written together once this much has come in, or when the reader has nothing more at hand.
const BATCH: usize = 16 * 1024;

/// The log files of one run.
#[derive(Debug)]
pub(crate) struct LogFiles {
    dir: PathBuf,
    limits: LogLimits,
    current: Option<File>,
    /// Bytes in the current file.
    size: u64,
    batch: Vec<u8>,
    batch_lines: u64,
    pub(crate) dropped_lines: u64,
    pub(crate) written_bytes: u64,
}

impl LogFiles {
    pub(crate) fn new(dir: PathBuf, limits: LogLimits) -> Self {
        Self {
            dir,
            limits,
            current: None,
            size: 0,
            batch: Vec::new(),
            batch_lines: 0,
            dropped_lines: 0,
            written_bytes: 0,
        }
    }

    /// Adds one line. Call [`Self::flush`] when no more is at hand.
    pub(crate) fn line(&mut self, stamp: &str, stream: Stream, tag: Tag, text: &[u8]) {
        let length = (stamp.len() + stream.name().len() + 5 + text.len()) as u64;
        let queued = self.size + self.batch.len() as u64;
        if queued > 0 && queued + length > self.limits.bytes_per_file {
            self.flush();
            self.rotate();
        }
        // Writing to a vector cannot fail.
        let _ = write!(self.batch, "{stamp} {} {} ", stream.name(), tag.letter());
        self.batch.extend_from_slice(text);
        self.batch.push(b'\n');
        self.batch_lines += 1;
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// Writes what has come in. Lines that cannot be written are counted and given up.
    pub(crate) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match self.write_batch() {
            Ok(()) => {
                self.size += self.batch.len() as u64;
                self.written_bytes += self.batch.len() as u64;
            }
            Err(_) => {
                self.dropped_lines += self.batch_lines;
                // Half a line must not stand in the file. If even this fails, open it anew next time.
                let cut = self.current.as_ref().map(|file| file.set_len(self.size));
                if !matches!(cut, Some(Ok(()))) {
                    self.current = None;
                }
            }
        }
        self.batch = Vec::new();
        self.batch_lines = 0;
    }

    fn write_batch(&mut self) -> io::Result<()> {
        if self.current.is_none() {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o640)
                .open(self.dir.join(LOG))?;
            self.size = file.metadata()?.len();
            self.current = Some(file);
        }
        match &mut self.current {
            Some(file) => file.write_all(&self.batch),
            None => Ok(()),
        }
    }

    /// Moves every file one number up; the oldest is replaced. The bound holds even if renaming fails.
    fn rotate(&mut self) {
        let name = |number: u32| match number {
            0 => self.dir.join(LOG),
            number => self.dir.join(format!("{LOG}.{number}")),
        };
        let mut moved = self.limits.files > 1;
        for number in (1..self.limits.files).rev() {
            let result = fs::rename(name(number - 1), name(number));
            if number == 1 {
                moved = result.is_ok();
            }
        }
        if moved {
            self.current = None;
        } else if let Some(file) = &self.current {
            let _ = file.set_len(0);
        }
        self.size = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::MIN_LOG_BYTES;

    fn files(dir: &Path, files: u32) -> LogFiles {
        LogFiles::new(dir.to_owned(), LogLimits { bytes_per_file: MIN_LOG_BYTES, files })
    }

    fn fill(log: &mut LogFiles, lines: usize) {
        for number in 0..lines {
            let text = format!("line {number:08} {}", "x".repeat(80));
            log.line("2024-02-29T00:00:00.000000001Z", Stream::Stdout, Tag::Full, text.as_bytes());
        }
        log.flush();
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_stay_within_their_number_and_size_and_hold_whole_newest_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = files(dir.path(), 3);
        fill(&mut log, 5000);
        assert_eq!(names(dir.path()), ["log", "log.1", "log.2"]);
        let mut all = Vec::new();
        for name in ["log.2", "log.1", "log"] {
            let bytes = fs::read(dir.path().join(name)).expect("readable");
            assert!(bytes.len() as u64 <= MIN_LOG_BYTES, "{name}: {}", bytes.len());
            all.extend(bytes);
        }
        let numbers: Vec<usize> = all
            .split_inclusive(|&b| b == b'\n')
            .map(|line| {
                let text = crate::log::parse(line).expect("a whole line").text;
                core::str::from_utf8(&text[5..13]).expect("digits").parse().expect("a number")
            })
            .collect();
        let expected: Vec<usize> = (5000 - numbers.len()..5000).collect();
        assert_eq!(numbers, expected);
        assert_eq!(log.dropped_lines, 0);
    }

    #[test]
    fn a_single_file_is_emptied_when_it_is_full() {
        let dir = tempfile::tempdir().expect("a directory");
        fill(&mut files(dir.path(), 1), 2000);
        assert_eq!(names(dir.path()), ["log"]);
        assert!(fs::metadata(dir.path().join("log")).expect("a file").len() <= MIN_LOG_BYTES);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_later_ones_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = dir.path().join("missing");
        let mut log = files(&missing, 2);
        fill(&mut log, 7);
        assert_eq!((log.dropped_lines, log.written_bytes), (7, 0));
        fs::create_dir(&missing).expect("a directory");
        fill(&mut log, 1);
        assert_eq!(log.dropped_lines, 7);
        let bytes = fs::read(missing.join("log")).expect("a log");
        assert_eq!(log.written_bytes, bytes.len() as u64);
    }

    #[test]
    fn a_full_disk_leaves_no_torn_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = files(dir.path(), 2);
        log.current = Some(OpenOptions::new().write(true).open("/dev/full").expect("a device"));
        fill(&mut log, 3);
        assert_eq!(log.dropped_lines, 3);
        fill(&mut log, 2);
        assert_eq!(names(dir.path()), ["log"]);
        assert_eq!(log.dropped_lines, 3);
    }
}
