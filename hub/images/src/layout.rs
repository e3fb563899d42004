//! OCI image layouts, as a directory or inside an archive: which image of `index.json` is meant.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::blobs::{Blob, Blobs, Memory};
use crate::document::{Document, DocumentError, Index, MAX_DOCUMENT_BYTES};
use crate::walk::{WalkError, read_document};
use crate::{Descriptor, Digest, Platform, media};

/// The annotation of `index.json` that names an image.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation in which containerd and docker keep the full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The marker file is tiny.
const MAX_MARKER_BYTES: u64 = 4096;

/// A layout: blobs, and the two files beside them.
pub trait Layout: Blobs {
    /// Reads a small file at the top of the layout; `None` if there is none.
    ///
    /// # Errors
    /// It can't be read or is larger than `limit` bytes.
    fn file(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// The blobs alone.
    fn into_blobs(self: Box<Self>) -> Box<dyn Blobs>;
}

/// Why a layout can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file could not be read.
    #[error("could not read {0}")]
    Io(&'static str, #[source] io::Error),
    /// There is no `oci-layout` or `index.json`.
    #[error(
        "it has no {0}, so it is not an OCI layout; `lichen image pack` makes an image of a directory"
    )]
    NotALayout(&'static str),
    /// The marker is not understood.
    #[error("its oci-layout file has an unknown version; 1.0.0 is supported")]
    Version,
    /// `index.json` is not valid.
    #[error("could not understand index.json")]
    Index(#[source] DocumentError),
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
    /// The chosen image is not complete.
    #[error(transparent)]
    Walk(#[from] WalkError),
}

/// A layout in a directory.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// A directory; whether it is a layout is found when an image is chosen from it.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Blobs for Directory {
    fn open(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        open_regular(&self.0.join("blobs/sha256").join(digest.hex()))
    }
}

impl Layout for Directory {
    fn file(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(blob) = open_regular(&self.0.join(name))? else { return Ok(None) };
        if blob.len > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
        }
        let mut bytes = Vec::new();
        blob.reader.take(limit).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn into_blobs(self: Box<Self>) -> Box<dyn Blobs> {
        self
    }
}

/// Opens a file, also through a link (some build tools make layouts of links), but nothing that could block.
fn open_regular(path: &Path) -> io::Result<Option<Blob>> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if !metadata.is_file() => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file"));
        }
        found => found?,
    };
    let file = File::open(path)?;
    Ok(Some(Blob { len: file.metadata()?.len(), reader: Box::new(file) }))
}

/// The image that was chosen.
#[derive(Debug)]
pub struct Chosen {
    /// Its root.
    pub root: Descriptor,
    /// Its name in the layout.
    pub name: Option<String>,
    /// Builds that its index lists and the layout doesn't have.
    pub absent: Vec<Descriptor>,
    /// Documents that are not in the layout.
    pub generated: Memory,
}

/// Chooses the image to push: the one named `select`, or the only one.
///
/// # Errors
/// It is no layout, or there is not exactly one choice.
pub fn choose(layout: &dyn Layout, select: Option<&str>) -> Result<Chosen, LayoutError> {
    check_marker(layout)?;
    let read = layout.file("index.json", MAX_DOCUMENT_BYTES);
    let bytes = read.map_err(|error| LayoutError::Io("index.json", error))?;
    let bytes = bytes.ok_or(LayoutError::NotALayout("index.json"))?;
    let Document::Index(index) =
        Document::parse(&bytes, Some(media::OCI_INDEX)).map_err(LayoutError::Index)?
    else {
        return Err(LayoutError::Index(DocumentError::Ambiguous));
    };
    let mut generated = Memory::default();
    let (root, name) = match select {
        Some(wanted) => (named(&index, wanted)?, Some(wanted.to_owned())),
        None => only(&index, bytes, &mut generated)?,
    };
    complete(layout, root, name, generated)
}

