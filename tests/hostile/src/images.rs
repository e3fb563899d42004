//! The bytes are an image, as a file to push, as a layout, or as what a registry serves. The first byte says which:
//!
//! | first byte mod 4 | what follows |
//! |---|---|
//! | 0 | a file: an archive, a `.wasm`, a `.wat`, or none of these |
//! | 1 | pieces: blobs, of which the last is `index.json`. `@n` in a piece stands for the digest of the n-th piece, `#n` for its length |
//! | 2 | an image's configuration: what becomes of it in a container |
//! | 3 | a line with a name, a digest or a platform |
//!
//! What is accepted is what a device and the registry will use: it must be whole, bounded, and mean one thing.

use std::io::{self, Cursor, Write};

use lichen_images::{
    Descriptor, Digest, Name, Platform, Reference, Tag,
    blobs::{Blob, Blobs, Memory},
    digest::Digester,
    document::{Document, MAX_INDEX_ENTRIES, MAX_LAYERS},
    layout::{self, Layout},
    media, resolve, source, walk,
};
use lichen_oci::{
    config::{
        CgroupVersion, ContainerSpec, EtcFiles, Host, Ipc, Mount, MountSource, Network, Processes,
        Propagation, Resources, Security, runtime_config,
    },
    expand, image, index, signal,
    user::UserIds,
};

use crate::{
    meter::bounded,
    script::{Script, memory},
};

/// Heap bytes that reading an image may take, whatever it is.
const BASE_BYTES: usize = 4 * 1024 * 1024;
/// Heap bytes per byte: JSON to documents, twice, and a module that is checked.
const BYTES_PER_BYTE: usize = 1024;

/// One image.
pub fn images(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    bounded("reading an image", limit, || match first % 4 {
        0 => file(rest),
        1 => pieces(rest),
        2 => configuration(rest),
        _ => names(&String::from_utf8_lossy(rest)),
    });
}

fn file(bytes: &[u8]) {
    let mut file = tempfile::Builder::new().tempfile_in(memory()).expect("a file");
    file.write_all(bytes).expect("it can be written");
    match source::open(file.path(), None) {
        Ok(pushable) => {
            let pieces = pushable.pieces();
            assert!(!pieces.is_empty() && pieces.len() <= walk::MAX_BLOBS);
            assert!(pieces.iter().any(|piece| piece.descriptor.digest == pushable.root.digest));
            check_pieces(pushable.blobs(), pieces);
            for_devices(pushable.blobs(), &pushable.root);
        }
        Err(error) => assert!(!error.to_string().is_empty() && !error.cause.to_string().is_empty()),
    }
}

/// The pieces of an image come children first, and each is there.
fn check_pieces(blobs: &dyn Blobs, pieces: &[walk::Piece]) {
    for piece in pieces {
        // A blob is checked when it is read; a manifest has been read.
        if piece.kind == walk::Kind::Manifest {
            let opened =
                blobs.open(&piece.descriptor.digest).expect("memory and files can be read");
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut opened.expect("it was read before").reader, &mut bytes)
                .expect("it can be read");
            assert_eq!(Digest::of(&bytes), piece.descriptor.digest);
            document(&bytes);
        }
    }
    for (index, piece) in pieces.iter().enumerate() {
        let again =
            pieces[..index].iter().any(|other| other.descriptor.digest == piece.descriptor.digest);
        assert!(!again, "a blob is sent twice");
    }
}

