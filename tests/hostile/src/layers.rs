//! The bytes are a layer of an image, as any registry may serve it. The first byte says how they are packed:
//!
//! | first byte mod 4 | what follows |
//! |---|---|
//! | 0 | a tar stream; its checksums are put right |
//! | 1 | rows: kind, name, link target, content; a tar stream is made of them |
//! | 2 | the same rows, under gzip |
//! | 3 | a gzip stream as it is |
//!
//! Whatever it is: nothing appears, changes or is read outside of the layer's own directory.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use lichen_oci::{
    Digest,
    image::Compression,
    layers::{LayerStore, Limits},
    user::{UserFiles, look_up},
};
use lichen_shim::beneath;
use sha2::{Digest as _, Sha256};

use crate::{
    meter::bounded,
    script::{Script, memory},
};

/// What a layer may cost here; small, so that inputs reach it.
const LIMITS: Limits = Limits { bytes: 256 * 1024, entries: 48 };
/// Heap bytes that unpacking may hold, whatever the layer: buffers, one extended header and its copies.
const HEAP_BYTES: usize = 4 * 1024 * 1024;
/// One layer.
pub fn layers(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let (blob, stream) = packed(first % 4, rest);
    let compression = if first % 4 < 2 { Compression::None } else { Compression::Gzip };
    // What no layer may read, and none can hold.
    let secret = format!("{}:x:4242:4242", Digest::from_bytes(Sha256::digest(bytes).into()).hex());
    let place = Place::new(&secret);
    let id = Digest::from_bytes(Sha256::digest(&stream).into());
    let unpacked = bounded("unpacking a layer", HEAP_BYTES, || {
        place.store.unpack(blob.as_slice(), compression, &id, LIMITS)
    });
    place.check_outside();
    let path = place.store.path(&id);
    match unpacked {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!place.store.has(&id), "a refused layer is there");
            assert_eq!(place.store.sweep_partial().expect("it can be swept"), 0, "a leftover");
        }
        Ok(unpacked) => {
            assert_eq!(unpacked.bytes, stream.len() as u64);
            assert!(unpacked.entries <= LIMITS.entries && unpacked.bytes <= LIMITS.bytes);
            check_size(&path);
            use_layer(&path, rest, &secret);
            place.check_outside();
            place.store.remove_layer(&id).expect("a layer can be removed");
        }
    }
    assert!(place.store.list().expect("it can be listed").is_empty());
    assert!(names(&place.layers).is_empty(), "left: {:?}", names(&place.layers));
}

