//! The container's output on disk: lines in the CRI log format, in bounded files.
//!
//! `line` cuts bytes into lines, `file` bounds and writes them, `time` prints the time. [`parse`] reads a
//! stored line back, for whoever serves logs.

pub(crate) mod file;
pub(crate) mod line;
pub(crate) mod time;

/// A time in milliseconds since 1970, in UTC, such as `2024-02-29T23:59:59Z`.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    time::seconds(unix_ms / 1000)
}

/// Longest text of one stored line, as container runtimes have it. Longer lines are stored in parts.
pub const MAX_LINE: usize = 16 * 1024;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The word in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Whether a stored line ends where the container's line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The line, or the last part of a long one.
    Full,
    /// A part; the next line of the same stream continues it.
    Partial,
}

impl Tag {
    fn letter(self) -> char {
        match self {
            Self::Full => 'F',
            Self::Partial => 'P',
        }
    }
}

/// One stored line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// RFC 3339 time with nanoseconds, UTC.
    pub time: &'a str,
    /// Where it came from.
    pub stream: Stream,
    /// Whole or part.
    pub tag: Tag,
    /// The container's bytes, without the line feed.
    pub text: &'a [u8],
}

/// Reads one stored line, with or without its line feed. `None` if it is not one.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut fields = line.splitn(4, |&b| b == b' ');
    let time = core::str::from_utf8(fields.next()?).ok()?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let tag = match fields.next()? {
        b"F" => Tag::Full,
        b"P" => Tag::Partial,
        _ => return None,
    };
    Some(Line { time, stream, tag, text: fields.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_line_reads_back() {
        let line = parse(b"2024-02-29T00:00:00.000000001Z stderr P two  words\n");
        let expected = Line {
            time: "2024-02-29T00:00:00.000000001Z",
            stream: Stream::Stderr,
            tag: Tag::Partial,
            text: b"two  words",
        };
        assert_eq!(line, Some(expected));
        assert_eq!(parse(b"t stdout F ").map(|line| line.text), Some(&b""[..]));
    }

    #[test]
    fn anything_else_is_not_a_line() {
        for bytes in
            [&b""[..], b"hello", b"t stdin F x", b"t stdout X x", b"t stdout F", b"\xff a F x"]
        {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }
}