fn for_devices(blobs: &dyn Blobs, root: &Descriptor) {
    let platforms = match resolve::platforms(blobs, &root.digest) {
        Ok(platforms) => platforms,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(platforms.len() <= MAX_INDEX_ENTRIES * 2);
    for device in [Platform::linux("amd64", None), Platform::linux("arm", Some("v6"))] {
        if let Err(error) = resolve::resolve(blobs, &root.digest, &device) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// A layout in memory.
struct Pieces {
    blobs: Vec<(Digest, Vec<u8>)>,
    index: Vec<u8>,
}

impl Blobs for Pieces {
    fn open(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        let found = self.blobs.iter().find(|(known, _)| known == digest);
        Ok(found.map(|(_, bytes)| Blob {
            len: bytes.len() as u64,
            reader: Box::new(Cursor::new(bytes.clone())),
        }))
    }
}

impl Layout for Pieces {
    fn file(&self, name: &str, _limit: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(match name {
            "oci-layout" => Some(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            "index.json" => Some(self.index.clone()),
            _ => None,
        })
    }

    fn into_blobs(self: Box<Self>) -> Box<dyn Blobs> {
        self
    }
}

/// What was generated for a layout, before what it holds.
struct Both(Memory, Pieces);

impl Blobs for Both {
    fn open(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        Ok(self.0.open(digest)?.or(self.1.open(digest)?))
    }
}

fn pieces(bytes: &[u8]) {
    let mut blobs: Vec<(Digest, Vec<u8>)> = Vec::new();
    let mut script = Script::new(bytes);
    for _ in 0..10 {
        let piece = script.piece();
        if piece.is_empty() {
            break;
        }
        let piece = filled_in(piece, &blobs);
        document(&piece);
        blobs.push((Digest::of(&piece), piece));
    }
    let Some((_, index)) = blobs.pop() else { return };
    let devices_view = blobs.clone();
    let layout = Pieces { blobs, index };
    match layout::choose(&layout, None) {
        Ok(chosen) => {
            let blobs = Both(chosen.generated, layout);
            match walk::walk(&blobs, &chosen.root) {
                Ok(pieces) => check_pieces(&blobs, &pieces),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            for_devices(&blobs, &chosen.root);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    on_device(&devices_view);
}

/// `@n` and `#n`, so that pieces can name each other.
fn filled_in(piece: &[u8], earlier: &[(Digest, Vec<u8>)]) -> Vec<u8> {
    let mut filled = Vec::new();
    let mut rest = piece;
    while let Some((first, after)) = rest.split_first() {
        let digit = after.first().filter(|digit| digit.is_ascii_digit());
        let named = digit.and_then(|digit| earlier.get(usize::from(digit - b'0')));
        match (first, named) {
            (b'@', Some((digest, _))) => filled.extend(digest.to_string().bytes()),
            (b'#', Some((_, bytes))) => filled.extend(bytes.len().to_string().bytes()),
            _ => {
                filled.push(*first);
                rest = after;
                continue;
            }
        }
        rest = &after[1..];
    }
    filled
}

/// What is written again means the same.
fn document(bytes: &[u8]) {
    for declared in [None, Some(media::OCI_MANIFEST), Some(media::OCI_INDEX)] {
        match Document::parse(bytes, declared) {
            Ok(document) => {
                let written = match &document {
                    Document::Manifest(manifest) => {
                        assert!(manifest.layers.len() <= MAX_LAYERS);
                        serde_json::to_vec(manifest)
                    }
                    Document::Index(index) => {
                        assert!(index.manifests.len() <= MAX_INDEX_ENTRIES);
                        serde_json::to_vec(index)
                    }
                };
                let written = written.expect("it is JSON");
                assert_eq!(Document::parse(&written, declared).expect("our own"), document);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// The agent's reading of the same pieces.
fn on_device(blobs: &[(Digest, Vec<u8>)]) {
    for (_, bytes) in blobs {
        match index::pick(bytes, "amd64", None) {
            Ok(digest) => assert!(String::from_utf8_lossy(bytes).contains(&digest.hex())),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        let Ok(manifest) = image::read_manifest(bytes) else { continue };
        for (_, config) in blobs {
            match image::read_image(&manifest, config) {
                Ok(image) => assert_eq!(image.layers.len(), manifest.layers.len()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// An image's configuration, and what the OCI runtime is told.
fn configuration(bytes: &[u8]) {
    let mut digest = Digester::default();
    digest.update(bytes);
    let id = digest.finish();
    let layer = Digest::of(b"layer");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{id}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{layer}","size":1}}]}}"#,
        media::OCI_MANIFEST,
        media::OCI_CONFIG,
        bytes.len()
    );
    let manifest = image::read_manifest(manifest.as_bytes()).expect("our own manifest");
    let image = match image::read_image(&manifest, bytes) {
        Ok(image) => image,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let text = String::from_utf8_lossy(bytes);
    let env: Vec<(String, String)> = image
        .config
        .env
        .iter()
        .take(64)
        .enumerate()
        .map(|(n, value)| (format!("V{n}"), value.clone()))
        .collect();
    if let Ok(expanded) = expand::expand_env(&env) {
        assert!(expanded.values().all(|value| value.len() <= expand::MAX_EXPANDED_BYTES));
    }
    let number = image.config.stop_signal.as_deref().and_then(signal::number);
    assert!(number.is_none_or(|number| (1..=64).contains(&number)), "signal {number:?}");
    let spec = spec(&env, &image.config.entrypoint, &text);
    match runtime_config(&spec, &image.config, &host()) {
        Ok(config) => {
            let arguments = config["process"]["args"].as_array().expect("a list");
            assert!(
                arguments.first().and_then(|first| first.as_str()).is_some_and(|a| !a.is_empty())
            );
            assert!(config["process"]["cwd"].as_str().is_some_and(|cwd| cwd.starts_with('/')));
            assert_eq!(config["process"]["noNewPrivileges"], true);
            assert_eq!(config["root"]["path"], "rootfs");
            assert!(!config.to_string().contains("\\u0000"), "no argument can hold a zero byte");
            check_mounts(&config["mounts"]);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_mounts(mounts: &serde_json::Value) {
    for mount in mounts.as_array().expect("a list") {
        let destination = mount["destination"].as_str().expect("a path");
        assert!(destination.starts_with('/'));
        assert!(!destination.split('/').any(|part| part == ".."), "it climbs: {destination}");
    }
}

fn spec(env: &[(String, String)], words: &[String], text: &str) -> ContainerSpec {
    let path = text.chars().filter(|c| !c.is_control()).take(24).collect::<String>();
    ContainerSpec {
        id: "i-1".to_owned(),
        cgroup: "p-1/i-1".to_owned(),
        hostname: path.clone(),
        command: if text.len().is_multiple_of(2) { words.to_vec() } else { Vec::new() },
        args: if text.len().is_multiple_of(3) { words.to_vec() } else { Vec::new() },
        env: env.to_vec(),
        working_dir: text.len().is_multiple_of(5).then(|| format!("/{path}")),
        user: UserIds { uid: 0, gid: 0, more_gids: Vec::new() },
        read_only_root: false,
        allow_privilege_escalation: false,
        network: Network::Private,
        ipc: Ipc::Private,
        resources: Resources::default(),
        oom_score_adj: None,
        mounts: vec![Mount {
            source: MountSource::Volume("/volume".into()),
            target: format!("/{path}"),
            read_only: true,
            propagation: Propagation::Private,
        }],
        processes: Processes::Private,
        security: Security::default(),
        etc: EtcFiles::default(),
    }
}

fn host() -> Host {
    Host {
        cgroup: CgroupVersion::V2,
        limits_enforced: true,
        lacks: Default::default(),
        seccomp: true,
        mqueue: true,
        architecture: "amd64",
        cgroup_parent: "/lichen".to_owned(),
    }
}

/// Whatever is taken for a name is written in one way.
fn names(text: &str) {
    macro_rules! each {
        ($($parsed:expr => $again:expr),* $(,)?) => { $(
            match $parsed {
                Ok(value) => assert_eq!($again(&value.to_string()).expect("our own"), value),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        )* };
    }
    each! {
        Reference::parse(text) => Reference::parse,
        Name::parse(text) => Name::parse,
        Tag::parse(text) => Tag::parse,
        Digest::parse(text) => Digest::parse,
        text.parse::<Platform>() => str::parse::<Platform>,
    }
    if let Ok(reference) = Reference::parse(text) {
        // The engine looks names up in its own way: both must mean the same.
        let tagged = lichen_hub_core::resolve::tagged(text);
        if reference.digest.is_none() {
            let expected = reference.tag.clone().unwrap_or_else(Tag::latest);
            assert_eq!(tagged, format!("{}:{expected}", reference.name), "{text:?}");
        }
    }
    if let Some(number) = signal::number(text) {
        assert!((1..=64).contains(&number), "signal {number}");
    }
}
