//! Reads an image's manifest and config from bytes whose digest the caller has verified.
//!
//! The structs hold only what a device needs, so that the agent stays small. Both OCI's media types and Docker's
//! schema 2 are read. The bytes come from a registry and are untrusted in shape: every count and length is bounded.
//! Source: OCI image specification 1.1, `manifest.md` and `config.md`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Digest;

/// Largest manifest, index or config that is read. Registries accept up to 4 MiB; real ones are under 100 KiB.
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;
/// Most layers in one image. Docker's own limit is 127; overlayfs ends at 500.
pub const MAX_LAYERS: usize = 128;
/// Most environment variables, entrypoint words, cmd words or ports each.
pub const MAX_LIST: usize = 1024;
/// Longest single text in a config. The kernel refuses an argument or variable above 128 KiB.
pub const MAX_TEXT_BYTES: usize = 128 << 10;

/// How a layer's tar stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// One layer of an image, lowest first in [`Image::layers`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRef {
    /// The digest of the blob as it is pulled.
    pub digest: Digest,
    /// How the blob is compressed.
    pub compression: Compression,
    /// The blob's size in bytes, as declared by the manifest.
    pub size: u64,
    /// The digest of the uncompressed tar: the name of the unpacked layer.
    pub diff_id: Digest,
}

/// An image that can be unpacked and run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The layers, lowest first.
    pub layers: Vec<LayerRef>,
    /// What the image says about running it.
    pub config: ImageConfig,
}

/// What an image says about how to run it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// GOARCH name, for example `arm64`.
    pub architecture: String,
    /// GOOS name: `linux`.
    pub os: String,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments, or the program if there is no entrypoint.
    pub cmd: Vec<String>,
    /// `NAME=value` pairs.
    pub env: Vec<String>,
    /// The working directory; empty means `/`.
    pub working_dir: String,
    /// `user`, `uid`, `user:group` or `uid:gid`; empty means root.
    pub user: String,
    /// The signal that asks the program to stop, as the image spells it (`SIGTERM`, `15`).
    pub stop_signal: Option<String>,
    /// `80/tcp` and the like, in order.
    pub exposed_ports: Vec<String>,
}

/// What a manifest points at, before its config has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of the config document.
    pub config: Digest,
    /// The config document's size in bytes.
    pub config_size: u64,
    /// The layers' digests, compressions and sizes in bytes, lowest first.
    pub layers: Vec<(Digest, Compression, u64)>,
}

/// Why an image can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The document is larger than any real one.
    #[error("image {document} is {bytes} bytes, more than the {MAX_DOCUMENT_BYTES} that are read")]
    TooLarge {
        /// `manifest`, `config` or `index`.
        document: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// The document is not the JSON that the specification asks for.
    #[error("image {document} is not valid: {cause}")]
    Malformed {
        /// `manifest`, `config` or `index`.
        document: &'static str,
        /// What the JSON reader said.
        cause: serde_json::Error,
    },
    /// The document names a kind of content that is not an image for this agent.
    #[error("image {document} has media type {media_type:?}, which this agent does not run")]
    MediaType {
        /// `manifest`, `layer` or `index`.
        document: &'static str,
        /// The media type.
        media_type: String,
    },
    /// A digest is not SHA-256.
    #[error("image manifest: {0}")]
    Digest(#[from] crate::DigestError),
    /// A list or a text is longer than its bound.
    #[error("image {what} exceeds its limit of {limit}")]
    Bound {
        /// The list or text.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// Manifest and config are not of one image.
    #[error(
        "image manifest has {layers} layers but its config names {diff_ids}; rebuild the image"
    )]
    LayerCount {
        /// Layers in the manifest.
        layers: usize,
        /// Diff ids in the config.
        diff_ids: usize,
    },
    /// The image is for another operating system.
    #[error("image is for operating system {0:?}; only linux images run here")]
    Os(String),
    /// No entry of an index fits the device.
    #[error("image has no variant for linux/{wanted}; it offers {offered}")]
    NoPlatform {
        /// The device's architecture.
        wanted: String,
        /// What the index has.
        offered: String,
    },
}

