//! What was saved comes back as it was, and what was altered on the way does not come back at all.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use lichen_hub_core::{
    effect::Record,
    record::{self, META, Meta},
};
use lichen_images::Digest;
use lichen_trust::{Trust, copy::KeyFile};
use proptest::{collection::vec, prelude::*};

use super::{
    BackupError,
    format::Manifest,
    place,
    read::{Sink, read},
    restore::{Restore, Restored, restore},
    source::{Keys, Source, Wanted},
};
use crate::{
    audit,
    store::{KeySource, MemoryStore, RedbStore, Store as _},
};

const ALL: Wanted = Wanted { keys: Keys::Inside, artefacts: true };

/// A hub that does not run.
struct Hub {
    dir: tempfile::TempDir,
    store: MemoryStore,
    images: lichen_images::Store,
    trust: Arc<Trust>,
}

impl Hub {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let images = lichen_images::Store::open(&dir.path().join("artefacts")).expect("opened");
        let trust = Trust::open(&dir.path().join("trust"), Vec::new()).expect("opened");
        let hub = Self { dir, store: MemoryStore::default(), images, trust: Arc::new(trust) };
        let meta = Meta {
            lineage: firmware_compat::id::Lineage([7; 16]),
            reserved_resource_version: 1000,
        };
        hub.put(META, &record::encode(&meta));
        hub.put("retired/pi-1", &record::encode(&7));
        hub.put(
            "data/ConfigMap/default/a",
            &record::encode(&serde_json::json!({"data": {"key": "dmFsdWU="}})),
        );
        hub
    }

    fn put(&self, key: &str, value: &[u8]) {
        let record = Record { key: key.to_owned(), value: Some(value.to_vec()) };
        self.store.commit(&[record]).expect("commit");
    }

    fn source(&self) -> Source {
        let scratch = self.dir.path().to_owned();
        Source::new(self.store.reader(), self.images.clone(), self.trust.clone(), scratch)
    }

    fn backup(&self, wanted: Wanted) -> Vec<u8> {
        self.source().prepare(wanted).and_then(|it| it.write(Vec::new())).expect("a backup")
    }

    fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Keeps what it is handed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    records: Vec<(String, Vec<u8>)>,
    keys: Vec<KeyFile>,
    artefacts: Vec<(Digest, Vec<u8>)>,
}

impl Sink for Kept {
    fn record(&mut self, key: String, value: Vec<u8>) -> Result<(), BackupError> {
        self.records.push((key, value));
        Ok(())
    }

    fn key_file(&mut self, file: KeyFile) -> Result<(), BackupError> {
        self.keys.push(file);
        Ok(())
    }

    fn artefact(&mut self, digest: Digest, content: &mut dyn Read) -> Result<(), BackupError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(super::read::refused)?;
        self.artefacts.push((digest, bytes));
        Ok(())
    }
}

fn kept(backup: &[u8]) -> Result<(Manifest, Kept), BackupError> {
    let mut kept = Kept::default();
    read(backup, &mut kept).map(|manifest| (manifest, kept))
}

fn restored(
    backup: &[u8],
    keys: Option<&[u8]>,
    state: &Path,
    replace: bool,
) -> Result<Restored, BackupError> {
    let (mut backup, mut keys) = (backup, keys);
    let keys = keys.as_mut().map(|keys| keys as &mut dyn Read);
    restore(Restore { backup: &mut backup, keys, state, secrets_key: &KeySource::Own, replace })
}

fn listed(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_a_hub_holds_comes_back_as_it_was(
        records in vec(("[a-z/é]{1,20}", vec(any::<u8>(), 0..200)), 0..20),
        artefacts in vec(vec(any::<u8>(), 0..5000), 0..5),
    ) {
        let hub = Hub::new();
        for (key, value) in &records {
            hub.put(key, value);
        }
        for content in &artefacts {
            hub.images.put(content, None).expect("stored");
        }
        let (manifest, kept) = kept(&hub.backup(ALL)).expect("sound");
        let expected = hub.store.load().expect("load");
        prop_assert_eq!(manifest.records, expected.len() as u64);
        prop_assert_eq!(kept.records, expected);
        prop_assert_eq!(kept.keys, lichen_trust::copy::key_files(hub.trust.dir()).expect("read"));
        let stored = hub.images.list().expect("listed");
        prop_assert_eq!(kept.artefacts.len(), stored.len());
        for ((digest, content), (listed, _)) in kept.artefacts.iter().zip(&stored) {
            prop_assert_eq!(digest, listed);
            prop_assert_eq!(&Digest::of(content), digest);
        }
    }

    #[test]
    fn bytes_of_strangers_are_no_backup_and_no_panic(bytes in vec(any::<u8>(), 0..2000)) {
        prop_assert!(kept(&bytes).is_err());
        let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut compressed, &bytes).expect("in memory");
        prop_assert!(kept(&compressed.finish().expect("in memory")).is_err());
    }
}

