//! Reads a backup and believes nothing: not its order, not its lengths, not its content. What is handed on before the end
//! was reached without an error counts for nothing.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use lichen_images::Digest;
use lichen_trust::copy::{KeyFile, MAX_KEY_FILES, is_key_file_name};
use serde::Deserialize;

use super::{
    BackupError,
    format::{
        ARTEFACTS, Contents, END, End, Hashed, MANIFEST, MAX_END, MAX_KEY_FILE, MAX_MANIFEST,
        Manifest, RECORDS, Running, TRUST, VERSION,
    },
    records,
};

/// Takes what is in a backup.
pub trait Sink {
    /// What it is. First of all.
    ///
    /// # Errors
    /// It is not what is wanted.
    fn manifest(&mut self, _manifest: &Manifest) -> Result<(), BackupError> {
        Ok(())
    }

    /// A record; they come in ascending order of key.
    ///
    /// # Errors
    /// It can't be taken.
    fn record(&mut self, key: String, value: Vec<u8>) -> Result<(), BackupError>;

    /// A file of the hub's trust.
    ///
    /// # Errors
    /// It can't be taken.
    fn key_file(&mut self, file: KeyFile) -> Result<(), BackupError>;

    /// An artefact; its content is not checked against its name.
    ///
    /// # Errors
    /// It can't be taken.
    fn artefact(&mut self, digest: Digest, content: &mut dyn Read) -> Result<(), BackupError>;
}

/// Checks a backup, and counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records of devices.
    pub devices: u64,
    /// Artefacts.
    pub artefacts: u64,
}

impl Sink for Counts {
    fn record(&mut self, key: String, _: Vec<u8>) -> Result<(), BackupError> {
        self.devices += u64::from(key.starts_with("device/"));
        Ok(())
    }

    fn key_file(&mut self, _: KeyFile) -> Result<(), BackupError> {
        Ok(())
    }

    fn artefact(&mut self, _: Digest, _: &mut dyn Read) -> Result<(), BackupError> {
        self.artefacts += 1;
        Ok(())
    }
}

/// Reads a backup to its end.
///
/// # Errors
/// It is none, is damaged or cut short, or the sink refuses.
pub fn read(input: impl Read, sink: &mut dyn Sink) -> Result<Manifest, BackupError> {
    let mut archive = tar::Archive::new(GzDecoder::new(input));
    // Raw: names that are written in entries of their own could be of any length.
    let mut entries = archive.entries().map_err(refused)?.raw(true);
    let mut running = Running::default();
    let manifest = {
        let first = entries.next().ok_or(BackupError::CutShort)?;
        let mut first = first.map_err(|error| match refused(error) {
            BackupError::Damaged(why) => BackupError::Foreign(why),
            other => other,
        })?;
        let name = name_of(&first)?;
        if name != MANIFEST {
            return Err(BackupError::Foreign(format!("it begins with {name:?}")));
        }
        running.begin(MANIFEST, first.size());
        parse(&text(&mut Hashed::new(&mut first, &mut running), MAX_MANIFEST)?)?
    };
    sink.manifest(&manifest)?;
    let mut state = State { manifest, sink, running, files: 0, artefacts: 0, last: None };
    for entry in entries.by_ref() {
        let mut entry = entry.map_err(refused)?;
        let name = name_of(&entry)?;
        if name == END {
            let manifest = state.end(&text(&mut entry, MAX_END)?)?;
            // The checksum of the compression is behind the last byte.
            io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(refused)?;
            return Ok(manifest);
        }
        state.entry(&name, entry.size(), &mut entry)?;
    }
    Err(BackupError::CutShort)
}

/// A backup on the way to its end.
struct State<'a> {
    manifest: Manifest,
    sink: &'a mut dyn Sink,
    running: Running,
    /// Of those that the manifest lists.
    files: usize,
    artefacts: u64,
    last: Option<Digest>,
}

