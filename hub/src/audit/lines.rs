//! The lines of a file as they come, whatever is in it: no line is longer in memory than it may be.

use std::io::{self, BufRead, Read};

use super::MAX_LINE_BYTES;

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, without its end.
    Whole(Vec<u8>),
    /// A line that is longer than any of the log's.
    TooLong,
    /// So many bytes at the end of the file that are not the whole of a line.
    Torn(u64),
}

/// The next line, and how many bytes it takes with its end.
///
/// # Errors
/// The file can't be read.
pub fn next(input: &mut impl BufRead) -> io::Result<Option<(Line, u64)>> {
    let mut line = Vec::new();
    let limit = MAX_LINE_BYTES as u64 + 1;
    input.by_ref().take(limit).read_until(b'\n', &mut line)?;
    let mut bytes = line.len() as u64;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some((Line::Whole(line), bytes)));
    }
    if bytes < limit {
        return Ok(Some((Line::Torn(bytes), bytes)));
    }
    let (skipped, ended) = skip(input)?;
    bytes += skipped;
    Ok(Some((if ended { Line::TooLong } else { Line::Torn(bytes) }, bytes)))
}

/// Goes on behind the end of the line; whether there was one.
fn skip(input: &mut impl BufRead) -> io::Result<(u64, bool)> {
    let mut bytes = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok((bytes, false));
        }
        let (used, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        input.consume(used);
        bytes += used as u64;
        if ended {
            return Ok((bytes, true));
        }
    }
}
