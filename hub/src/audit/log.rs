//! The writing end of a log. A batch of entries is on the disk when [`Log::append`] returns, or the log is as it was
//! before, and the same batch can be tried again.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, BufReader, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    DIR, Entry, LineHash, MAX_LINE_BYTES, file_of, files,
    head::{self, Head, HeadFile},
    lines::{self, Line},
    name_of,
};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A file is followed by another one when it has so many bytes.
    pub file_bytes: u64,
    /// Files, with the one that is written. The oldest one goes when there would be more.
    pub files: usize,
}

impl Default for Limits {
    /// 64 MiB: some 200,000 entries.
    fn default() -> Self {
        Self { file_bytes: 4 << 20, files: 16 }
    }
}

/// What was done with a log, and failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {what} {}", path.display())]
pub struct LogError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl LogError {
    fn new(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { what, path: path.to_owned(), source }
    }
}

/// A log that is written. There is one in a state directory, whose lock its owner has.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    limits: Limits,
    head: Head,
    head_file: HeadFile,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    /// What is whole and on the disk.
    bytes: u64,
    /// There may be more in the file than that.
    is_torn: bool,
}

impl Log {
    /// Opens the log of a state directory, or begins one. With it come sentences about what is not as it was left: they
    /// should be its next entries. The chain goes on from what is known to have been the newest entry, so that what is
    /// missing before stays visible.
    ///
    /// # Errors
    /// The directory can't be used.
    pub fn open(state: &Path, limits: Limits) -> Result<(Self, Vec<String>), LogError> {
        let dir = state.join(DIR);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(LogError::new("create the directory", &dir))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))
            .map_err(LogError::new("close to others the directory", &dir))?;
        let mut found = Vec::new();
        let mut list = files(&dir).map_err(LogError::new("list", &dir))?;
        let mut newest = None;
        while let Some((_, path)) = list.last() {
            let (entry, bytes) = end_of(path, &mut found)?;
            if bytes > 0 {
                newest = entry;
                break;
            }
            // It was begun, and no more.
            fs::remove_file(path).map_err(LogError::new("remove", path))?;
            list.pop();
        }
        let path = head::path_of(&dir);
        let known = head::read(&path).map_err(LogError::new("read", &path))?;
        let head_file = HeadFile::open(&path).map_err(LogError::new("open", &path))?;
        let head = carry_on(known, &list, newest.as_ref(), &mut found);
        let current = match (list.last(), newest) {
            // What can't be read is not written behind.
            (Some((_, path)), Some(newest)) => {
                let file = open(path).map_err(LogError::new("open", path))?;
                Some(Current { file, path: path.clone(), bytes: newest.bytes, is_torn: false })
            }
            _ => None,
        };
        Ok((Self { dir, limits, head, head_file, current }, found))
    }

    /// The place of the newest entry, and its hash.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Adds entries, durably and all or none.
    ///
    /// # Errors
    /// The disk refuses. The log is as it was.
    pub fn append(&mut self, entries: &mut [Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.make_room()?;
        let mut head = self.head;
        let mut bytes = Vec::new();
        for entry in entries {
            head.newest += 1;
            let line = entry.line(head.newest, head.hash);
            head.hash = LineHash::of(&line);
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
        }
        let Some(current) = &mut self.current else { return Err(io::ErrorKind::NotFound.into()) };
        current.append(&bytes)?;
        // The lines are there: from here on they count, and a head that is behind is only less than there could be.
        self.head = head;
        if let Err(error) = self.head_file.write(&head) {
            tracing::warn!(%error, "could not write {}; it is behind the audit log", head::FILE);
        }
        Ok(())
    }

    /// Begins another file if it is time, and deletes the oldest ones.
    fn make_room(&mut self) -> io::Result<()> {
        if self.current.as_ref().is_some_and(|current| current.bytes < self.limits.file_bytes) {
            return Ok(());
        }
        let mut path = file_of(&self.dir, self.head.newest + 1);
        // Whatever has the name is left as it is: the number that is left out shows in the chain.
        while fs::metadata(&path).is_ok_and(|there| there.len() > 0) {
            self.head.newest += 1;
            path = file_of(&self.dir, self.head.newest + 1);
        }
        let file = open(&path)?;
        File::open(&self.dir)?.sync_all()?;
        self.current = Some(Current { file, path, bytes: 0, is_torn: false });
        let list = files(&self.dir)?;
        let too_many = list.len().saturating_sub(self.limits.files.max(1));
        let Some((first, path)) = list.get(too_many).filter(|_| too_many > 0) else {
            return Ok(());
        };
        // First it is said that they are gone, then they go.
        let before = first_line(path)?.and_then(|line| Entry::parse(&line));
        let before_first = match before {
            Some((_, previous)) => previous,
            // The file that was just begun, or one that can't be read.
            None if *first == self.head.newest + 1 => self.head.hash,
            None => LineHash::default(),
        };
        let head = Head { first: *first, before_first, ..self.head };
        self.head_file.write(&head)?;
        self.head = head;
        for (_, path) in list.iter().take(too_many) {
            fs::remove_file(path)?;
        }
        File::open(&self.dir)?.sync_all()
    }
}

