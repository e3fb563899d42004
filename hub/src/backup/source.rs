//! What a backup is made of: a hub that runs, or its state directory.
//!
//! The records are copied first, within moments, so that they are of one commit and no slow reader holds anything up. An
//! artefact that is deleted before its turn comes is left out: nothing that the records speak of needs it then, or its
//! image will be pushed again. One that comes later is not looked for.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use lichen_hub_core::{
    api::time::rfc3339,
    record::{self, LoadError, META, Meta},
};
use lichen_images::{Digest, digest::Digester};
use lichen_trust::{
    Trust,
    copy::{self, KeyFile},
};

use super::{
    BackupError,
    format::{self, Contents, Manifest, RECORDS, TRUST, VERSION},
    records,
    write::Writer,
};
use crate::{
    server::{StateLock, StateLockError},
    store::{Reader, RedbStore, Store as _},
};

/// Where the store, its artefacts and keys are below the state directory.
pub(super) const STORE_FILE: &str = "hub.redb";
pub(super) const ARTEFACT_DIR: &str = "artefacts";
pub(super) const TRUST_DIR: &str = "trust";

/// A hub to make backups of. Clones share it.
#[derive(Clone)]
pub struct Source {
    records: Arc<dyn Reader>,
    images: lichen_images::Store,
    trust: Arc<Trust>,
    /// Where there is room for a copy of the records.
    scratch: PathBuf,
}

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where the keys go.
    pub keys: Keys,
    /// Whether artefacts are.
    pub artefacts: bool,
}

/// Where the keys go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Into the backup.
    Inside,
    /// Elsewhere.
    LeftOut,
    /// Nothing else is wanted.
    Alone,
}

impl Source {
    /// A hub that runs. `scratch`: a directory of its own, with room for its records.
    pub(crate) fn new(
        records: Arc<dyn Reader>,
        images: lichen_images::Store,
        trust: Arc<Trust>,
        scratch: PathBuf,
    ) -> Self {
        Self { records, images, trust, scratch }
    }

    /// Copies what changes: after this, nothing that happens to the hub changes the backup.
    ///
    /// # Errors
    /// The store, the keys or the disk refuse.
    pub fn prepare(&self, wanted: Wanted) -> Result<Prepared, BackupError> {
        let spool = Spool::of(self.records.as_ref(), &self.scratch)?;
        let keys = self.trust.key_files()?;
        let known_time = self.trust.time().now();
        let file = |name: String, content: &[u8]| format::File {
            name,
            bytes: content.len() as u64,
            digest: Digest::of(content),
        };
        let keys_digest = Digest::from_bytes(copy::digest_of(&keys));
        let key_entries: Vec<format::File> =
            keys.iter().map(|key| file(format!("{TRUST}{}", key.name), &key.content)).collect();
        let is_hub = wanted.keys != Keys::Alone;
        let mut files = Vec::new();
        if is_hub {
            let name = RECORDS.to_owned();
            files.push(format::File { name, bytes: spool.bytes, digest: spool.digest });
        }
        let keys = if wanted.keys == Keys::LeftOut { Vec::new() } else { keys };
        if !keys.is_empty() {
            files.extend(key_entries);
        }
        let manifest = Manifest {
            lichen_backup: VERSION,
            contents: if is_hub { Contents::Hub } else { Contents::Keys },
            hub: env!("CARGO_PKG_VERSION").to_owned(),
            lineage: spool.meta.lineage,
            made_at: rfc3339(known_time.saturating_mul(1000)),
            known_time,
            authority: Digest::from_bytes(self.trust.fingerprint()),
            keys_digest,
            keys: !keys.is_empty(),
            artefacts: is_hub && wanted.artefacts,
            records: if is_hub { spool.count } else { 0 },
            files,
        };
        let images = manifest.artefacts.then(|| self.images.clone());
        Ok(Prepared { manifest, records: is_hub.then_some(spool.file), keys, images })
    }
}

