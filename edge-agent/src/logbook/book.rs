//! The files of the logbook, in `logbook/` of the state directory:
//!
//! | file | content |
//! |---|---|
//! | `records` | the newest lines |
//! | `records.before` | those before them |
//! | `kept` | the last record that the hub has, as it said so |
//!
//! When `records` has [`FILE_BYTES`], it takes the place of `records.before`, whose lines are gone then, whether the hub has
//! them or not: the numbers of those that are left say how many. Half a line, as a loss of power leaves it, is cut off.
//! What does not fit together is put aside and another logbook begun, which the hub notices by its id.

use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use firmware_compat::{
    id::{BootId, PodId},
    logbook::{HASH, Handover, Kept, LINE, LINES, MAX_SEQUENCE, Record, Text},
    time::UnixMs,
};
use sha2::{Digest, Sha256};

use crate::state::{Written, sync_dir_of};

/// Bytes of each of the two files: together some thousand records.
pub const FILE_BYTES: u64 = 128 * 1024;
/// Bytes that are read of a file: one is never longer by more than what is noted at once.
const MAX_FILE_BYTES: u64 = 4 * FILE_BYTES;
/// Bytes of what the hub has said.
const MAX_KEPT_BYTES: u64 = 4096;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// By the device's clock.
    pub at_ms: UnixMs,
    /// By what the hub has told.
    pub known_ms: UnixMs,
    /// The Pod that it is about.
    pub pod: Option<PodId>,
    /// CamelCase.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// The logbook.
#[derive(Debug)]
pub struct Book {
    dir: PathBuf,
    boot: BootId,
    written: Written,
    log: String,
    /// The newest record: its number, and the hash of its line.
    newest: (u64, String),
    bytes: u64,
    /// The last record that the hub has.
    kept: u64,
}

