//! Docker archives (`docker save`, `skopeo copy … docker-archive:`), read as an OCI image.
//!
//! The configuration is kept byte for byte. Layers are kept as they are in the archive, and each is compared with the
//! content digest (`diff_ids`) that the configuration gives it.

use std::collections::BTreeMap;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use crate::archive::{Archive, ArchiveError};
use crate::blobs::{Blob, Blobs, Memory};
use crate::digest::Digester;
use crate::document::{MAX_DOCUMENT_BYTES, MAX_LAYERS, Manifest};
use crate::source::MAX_UNCOMPRESSED_BYTES;
use crate::{Descriptor, Digest, media};

/// Why a docker archive can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The tar file is not valid or lacks a part.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// `manifest.json` or the configuration is not valid.
    #[error("could not understand {0}")]
    Json(String, #[source] serde_json::Error),
    /// There is no image in it.
    #[error("it holds no image")]
    Empty,
    /// It holds several.
    #[error("it holds several images; choose one of: {}", .0.join(", "))]
    Several(Vec<String>),
    /// It doesn't hold the one that was asked for.
    #[error("it holds no image named {wanted:?}; it holds: {}", held.join(", "))]
    NoSuchName {
        /// What was asked for.
        wanted: String,
        /// What is there.
        held: Vec<String>,
    },
    /// Too many layers.
    #[error("the image has {0} layers; at most {MAX_LAYERS} are accepted")]
    TooManyLayers(usize),
    /// Layers and digests don't pair.
    #[error("the image has {layers} layers, but its configuration has digests for {diff_ids}")]
    LayerCount {
        /// How many layers.
        layers: usize,
        /// How many digests.
        diff_ids: usize,
    },
    /// A layer is not the one that the configuration means.
    #[error("layer {path} is corrupt: its content has the digest {found} instead of {expected}")]
    Corrupt {
        /// Its path in the archive.
        path: String,
        /// The digest in the configuration.
        expected: Digest,
        /// The content.
        found: Digest,
    },
    /// A layer could not be read.
    #[error("could not read layer {0}")]
    Layer(String, #[source] io::Error),
}

/// An image in a docker archive.
pub(crate) struct Docker {
    pub(crate) root: Descriptor,
    pub(crate) name: Option<String>,
    pub(crate) blobs: DockerBlobs,
}

/// Layers in the archive, generated documents in memory.
pub(crate) struct DockerBlobs {
    archive: Archive,
    layers: BTreeMap<Digest, String>,
    documents: Memory,
}

impl Blobs for DockerBlobs {
    fn open(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        match self.layers.get(digest) {
            Some(path) => Ok(self.archive.reader(path)),
            None => self.documents.open(digest),
        }
    }
}

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The part of a configuration that says what the layers are.
#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

/// Reads the image named `select`, or the only one. Every layer is hashed once.
pub(crate) fn read(archive: Archive, select: Option<&str>) -> Result<Docker, DockerError> {
    let entries: Vec<Entry> = json(&archive, "manifest.json")?;
    let entry = choose(entries, select)?;
    if entry.layers.len() > MAX_LAYERS {
        return Err(DockerError::TooManyLayers(entry.layers.len()));
    }
    let config: Config = json(&archive, &entry.config)?;
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() != entry.layers.len() {
        let (layers, diff_ids) = (entry.layers.len(), diff_ids.len());
        return Err(DockerError::LayerCount { layers, diff_ids });
    }
    let mut documents = Memory::default();
    let config = archive.read(&entry.config, MAX_DOCUMENT_BYTES)?;
    let config = documents.add(media::OCI_CONFIG, config);
    let mut layers = BTreeMap::new();
    let mut descriptors = Vec::new();
    for (path, diff_id) in entry.layers.into_iter().zip(diff_ids) {
        let descriptor = layer(&archive, &path, diff_id)?;
        layers.insert(descriptor.digest, path);
        descriptors.push(descriptor);
    }
    let manifest = serde_json::to_vec(&Manifest::new(config, descriptors));
    let manifest = manifest.expect("a manifest is always JSON");
    let root = documents.add(media::OCI_MANIFEST, manifest);
    let name = entry.repo_tags.and_then(|tags| tags.into_iter().next());
    Ok(Docker { root, name, blobs: DockerBlobs { archive, layers, documents } })
}

fn choose(mut entries: Vec<Entry>, select: Option<&str>) -> Result<Entry, DockerError> {
    let tags = |entry: &Entry| entry.repo_tags.clone().unwrap_or_default();
    let label = |entry: &Entry| tags(entry).into_iter().next().unwrap_or(entry.config.clone());
    let held = entries.iter().take(20).map(label).collect();
    let chosen = match select {
        Some(wanted) => entries
            .iter()
            .position(|entry| tags(entry).iter().any(|tag| tag == wanted) || entry.config == wanted)
            .ok_or_else(|| DockerError::NoSuchName { wanted: wanted.to_owned(), held })?,
        None if entries.is_empty() => return Err(DockerError::Empty),
        None if entries.len() > 1 => return Err(DockerError::Several(held)),
        None => 0,
    };
    Ok(entries.swap_remove(chosen))
}

/// Describes a layer, comparing its uncompressed content with the configuration's digest.
fn layer(archive: &Archive, path: &str, diff_id: Digest) -> Result<Descriptor, DockerError> {
    let open = || archive.reader(path).ok_or_else(|| ArchiveError::Missing(path.to_owned()));
    let io = |error| DockerError::Layer(path.to_owned(), error);
    let blob = open()?;
    let stored = hash(blob.reader, u64::MAX).map_err(io)?;
    if stored == diff_id {
        return Ok(Descriptor::new(media::OCI_LAYER, stored, blob.len));
    }
    let mut magic = [0; 2];
    let gzip = open()?.reader.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    let found = match gzip {
        true => {
            hash(MultiGzDecoder::new(io::BufReader::new(open()?.reader)), MAX_UNCOMPRESSED_BYTES)
                .map_err(io)?
        }
        false => stored,
    };
    if found != diff_id {
        return Err(DockerError::Corrupt { path: path.to_owned(), expected: diff_id, found });
    }
    Ok(Descriptor::new(media::OCI_LAYER_GZIP, stored, blob.len))
}

fn hash(reader: impl Read, limit: u64) -> io::Result<Digest> {
    let mut reader = reader.take(limit);
    let mut digester = Digester::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(digester.finish()),
            got => digester.update(&buffer[..got]),
        }
    }
}

fn json<T: for<'a> Deserialize<'a>>(archive: &Archive, path: &str) -> Result<T, DockerError> {
    let bytes = archive.read(path, MAX_DOCUMENT_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|error| DockerError::Json(path.to_owned(), error))
}
