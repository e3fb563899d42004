//! The store of unpacked layers: one directory per diff id, complete or absent.
//!
//! A layer is unpacked beside its final place, checked, written to the disk and only then renamed, so that a loss of
//! power leaves either the whole layer or a leftover that [`LayerStore::sweep_partial`] removes. Layers are
//! shared by all images and never change; who still needs which is the agent's knowledge, not this store's.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use crate::Digest;
use crate::entries::{TarError, for_each};
use crate::image::{Compression, Image};
use crate::inventory::{self, Depth, Mismatch, Pace};
use crate::place::{PlaceError, Placer};
use crate::tree::remove_tree;

/// What one layer may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the uncompressed archive, headers included. Nothing is written beyond it.
    pub bytes: u64,
    /// Most files, directories and links, directories that are only implied by a path included.
    pub entries: u64,
}

impl Default for Limits {
    /// 4 GiB and a million entries: above any image that suits a small device, below what fills one by accident.
    fn default() -> Self {
        Self { bytes: 4 << 30, entries: 1_000_000 }
    }
}

/// What an unpacked layer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
    /// Entries placed.
    pub entries: u64,
}

/// Why a layer can't be unpacked, listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The blob's compression has no decoder here.
    #[error(
        "layer {0} is compressed with zstd, which this agent does not read; push the image with gzip layers \
         (for example: skopeo copy --dest-compress-format gzip)"
    )]
    Zstd(Digest),
    /// An entry is damaged, refused or could not be written.
    #[error("layer {layer}: {cause}")]
    Entry {
        /// The layer.
        layer: Digest,
        /// The entry and the reason, in words.
        cause: String,
        /// What the system said, if it refused to write it.
        system: Option<io::Error>,
    },
    /// The layer is larger than its limit.
    #[error("layer {layer} has more than {limit} {unit}, the limit of this device")]
    Limit {
        /// The layer.
        layer: Digest,
        /// The limit.
        limit: u64,
        /// `bytes` or `entries`.
        unit: &'static str,
    },
    /// The uncompressed bytes are not the ones that the image's config names.
    #[error(
        "layer {expected} unpacks to {found}: the blob is not the one that the image was built with"
    )]
    DiffId {
        /// The diff id in the image's config.
        expected: Digest,
        /// The digest of what the blob holds.
        found: Digest,
    },
    /// It is not what it was when it was unpacked.
    #[error("layer {layer} is damaged on the disk ({cause}): it is fetched again")]
    Damaged {
        /// The layer.
        layer: Digest,
        /// What is other than it was.
        cause: String,
    },
    /// The store's directory does not do what is asked.
    #[error("could not {what} {path}: {cause}", path = path.display())]
    Store {
        /// The step.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl LayerError {
    /// What the system said, where it refused something.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Entry { system, .. } => system.as_ref(),
            Self::Store { cause, .. } => Some(cause),
            Self::Zstd(_) | Self::Limit { .. } | Self::DiffId { .. } | Self::Damaged { .. } => None,
        }
    }
}

/// The directory that holds unpacked layers.
#[derive(Debug, Clone)]
pub struct LayerStore {
    directory: PathBuf,
}

/// Part of the name of every directory that is not a complete layer.
const PARTIAL: &str = ".partial-";
/// What follows the name of a layer in that of its record.
const RECORD: &str = ".files";
/// What follows it in the name of a damaged one; the boot comes after it.
const ASIDE: &str = ".damaged-";
static NEXT_PARTIAL: AtomicU64 = AtomicU64::new(0);

