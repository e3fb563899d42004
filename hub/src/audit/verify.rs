//! Checks a log: that every line follows from the one before, from the oldest that should be there to the newest one that
//! is known of.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Entry, LineHash, files,
    head::{self, Head},
    lines::{self, Line},
    name_of,
};

/// Faults that are told one by one; of others only the number.
const MAX_FAULTS: usize = 100;
/// How often it is begun anew if the oldest file is deleted under way.
const ATTEMPTS: usize = 3;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Files that were read.
    pub files: u64,
    /// Entries that were read.
    pub entries: u64,
    /// The oldest entry; 0 if there is none.
    pub oldest: u64,
    /// The newest one.
    pub newest: u64,
    /// Its hash: whoever keeps it can tell later that nothing until then was changed.
    pub newest_hash: String,
    /// Whether it is known which entry should be the newest. Without it, what was cut off at the end is not found.
    pub has_head: bool,
    /// What is not as it was written.
    pub faults: Vec<Fault>,
    /// How many more such places there are.
    pub more_faults: u64,
}

/// A place where a log is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// In which file.
    pub file: String,
    /// In which line, from 1.
    pub line: u64,
    /// What was done.
    pub kind: FaultKind,
    /// What it shows by.
    pub message: String,
}

/// What was done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// An entry says something else.
    Changed,
    /// Entries were taken out.
    Missing,
    /// Entries are in another order, or there twice.
    Reordered,
    /// Entries were taken away at the end.
    Cut,
    /// It is no entry.
    Unreadable,
}

impl Report {
    /// Whether all is as it was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Reordered => "reordered",
            Self::Cut => "cut",
            Self::Unreadable => "unreadable",
        })
    }
}

/// Checks the log in a directory, which may be written meanwhile.
///
/// # Errors
/// It can't be read.
pub fn verify(dir: &Path) -> io::Result<Report> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match verify_once(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS => {}
            checked => return checked,
        }
    }
}

