//! Manifests and indexes: parsed for their structure, while the bytes they came as stay the ones that are hashed and served.
//!
//! Types of our own rather than `oci-spec`'s, for three reasons: a digest is our checked [`Digest`]; maps are ordered, so
//! what [`crate::pack`] writes is reproducible; and Docker's and OCI's documents are one type. What an image consists
//! of is [`crate::walk`]'s business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Platform, media};

/// Largest manifest or index: what registries commonly accept, and far above any real one.
pub const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
/// Most layers of one image; overlay file systems stop at about this many lower directories.
pub const MAX_LAYERS: usize = 128;
/// Most entries of one index: every platform with its attestation, several times over.
pub const MAX_INDEX_ENTRIES: usize = 256;
/// Most characters of a media type (RFC 6838 allows 127 on each side of the slash).
const MAX_MEDIA_TYPE_CHARS: usize = 255;

/// A link to content: what it is, its digest and its size in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// The content's name.
    pub digest: Digest,
    /// The content's length in bytes.
    pub size: u64,
    /// In an index: the platform that the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free-form notes; a layout's `index.json` keeps image names here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    /// Describes bytes in memory.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Describes content by digest and size.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, platform: None, annotations: None }
    }

    /// The annotation of that key.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// One image or artefact: a configuration and its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// OCI's or Docker's manifest type.
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// An OCI manifest.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: media::OCI_MANIFEST.to_owned(), config, layers }
    }
}

/// A choice of manifests, usually one per platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// OCI's or Docker's index type.
    pub media_type: String,
    /// The choices.
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// An OCI index.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: media::OCI_INDEX.to_owned(), manifests }
    }
}

/// What a root digest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image or artefact.
    Manifest(Manifest),
    /// A choice of them.
    Index(Index),
}

/// Why bytes are not a manifest or an index.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// More bytes than [`MAX_DOCUMENT_BYTES`].
    #[error("the manifest has {0} bytes; at most {MAX_DOCUMENT_BYTES} are accepted")]
    TooLarge(u64),
    /// Not the JSON of a manifest.
    #[error("the manifest is not valid")]
    Json(#[source] serde_json::Error),
    /// Schema 1, or something newer.
    #[error(
        "the manifest has schema version {0}; only version 2 is supported (push it with a newer tool)"
    )]
    Schema(u32),
    /// Has the parts of a manifest and of an index, or of neither.
    #[error("the document must have either config and layers (a manifest) or manifests (an index)")]
    Ambiguous,
    /// Its type says one thing and its content another.
    #[error("the document is declared as {declared:?}, but its content is that of {found}")]
    Contradiction {
        /// The type in the document, in its descriptor or in the Content-Type.
        declared: String,
        /// What its fields say.
        found: &'static str,
    },
    /// More layers than [`MAX_LAYERS`].
    #[error("the image has {0} layers; at most {MAX_LAYERS} are accepted")]
    TooManyLayers(usize),
    /// More entries than [`MAX_INDEX_ENTRIES`].
    #[error("the index has {0} entries; at most {MAX_INDEX_ENTRIES} are accepted")]
    TooManyEntries(usize),
    /// A media type that is too long or not printable.
    #[error("a media type in the manifest is empty, too long or not printable")]
    MediaType,
}