fn check_marker(layout: &dyn Layout) -> Result<(), LayoutError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let read = layout.file("oci-layout", MAX_MARKER_BYTES);
    let bytes = read.map_err(|error| LayoutError::Io("oci-layout", error))?;
    let bytes = bytes.ok_or(LayoutError::NotALayout("oci-layout"))?;
    match serde_json::from_slice::<Marker>(&bytes) {
        Ok(marker) if marker.image_layout_version.starts_with("1.") => Ok(()),
        _ => Err(LayoutError::Version),
    }
}

fn named(index: &Index, wanted: &str) -> Result<Descriptor, LayoutError> {
    let names = |entry: &Descriptor| {
        [REF_NAME, CONTAINERD_NAME].iter().any(|key| entry.annotation(key) == Some(wanted))
            || entry.digest.to_string() == wanted
    };
    index
        .manifests
        .iter()
        .find(|entry| names(entry))
        .cloned()
        .ok_or_else(|| LayoutError::NoSuchName { wanted: wanted.to_owned(), held: labels(index) })
}

/// The only image. Some tools write the builds for several platforms straight into `index.json`, which then is the image.
fn only(
    index: &Index,
    bytes: Vec<u8>,
    generated: &mut Memory,
) -> Result<(Descriptor, Option<String>), LayoutError> {
    let digests: BTreeSet<&Digest> = index.manifests.iter().map(|entry| &entry.digest).collect();
    let first = index.manifests.first().ok_or(LayoutError::Empty)?;
    if digests.len() == 1 {
        return Ok((first.clone(), name_of(first)));
    }
    let same_name = index.manifests.iter().all(|entry| name_of(entry) == name_of(first));
    let all_have_platforms = index.manifests.iter().all(|entry| entry.platform.is_some());
    if same_name && all_have_platforms {
        return Ok((generated.add(media::OCI_INDEX, bytes), name_of(first)));
    }
    Err(LayoutError::Several(labels(index)))
}

fn name_of(entry: &Descriptor) -> Option<String> {
    let name = entry.annotation(CONTAINERD_NAME).or_else(|| entry.annotation(REF_NAME))?;
    Some(name.chars().take(crate::name::MAX_NAME_CHARS).collect())
}

/// Names of the images in it, or their digests, for a message.
fn labels(index: &Index) -> Vec<String> {
    let label = |entry: &Descriptor| name_of(entry).unwrap_or_else(|| entry.digest.to_string());
    index.manifests.iter().take(20).map(label).collect()
}

/// An index may list builds that were never downloaded (`docker save` of one platform does that). They are left
/// out, so that what the hub gets is whole: the one build that is there, or an index of those.
fn complete(
    layout: &dyn Layout,
    root: Descriptor,
    name: Option<String>,
    generated: Memory,
) -> Result<Chosen, LayoutError> {
    let mut chosen = Chosen { root, name, absent: Vec::new(), generated };
    if !media::is_index(&chosen.root.media_type) || is_generated(&chosen) {
        return Ok(chosen);
    }
    let Document::Index(index) = read_document(layout, &chosen.root)? else { return Ok(chosen) };
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for entry in index.manifests {
        let opened = layout.open(&entry.digest);
        match opened.map_err(|error| LayoutError::Io("a manifest", error))? {
            Some(_) => present.push(entry),
            None => absent.push(entry),
        }
    }
    if absent.is_empty() || present.is_empty() {
        return Ok(chosen);
    }
    chosen.absent = absent;
    let builds: Vec<&Descriptor> = present.iter().filter(|entry| is_build(entry)).collect();
    chosen.root = match builds.as_slice() {
        [only] => (*only).clone(),
        _ => {
            let bytes = serde_json::to_vec(&Index::new(present));
            chosen.generated.add(media::OCI_INDEX, bytes.expect("an index is always JSON"))
        }
    };
    Ok(chosen)
}

fn is_build(entry: &Descriptor) -> bool {
    !entry.platform.as_ref().is_some_and(Platform::is_unknown)
}

fn is_generated(chosen: &Chosen) -> bool {
    chosen.generated.open(&chosen.root.digest).is_ok_and(|found| found.is_some())
}