/// Reads a manifest (not an index: see [`crate::index`]).
pub fn read_manifest(bytes: &[u8]) -> Result<Manifest, ImageError> {
    let raw: RawManifest = read_json("manifest", bytes)?;
    if let Some(media_type) = raw.media_type
        && !MANIFEST_TYPES.contains(&media_type.as_str())
    {
        return Err(ImageError::MediaType { document: "manifest", media_type });
    }
    bound("manifest's number of layers", raw.layers.len(), MAX_LAYERS)?;
    let layers = raw.layers.into_iter().map(|layer| {
        Ok((Digest::parse(&layer.digest)?, layer_compression(layer.media_type)?, layer.size))
    });
    Ok(Manifest {
        config: Digest::parse(&raw.config.digest)?,
        config_size: raw.config.size,
        layers: layers.collect::<Result<_, ImageError>>()?,
    })
}

/// Joins a manifest with its config document.
pub fn read_image(manifest: &Manifest, config: &[u8]) -> Result<Image, ImageError> {
    let raw: RawImage = read_json("config", config)?;
    let diff_ids = raw.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(ImageError::LayerCount {
            layers: manifest.layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    let layers = manifest.layers.iter().zip(&diff_ids).map(|(layer, diff_id)| {
        let (digest, compression, size) = *layer;
        Ok(LayerRef { digest, compression, size, diff_id: Digest::parse(diff_id)? })
    });
    let layers = layers.collect::<Result<_, ImageError>>()?;
    if raw.os != "linux" {
        return Err(ImageError::Os(raw.os.chars().take(40).collect()));
    }
    let config = resolve_config(raw.architecture, raw.os, raw.config.unwrap_or_default())?;
    Ok(Image { layers, config })
}

fn resolve_config(
    architecture: String,
    os: String,
    raw: RawConfig,
) -> Result<ImageConfig, ImageError> {
    let ports: Vec<String> = raw.exposed_ports.unwrap_or_default().into_keys().collect();
    let config = ImageConfig {
        architecture,
        os,
        entrypoint: raw.entrypoint.unwrap_or_default(),
        cmd: raw.cmd.unwrap_or_default(),
        env: raw.env.unwrap_or_default(),
        working_dir: raw.working_dir.unwrap_or_default(),
        user: raw.user.unwrap_or_default(),
        stop_signal: raw.stop_signal.filter(|signal| !signal.is_empty()),
        exposed_ports: ports,
    };
    let lists = [
        ("entrypoint", &config.entrypoint),
        ("cmd", &config.cmd),
        ("environment", &config.env),
        ("list of exposed ports", &config.exposed_ports),
    ];
    for (what, list) in lists {
        bound(what, list.len(), MAX_LIST)?;
        for text in list {
            bound(what, text.len(), MAX_TEXT_BYTES)?;
        }
    }
    bound("working directory", config.working_dir.len(), 4096)?;
    bound("user", config.user.len(), 256)?;
    bound("stop signal", config.stop_signal.as_deref().unwrap_or("").len(), 32)?;
    Ok(config)
}

const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

fn layer_compression(media_type: String) -> Result<Compression, ImageError> {
    match media_type.as_str() {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Compression::None),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Ok(Compression::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Compression::Zstd),
        _ => Err(ImageError::MediaType { document: "layer", media_type }),
    }
}

pub(crate) fn read_json<'a, T: Deserialize<'a>>(
    document: &'static str,
    bytes: &'a [u8],
) -> Result<T, ImageError> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(ImageError::TooLarge { document, bytes: bytes.len() });
    }
    serde_json::from_slice(bytes).map_err(|cause| ImageError::Malformed { document, cause })
}

