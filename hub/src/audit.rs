//! The audit log: who did or tried what, from where, and how it ended; append-only, and chained so that what was altered,
//! taken out or cut off is found.
//!
//! It is a directory of files of lines, each line one [`Entry`] as JSON. An entry carries the SHA-256 of the whole line
//! before it, over the files' borders, so nothing can be changed without changing all that comes after; and the place and
//! hash of the newest line are kept apart from the lines ([`head`]), so that those can't be cut off at the end either.
//! The oldest file is deleted when there are too many; the first line that is left still says what came before it.
//!
//! Whoever can write all of the hub's state can write another log and its head. What they can't do is make it fit to a
//! hash of before that somebody else has: `lichen audit --verify` prints one.
//!
//! - [`log`] writes; [`lines`] and [`read`] read; [`verify`] checks. All of them do IO and none has a thread.
//! - [`logbook`] makes entries of what devices have noted themselves.
//! - [`filter`] says which entries somebody wants to see.
//!
//! The hub's own end, with its queue and its thread, is `server/audit.rs`; the command `cli/audit.rs`.

pub mod entry;
pub mod filter;
pub mod head;
pub mod lines;
pub mod log;
pub mod logbook;
pub mod read;
pub mod verify;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

pub use entry::Entry;

/// The directory's name in the hub's state.
pub const DIR: &str = "audit";
/// How a file's name begins and ends; between is the sequence number of its first entry.
const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";
/// Digits of that number, so that names sort as numbers do: as many as a u64 has.
const DIGITS: usize = 20;
/// Bytes of a line. The longest that the hub writes is a fifth of it.
pub const MAX_LINE_BYTES: usize = 32 << 10;

/// The SHA-256 of a line, without its end; or of none, which is all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineHash(pub [u8; 32]);

impl LineHash {
    /// Of a line's bytes without the end of the line.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }

    /// From 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut hash = [0; 32];
        if bytes.len() != 64 {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
            let digit = |at: u8| char::from(at).to_digit(16).filter(|_| !at.is_ascii_uppercase());
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
        }
        Some(Self(hash))
    }
}

impl std::fmt::Display for LineHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether it can be an entry's: a log that is ten thousand entries further every second does not come to the end of them.
fn is_number(sequence: u64) -> bool {
    (1..1 << 53).contains(&sequence)
}

/// Where the file is whose first entry has a number.
fn file_of(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{first:0DIGITS$}{SUFFIX}"))
}

/// The files of a log, oldest first: the number of the first entry, and the path. What has another name is none of them.
///
/// # Errors
/// The directory can't be read.
pub fn files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
        let number = number.filter(|digits| digits.len() == DIGITS);
        let first = number.and_then(|digits| digits.parse().ok());
        if let Some(first) = first.filter(|first| is_number(*first)) {
            files.push((first, path));
        }
    }
    files.sort();
    Ok(files)
}

/// The name of a log's file, as it is told.
fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
