//! What an image consists of: from a root to every blob, in the order in which a push must send them, and the set that
//! collecting garbage must keep.

use std::collections::BTreeSet;

use crate::blobs::{BlobError, Blobs, open_checked, read_small};
use crate::document::{Document, DocumentError, MAX_DOCUMENT_BYTES};
use crate::{Descriptor, Digest, media};

/// How deep an index may contain an index: a root index, one below it, then manifests.
pub const MAX_INDEX_DEPTH: usize = 2;
/// Most blobs of one image: 32 platforms of [`crate::document::MAX_LAYERS`] layers.
pub const MAX_BLOBS: usize = 4096;

/// One blob of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its type, digest and size.
    pub descriptor: Descriptor,
    /// How a registry takes it.
    pub kind: Kind,
}

/// The two things that a registry stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sent to `…/blobs/`: a layer or a configuration.
    Blob,
    /// Sent to `…/manifests/`: a manifest or an index, after everything that it refers to.
    Manifest,
}

/// Why an image can't be followed from its root.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// A blob is missing, of the wrong size, corrupt or unreadable.
    #[error("could not read the {part} of the image")]
    Blob {
        /// What the blob is.
        part: String,
        /// The cause.
        #[source]
        source: BlobError,
    },
    /// A manifest or an index is not valid.
    #[error("could not understand manifest {digest}")]
    Document {
        /// Which one.
        digest: Digest,
        /// The cause.
        #[source]
        source: DocumentError,
    },
    /// More than [`MAX_INDEX_DEPTH`] indexes inside each other, or an index that contains itself.
    #[error("the image nests more than {MAX_INDEX_DEPTH} indexes")]
    TooDeep,
    /// More than [`MAX_BLOBS`].
    #[error("the image has more than {MAX_BLOBS} blobs")]
    TooMany,
}

/// Lists every blob of the image, each once, what is referred to before what refers to it. Manifests are read and
/// verified; layers and configurations are checked for presence and size.
///
/// # Errors
/// Anything that would keep the image from being complete.
pub fn walk(blobs: &dyn Blobs, root: &Descriptor) -> Result<Vec<Piece>, WalkError> {
    let mut walk = Walk { blobs, seen: BTreeSet::new(), pieces: Vec::new() };
    walk.document(root, 0)?;
    Ok(walk.pieces)
}

/// Reads the manifest or index that a descriptor names, verified.
///
/// # Errors
/// It is missing, corrupt or not valid.
pub fn read_document(blobs: &dyn Blobs, wanted: &Descriptor) -> Result<Document, WalkError> {
    let bytes = read_small(blobs, &wanted.digest, MAX_DOCUMENT_BYTES)
        .map_err(|source| WalkError::Blob { part: part(wanted), source })?;
    if bytes.len() as u64 != wanted.size {
        let (digest, len) = (wanted.digest, bytes.len() as u64);
        let source = BlobError::Length { digest, len, expected: wanted.size };
        return Err(WalkError::Blob { part: part(wanted), source });
    }
    Document::parse(&bytes, Some(&wanted.media_type))
        .map_err(|source| WalkError::Document { digest: wanted.digest, source })
}

/// Everything that these roots (manifests or indexes) refer to, with the roots themselves: what must be kept. A blob
/// that is missing is named all the same and doesn't stop the walk.
///
/// # Errors
/// A document is there but can't be read: then nothing may be collected, because what it refers to is unknown.
pub fn reachable(
    blobs: &dyn Blobs,
    roots: impl IntoIterator<Item = Digest>,
) -> Result<BTreeSet<Digest>, WalkError> {
    let mut found = BTreeSet::new();
    let mut documents: Vec<Digest> = roots.into_iter().collect();
    while let Some(digest) = documents.pop() {
        if !found.insert(digest) {
            continue;
        }
        let bytes = match read_small(blobs, &digest, MAX_DOCUMENT_BYTES) {
            Err(BlobError::Missing(_)) => continue,
            read => {
                read.map_err(|source| WalkError::Blob { part: "manifest".to_owned(), source })?
            }
        };
        let document = Document::parse(&bytes, None)
            .map_err(|source| WalkError::Document { digest, source })?;
        match &document {
            Document::Manifest(_) => found.extend(document.children().iter().map(|d| d.digest)),
            Document::Index(index) => documents.extend(index.manifests.iter().map(|d| d.digest)),
        }
    }
    Ok(found)
}

struct Walk<'a> {
    blobs: &'a dyn Blobs,
    seen: BTreeSet<Digest>,
    pieces: Vec<Piece>,
}

