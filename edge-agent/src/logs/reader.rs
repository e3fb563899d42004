//! Reads the log files that a shim writes, oldest first, and follows them across rotation.
//!
//! A shim writes `log` and renames it to `log.1`, `log.1` to `log.2` and so on when it is full. A reader keeps its
//! file open, so a rename takes nothing from it; at the end of a file it looks which one came after it.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use lichen_shim::log::{self, Tag};

use super::files::{files, newer, oldest};

/// Longest stored line: the text, and a header that is far shorter than this.
const MAX_STORED_LINE: u64 = log::MAX_LINE as u64 + 256;

/// Reads one run's log from its oldest line on.
#[derive(Debug)]
pub struct LogReader {
    dir: PathBuf,
    timestamps: bool,
    file: Option<BufReader<File>>,
    /// What was read of a line whose end is not written yet.
    unfinished: Vec<u8>,
    /// Whether the last line handed out was part of a longer one.
    inside_line: bool,
}

impl LogReader {
    /// Opens the log in a run directory. `tail` skips all but so many lines.
    ///
    /// # Errors
    /// Those of the system. A log that does not exist yet is not an error.
    pub fn open(dir: &Path, tail: Option<u32>, timestamps: bool) -> io::Result<Self> {
        let file = oldest(dir)?;
        let mut reader = Self {
            dir: dir.to_owned(),
            timestamps,
            file: file.map(BufReader::new),
            unfinished: Vec::new(),
            inside_line: false,
        };
        if let Some(tail) = tail {
            reader.skip_to_last(tail)?;
        }
        Ok(reader)
    }

    /// Appends text to `out` until it holds at least `enough` bytes or nothing more is written at present.
    /// Returns whether the end was reached.
    ///
    /// # Errors
    /// Those of the system.
    pub fn read(&mut self, out: &mut Vec<u8>, enough: usize) -> io::Result<bool> {
        while out.len() < enough {
            if !self.next_line()? {
                return Ok(true);
            }
            let line = std::mem::take(&mut self.unfinished);
            self.inside_line = render(&line, self.timestamps, self.inside_line, out);
        }
        Ok(false)
    }

    /// Brings the next stored line into `unfinished`. False if there is none yet.
    fn next_line(&mut self) -> io::Result<bool> {
        loop {
            if self.file.is_none() {
                self.file = oldest(&self.dir)?.map(BufReader::new);
            }
            let Some(file) = &mut self.file else { return Ok(false) };
            if read_line(file, &mut self.unfinished)? {
                return Ok(true);
            }
            // Looked up before the second read: whatever was written before a rotation is read before the next file.
            let next = newer(&self.dir, file.get_ref())?;
            if read_line(file, &mut self.unfinished)? {
                return Ok(true);
            }
            match next {
                Some(next) => {
                    self.file = Some(BufReader::new(next));
                    self.unfinished.clear();
                }
                None => return Ok(false),
            }
        }
    }

    /// Moves to the place from which `tail` lines are left.
    fn skip_to_last(&mut self, tail: u32) -> io::Result<()> {
        let tail = usize::try_from(tail).unwrap_or(usize::MAX);
        let total = self.count_lines()?;
        let mut skip = total.saturating_sub(tail);
        self.file = oldest(&self.dir)?.map(BufReader::new);
        while skip > 0 && self.next_line()? {
            if ends_line(&self.unfinished) {
                skip -= 1;
            }
            self.unfinished.clear();
        }
        Ok(())
    }

    fn count_lines(&mut self) -> io::Result<usize> {
        let mut count = 0;
        while self.next_line()? {
            if ends_line(&self.unfinished) {
                count += 1;
            }
            self.unfinished.clear();
        }
        self.unfinished.clear();
        Ok(count)
    }
}