#[test]
fn a_backup_that_is_cut_short_anywhere_is_refused() {
    let hub = Hub::new();
    hub.images.put(b"an artefact", None).expect("stored");
    let backup = hub.backup(ALL);
    for length in 0..backup.len() {
        let error = kept(&backup[..length]).expect_err("cut short");
        assert!(
            matches!(error, BackupError::CutShort | BackupError::Damaged(_)),
            "{length}: {error}"
        );
    }
}

#[test]
fn a_backup_that_was_altered_anywhere_is_refused_or_says_the_same() {
    let hub = Hub::new();
    hub.images.put(b"an artefact", None).expect("stored");
    let backup = hub.backup(ALL);
    let sound = kept(&backup).expect("sound");
    for position in 0..backup.len() {
        for flipped in [1, 0x80] {
            let mut altered = backup.clone();
            altered[position] ^= flipped;
            // A few bytes of gzip's head say nothing, such as the operating system.
            if let Ok(read) = kept(&altered) {
                assert_eq!(read, sound, "{position}");
            }
        }
    }
}

#[test]
fn whoever_alters_what_is_inside_is_noticed_too() {
    let hub = Hub::new();
    hub.images.put(b"an artefact", None).expect("stored");
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(hub.backup(ALL).as_slice()).read_to_end(&mut tar).expect("gzip");
    for (from, to) in [
        ("an artefact", "an artifact"),
        ("retired/pi-1", "retired/pi-2"),
        ("BEGIN PRIV", "BEGIN_PRIV"),
    ] {
        let at = tar.windows(from.len()).position(|window| window == from.as_bytes());
        let mut altered = tar.clone();
        let at = at.unwrap_or_else(|| panic!("{from} should be there"));
        altered[at..at + from.len()].copy_from_slice(to.as_bytes());
        let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut compressed, &altered).expect("in memory");
        let error = kept(&compressed.finish().expect("in memory")).expect_err(from);
        assert!(matches!(error, BackupError::Damaged(_)), "{from}: {error}");
    }
}

#[test]
fn a_restored_hub_has_the_records_keys_and_artefacts_of_the_old_one() {
    let hub = Hub::new();
    let artefact = hub.images.put(b"an artefact", None).expect("stored");
    let state = hub.state("elsewhere/state");
    let restored = restored(&hub.backup(ALL), None, &state, false).expect("restored");
    assert_eq!((restored.artefacts, restored.replaced), (1, None));
    assert_eq!(
        listed(&state),
        ["artefacts", "audit", "audit.newest", "hub.lock", "hub.redb", "trust"]
    );
    let log = audit::files(&state.join("audit")).expect("a log").remove(0).1;
    let log = fs::read_to_string(log).expect("readable");
    assert!(log.contains("\"verb\":\"restore\"") && log.lines().count() == 1, "{log}");
    assert!(audit::verify::verify(&state.join("audit")).expect("a report").is_sound());

    let records = RedbStore::open(&state).expect("opened").load().expect("load");
    let (mut expected, mut found) = (hub.store.load().expect("load"), records);
    // Who remembers a version of the old hub's last days is told to look anew.
    let of = |records: &mut Vec<(String, Vec<u8>)>| -> Meta {
        let at = records.iter().position(|(key, _)| key == META).expect("meta");
        record::decode(META, &records.remove(at).1).expect("meta")
    };
    let (before, after) = (of(&mut expected), of(&mut found));
    assert_eq!(before.lineage, after.lineage);
    assert!(after.reserved_resource_version > before.reserved_resource_version + 1_000_000_000);
    assert_eq!(found, expected);

    let trust = Trust::open(&state.join("trust"), Vec::new()).expect("opened");
    assert_eq!(trust.fingerprint(), hub.trust.fingerprint());
    let images = lichen_images::Store::open(&state.join("artefacts")).expect("opened");
    images.verify(&artefact).expect("it is whole");
}