impl Walk<'_> {
    /// Follows a manifest or an index; `depth` counts the indexes above it.
    fn document(&mut self, wanted: &Descriptor, depth: usize) -> Result<(), WalkError> {
        if self.seen.contains(&wanted.digest) {
            return Ok(());
        }
        match read_document(self.blobs, wanted)? {
            Document::Manifest(manifest) => {
                for blob in core::iter::once(&manifest.config).chain(&manifest.layers) {
                    self.blob(blob)?;
                }
            }
            Document::Index(_) if depth >= MAX_INDEX_DEPTH => return Err(WalkError::TooDeep),
            Document::Index(index) => {
                for child in &index.manifests {
                    self.document(child, depth + 1)?;
                }
            }
        }
        self.add(wanted, Kind::Manifest)
    }

    fn blob(&mut self, wanted: &Descriptor) -> Result<(), WalkError> {
        if self.seen.contains(&wanted.digest) {
            return Ok(());
        }
        open_checked(self.blobs, wanted)
            .map_err(|source| WalkError::Blob { part: part(wanted), source })?;
        self.add(wanted, Kind::Blob)
    }

    fn add(&mut self, wanted: &Descriptor, kind: Kind) -> Result<(), WalkError> {
        if self.pieces.len() >= MAX_BLOBS {
            return Err(WalkError::TooMany);
        }
        self.seen.insert(wanted.digest);
        self.pieces.push(Piece { descriptor: wanted.clone(), kind });
        Ok(())
    }
}

/// What a blob is, for a message.
fn part(descriptor: &Descriptor) -> String {
    let media_type = descriptor.media_type.as_str();
    let what = match media_type {
        _ if media::is_index(media_type) => "index",
        _ if media::is_manifest(media_type) => "manifest",
        media::OCI_CONFIG | media::DOCKER_CONFIG | media::WASM_CONFIG => "configuration",
        _ if media::is_wasm_layer(media_type) => "Wasm module",
        _ if media::is_container_layer(media_type) => "layer",
        _ => "content",
    };
    match &descriptor.platform {
        Some(platform) => format!("{what} for {platform}"),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::Memory;
    use crate::document::{Index, Manifest};

    fn json(value: &impl serde::Serialize) -> Vec<u8> {
        serde_json::to_vec(value).expect("to json")
    }

    fn image(blobs: &mut Memory, text: &str) -> Descriptor {
        let config = blobs.add(media::OCI_CONFIG, b"{}".to_vec());
        let layer = blobs.add(media::OCI_LAYER, text.as_bytes().to_vec());
        blobs.add(media::OCI_MANIFEST, json(&Manifest::new(config, vec![layer])))
    }

    fn index(blobs: &mut Memory, manifests: Vec<Descriptor>) -> Descriptor {
        blobs.add(media::OCI_INDEX, json(&Index::new(manifests)))
    }

    #[test]
    fn blobs_come_before_what_refers_to_them_and_each_once() {
        let mut blobs = Memory::default();
        let (one, two) = (image(&mut blobs, "one"), image(&mut blobs, "two"));
        let root = index(&mut blobs, vec![one.clone(), two.clone(), one.clone()]);
        let pieces = walk(&blobs, &root).expect("walk");
        let order: Vec<Digest> = pieces.iter().map(|piece| piece.descriptor.digest).collect();
        let of = |text: &str| Digest::of(text.as_bytes());
        assert_eq!(order, [of("{}"), of("one"), one.digest, of("two"), two.digest, root.digest]);
        assert_eq!(pieces[1].kind, Kind::Blob);
        assert_eq!(pieces[5].kind, Kind::Manifest);
        let kept = reachable(&blobs, [root.digest]).expect("reachable");
        assert_eq!(kept, order.into_iter().collect());
    }

    #[test]
    fn indexes_nest_twice_and_no_deeper() {
        let mut blobs = Memory::default();
        let leaf = image(&mut blobs, "leaf");
        let inner = index(&mut blobs, vec![leaf]);
        let root = index(&mut blobs, vec![inner]);
        assert_eq!(walk(&blobs, &root).expect("two are fine").len(), 5);
        let deeper = index(&mut blobs, vec![root]);
        assert!(matches!(walk(&blobs, &deeper), Err(WalkError::TooDeep)));
    }

    #[test]
    fn a_missing_or_wrong_part_is_named() {
        let mut blobs = Memory::default();
        let config = blobs.add(media::OCI_CONFIG, b"{}".to_vec());
        let absent = Descriptor::of(media::OCI_LAYER, b"absent");
        let manifest = json(&Manifest::new(config.clone(), vec![absent.clone()]));
        let root = blobs.add(media::OCI_MANIFEST, manifest);
        let error = walk(&blobs, &root).expect_err("missing");
        assert_eq!(error.to_string(), "could not read the layer of the image");
        let kept = reachable(&blobs, [root.digest]).expect("named all the same");
        assert!(kept.contains(&absent.digest));

        let mut wrong = config;
        wrong.size = 3;
        let root = blobs.add(media::OCI_MANIFEST, json(&Manifest::new(wrong, vec![])));
        let error = crate::distribution::chain(&walk(&blobs, &root).expect_err("size"));
        assert!(error.contains("2 bytes, but its descriptor says 3"), "{error}");
    }

    #[test]
    fn nothing_is_collectable_while_a_root_cannot_be_understood() {
        let mut blobs = Memory::default();
        let root = blobs.add(media::OCI_MANIFEST, b"not json".to_vec());
        assert!(reachable(&blobs, [root.digest]).is_err());
        assert!(reachable(&blobs, [Digest::of(b"gone")]).is_ok());
    }
}