/// What a container's start does with its layers.
fn use_layer(path: &Path, script: &[u8], secret: &str) {
    let files = UserFiles::read(&[path]);
    let read = [&files.passwd, &files.group];
    assert!(!read.iter().any(|text| text.contains(secret)), "it reads outside");
    for user in files.passwd.split([':', '\n']).take(16).chain(["", "0", "root:root"]) {
        match look_up(user, &files) {
            Ok(ids) => {
                assert!(ids.uid != u32::MAX && ids.gid != u32::MAX, "nobody's id for {user:?}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    // A volume that a container has filled is no better than a layer.
    let sub_path = String::from_utf8_lossy(script.get(..16).unwrap_or(script)).into_owned();
    for sub_path in [sub_path.as_str(), "a/b", "etc/x", "etc"] {
        match beneath::make(path, sub_path.as_ref()) {
            Ok(found) => {
                let (full, root) = (real(&beneath::by_descriptor(&found)), real(path));
                assert!(full.starts_with(&root), "{sub_path:?} leads to {}", full.display());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).expect("it was just there")
}

/// What was placed is bounded by the limits, directories that nobody listed included.
fn check_size(layer: &Path) {
    let (mut count, mut bytes, mut open) = (0_u64, 0, vec![layer.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a placed directory can be read") {
            let entry = entry.expect("an entry can be read");
            let found = entry.metadata().expect("it is there");
            count += 1;
            bytes += if found.is_file() { found.size() / found.nlink().max(1) } else { 0 };
            if found.is_dir() {
                open.push(entry.path());
            }
        }
    }
    assert!(count <= LIMITS.entries, "{count} entries were placed");
    assert!(bytes <= LIMITS.bytes, "{bytes} bytes were placed");
}

/// The blob, and the tar stream in it as far as it can be told.
fn packed(form: u8, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    match form {
        0 => {
            let stream = with_checksums(bytes.to_vec());
            (stream.clone(), stream)
        }
        1 => (rows(bytes), rows(bytes)),
        2 => {
            let stream = rows(bytes);
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&stream).expect("memory takes it");
            (gzip.finish().expect("memory takes it"), stream)
        }
        _ => {
            use std::io::Read;
            let mut stream = Vec::new();
            let reader = flate2::read::MultiGzDecoder::new(bytes);
            // What can't be unpacked has no digest that would fit: any will do.
            let _ = reader.take(LIMITS.bytes + 1).read_to_end(&mut stream);
            (bytes.to_vec(), stream)
        }
    }
}

/// A mutated header would always be refused for its checksum.
fn with_checksums(mut stream: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while let Some(block) = stream.get_mut(at..at + 512) {
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        if block.iter().any(|byte| *byte != 0) {
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        let size = header.entry_size().unwrap_or(0).min(LIMITS.bytes);
        at += 512 + usize::try_from(size.next_multiple_of(512)).expect("it is bounded");
    }
    stream
}

/// A tar stream from rows: kind, name (a byte of length in front), target, content.
fn rows(bytes: &[u8]) -> Vec<u8> {
    let mut script = Script::new(bytes);
    let mut stream = Vec::new();
    while let Some(kind) = script.byte() {
        let (name, target, content) = (script.word(), script.word(), script.word());
        // The high bit takes any type; else one of those that mean something.
        let kinds = b"0125346xgLK7";
        let kind =
            if kind & 0x80 != 0 { kind & 0x7f } else { kinds[usize::from(kind) % kinds.len()] };
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o644 | u32::from(kind & 1) << 9);
        copy(&mut header.as_old_mut().name, name);
        copy(&mut header.as_old_mut().linkname, target);
        header.set_size(content.len() as u64);
        header.set_cksum();
        stream.extend(header.as_bytes());
        stream.extend(content);
        stream.resize(stream.len().next_multiple_of(512), 0);
    }
    stream.extend([0; 1024]);
    stream
}

fn copy(field: &mut [u8; 100], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// A store in a directory that shows what escapes from it.
struct Place {
    _directory: tempfile::TempDir,
    root: PathBuf,
    layers: PathBuf,
    store: LayerStore,
    before: BTreeMap<PathBuf, String>,
}

impl Place {
    fn new(secret: &str) -> Self {
        let directory = tempfile::tempdir_in(memory()).expect("a directory");
        let root = directory.path().to_owned();
        let layers = root.join("a/b/layers");
        let store = LayerStore::open(&layers).expect("a store");
        // Where `..` and `../..` of a layer's link would lead.
        for dir in [root.clone(), root.join("a"), root.join("a/b")] {
            fs::create_dir_all(dir.join("etc")).expect("a directory");
            fs::write(dir.join("etc/passwd"), secret).expect("a witness");
            fs::write(dir.join("passwd"), secret).expect("a witness");
        }
        let before = outside(&root, &layers);
        Self { _directory: directory, root, layers, store, before }
    }

    fn check_outside(&self) {
        assert_eq!(outside(&self.root, &self.layers), self.before, "something left the layer");
    }
}

/// Every path outside of the store, with its content and mode.
fn outside(root: &Path, layers: &Path) -> BTreeMap<PathBuf, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        for name in names(&dir) {
            let path = dir.join(name);
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            let content = if metadata.is_file() {
                fs::read_to_string(&path).expect("a witness is text")
            } else {
                String::new()
            };
            if metadata.is_dir() && path != layers {
                open.push(path.clone());
            }
            found.insert(path, format!("{:o} {content}", metadata.mode()));
        }
    }
    found
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(dir).expect("it can be read");
    entries.map(|entry| entry.expect("an entry can be read").file_name()).collect()
}
