//! Writes a backup. Bytes leave as they are made, so that a backup takes no room on the hub's disk but for its records.

use std::io::{self, Read, Write};

use flate2::{Compression, write::GzEncoder};
use lichen_images::Digest;

use super::format::{ARTEFACTS, END, End, Hashed, MANIFEST, Manifest, Running};

/// Compresses little and fast: records are text, artefacts are mostly compressed already.
const LEVEL: Compression = Compression::fast();

/// A backup that is being written.
pub struct Writer<W: Write> {
    tar: tar::Builder<GzEncoder<W>>,
    running: Running,
    artefacts: u64,
    mtime: u64,
}

impl<W: Write> Writer<W> {
    /// Begins with the manifest.
    ///
    /// # Errors
    /// `out` refuses.
    pub fn begin(out: W, manifest: &Manifest) -> io::Result<Self> {
        let tar = tar::Builder::new(GzEncoder::new(out, LEVEL));
        let mtime = manifest.known_time;
        let mut writer = Self { tar, running: Running::default(), artefacts: 0, mtime };
        let text = serde_json::to_vec_pretty(manifest)?;
        writer.entry(MANIFEST, text.len() as u64, text.as_slice())?;
        Ok(writer)
    }

    /// Adds an entry of exactly so many bytes.
    ///
    /// # Errors
    /// `out` refuses, or there are fewer.
    pub fn entry(&mut self, name: &str, bytes: u64, content: impl Read) -> io::Result<()> {
        self.running.begin(name, bytes);
        let mut content = Hashed::new(content.take(bytes), &mut self.running);
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(bytes);
        header.set_mtime(self.mtime);
        self.tar.append_data(&mut header, name, &mut content)?;
        match content.finish() {
            (read, _) if read == bytes => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} is cut short"))),
        }
    }

    /// Adds an artefact.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub fn artefact(&mut self, digest: &Digest, bytes: u64, content: impl Read) -> io::Result<()> {
        self.artefacts += 1;
        self.entry(&format!("{ARTEFACTS}{}", digest.hex()), bytes, content)
    }

    /// Ends it.
    ///
    /// # Errors
    /// `out` refuses.
    pub fn finish(mut self) -> io::Result<W> {
        let digest = std::mem::take(&mut self.running).finish();
        let text = serde_json::to_vec(&End { artefacts: self.artefacts, digest })?;
        self.entry(END, text.len() as u64, text.as_slice())?;
        self.tar.into_inner()?.finish()
    }
}