#[test]
fn time_does_not_go_back_in_a_restored_hub() {
    let hub = Hub::new();
    let state = hub.state("state");
    let trust = state.join("trust");
    fs::create_dir_all(&trust).expect("made");
    fs::write(trust.join("known-time"), "32000000000\n").expect("written");
    let manifest = restored(&hub.backup(ALL), None, &state, true).expect("restored").manifest;
    assert!(manifest.known_time < 32_000_000_000);
    assert_eq!(lichen_trust::copy::known_time(&trust).expect("read"), 32_000_000_000);
}

#[test]
fn a_hub_that_is_there_stays_unless_it_is_to_be_replaced_and_is_kept_then() {
    let (hub, other) = (Hub::new(), Hub::new());
    let state = hub.state("state");
    restored(&other.backup(ALL), None, &state, false).expect("restored");
    fs::write(state.join("admin.kubeconfig"), "old").expect("written");
    let before = listed(&state);
    let backup = hub.backup(ALL);
    let error = restored(&backup, None, &state, false).expect_err("taken").to_string();
    assert!(error.contains("there is a hub in") && error.contains("--replace"), "{error}");
    let error = restored(&backup[..backup.len() - 9], None, &state, true).expect_err("cut short");
    assert!(matches!(error, BackupError::CutShort), "{error}");
    assert_eq!(listed(&state), before, "nothing was touched");

    let done = restored(&backup, None, &state, true).expect("restored");
    let kept = done.replaced.expect("the old one is kept");
    assert_eq!(
        listed(&kept),
        ["admin.kubeconfig", "artefacts", "audit", "audit.newest", "hub.redb", "trust"]
    );
    let fingerprint =
        |state: &Path| Trust::open(&state.join("trust"), Vec::new()).expect("opened").fingerprint();
    assert_eq!(fingerprint(&state), hub.trust.fingerprint());
    assert_eq!(fingerprint(&kept), other.trust.fingerprint());
    let again = restored(&backup, None, &state, true).expect("restored").replaced;
    assert_ne!(again, Some(kept), "nothing that is kept is written over");
}

#[test]
fn a_hub_that_runs_is_not_touched() {
    let hub = Hub::new();
    let state = hub.state("state");
    let _running = crate::server::StateLock::take(&state).expect("free");
    let error = restored(&hub.backup(ALL), None, &state, true).expect_err("in use").to_string();
    assert!(error.contains("in use by another hub"), "{error}");
}

/// What a restored state is made of.
const PARTS: [&str; 5] = ["artefacts", "audit", "audit.newest", "hub.redb", "trust"];

#[test]
fn a_restore_that_is_interrupted_anywhere_ends_with_the_old_hub_or_the_new_one() {
    let (hub, other) = (Hub::new(), Hub::new());
    let begin = |name: &str| {
        let state = hub.state(name);
        restored(&other.backup(ALL), None, &state, false).expect("restored");
        let staged = place::stage(&state).expect("staged");
        restored(&hub.backup(ALL), None, &staged.join("inner"), false).expect("restored");
        for part in PARTS {
            fs::rename(staged.join("inner").join(part), staged.join(part)).expect("moved");
        }
        fs::remove_dir_all(staged.join("inner")).expect("removed");
        state
    };
    let fingerprint =
        |state: &Path| Trust::open(&state.join("trust"), Vec::new()).expect("opened").fingerprint();
    // Before it was decided, the old one.
    let state = begin("undecided");
    place::finish(&state).expect("nothing to finish");
    assert_eq!(fingerprint(&state), other.trust.fingerprint());

    // After so many moves, of which there are twice as many as parts, and a removed note between them.
    let count = PARTS.len();
    for moves in 0..=2 * count {
        let state = begin(&format!("after-{moves}"));
        let kept = place::kept(&state);
        place::commit(&state, Some(&kept)).expect("decided");
        let ready = state.join("restore.ready");
        fs::create_dir_all(&kept).expect("made");
        for (number, part) in PARTS.iter().chain(&PARTS).take(moves).enumerate() {
            let (from, to) = if number < count { (&state, &kept) } else { (&ready, &state) };
            if number == count {
                fs::remove_file(ready.join("keep-in")).expect("removed");
            }
            fs::rename(from.join(part), to.join(part)).expect("moved");
        }
        place::finish(&state).expect("finished");
        assert_eq!(fingerprint(&state), hub.trust.fingerprint(), "after {moves}");
        assert_eq!(fingerprint(&kept), other.trust.fingerprint(), "after {moves}");
        assert!(!ready.exists());
        place::finish(&state).expect("nothing to finish");
    }
}