impl LayerStore {
    /// Opens the store, making its directory (readable by its owner only) if needed.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, LayerError> {
        let store = Self { directory: directory.into() };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&store.directory);
        made.map_err(failed("create", &store.directory))?;
        Ok(store)
    }

    /// A store whose directory is there, or will be.
    #[must_use]
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where the layer is, or will be.
    pub fn path(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(diff_id.hex())
    }

    /// Whether the layer is complete.
    pub fn has(&self, diff_id: &Digest) -> bool {
        fs::symlink_metadata(self.path(diff_id)).is_ok_and(|found| found.is_dir())
    }

    /// The lower directories for overlayfs: the topmost layer first. A layer that an image repeats is listed once,
    /// at its topmost place, because overlayfs refuses duplicates and the lower one could show nothing.
    pub fn lowers(&self, image: &Image) -> Vec<PathBuf> {
        let mut lowers = Vec::with_capacity(image.layers.len());
        for layer in image.layers.iter().rev() {
            let path = self.path(&layer.diff_id);
            if !lowers.contains(&path) {
                lowers.push(path);
            }
        }
        lowers
    }

    /// Unpacks one layer blob. A layer that is there already is left as it is and read no further.
    /// Blocks while it reads and until the disk has everything: call it off the agent's loop.
    pub fn unpack(
        &self,
        blob: impl Read,
        compression: Compression,
        diff_id: &Digest,
        limits: Limits,
    ) -> Result<Unpacked, LayerError> {
        if self.has(diff_id) {
            return Ok(Unpacked { bytes: 0, entries: 0 });
        }
        let partial = self.partial_path(diff_id);
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).create(&partial).map_err(failed("create", &partial))?;
        let result = match compression {
            Compression::None => self.fill(&partial, blob, diff_id, limits),
            Compression::Gzip => {
                self.fill(&partial, flate2::read::MultiGzDecoder::new(blob), diff_id, limits)
            }
            Compression::Zstd => Err(LayerError::Zstd(*diff_id)),
        };
        let result = result.and_then(|unpacked| {
            self.record(&partial, diff_id)?;
            self.complete(&partial, diff_id)?;
            Ok(unpacked)
        });
        if result.is_err() {
            // The error that matters is the first one; a leftover is swept at the next start.
            let _ = remove_tree(&partial);
        }
        result
    }

    fn fill(
        &self,
        partial: &Path,
        stream: impl Read,
        diff_id: &Digest,
        limits: Limits,
    ) -> Result<Unpacked, LayerError> {
        let mut placer = Placer::new(partial).map_err(failed("open", partial))?;
        let mut stream = Metered::new(stream, limits.bytes);
        let mut entries = 0;
        let mut placed = for_each(&mut stream, |entry, data| {
            entries += 1;
            if entries > limits.entries {
                return Err(Stop::Entries);
            }
            placer.place(entry, data)?;
            // One entry makes at most as many directories as a path may have.
            if entries + placer.implied() > limits.entries {
                return Err(Stop::Entries);
            }
            Ok(())
        });
        if placed.is_ok() {
            // The diff id covers what follows the archive's end, too.
            placed = io::copy(&mut stream, &mut io::sink())
                .map(drop)
                .map_err(|error| Stop::Entry(TarError::Read(error).into()));
        }
        let limit = |limit, unit| LayerError::Limit { layer: *diff_id, limit, unit };
        match placed {
            Ok(()) => {}
            Err(_) if stream.exceeded => return Err(limit(limits.bytes, "bytes")),
            Err(Stop::Entries) => return Err(limit(limits.entries, "entries")),
            Err(Stop::Entry(cause)) => {
                let (layer, text) = (*diff_id, cause.to_string());
                let system = cause.into_io();
                return Err(LayerError::Entry { layer, cause: text, system });
            }
        }
        let bytes = stream.bytes;
        let found = stream.digest();
        if found != *diff_id {
            return Err(LayerError::DiffId { expected: *diff_id, found });
        }
        placer.sync().map_err(failed("write to the disk", partial))?;
        Ok(Unpacked { bytes, entries })
    }

    /// Writes down what a whole tree holds, before it is one that counts.
    fn record(&self, tree: &Path, diff_id: &Digest) -> Result<(), LayerError> {
        let path = self.record_path(diff_id);
        let new = self.directory.join(format!("{}{PARTIAL}record", diff_id.hex()));
        let written = inventory::take(tree).and_then(|record| {
            fs::write(&new, record)?;
            fs::File::open(&new)?.sync_all()?;
            fs::rename(&new, &path)
        });
        written.map_err(failed("write", &path))
    }

    fn record_path(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(format!("{}{RECORD}", diff_id.hex()))
    }

    /// Holds a layer against what was written down of it. One of which nothing is written down, or whose record is damaged
    /// itself, is believed and written down.
    pub fn check(&self, diff_id: &Digest, depth: Depth, pace: Pace<'_>) -> Result<(), LayerError> {
        let path = self.path(diff_id);
        let record = fs::read(self.record_path(diff_id)).unwrap_or_default();
        match inventory::check(&path, &record, depth, pace) {
            Ok(()) => Ok(()),
            // It may be that nothing can be written: then it is believed every time.
            Err(Mismatch::Record) => self.record(&path, diff_id).or(Ok(())),
            Err(Mismatch::Tree(cause)) => Err(LayerError::Damaged { layer: *diff_id, cause }),
        }
    }

    /// Puts a damaged layer aside, so that it can be unpacked anew. Containers that run on it go on; what they have of it goes
    /// with the boot.
    pub fn put_aside(&self, diff_id: &Digest) -> Result<(), LayerError> {
        let number = NEXT_PARTIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}{ASIDE}{}", diff_id.hex(), boot_id());
        let path = self.path(diff_id);
        let _ = fs::remove_file(self.record_path(diff_id));
        fs::rename(&path, self.directory.join(name)).map_err(failed("rename", &path))?;
        self.sync_names()
    }

    /// Gives a filled and synced directory its final name, durably.
    fn complete(&self, partial: &Path, diff_id: &Digest) -> Result<(), LayerError> {
        let path = self.path(diff_id);
        match fs::rename(partial, &path) {
            Ok(()) => self.sync_names(),
            // Another thread was faster with the same layer.
            Err(_) if self.has(diff_id) => remove_tree(partial).map_err(failed("remove", partial)),
            Err(cause) => Err(failed("rename to its final name", partial)(cause)),
        }
    }

    fn sync_names(&self) -> Result<(), LayerError> {
        let synced = fs::File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(failed("write to the disk", &self.directory))
    }

    fn partial_path(&self, diff_id: &Digest) -> PathBuf {
        let number = NEXT_PARTIAL.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        self.directory.join(format!("{}{PARTIAL}{pid}-{number}", diff_id.hex()))
    }

    /// The complete layers, in order of their digest.
    pub fn list(&self) -> Result<Vec<Digest>, LayerError> {
        let mut layers: Vec<_> =
            self.names()?.iter().filter_map(|name| Digest::from_hex(name)).collect();
        layers.sort();
        Ok(layers)
    }

    /// Removes what an interrupted unpacking or removal left. Call it at the agent's start, before any unpacking.
    /// Returns how many leftovers there were.
    pub fn sweep_partial(&self) -> Result<usize, LayerError> {
        let mut swept = 0;
        let boot_id = boot_id();
        let is_left = |name: &&String| {
            let of_layer =
                |name: &str| Digest::from_hex(name).is_some_and(|layer| self.has(&layer));
            name.contains(PARTIAL)
                || name.split_once(ASIDE).is_some_and(|(_, boot)| boot != boot_id)
                || name.strip_suffix(RECORD).is_some_and(|name| !of_layer(name))
        };
        for name in self.names()?.iter().filter(is_left) {
            let path = self.directory.join(name);
            remove_tree(&path).map_err(failed("remove", &path))?;
            swept += 1;
        }
        Ok(swept)
    }

    /// Removes a layer that no image on the device needs. It stops being complete before its first file goes.
    /// A layer that is not there is a success.
    pub fn remove_layer(&self, diff_id: &Digest) -> Result<(), LayerError> {
        let (path, partial) = (self.path(diff_id), self.partial_path(diff_id));
        match fs::rename(&path, &partial) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(failed("rename", &path))?,
        }
        let _ = fs::remove_file(self.record_path(diff_id));
        self.sync_names()?;
        remove_tree(&partial).map_err(failed("remove", &partial))
    }

    fn names(&self) -> Result<Vec<String>, LayerError> {
        let entries = fs::read_dir(&self.directory).map_err(failed("list", &self.directory))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.collect())
    }
}

fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Makes the error for a step at a path.
fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LayerError {
    let path = path.to_owned();
    move |cause| LayerError::Store { what, path, cause }
}

enum Stop {
    Entries,
    Entry(PlaceError),
}

impl From<TarError> for Stop {
    fn from(error: TarError) -> Self {
        Self::Entry(error.into())
    }
}

impl From<PlaceError> for Stop {
    fn from(error: PlaceError) -> Self {
        Self::Entry(error)
    }
}

/// The size of a block in an archive.
const BLOCK: u64 = 512;

/// Hashes and counts what is read through it, and ends at the limit. After the end it adds the zeros that fill the last
/// block, which some writers (umoci) leave out; they are neither hashed nor counted.
struct Metered<R> {
    inner: R,
    padded: u64,
    hash: Sha256,
    bytes: u64,
    limit: u64,
    exceeded: bool,
}

impl<R: Read> Metered<R> {
    fn new(inner: R, limit: u64) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0, limit, exceeded: false, padded: 0 }
    }

    fn digest(self) -> Digest {
        Digest::from_bytes(self.hash.finalize().into())
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 {
            let missing =
                (self.bytes + self.padded).next_multiple_of(BLOCK) - self.bytes - self.padded;
            let padding = buffer.len().min(missing as usize);
            buffer[..padding].fill(0);
            self.padded += padding as u64;
            return Ok(padding);
        }
        self.bytes += read as u64;
        if self.bytes > self.limit {
            self.exceeded = true;
            return Err(io::Error::other("the layer is larger than its limit"));
        }
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