fn verify_once(dir: &Path) -> io::Result<Report> {
    let list = files(dir)?;
    // Opened before the head is read, which says that a file is gone before it goes.
    let oldest = list.first().map(|(_, path)| File::open(path)).transpose()?;
    let known = head::read(&head::path_of(dir))?;
    if files(dir)?.last() != list.last() {
        // Another file was begun in between, of which the head may speak.
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut check = Check { head: known.flatten(), ..Check::default() };
    check.report.has_head = check.head.is_some();
    let mut files = list.iter().map(|(_, path)| path);
    if let (Some(file), Some(path)) = (oldest, files.next()) {
        check.file(path, file, list.len() == 1)?;
    }
    for path in files {
        let is_last = list.last().is_some_and(|(_, last)| last == path);
        check.file(path, File::open(path)?, is_last)?;
    }
    if let (None, Some(_)) = (check.head, known) {
        let message = "it can't be read: what was cut off at the end is not found".to_owned();
        check.fault_in(head::FILE.to_owned(), 1, FaultKind::Unreadable, message);
    }
    check.end();
    Ok(check.report)
}

#[derive(Default)]
struct Check {
    head: Option<Head>,
    report: Report,
    before: Before,
    /// The file of the line that is checked, and its number.
    file: PathBuf,
    line: u64,
}

/// What the next line has to follow.
#[derive(Clone, Debug, Default)]
enum Before {
    /// Nothing: it is the first one.
    #[default]
    Nothing,
    /// Something that says nothing of itself.
    Unknown,
    /// An entry, and where it is.
    Entry { sequence: u64, hash: LineHash, file: String, line: u64 },
}

impl Check {
    fn file(&mut self, path: &Path, file: File, is_last: bool) -> io::Result<()> {
        (self.file, self.line) = (path.to_owned(), 0);
        self.report.files += 1;
        let mut input = BufReader::with_capacity(64 << 10, file);
        while let Some((line, _)) = lines::next(&mut input)? {
            self.line += 1;
            match line {
                Line::Whole(line) => match Entry::parse(&line) {
                    Some((entry, previous)) => self.entry(&entry, previous, LineHash::of(&line)),
                    None => self.unreadable("it is no entry"),
                },
                Line::TooLong => self.unreadable("it is longer than an entry can be"),
                // It is being written; or the next start of the hub cuts it off, and says so.
                Line::Torn(_) if is_last => {}
                Line::Torn(_) => self.unreadable("the file ends within it"),
            }
        }
        Ok(())
    }

    fn unreadable(&mut self, why: &str) {
        self.fault(FaultKind::Unreadable, why.to_owned());
        self.before = Before::Unknown;
    }

    fn entry(&mut self, entry: &Entry, previous: LineHash, hash: LineHash) {
        let sequence = entry.sequence;
        match self.before.clone() {
            Before::Nothing => self.first(sequence, previous),
            Before::Unknown => {}
            Before::Entry { sequence: before, hash, file, line } => {
                if sequence <= before {
                    let message = format!("entry {sequence} comes after entry {before}");
                    self.fault(FaultKind::Reordered, message);
                } else if sequence > before + 1 {
                    self.missing(before + 1, sequence - 1);
                } else if previous != hash {
                    let message =
                        format!("entry {before} is not the one that entry {sequence} follows");
                    self.fault_in(file, line, FaultKind::Changed, message);
                }
            }
        }
        if let Some(head) = self.head.filter(|head| head.newest == sequence && head.hash != hash) {
            let message = format!("entry {} is not the one that {} knows", head.newest, head::FILE);
            self.fault(FaultKind::Changed, message);
        }
        if self.report.entries == 0 {
            self.report.oldest = sequence;
        }
        self.report.entries += 1;
        let (file, line) = (name_of(&self.file), self.line);
        self.before = Before::Entry { sequence, hash, file, line };
    }

    /// The oldest entry: the ones before it have been deleted, as far as is known.
    fn first(&mut self, sequence: u64, previous: LineHash) {
        let known = self.head.unwrap_or(Head { first: sequence, ..Head::default() });
        if sequence > known.first {
            self.missing(known.first, sequence - 1);
        } else if sequence == known.first && (self.head.is_some() || sequence == 1) {
            let expected = if sequence == 1 { LineHash::default() } else { known.before_first };
            if previous != expected {
                let message = format!("entry {sequence} does not follow what was before it");
                self.fault(FaultKind::Changed, message);
            }
        }
    }

    fn missing(&mut self, from: u64, to: u64) {
        let message = match from == to {
            true => format!("entry {from} is not there"),
            false => format!("entries {from} to {to} are not there"),
        };
        self.fault(FaultKind::Missing, message);
    }

    fn end(&mut self) {
        let last = match self.before {
            Before::Entry { sequence, hash, .. } => {
                (self.report.newest, self.report.newest_hash) = (sequence, hash.to_string());
                sequence
            }
            Before::Nothing => 0,
            // A fault was told where it ends.
            Before::Unknown => return,
        };
        if let Some(head) = self.head.filter(|head| head.newest > last) {
            let message = match last {
                0 => format!("there is no entry, and there should be all until {}", head.newest),
                _ => format!("the log ends with entry {last}, and should end with {}", head.newest),
            };
            self.fault(FaultKind::Cut, message);
        }
    }

    fn fault(&mut self, kind: FaultKind, message: String) {
        self.fault_in(name_of(&self.file), self.line, kind, message);
    }

    fn fault_in(&mut self, file: String, line: u64, kind: FaultKind, message: String) {
        let told = self.report.faults.last();
        // Both the entry after it and the head may know of one fault.
        if told.is_some_and(|told| (&told.file, told.line, told.kind) == (&file, line, kind)) {
            return;
        }
        match self.report.faults.len() < MAX_FAULTS {
            true => self.report.faults.push(Fault { file, line, kind, message }),
            false => self.report.more_faults += 1,
        }
    }
}