#[test]
fn keys_that_are_apart_are_needed_and_have_to_be_the_right_ones() {
    let hub = Hub::new();
    let without = hub.backup(Wanted { keys: Keys::LeftOut, artefacts: false });
    let keys = hub.backup(Wanted { keys: Keys::Alone, artefacts: true });
    assert_eq!(kept(&without).expect("sound").1.keys, []);
    let (manifest, inside) = kept(&keys).expect("sound");
    assert_eq!((inside.records.len(), inside.artefacts.len()), (0, 0));
    assert_eq!(inside.keys.len(), manifest.files.len());

    let other = Hub::new().backup(Wanted { keys: Keys::Alone, artefacts: false });
    let whole = hub.backup(ALL);
    let state = hub.state("state");
    let refused = |backup: &[u8], keys: Option<&[u8]>| {
        let error = restored(backup, keys, &state, false).expect_err("refused").to_string();
        assert_eq!(listed(&state), ["hub.lock"]);
        error
    };
    assert!(refused(&without, None).contains("--keys FILE"));
    assert!(refused(&without, Some(&other)).contains("not the keys that the hub had at"));
    assert!(refused(&without, Some(&whole)).contains("not a file of keys"));
    assert!(refused(&whole, Some(&keys)).contains("leave out --keys"));
    assert!(refused(&keys, None).contains("holds keys alone"));

    restored(&without, Some(&keys), &state, false).expect("restored");
    let trust = Trust::open(&state.join("trust"), Vec::new()).expect("opened");
    assert_eq!(trust.fingerprint(), hub.trust.fingerprint());
}

#[test]
fn an_artefact_that_was_damaged_before_is_left_out_and_told() {
    let hub = Hub::new();
    let artefact = hub.images.put(b"an artefact", None).expect("stored");
    let hex = artefact.hex();
    let path = hub.dir.path().join("artefacts/sha256").join(&hex[..2]).join(&hex);
    fs::write(path, b"something else").expect("damaged");
    let done = restored(&hub.backup(ALL), None, &hub.state("state"), false).expect("restored");
    assert_eq!((done.artefacts, done.damaged), (0, vec![artefact]));
}

/// Takes everything, and removes an artefact once it has taken more than so much.
struct Removing<'a> {
    taken: Vec<u8>,
    after: usize,
    images: &'a lichen_images::Store,
    artefact: Digest,
}

impl std::io::Write for Removing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.taken.extend_from_slice(bytes);
        if self.taken.len() > self.after {
            self.images.delete(&self.artefact).map_err(std::io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_artefact_that_goes_while_a_backup_is_made_is_left_out() {
    let hub = Hub::new();
    let small = hub.backup(ALL).len();
    let noise = |seed: u8| {
        let mut content = vec![seed; 32];
        while content.len() < 200_000 {
            let digest = Digest::of(&content[content.len() - 32..]);
            content.extend_from_slice(digest.as_bytes());
        }
        hub.images.put(&content, None).expect("stored")
    };
    let mut artefacts = [noise(1), noise(2)];
    artefacts.sort();
    let [first, last] = artefacts;
    let after = small + 50_000;
    let out = Removing { taken: Vec::new(), after, images: &hub.images, artefact: last };
    let prepared = hub.source().prepare(ALL).expect("prepared");
    let backup = prepared.write(out).expect("written").taken;
    assert_eq!(hub.images.has(&last).expect("looked"), None);
    let (_, kept) = kept(&backup).expect("sound");
    let digests: Vec<Digest> = kept.artefacts.iter().map(|(digest, _)| *digest).collect();
    assert_eq!(digests, [first]);
}

#[test]
fn what_a_newer_hub_made_and_records_that_no_hub_loads_are_refused() {
    let hub = Hub::new();
    let mut manifest = hub.source().prepare(ALL).expect("prepared").manifest().clone();
    manifest.lichen_backup = 2;
    let newer = super::write::Writer::begin(Vec::new(), &manifest)
        .and_then(super::write::Writer::finish)
        .expect("in memory");
    let error = kept(&newer).expect_err("newer").to_string();
    assert!(error.contains("a newer hub made it (format 2"), "{error}");

    hub.put("device/pi-1", b"\x01rubbish");
    let state = hub.state("state");
    let error = restored(&hub.backup(ALL), None, &state, false).expect_err("damaged");
    assert!(matches!(error, BackupError::Records(_)), "{error}");
    assert_eq!(listed(&state), ["hub.lock"]);
}