/// Opens the state directory of a hub that does not run, and keeps it from starting until the lock is dropped.
///
/// # Errors
/// There is no hub, or it runs, or it can't be read.
pub fn stopped(state: &Path) -> Result<(Source, Stopped), BackupError> {
    let trust_dir = state.join(TRUST_DIR);
    if !state.join(STORE_FILE).is_file() || copy::key_files(&trust_dir)?.is_empty() {
        return Err(BackupError::NoHub(state.to_owned()));
    }
    let lock = StateLock::take(state).map_err(|error| match error {
        StateLockError::InUse { path, holder } => StateLockError::Runs { path, holder },
        other => other,
    })?;
    super::place::finish(state)?;
    let store = RedbStore::open(state)?;
    let images = lichen_images::Store::open(&state.join(ARTEFACT_DIR))?;
    let trust = Arc::new(Trust::open(&trust_dir, Vec::new())?);
    let source = Source::new(store.reader(), images, trust, state.to_owned());
    Ok((source, Stopped { _store: store, _lock: lock }))
}

/// Keeps a hub stopped.
#[derive(Debug)]
pub struct Stopped {
    _store: RedbStore,
    _lock: StateLock,
}

/// A copy of the records in a file without a name.
struct Spool {
    file: File,
    bytes: u64,
    digest: Digest,
    count: u64,
    meta: Meta,
}

impl Spool {
    fn of(reader: &dyn Reader, dir: &Path) -> Result<Self, BackupError> {
        let refused = BackupError::disk("copy the records into", dir);
        let file = tempfile::tempfile_in(dir).map_err(refused)?;
        let mut out = Counting { inner: BufWriter::new(file), bytes: 0, hash: Digester::default() };
        let (mut count, mut meta) = (0, None);
        reader.read(&mut |key, value| {
            if key == META {
                meta = Some(value.to_vec());
            }
            count += 1;
            records::write(&mut out, key, value)
        })?;
        let absent = || LoadError::Damaged { key: META.into(), cause: "it is not there".into() };
        let meta = record::decode(META, &meta.ok_or_else(absent)?)?;
        let Counting { inner, bytes, hash } = out;
        let file = inner.into_inner().map_err(|error| BackupError::Write(error.into_error()))?;
        Ok(Self { file, bytes, digest: hash.finish(), count, meta })
    }
}

struct Counting<W> {
    inner: W,
    bytes: u64,
    hash: Digester,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A backup that only has to be written.
pub struct Prepared {
    manifest: Manifest,
    records: Option<File>,
    keys: Vec<KeyFile>,
    images: Option<lichen_images::Store>,
}

impl Prepared {
    /// What it will be.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes it.
    ///
    /// # Errors
    /// `out` or the disk refuses; what was written until then is no backup.
    pub fn write<W: Write>(self, out: W) -> Result<W, BackupError> {
        let mut writer = Writer::begin(out, &self.manifest).map_err(BackupError::Write)?;
        let mut keys = self.keys.iter();
        let mut records = self.records;
        for file in &self.manifest.files {
            let mut from_disk;
            let mut from_memory;
            let content: &mut dyn Read = match records.take() {
                Some(mut spool) => {
                    spool.rewind().map_err(BackupError::Write)?;
                    from_disk = BufReader::new(spool);
                    &mut from_disk
                }
                None => {
                    from_memory = keys.next().map(|key| key.content.as_slice()).unwrap_or_default();
                    &mut from_memory
                }
            };
            writer.entry(&file.name, file.bytes, content).map_err(BackupError::Write)?;
        }
        let listed = self.images.as_ref().map(lichen_images::Store::list).transpose()?;
        for (digest, _) in listed.unwrap_or_default() {
            let Some(images) = &self.images else { break };
            if let Some(opened) = images.get(&digest)? {
                let content = BufReader::new(opened.file);
                writer.artefact(&digest, opened.len, content).map_err(BackupError::Write)?;
            }
        }
        writer.finish().map_err(BackupError::Write)
    }
}