impl Current {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.bytes)?;
        }
        self.is_torn = true;
        let written = self
            .file
            .seek(SeekFrom::Start(self.bytes))
            .and_then(|_| self.file.write_all(bytes))
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line is of no use; if it can't be cut off now, it is before the next one.
            self.is_torn = self.file.set_len(self.bytes).is_err();
            tracing::debug!(path = %self.path.display(), "what was not written whole is cut off");
            return Err(error);
        }
        self.is_torn = false;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn first_line(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut input = BufReader::new(File::open(path)?);
    Ok(match lines::next(&mut input)? {
        Some((Line::Whole(line), _)) => Some(line),
        _ => None,
    })
}

/// The newest entry of a file.
struct Newest {
    sequence: u64,
    hash: LineHash,
    /// Where its line ends.
    bytes: u64,
}

/// The newest entry of a file, if its last line is one, and how many bytes are in it: what a crash has left of a line is
/// cut off.
fn end_of(path: &Path, found: &mut Vec<String>) -> Result<(Option<Newest>, u64), LogError> {
    let failed = |source| LogError::new("read", path)(source);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut input = BufReader::new(file);
    // The last two lines, whole, however long they are.
    let window = 3 * MAX_LINE_BYTES as u64;
    let mut at = length.saturating_sub(window);
    input.seek(SeekFrom::Start(at)).map_err(failed)?;
    let mut last = None;
    while let Some((line, bytes)) = lines::next(&mut input).map_err(failed)? {
        match line {
            Line::Torn(torn) => {
                let cut = File::options().write(true).open(path).and_then(|file| {
                    file.set_len(at)?;
                    file.sync_all()
                });
                cut.map_err(LogError::new("cut off half a line of", path))?;
                found.push(format!(
                    "the last line of {} was written only in part, as by a loss of power: {torn} bytes were cut off",
                    name_of(path)
                ));
                break;
            }
            Line::Whole(line) => last = Some(line),
            Line::TooLong => last = None,
        }
        at += bytes;
    }
    let entry = last.and_then(|line| Some((Entry::parse(&line)?.0, LineHash::of(&line))));
    if entry.is_none() && at > 0 {
        found.push(format!("the last line of {} can't be read", name_of(path)));
    }
    let newest = entry.map(|(entry, hash)| Newest { sequence: entry.sequence, hash, bytes: at });
    Ok((newest, at))
}

/// From where the chain goes on.
fn carry_on(
    known: Option<Option<Head>>,
    list: &[(u64, PathBuf)],
    newest: Option<&Newest>,
    found: &mut Vec<String>,
) -> Head {
    let Some(known) = known.flatten() else {
        let Some((first, path)) = list.first() else { return Head::default() };
        found.push(format!(
            "{} is missing or can't be read: whether entries are missing at the end of the log is not known",
            head::FILE
        ));
        let before = first_line(path).ok().flatten().and_then(|line| Entry::parse(&line));
        let before_first = before.map(|(_, previous)| previous).unwrap_or_default();
        // A file that can't be read counts as if it had one entry: its number is never given twice.
        let last = list.last().map_or(0, |(first, _)| *first);
        let (newest, hash) = newest.map_or((last, LineHash::default()), |n| (n.sequence, n.hash));
        let first = (*first).clamp(1, newest.saturating_add(1).max(1));
        return Head { first, before_first, newest, hash };
    };
    let Some(newest) = newest else {
        if known.newest > 0 {
            found.push(format!(
                "the log ends before entry {}, the newest one that is known of: entries were taken away",
                known.newest
            ));
        }
        return known;
    };
    if newest.sequence > known.newest {
        return Head { newest: newest.sequence, hash: newest.hash, ..known };
    }
    if newest.sequence < known.newest {
        found.push(format!(
            "the log ends with entry {}, but the newest one that is known of was {}: entries were taken away",
            newest.sequence, known.newest
        ));
    } else if newest.hash != known.hash {
        found.push(format!("entry {} is not what it was when it was written", known.newest));
    }
    known
}
