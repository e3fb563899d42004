//! From an image to what one device needs of it: the build for its platform, as digests that an assignment can carry.

use crate::blobs::{BlobError, Blobs, read_small};
use crate::document::{Document, Index, MAX_DOCUMENT_BYTES, Manifest};
use crate::walk::{MAX_BLOBS, MAX_INDEX_DEPTH, WalkError, read_document};
use crate::wasm::{self, WasmError};
use crate::{Descriptor, Digest, Platform, media};

/// What a device needs to run an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// A container image for the device's platform.
    Container {
        /// The manifest of that build.
        manifest: Digest,
        /// The configuration: entry point, environment and so on.
        config: Blob,
        /// The layers, lowest first.
        layers: Vec<Blob>,
    },
    /// A Wasm module or component; it suits every device with a Wasm runtime.
    Wasm {
        /// The manifest of the artefact.
        manifest: Digest,
        /// The module.
        module: Digest,
        /// Its size in bytes.
        size: u64,
        /// A component (WASI preview 2) rather than a core module (preview 1).
        component: bool,
    },
}

/// One blob that a device downloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What it is.
    pub media_type: String,
}

/// Why an image has nothing for a device. The messages read well after "image … cannot run: ".
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There are builds, but none for this platform.
    #[error("image has no build for {wanted}; it has {}", list(offered))]
    NoBuild {
        /// The device's platform.
        wanted: Platform,
        /// What there is.
        offered: Vec<Platform>,
    },
    /// It is an artefact of another kind.
    #[error("it is not a container image or a Wasm module: its configuration has the type {0:?}")]
    NotAnImage(String),
    /// A layer of a kind that devices can't unpack.
    #[error("layer {digest} has the type {media_type:?}, which a device can't unpack")]
    LayerType {
        /// Which layer.
        digest: Digest,
        /// Its type.
        media_type: String,
    },
    /// A Wasm artefact must have one layer.
    #[error("the Wasm artefact has {0} Wasm layers; exactly one is supported")]
    WasmLayers(usize),
    /// The configuration doesn't say what it is for.
    #[error("could not understand configuration {0}")]
    Config(Digest, #[source] serde_json::Error),
    /// A blob is missing or corrupt.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A manifest is missing, corrupt or not valid.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The module is missing or not WebAssembly.
    #[error("could not use the Wasm module")]
    Wasm(#[from] WasmError),
}

/// Finds what `device` needs of the image with this root (a manifest or an index).
///
/// # Errors
/// There is no build for the device, or the image is not complete or not valid.
pub fn resolve(
    blobs: &dyn Blobs,
    root: &Digest,
    device: &Platform,
) -> Result<Resolved, ResolveError> {
    let bytes = read_small(blobs, root, MAX_DOCUMENT_BYTES)?;
    let document = Document::parse(&bytes, None)
        .map_err(|source| WalkError::Document { digest: *root, source })?;
    match document {
        Document::Manifest(manifest) => one(blobs, *root, &manifest, device),
        Document::Index(index) => best(blobs, &index, device),
    }
}

/// Every platform that an image has a build for, in order, each once. `wasip1/wasm` stands for a module.
///
/// # Errors
/// The image is not complete or not valid.
pub fn platforms(blobs: &dyn Blobs, root: &Digest) -> Result<Vec<Platform>, ResolveError> {
    let bytes = read_small(blobs, root, MAX_DOCUMENT_BYTES)?;
    let document = Document::parse(&bytes, None)
        .map_err(|source| WalkError::Document { digest: *root, source })?;
    let mut found = match document {
        Document::Manifest(manifest) => vec![platform_of(blobs, &manifest)?],
        Document::Index(index) => {
            all_builds(blobs, &index)?.into_iter().map(|(platform, _)| platform).collect()
        }
    };
    found.sort();
    found.dedup();
    Ok(found)
}

/// The build of an index that suits best. A Wasm module in it suits every device, but a native build goes first.
fn best(blobs: &dyn Blobs, index: &Index, device: &Platform) -> Result<Resolved, ResolveError> {
    let builds = all_builds(blobs, index)?;
    let score = |platform: &Platform| {
        let native = device.suits(platform).map(|suits| suits + 1);
        native.or_else(|| (platform.architecture == "wasm").then_some(0))
    };
    // The first of equals: the order of an index is its author's preference.
    let suiting = builds.iter().filter_map(|build| Some((score(&build.0)?, build)));
    let Some((_, (_, entry))) = suiting.rev().max_by_key(|(score, _)| *score) else {
        let mut offered: Vec<Platform> = builds.into_iter().map(|(platform, _)| platform).collect();
        offered.sort();
        offered.dedup();
        return Err(ResolveError::NoBuild { wanted: device.clone(), offered });
    };
    match read_document(blobs, entry)? {
        Document::Manifest(manifest) => one(blobs, entry.digest, &manifest, device),
        Document::Index(_) => Err(WalkError::TooDeep.into()),
    }
}

fn all_builds(
    blobs: &dyn Blobs,
    index: &Index,
) -> Result<Vec<(Platform, Descriptor)>, ResolveError> {
    let mut reads = MAX_BLOBS;
    builds(blobs, index, 1, &mut reads)
}

/// The manifests of an index and of the indexes in it, with their platforms. Attestations and other things that are no
/// builds are left out. `reads` bounds how many documents are read for it.
fn builds(
    blobs: &dyn Blobs,
    index: &Index,
    depth: usize,
    reads: &mut usize,
) -> Result<Vec<(Platform, Descriptor)>, ResolveError> {
    let mut found = Vec::new();
    for entry in &index.manifests {
        match &entry.platform {
            Some(platform) if platform.is_unknown() => continue,
            Some(platform) if media::is_manifest(&entry.media_type) => {
                found.push((platform.clone().normalised(), entry.clone()));
                continue;
            }
            _ => {}
        }
        *reads = reads.checked_sub(1).ok_or(WalkError::TooMany)?;
        match read_document(blobs, entry)? {
            Document::Manifest(manifest) => {
                found.push((platform_of(blobs, &manifest)?, entry.clone()));
            }
            Document::Index(_) if depth >= MAX_INDEX_DEPTH => {
                return Err(WalkError::TooDeep.into());
            }
            Document::Index(inner) => found.extend(builds(blobs, &inner, depth + 1, reads)?),
        }
    }
    Ok(found)
}

fn one(
    blobs: &dyn Blobs,
    digest: Digest,
    manifest: &Manifest,
    device: &Platform,
) -> Result<Resolved, ResolveError> {
    let is_wasm = |layer: &&Descriptor| media::is_wasm_layer(&layer.media_type);
    let wasm: Vec<&Descriptor> = manifest.layers.iter().filter(is_wasm).collect();
    match wasm.as_slice() {
        [module] => {
            let component = wasm::kind_of(blobs, &module.digest)? == wasm::Kind::Component;
            let (module, size) = (module.digest, module.size);
            Ok(Resolved::Wasm { manifest: digest, module, size, component })
        }
        [] if manifest.config.media_type == media::WASM_CONFIG => Err(ResolveError::WasmLayers(0)),
        [] => container(blobs, digest, manifest, device),
        several => Err(ResolveError::WasmLayers(several.len())),
    }
}

fn container(
    blobs: &dyn Blobs,
    digest: Digest,
    manifest: &Manifest,
    device: &Platform,
) -> Result<Resolved, ResolveError> {
    let offered = platform_of(blobs, manifest)?;
    if device.suits(&offered).is_none() {
        return Err(ResolveError::NoBuild { wanted: device.clone(), offered: vec![offered] });
    }
    let wrong = manifest.layers.iter().find(|layer| !media::is_container_layer(&layer.media_type));
    if let Some(Descriptor { digest, media_type, .. }) = wrong {
        let media_type = media_type.clone();
        return Err(ResolveError::LayerType { digest: *digest, media_type });
    }
    let layers = manifest.layers.iter().map(blob).collect();
    Ok(Resolved::Container { manifest: digest, config: blob(&manifest.config), layers })
}

fn blob(descriptor: &Descriptor) -> Blob {
    let Descriptor { digest, size, media_type, .. } = descriptor;
    Blob { digest: *digest, size: *size, media_type: media_type.clone() }
}

/// The platform that a manifest's configuration names.
fn platform_of(blobs: &dyn Blobs, manifest: &Manifest) -> Result<Platform, ResolveError> {
    let config = &manifest.config;
    let known =
        media::is_container_config(&config.media_type) || config.media_type == media::WASM_CONFIG;
    if !known {
        if manifest.layers.iter().any(|layer| media::is_wasm_layer(&layer.media_type)) {
            return Ok(Platform { os: "wasip1".to_owned(), ..Platform::linux("wasm", None) });
        }
        return Err(ResolveError::NotAnImage(config.media_type.clone()));
    }
    let bytes = read_small(blobs, &config.digest, MAX_DOCUMENT_BYTES)?;
    // Both kinds of configuration name the platform in the three fields that an index uses too.
    let platform: Platform = serde_json::from_slice(&bytes)
        .map_err(|error| ResolveError::Config(config.digest, error))?;
    Ok(platform.normalised())
}

fn list(platforms: &[Platform]) -> String {
    match platforms {
        [] => "none".to_owned(),
        some => some.iter().map(Platform::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests;