/// Adds to `line` up to the line feed. True if it is whole. A line that is longer than any that a shim writes is
/// handed out in parts, so that a damaged file costs no memory.
fn read_line(file: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<bool> {
    let room = MAX_STORED_LINE.saturating_sub(line.len() as u64);
    io::Read::take(&mut *file, room).read_until(b'\n', line)?;
    Ok(line.ends_with(b"\n") || line.len() as u64 >= MAX_STORED_LINE)
}

fn ends_line(stored: &[u8]) -> bool {
    log::parse(stored).is_none_or(|line| line.tag == Tag::Full)
}

/// Appends a stored line as people want to see it. Returns whether its end is still to come. What is not a stored
/// line (a damaged file) is shown as it is.
fn render(stored: &[u8], timestamps: bool, inside_line: bool, out: &mut Vec<u8>) -> bool {
    let Some(line) = log::parse(stored) else {
        out.extend_from_slice(stored);
        return false;
    };
    if timestamps && !inside_line {
        out.extend_from_slice(line.time.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(line.text);
    if line.tag == Tag::Full {
        out.push(b'\n');
    }
    line.tag == Tag::Partial
}

/// The last line of a run's log, for messages about how it ended. Empty if there is none.
#[must_use]
pub fn last_line(dir: &Path, max_bytes: usize) -> String {
    let text = tail(dir, 1).unwrap_or_default();
    text[..text.floor_char_boundary(max_bytes)].to_owned()
}

/// The last lines of the newest file of a log, of which as much of the end as fits.
pub fn last_lines(dir: &Path, max_lines: usize, max_bytes: usize) -> String {
    let text = tail(dir, max_lines).unwrap_or_default();
    text[text.ceil_char_boundary(text.len().saturating_sub(max_bytes))..].to_owned()
}

/// Up to so many lines of the end of the newest file.
fn tail(dir: &Path, max_lines: usize) -> io::Result<String> {
    let Some(file) = files(dir).next().transpose()? else { return Ok(String::new()) };
    let mut file = BufReader::new(file);
    let length = file.seek(SeekFrom::End(0))?;
    let begin = file.seek(SeekFrom::Start(length.saturating_sub(2 * MAX_STORED_LINE)))?;
    let mut lines = VecDeque::new();
    let mut line = Vec::new();
    if begin > 0 {
        // Half a line, most likely.
        read_line(&mut file, &mut line)?;
        line.clear();
    }
    while read_line(&mut file, &mut line)? {
        lines.push_back(std::mem::take(&mut line));
        if lines.len() > max_lines {
            lines.pop_front();
        }
    }
    let mut text = Vec::new();
    for line in lines {
        render(&line, false, false, &mut text);
    }
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lichen_shim::run_dir::LOG;
    use proptest::prelude::*;

    use super::*;

    const TIME: &str = "2024-02-29T00:00:00.000000001Z";

    fn stored(tag: char, text: &str) -> String {
        format!("{TIME} stdout {tag} {text}\n")
    }

    fn append(dir: &Path, text: &str) {
        let mut file =
            File::options().append(true).create(true).open(dir.join(LOG)).expect("a file");
        io::Write::write_all(&mut file, text.as_bytes()).expect("writable");
    }

    fn rotate(dir: &Path) {
        let _ = fs::rename(dir.join("log.1"), dir.join("log.2"));
        fs::rename(dir.join(LOG), dir.join("log.1")).expect("renamable");
    }

    fn all(reader: &mut LogReader) -> String {
        let mut out = Vec::new();
        assert!(reader.read(&mut out, usize::MAX).expect("readable"));
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn lines_come_oldest_first_across_files() {
        let dir = tempfile::tempdir().expect("a directory");
        for text in ["one", "two", "three"] {
            append(dir.path(), &stored('F', text));
            if text != "three" {
                rotate(dir.path());
            }
        }
        let mut reader = LogReader::open(dir.path(), None, false).expect("readable");
        assert_eq!(all(&mut reader), "one\ntwo\nthree\n");
        for (tail, expected) in
            [(0, ""), (1, "three\n"), (2, "two\nthree\n"), (9, "one\ntwo\nthree\n")]
        {
            let mut reader = LogReader::open(dir.path(), Some(tail), false).expect("readable");
            assert_eq!(all(&mut reader), expected);
        }
    }

    #[test]
    fn parts_of_a_long_line_are_joined_and_stamped_once() {
        let dir = tempfile::tempdir().expect("a directory");
        append(dir.path(), &(stored('P', "lo") + &stored('F', "ng") + &stored('F', "short")));
        let mut reader = LogReader::open(dir.path(), None, true).expect("readable");
        assert_eq!(all(&mut reader), format!("{TIME} long\n{TIME} short\n"));
        let mut reader = LogReader::open(dir.path(), Some(2), false).expect("readable");
        assert_eq!(all(&mut reader), "long\nshort\n");
    }

    #[test]
    fn a_follower_misses_nothing_when_the_log_rotates() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut reader = LogReader::open(dir.path(), None, false).expect("no log yet");
        assert_eq!(all(&mut reader), "");
        append(dir.path(), &stored('F', "one"));
        assert_eq!(all(&mut reader), "one\n");
        append(dir.path(), &stored('F', "two"));
        rotate(dir.path());
        append(dir.path(), &stored('F', "three"));
        rotate(dir.path());
        append(dir.path(), &stored('F', "four"));
        assert_eq!(all(&mut reader), "two\nthree\nfour\n");
    }

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        let dir = tempfile::tempdir().expect("a directory");
        let line = stored('F', "whole");
        append(dir.path(), &line[..20]);
        let mut reader = LogReader::open(dir.path(), None, false).expect("readable");
        assert_eq!(all(&mut reader), "");
        append(dir.path(), &line[20..]);
        assert_eq!(all(&mut reader), "whole\n");
    }

    #[test]
    fn the_last_line_tells_how_it_ended() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(last_line(dir.path(), 100), "");
        append(dir.path(), &(stored('F', "fine") + &stored('F', "trap: unreachable")));
        assert_eq!(last_line(dir.path(), 100), "trap: unreachable");
        assert_eq!(last_line(dir.path(), 4), "trap");
    }

    proptest! {
        #[test]
        fn a_damaged_log_is_shown_and_never_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            tail in proptest::option::of(0_u32..20),
        ) {
            let dir = tempfile::tempdir().expect("a directory");
            fs::write(dir.path().join(LOG), &bytes).expect("writable");
            let mut reader = LogReader::open(dir.path(), tail, true).expect("readable");
            let mut out = Vec::new();
            prop_assert!(reader.read(&mut out, usize::MAX).expect("readable"));
        }

        #[test]
        fn a_tail_is_the_end_of_the_whole(lines in proptest::collection::vec("[a-z]{0,5}", 0..30), tail in 0_u32..40) {
            let dir = tempfile::tempdir().expect("a directory");
            for (number, line) in lines.iter().enumerate() {
                append(dir.path(), &stored('F', line));
                if number % 7 == 6 && number < 14 {
                    rotate(dir.path());
                }
            }
            let whole = all(&mut LogReader::open(dir.path(), None, false).expect("readable"));
            let end = all(&mut LogReader::open(dir.path(), Some(tail), false).expect("readable"));
            prop_assert!(whole.ends_with(&end));
            prop_assert_eq!(end.lines().count(), lines.len().min(tail as usize));
        }
    }
}