pub(crate) fn bound(what: &'static str, found: usize, limit: usize) -> Result<(), ImageError> {
    if found > limit { Err(ImageError::Bound { what, limit }) } else { Ok(()) }
}

#[derive(Deserialize)]
struct RawManifest {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    config: RawDescriptor,
    layers: Vec<RawDescriptor>,
}

#[derive(Deserialize)]
struct RawDescriptor {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
struct RawImage {
    architecture: String,
    os: String,
    config: Option<RawConfig>,
    rootfs: RawRootfs,
}

#[derive(Deserialize)]
struct RawRootfs {
    diff_ids: Vec<String>,
}

/// Docker writes `null` where OCI leaves the field out, so every field is optional.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fill: u8) -> Digest {
        Digest::from_bytes([fill; 32])
    }

    fn manifest(layer_type: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":7}},
            "layers":[{{"mediaType":"{layer_type}","digest":"{}","size":99}}]}}"#,
            digest(1),
            digest(2),
        )
    }

    const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

    #[test]
    fn manifest_and_config_join_into_an_image() {
        let manifest = read_manifest(manifest(GZIP).as_bytes()).expect("manifest");
        assert_eq!((manifest.config, manifest.config_size), (digest(1), 7));
        let config = format!(
            r#"{{"architecture":"arm64","os":"linux","config":{{"User":"app","Env":["A=b"],
            "Entrypoint":["/run"],"Cmd":null,"WorkingDir":"/srv","StopSignal":"SIGINT",
            "ExposedPorts":{{"80/tcp":{{}}}},"Labels":{{"a":"b"}}}},
            "rootfs":{{"type":"layers","diff_ids":["{}"]}},"history":[]}}"#,
            digest(3)
        );
        let image = read_image(&manifest, config.as_bytes()).expect("image");
        let layer = LayerRef {
            digest: digest(2),
            compression: Compression::Gzip,
            size: 99,
            diff_id: digest(3),
        };
        assert_eq!(image.layers, [layer]);
        assert_eq!(image.config.entrypoint, ["/run"]);
        assert_eq!(image.config.cmd, [""; 0]);
        assert_eq!(image.config.user, "app");
        assert_eq!(image.config.stop_signal.as_deref(), Some("SIGINT"));
        assert_eq!(image.config.exposed_ports, ["80/tcp"]);
    }

    #[test]
    fn refusals_name_the_cause() {
        let unknown = read_manifest(manifest("application/x-thing").as_bytes());
        assert!(unknown.expect_err("refused").to_string().contains("application/x-thing"));
        let manifest = read_manifest(manifest(GZIP).as_bytes()).expect("manifest");
        let none = br#"{"architecture":"arm64","os":"linux","rootfs":{"diff_ids":[]}}"#;
        let error = read_image(&manifest, none).expect_err("refused");
        assert!(error.to_string().contains("has 1 layers but its config names 0"), "{error}");
        let windows = format!(
            r#"{{"architecture":"amd64","os":"windows","rootfs":{{"diff_ids":["{}"]}}}}"#,
            digest(3)
        );
        let error = read_image(&manifest, windows.as_bytes()).expect_err("refused");
        assert!(error.to_string().contains("windows"), "{error}");
    }

    #[test]
    fn lists_beyond_their_bound_are_refused() {
        let layer = format!(r#"{{"mediaType":"{GZIP}","digest":"{}","size":1}}"#, digest(2));
        let text = format!(
            r#"{{"config":{{"mediaType":"","digest":"{}","size":1}},"layers":[{}]}}"#,
            digest(1),
            vec![layer; MAX_LAYERS + 1].join(",")
        );
        assert!(matches!(read_manifest(text.as_bytes()), Err(ImageError::Bound { .. })));
        let large = vec![b' '; MAX_DOCUMENT_BYTES + 1];
        assert!(matches!(read_manifest(&large), Err(ImageError::TooLarge { .. })));
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read_manifest(&bytes);
            let _ = crate::index::pick(&bytes, "arm64", None);
        }
    }
}
