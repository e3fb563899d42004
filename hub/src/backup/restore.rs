//! Makes a hub's state directory of a backup. All of it is written beside what is there, checked to its last byte and loaded
//! as a hub would load it; only then does it take its place ([`super::place`]).

use std::{
    fs::{self, DirBuilder},
    io::{self, Read},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use lichen_hub_core::{
    effect::Record,
    engine::{self, Engine},
    event::Now,
    record,
};
use lichen_images::{Digest, store::StoreError};
use lichen_trust::{
    KnownTime, Trust, TrustError,
    copy::{self, KeyFile},
};

use super::{
    BackupError,
    format::{Contents, Manifest},
    place,
    read::{Sink, read},
    source::{ARTEFACT_DIR, STORE_FILE, TRUST_DIR},
};
use crate::{
    audit,
    server::{Signer, StateLock},
    store::{EncryptedStore, KeySource, RedbStore, Store as _},
};

/// Bytes of records that are committed at once.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes of an artefact that are in memory.
const CHUNK_BYTES: usize = 64 << 10;

/// What is to be restored, and where.
pub struct Restore<'a> {
    /// The backup.
    pub backup: &'a mut dyn Read,
    /// The file of its keys, if they are apart.
    pub keys: Option<&'a mut dyn Read>,
    /// The state directory; it need not be there.
    pub state: &'a Path,
    /// Where the key of Secrets is from; the hub's own is among the keys.
    pub secrets_key: &'a KeySource,
    /// Whether a hub that is there gives way.
    pub replace: bool,
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Which backup.
    pub manifest: Manifest,
    /// Its devices.
    pub devices: u64,
    /// Its artefacts.
    pub artefacts: u64,
    /// Artefacts that were damaged before they came into the backup. They are left out.
    pub damaged: Vec<Digest>,
    /// Where the state is of the hub that was there.
    pub replaced: Option<PathBuf>,
}

/// Restores a backup.
///
/// # Errors
/// It can't be used, or the directory can't. Everything is as it was then.
pub fn restore(restore: Restore<'_>) -> Result<Restored, BackupError> {
    let Restore { backup, keys, state, secrets_key, replace } = restore;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(BackupError::disk("create the directory", state))?;
    let lock = StateLock::take(state)?;
    place::finish(state)?;
    let taken = [STORE_FILE, ARTEFACT_DIR, TRUST_DIR, audit::DIR, audit::head::FILE]
        .iter()
        .any(|name| state.join(name).exists());
    let kept = place::kept(state);
    if taken && !replace {
        return Err(BackupError::Taken { state: state.to_owned(), kept });
    }
    let staged = place::stage(state)?;
    let done = fill(&staged, backup, keys, state, secrets_key)
        .and_then(|restored| place::commit(state, taken.then_some(&kept)).map(|()| restored));
    match done {
        Ok(mut restored) => {
            place::finish(state)?;
            restored.replaced = taken.then_some(kept);
            drop(lock);
            Ok(restored)
        }
        Err(error) => {
            // Of no use to anybody; the next attempt removes it, too.
            let _ = fs::remove_dir_all(&staged);
            Err(error)
        }
    }
}

fn fill(
    staged: &Path,
    backup: &mut dyn Read,
    keys: Option<&mut dyn Read>,
    old_state: &Path,
    secrets_key: &KeySource,
) -> Result<Restored, BackupError> {
    let mut staging = Staging {
        store: RedbStore::open(staged)?,
        images: lichen_images::Store::open(&staged.join(ARTEFACT_DIR))?,
        keys_apart: keys.is_some(),
        batch: Vec::new(),
        batch_bytes: 0,
        keys: Vec::new(),
        devices: 0,
        artefacts: 0,
        damaged: Vec::new(),
    };
    let manifest = read(backup, &mut staging)?;
    staging.flush()?;
    if let Some(keys) = keys {
        staging.keys = read_keys(keys, &manifest)?;
    }
    if Digest::from_bytes(copy::digest_of(&staging.keys)) != manifest.keys_digest {
        return Err(BackupError::Damaged("its keys are not those of its hub".to_owned()));
    }
    let trust = staged.join(TRUST_DIR);
    let known_time = manifest.known_time.max(copy::known_time(&old_state.join(TRUST_DIR))?);
    copy::put_back(&trust, &staging.keys, known_time)?;
    let Staging { store, devices, artefacts, damaged, .. } = staging;
    check(EncryptedStore::open(Box::new(store), secrets_key, staged)?, &trust, &manifest)?;
    begin_audit_log(staged, &manifest)?;
    Ok(Restored { manifest, devices, artefacts, damaged, replaced: None })
}