impl State<'_> {
    fn entry(&mut self, name: &str, bytes: u64, content: &mut dyn Read) -> Result<(), BackupError> {
        let expected = self.manifest.files.get(self.files).map(|file| file.name.as_str());
        let artefact = name.strip_prefix(ARTEFACTS).and_then(Digest::from_hex);
        match (expected, artefact) {
            (Some(expected), _) if expected == name => self.file(name, bytes, content),
            (None, Some(digest)) if self.manifest.artefacts && self.last < Some(digest) => {
                self.last = Some(digest);
                self.artefacts += 1;
                self.running.begin(name, bytes);
                let mut content = Hashed::new(content, &mut self.running);
                self.sink.artefact(digest, &mut content)?;
                drain(&mut content, bytes)
            }
            _ => Err(BackupError::Damaged(format!("{name:?} is not where it should be"))),
        }
    }

    fn file(&mut self, name: &str, bytes: u64, content: &mut dyn Read) -> Result<(), BackupError> {
        self.running.begin(name, bytes);
        let mut content = Hashed::new(content, &mut self.running);
        if let Some(name) = name.strip_prefix(TRUST) {
            let bytes = text(&mut content, MAX_KEY_FILE)?;
            self.sink.key_file(KeyFile { name: name.to_owned(), content: bytes })?;
        } else {
            let mut buffered = io::BufReader::new(&mut content);
            let mut count = 0;
            while let Some((key, value)) = records::read(&mut buffered)? {
                self.sink.record(key, value)?;
                count += 1;
            }
            if count != self.manifest.records {
                return Err(BackupError::Damaged("it does not have all its records".to_owned()));
            }
        }
        drain(&mut content, bytes)?;
        let found = content.finish();
        let listed = &self.manifest.files[self.files];
        if found != (listed.bytes, listed.digest) {
            return Err(BackupError::Damaged(format!("{name} is not what it was")));
        }
        self.files += 1;
        Ok(())
    }

    fn end(self, text: &[u8]) -> Result<Manifest, BackupError> {
        let end: End = serde_json::from_slice(text)
            .map_err(|error| BackupError::Damaged(format!("its end can't be read: {error}")))?;
        if self.files < self.manifest.files.len() || end.artefacts != self.artefacts {
            return Err(BackupError::Damaged("a part of it is missing".to_owned()));
        }
        if end.digest != self.running.finish() {
            return Err(BackupError::Damaged("it is not what was written".to_owned()));
        }
        Ok(self.manifest)
    }
}

/// What is left of an entry that should have so many bytes.
fn drain<R: Read>(content: &mut Hashed<'_, R>, bytes: u64) -> Result<(), BackupError> {
    io::copy(content, &mut io::sink()).map_err(refused)?;
    if content.read_bytes() == bytes { Ok(()) } else { Err(BackupError::CutShort) }
}

fn parse(text: &[u8]) -> Result<Manifest, BackupError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        lichen_backup: u32,
    }
    let foreign = |error: serde_json::Error| BackupError::Foreign(error.to_string());
    let Version { lichen_backup: found } = serde_json::from_slice(text).map_err(foreign)?;
    if found > VERSION {
        return Err(BackupError::Newer { found });
    }
    let manifest: Manifest = serde_json::from_slice(text).map_err(foreign)?;
    let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    let (first, keys) = match (manifest.contents, names.split_first()) {
        (Contents::Hub, Some((first, keys))) => (Some(*first), keys),
        (Contents::Hub, None) => (None, &[][..]),
        (Contents::Keys, _) => (Some(RECORDS), names.as_slice()),
    };
    let fit = |name: &&str| name.strip_prefix(TRUST).is_some_and(is_key_file_name);
    let has_keys = !keys.is_empty();
    let sound = first == Some(RECORDS)
        && keys.iter().all(fit)
        && keys.is_sorted_by(|one, other| one < other)
        && keys.len() <= MAX_KEY_FILES
        && manifest.keys == has_keys
        && !(manifest.contents == Contents::Keys && (manifest.artefacts || !has_keys));
    match sound {
        true => Ok(manifest),
        false => Err(BackupError::Damaged("its list of files makes no sense".to_owned())),
    }
}

fn name_of<R: Read>(entry: &tar::Entry<'_, R>) -> Result<String, BackupError> {
    let other = || BackupError::Damaged("it holds something else than files".to_owned());
    if entry.header().entry_type() != tar::EntryType::Regular {
        return Err(other());
    }
    String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| other())
}

/// All of a short entry.
fn text(content: &mut impl Read, max: u64) -> Result<Vec<u8>, BackupError> {
    let mut text = Vec::new();
    content.take(max + 1).read_to_end(&mut text).map_err(refused)?;
    match text.len() as u64 > max {
        true => Err(BackupError::Damaged("a file in it is too long".to_owned())),
        false => Ok(text),
    }
}

/// What the libraries say of bytes that are not what they should be.
pub(super) fn refused(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::CutShort,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            BackupError::Damaged(error.to_string())
        }
        _ => BackupError::Read(error),
    }
}
