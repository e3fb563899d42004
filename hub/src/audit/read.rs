//! Reads a log's entries from the oldest on, while it may be written.

use std::{
    fs::File,
    io::{self, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{
    Entry, files,
    filter::Filter,
    lines::{self, Line},
};

/// Bytes of a log that are looked at in one go.
const LOOK_BYTES: u64 = 1 << 20;

/// A place in a log.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    filter: Filter,
    file: Option<(u64, File)>,
    offset: u64,
}

/// Entries, as lines with their ends.
#[derive(Debug, Default)]
pub struct Batch {
    /// Those that are wanted.
    pub lines: Vec<u8>,
    /// Whether there is nothing more at the moment.
    pub at_end: bool,
}

impl Reader {
    /// At the beginning.
    #[must_use]
    pub fn new(dir: &Path, filter: Filter) -> Self {
        Self { dir: dir.to_owned(), filter, file: None, offset: 0 }
    }

    /// Looks at some more of it. Lines that are no entries are left out: to find them is not what this is for.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn look(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        // Whether another file follows is asked before this one is read: then it is whole.
        let next = self.next_file()?;
        let Some((_, file)) = &mut self.file else {
            match next {
                Some(next) => self.open(next)?,
                None => batch.at_end = true,
            }
            return Ok(batch);
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut input = BufReader::with_capacity(64 << 10, file);
        let mut looked = 0;
        while looked < LOOK_BYTES {
            match lines::next(&mut input)? {
                None | Some((Line::Torn(_), _)) => {
                    self.offset += looked;
                    match next {
                        Some(next) => self.open(next)?,
                        None => batch.at_end = true,
                    }
                    return Ok(batch);
                }
                Some((line, bytes)) => {
                    looked += bytes;
                    let Line::Whole(line) = line else { continue };
                    let entry = Entry::parse(&line);
                    if entry.is_some_and(|(entry, _)| self.filter.wants(&entry)) {
                        batch.lines.extend_from_slice(&line);
                        batch.lines.push(b'\n');
                    }
                }
            }
        }
        self.offset += looked;
        Ok(batch)
    }

    fn next_file(&self) -> io::Result<Option<(u64, PathBuf)>> {
        let here = self.file.as_ref().map(|(first, _)| *first);
        let mut list = files(&self.dir)?.into_iter();
        Ok(list.find(|(first, _)| here.is_none_or(|here| *first > here)))
    }

    fn open(&mut self, (first, path): (u64, PathBuf)) -> io::Result<()> {
        match File::open(path) {
            Ok(file) => (self.file, self.offset) = (Some((first, file)), 0),
            // It was the oldest one, and was deleted meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