impl Book {
    /// Opens the logbook of a state directory, or begins one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(state: &Path, boot: BootId, written: Written) -> io::Result<Self> {
        let dir = state.join("logbook");
        fs::create_dir_all(&dir)?;
        let mut book =
            Self { dir, boot, written, log: String::new(), newest: none(), bytes: 0, kept: 0 };
        let lines = book.lines()?;
        let chain = match lines.is_empty() {
            // The newer file is empty just after the older one was full.
            true => None,
            false => chain_of(&lines),
        };
        match chain {
            Some((log, newest)) => {
                (book.log, book.newest) = (log, newest);
                book.bytes = book.cut_half_line()?;
                book.kept = book.read_kept();
            }
            None => book.begin()?,
        }
        Ok(book)
    }

    /// Begins another one. What does not fit together stays beside it, for whoever wants to know.
    fn begin(&mut self) -> io::Result<()> {
        for name in ["records", "records.before"] {
            let path = self.dir.join(name);
            if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
                tracing::warn!(path = %path.display(), "the logbook is damaged; another one is begun");
                fs::rename(&path, self.dir.join(format!("{name}.damaged")))?;
            }
        }
        let id: [u8; 8] = crate::random::bytes();
        self.log = hex(&id);
        (self.newest, self.bytes, self.kept) = (none(), 0, 0);
        Ok(())
    }

    /// Notes things, durably. What can't be written is not noted.
    ///
    /// # Errors
    /// Those of the system.
    pub fn note(&mut self, happened: &[Happened]) -> io::Result<()> {
        if self.bytes >= FILE_BYTES {
            fs::rename(self.dir.join("records"), self.dir.join("records.before"))?;
            self.bytes = 0;
        }
        let mut newest = self.newest.clone();
        let mut text = Vec::new();
        for happened in happened {
            let line = self.line(happened, &newest);
            newest = (newest.0 + 1, hash(&line));
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        let path = self.dir.join("records");
        let is_new = self.bytes == 0;
        let mut file = File::options().append(true).create(true).mode(0o600).open(&path)?;
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Half of it is of no use. If that can't be cut off either, the next start does.
            file.set_len(self.bytes)?;
            return Err(error);
        }
        if is_new {
            sync_dir_of(&path).map_err(io::Error::other)?;
        }
        self.written.add(text.len() as u64);
        (self.newest, self.bytes) = (newest, self.bytes + text.len() as u64);
        Ok(())
    }

    fn line(&self, happened: &Happened, newest: &(u64, String)) -> Vec<u8> {
        let record = Record {
            log: Text::cut(&self.log),
            sequence: newest.0 + 1,
            at_ms: happened.at_ms,
            known_ms: happened.known_ms,
            boot: self.boot,
            pod: happened.pod,
            reason: Text::cut(&happened.reason),
            message: Text::cut(&plain(&happened.message)),
            previous: Text::cut(&newest.1),
        };
        serde_json::to_vec(&record).expect("texts and numbers encode")
    }

    /// Whether there is something that the hub does not have.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.newest.0 > self.kept
    }

    /// The first of what the hub does not have.
    ///
    /// # Errors
    /// Those of the system.
    pub fn handover(&self) -> io::Result<Handover> {
        let lines = self.lines()?;
        let is_new = |line: &&Vec<u8>| read(line).is_some_and(|record| record.sequence > self.kept);
        let text = |line: &Vec<u8>| Text::try_from(String::from_utf8_lossy(line).into_owned()).ok();
        let new: Vec<Text<LINE>> =
            lines.iter().filter(is_new).take(LINES).filter_map(text).collect();
        Ok(Handover { lines: new.try_into().unwrap_or_default() })
    }

    /// The hub says what it has. If that is more than this logbook, or something else, this is not the one that the hub
    /// knows, and another one is begun.
    ///
    /// # Errors
    /// Those of the system.
    pub fn is_kept(&mut self, kept: &Kept) -> io::Result<()> {
        let is_ours = kept.log.as_str() == self.log && kept.sequence <= self.newest.0;
        let is_same = kept.sequence != self.newest.0 || kept.hash.as_str() == self.newest.1;
        if !is_ours || !is_same {
            return self.begin();
        }
        if kept.sequence <= self.kept {
            return Err(io::Error::other("the hub has not taken what it was handed"));
        }
        self.kept = kept.sequence;
        let json = serde_json::to_vec(kept).expect("texts and numbers encode");
        self.written.replace_private(&self.dir.join("kept"), &json).map_err(io::Error::other)
    }

    /// Whole lines of both files, oldest first.
    fn lines(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        for name in ["records.before", "records"] {
            let bytes = read_file(&self.dir.join(name), MAX_FILE_BYTES)?;
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let split = bytes[..whole].split(|byte| *byte == b'\n');
            lines.extend(split.filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
        }
        Ok(lines)
    }

    /// How many bytes of the newer file are whole lines, when the rest is gone.
    fn cut_half_line(&self) -> io::Result<u64> {
        let path = self.dir.join("records");
        let bytes = read_file(&path, MAX_FILE_BYTES)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1) as u64;
        if whole < bytes.len() as u64 {
            let file = File::options().write(true).open(&path)?;
            file.set_len(whole)?;
            file.sync_data()?;
        }
        Ok(whole)
    }

    /// What is not known is handed over again: the hub knows what it has.
    fn read_kept(&self) -> u64 {
        let bytes = read_file(&self.dir.join("kept"), MAX_KEPT_BYTES).unwrap_or_default();
        let kept = serde_json::from_slice::<Kept>(&bytes).ok();
        let ours = kept.filter(|kept| kept.log.as_str() == self.log);
        ours.map_or(0, |kept| kept.sequence.min(self.newest.0))
    }
}

/// Before the first record.
fn none() -> (u64, String) {
    (0, "0".repeat(HASH))
}

/// The logbook that these lines are of, and its newest record; none if they are not one chain.
fn chain_of(lines: &[Vec<u8>]) -> Option<(String, (u64, String))> {
    let mut chain: Option<(String, (u64, String))> = None;
    for line in lines {
        let record = read(line)?;
        if let Some((log, (sequence, hash))) = &chain {
            let follows = record.sequence == sequence + 1 && record.previous.as_str() == hash;
            if !follows || record.log.as_str() != log {
                return None;
            }
        }
        chain = Some((record.log.as_str().to_owned(), (record.sequence, hash(line))));
    }
    chain
}

fn read(line: &[u8]) -> Option<Record> {
    let record: Record = serde_json::from_slice(line).ok()?;
    (1..MAX_SEQUENCE).contains(&record.sequence).then_some(record)
}

/// Without what JSON would write in six characters: a line has a bound.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn hash(line: &[u8]) -> String {
    hex(&Sha256::digest(line))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(most).read_to_end(&mut bytes).map(|_| bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(bytes),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
