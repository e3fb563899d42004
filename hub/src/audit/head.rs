//! What is kept apart from the lines: which entry is the oldest that there should be, and which is the newest, each with a
//! hash. It is written in place, in less than a sector, after the lines that it speaks of are on the disk: it may be
//! behind them after a loss of power, and never ahead.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{LineHash, is_number};

/// The file's name, beside the log's directory.
pub const FILE: &str = "audit.newest";
/// Bytes of the file, whatever it says: a disk writes a sector whole or not at all.
const BYTES: usize = 512;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The oldest entry that is kept.
    pub first: u64,
    /// The hash of the one before it.
    pub before_first: LineHash,
    /// The newest entry; 0 if there is none yet.
    pub newest: u64,
    /// Its hash.
    pub hash: LineHash,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    first: u64,
    before_first: String,
    newest: u64,
    hash: String,
}

impl Default for Head {
    /// Of a log without entries.
    fn default() -> Self {
        let none = LineHash::default();
        Self { first: 1, before_first: none, newest: 0, hash: none }
    }
}

/// Where the head of a log is kept.
#[must_use]
pub fn path_of(dir: &Path) -> PathBuf {
    dir.parent().map(|state| state.join(FILE)).unwrap_or_else(|| PathBuf::from(FILE))
}

/// What a head's file says: nothing if there is no such file, and no head if it makes no sense.
///
/// # Errors
/// It can't be read.
pub fn read(path: &Path) -> io::Result<Option<Option<Head>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(parse(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(bytes: &[u8]) -> Option<Head> {
    let text: Text = serde_json::from_slice(bytes.get(..BYTES)?).ok()?;
    let head = Head {
        first: text.first,
        before_first: LineHash::parse(&text.before_first)?,
        newest: text.newest,
        hash: LineHash::parse(&text.hash)?,
    };
    let sound = is_number(head.first) && (head.newest == 0 || is_number(head.newest));
    (sound && head.first - 1 <= head.newest).then_some(head)
}

/// A head's file, open for writing.
#[derive(Debug)]
pub(super) struct HeadFile(File);

impl HeadFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        Ok(Self(options.write(true).create(true).truncate(false).mode(0o600).open(path)?))
    }

    /// Durably.
    pub(super) fn write(&self, head: &Head) -> io::Result<()> {
        let text = Text {
            first: head.first,
            before_first: head.before_first.to_string(),
            newest: head.newest,
            hash: head.hash.to_string(),
        };
        let mut bytes = serde_json::to_vec(&text)?;
        bytes.resize(BYTES - 1, b' ');
        bytes.push(b'\n');
        self.0.write_all_at(&bytes, 0)?;
        self.0.sync_data()
    }
}
