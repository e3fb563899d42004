//! The bytes are a backup of a hub, as a bad disk or somebody else may have left it. The first byte says how they are packed:
//!
//! | first byte mod 2 | what follows |
//! |---|---|
//! | 0 | a tar stream, which is compressed first |
//! | 1 | a gzip stream as it is |
//!
//! Whatever it is: it is refused with a reason, or it is what its own digest says, and reading it costs no more memory than it
//! holds.

use std::io::{Read, Write};

use flate2::{Compression, write::GzEncoder};
use lichen_hub::backup::{
    BackupError,
    format::Manifest,
    read::{Sink, read},
};
use lichen_images::Digest;
use lichen_trust::copy::{KeyFile, is_key_file_name};

use crate::meter::bounded;

/// Heap bytes that reading may hold: buffers, a manifest and a file of keys as long as any, and what is made of them.
const HEAP_BYTES: usize = 8 * 1024 * 1024;
/// And per byte of what is compressed: a record is in memory as a whole.
const BYTES_PER_BYTE: usize = 4096;

/// Reads one backup.
pub fn backups(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let backup = if first % 2 == 0 { compressed(rest) } else { rest.to_vec() };
    let limit = HEAP_BYTES + BYTES_PER_BYTE * backup.len();
    let mut seen = Seen::default();
    match bounded("reading a backup", limit, || read(backup.as_slice(), &mut seen)) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(manifest) => {
            assert_eq!(seen.records, manifest.records);
            assert_eq!(seen.keys > 0, manifest.keys);
            assert!(manifest.artefacts || seen.last.is_none());
        }
    }
}

fn compressed(tar: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(tar).expect("memory takes everything");
    out.finish().expect("memory takes everything")
}

/// What was handed on.
#[derive(Default)]
struct Seen {
    begun: bool,
    records: u64,
    keys: usize,
    last: Option<Digest>,
}

impl Sink for Seen {
    fn manifest(&mut self, _: &Manifest) -> Result<(), BackupError> {
        assert!(!std::mem::replace(&mut self.begun, true), "two manifests");
        Ok(())
    }

    fn record(&mut self, _: String, _: Vec<u8>) -> Result<(), BackupError> {
        assert!(self.begun);
        self.records += 1;
        Ok(())
    }

    fn key_file(&mut self, file: KeyFile) -> Result<(), BackupError> {
        assert!(self.begun && is_key_file_name(&file.name), "{:?}", file.name);
        self.keys += 1;
        Ok(())
    }

    fn artefact(&mut self, digest: Digest, content: &mut dyn Read) -> Result<(), BackupError> {
        assert!(self.begun && self.last < Some(digest), "artefacts out of order");
        self.last = Some(digest);
        // Some sinks read to the end, others do not.
        let mut half = [0; 64];
        let _ = content.read(&mut half);
        Ok(())
    }
}