/// The log of the hub that was saved is not in a backup. What the new one does begins a log of its own, which says so.
fn begin_audit_log(staged: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let (mut log, _new) = audit::log::Log::open(staged, audit::log::Limits::default())?;
    let note = format!(
        "this hub was restored from a backup of {}; what was done before is in the audit log of the hub that was saved",
        manifest.made_at
    );
    let time = KnownTime::load(&staged.join(TRUST_DIR)).map_err(TrustError::from)?;
    let entry = audit::Entry::of_hub("restore", note).at(time.written_ms());
    log.append(&mut [entry]).map_err(BackupError::disk("write", &staged.join(audit::DIR)))
}

/// A hub could start on this.
fn check(store: EncryptedStore, trust: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let now =
        Now { instant: Default::default(), unix_ms: manifest.known_time.saturating_mul(1000) };
    let signer = Signer::of(&Trust::open(trust, Vec::new())?);
    let engine = Engine::load(store.load()?, engine::Config::default(), signer, now)?;
    match engine.lineage() == manifest.lineage {
        true => Ok(()),
        false => Err(BackupError::Damaged("its records are another hub's".to_owned())),
    }
}

fn read_keys(input: &mut dyn Read, of: &Manifest) -> Result<Vec<KeyFile>, BackupError> {
    let mut keys = OnlyKeys::default();
    let manifest = read(input, &mut keys)?;
    match manifest.keys_digest == of.keys_digest {
        true => Ok(keys.0),
        false => Err(BackupError::OtherKeys { made_at: of.made_at.clone() }),
    }
}

/// The keys in a file of keys.
#[derive(Default)]
struct OnlyKeys(Vec<KeyFile>);

impl Sink for OnlyKeys {
    fn manifest(&mut self, manifest: &Manifest) -> Result<(), BackupError> {
        match manifest.contents {
            Contents::Keys => Ok(()),
            Contents::Hub => Err(BackupError::NotKeys),
        }
    }

    fn record(&mut self, _: String, _: Vec<u8>) -> Result<(), BackupError> {
        Err(BackupError::NotKeys)
    }

    fn key_file(&mut self, file: KeyFile) -> Result<(), BackupError> {
        self.0.push(file);
        Ok(())
    }

    fn artefact(&mut self, _: Digest, _: &mut dyn Read) -> Result<(), BackupError> {
        Err(BackupError::NotKeys)
    }
}

/// A state directory that is being written.
struct Staging {
    store: RedbStore,
    images: lichen_images::Store,
    keys_apart: bool,
    batch: Vec<Record>,
    batch_bytes: usize,
    keys: Vec<KeyFile>,
    devices: u64,
    artefacts: u64,
    damaged: Vec<Digest>,
}

impl Staging {
    fn flush(&mut self) -> Result<(), BackupError> {
        self.batch_bytes = 0;
        Ok(self.store.commit(&std::mem::take(&mut self.batch))?)
    }
}

impl Sink for Staging {
    fn manifest(&mut self, manifest: &Manifest) -> Result<(), BackupError> {
        match (manifest.contents, manifest.keys, self.keys_apart) {
            (Contents::Keys, ..) => Err(BackupError::OnlyKeys),
            (Contents::Hub, true, true) => Err(BackupError::KeysTwice),
            (Contents::Hub, false, false) => Err(BackupError::KeysApart),
            (Contents::Hub, ..) => Ok(()),
        }
    }

    fn record(&mut self, key: String, value: Vec<u8>) -> Result<(), BackupError> {
        self.devices += u64::from(key.starts_with("device/"));
        let value = record::restored(&key, value)?;
        self.batch_bytes += key.len() + value.len();
        self.batch.push(Record { key, value: Some(value) });
        if self.batch_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn key_file(&mut self, file: KeyFile) -> Result<(), BackupError> {
        self.keys.push(file);
        Ok(())
    }

    fn artefact(&mut self, digest: Digest, content: &mut dyn Read) -> Result<(), BackupError> {
        let mut upload = self.images.begin()?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match content.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => upload.append(&chunk[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(super::read::refused(error)),
            }
        }
        match upload.finish(Some(digest)) {
            Ok(_) => self.artefacts += 1,
            Err(StoreError::Mismatch { .. }) => self.damaged.push(digest),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