/// Any document, before it is known which it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Document {
    /// Parses untrusted bytes. `declared` is the type that a descriptor or a Content-Type header gave.
    ///
    /// # Errors
    /// A document that two readers could understand differently is refused (CVE-2021-41190).
    pub fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Self, DocumentError> {
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLarge(bytes.len() as u64));
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
        if raw.schema_version != 2 {
            return Err(DocumentError::Schema(raw.schema_version));
        }
        let inside = raw.media_type.clone();
        let document = match (raw.config, raw.layers, raw.manifests) {
            (Some(config), Some(layers), None) => manifest(config, layers, raw.media_type)?,
            (None, None, Some(manifests)) => index(manifests, raw.media_type)?,
            _ => return Err(DocumentError::Ambiguous),
        };
        for said in [inside.as_deref(), declared].into_iter().flatten() {
            document.agree_with(said)?;
        }
        document.check_media_types()?;
        Ok(document)
    }

    /// The document's own media type.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
        }
    }

    /// Everything that it links to, in order: configuration then layers, or the manifests.
    pub fn children(&self) -> Vec<&Descriptor> {
        match self {
            Self::Manifest(manifest) => {
                core::iter::once(&manifest.config).chain(&manifest.layers).collect()
            }
            Self::Index(index) => index.manifests.iter().collect(),
        }
    }

    fn agree_with(&self, declared: &str) -> Result<(), DocumentError> {
        let (agrees, found) = match self {
            Self::Manifest(_) => (media::is_manifest(declared), "a manifest"),
            Self::Index(_) => (media::is_index(declared), "an index"),
        };
        if agrees {
            return Ok(());
        }
        let declared = declared.chars().take(MAX_MEDIA_TYPE_CHARS).collect();
        Err(DocumentError::Contradiction { declared, found })
    }

    fn check_media_types(&self) -> Result<(), DocumentError> {
        let printable = |text: &str| {
            (1..=MAX_MEDIA_TYPE_CHARS).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        };
        match self.children().iter().all(|child| printable(&child.media_type)) {
            true => Ok(()),
            false => Err(DocumentError::MediaType),
        }
    }
}

fn manifest(
    config: Descriptor,
    layers: Vec<Descriptor>,
    media_type: Option<String>,
) -> Result<Document, DocumentError> {
    if layers.len() > MAX_LAYERS {
        return Err(DocumentError::TooManyLayers(layers.len()));
    }
    let media_type = media_type.unwrap_or_else(|| media::OCI_MANIFEST.to_owned());
    Ok(Document::Manifest(Manifest { schema_version: 2, media_type, config, layers }))
}

fn index(
    manifests: Vec<Descriptor>,
    media_type: Option<String>,
) -> Result<Document, DocumentError> {
    if manifests.len() > MAX_INDEX_ENTRIES {
        return Err(DocumentError::TooManyEntries(manifests.len()));
    }
    let media_type = media_type.unwrap_or_else(|| media::OCI_INDEX.to_owned());
    Ok(Document::Index(Index { schema_version: 2, media_type, manifests }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINK: &str = r#"{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;

    fn refused(json: &str, declared: Option<&str>, part: &str) {
        let error = Document::parse(json.as_bytes(), declared).expect_err(json).to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn a_manifest_without_a_media_type_is_an_oci_manifest() {
        let json = format!(r#"{{"schemaVersion":2,"config":{LINK},"layers":[{LINK}],"extra":1}}"#);
        let document = Document::parse(json.as_bytes(), None).expect("parse");
        assert_eq!(document.media_type(), media::OCI_MANIFEST);
        assert_eq!(document.children().len(), 2);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let both =
            format!(r#"{{"schemaVersion":2,"config":{LINK},"layers":[],"manifests":[{LINK}]}}"#);
        refused(&both, None, "either config and layers");
        refused(r#"{"schemaVersion":2}"#, None, "either config and layers");
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        refused(index, Some(media::OCI_MANIFEST), "that of an index");
        let typed = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{LINK},"layers":[]}}"#,
            media::OCI_INDEX
        );
        refused(&typed, None, "that of a manifest");
    }

    #[test]
    fn bounds_are_named() {
        refused(r#"{"schemaVersion":1,"config":null}"#, None, "schema version 1");
        let layers = vec![LINK; MAX_LAYERS + 1].join(",");
        let json = format!(r#"{{"schemaVersion":2,"config":{LINK},"layers":[{layers}]}}"#);
        refused(&json, None, "129 layers");
        let long = " ".repeat(MAX_DOCUMENT_BYTES as usize + 1);
        refused(&long, None, "4194305 bytes");
        let deep = "[".repeat(100_000);
        refused(&deep, None, "not valid");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = Document::parse(&bytes, None);
        }
    }
}
