//! Everything that can be pushed, made by hand and also damaged by hand. The same with real tools is in `system.rs`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use lichen_images::document::{Index, Manifest};
use lichen_images::resolve::{Resolved, resolve};
use lichen_images::source::{self, Pushable};
use lichen_images::walk::Kind;
use lichen_images::{Descriptor, Digest, Platform, distribution, media};
use proptest::prelude::*;

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("to json")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compress");
    encoder.finish().expect("compress")
}

/// Files of a layout or an archive, by path.
#[derive(Default, Clone)]
struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    fn put(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.0.push((path.to_owned(), content.into()));
    }

    fn blob(&mut self, media_type: &str, content: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &content);
        self.put(&format!("blobs/sha256/{}", descriptor.digest.hex()), content);
        descriptor
    }

    fn image(&mut self, platform: &str) -> Descriptor {
        let platform: Platform = platform.parse().expect("platform");
        let config = self.blob(media::OCI_CONFIG, json(&platform));
        let layer = self.blob(media::OCI_LAYER, format!("layer for {platform}").into_bytes());
        let mut root = self.blob(media::OCI_MANIFEST, json(&Manifest::new(config, vec![layer])));
        root.platform = Some(platform);
        root
    }

    fn finish(mut self, images: Vec<Descriptor>) -> Self {
        self.put("oci-layout", MARKER);
        self.put("index.json", json(&Index::new(images)));
        self
    }

    fn tar(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in &self.0 {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, content.as_slice()).expect("append");
        }
        builder.into_inner().expect("finish")
    }

    fn directory(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary directory");
        for (path, content) in &self.0 {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("create");
            fs::write(path, content).expect("write");
        }
        dir
    }
}

fn named(mut image: Descriptor, name: &str) -> Descriptor {
    let key = "org.opencontainers.image.ref.name".to_owned();
    image.annotations = Some([(key, name.to_owned())].into());
    image
}

fn open(bytes: &[u8], select: Option<&str>) -> Result<Pushable, String> {
    // The name says nothing about the content.
    let mut file = tempfile::Builder::new().suffix(".jpg").tempfile().expect("temporary file");
    file.write_all(bytes).expect("write");
    source::open(file.path(), select).map_err(|error| distribution::chain(&error))
}

fn refused(bytes: &[u8], part: &str) {
    let error = open(bytes, None).expect_err(part);
    assert!(error.contains(part), "{error}");
}

/// Reads every piece, as a push does, and says how many there are.
fn push(pushable: &Pushable) -> std::io::Result<usize> {
    for piece in pushable.pieces() {
        let mut bytes = Vec::new();
        pushable.open(piece).map_err(std::io::Error::other)?.read_to_end(&mut bytes)?;
        assert_eq!(Digest::of(&bytes), piece.descriptor.digest);
    }
    let last = pushable.pieces().last().expect("a root");
    assert_eq!((last.kind, last.descriptor.digest), (Kind::Manifest, pushable.root.digest));
    Ok(pushable.pieces().len())
}

#[test]
fn a_layout_is_read_as_directory_as_tar_and_compressed() {
    let mut files = Files::default();
    let image = named(files.image("arm64"), "app:1");
    let files = files.finish(vec![image.clone()]);
    let dir = files.directory();
    for pushable in [
        source::open(dir.path(), None).expect("directory"),
        open(&files.tar(), None).expect("tar"),
        open(&gzip(&files.tar()), None).expect("compressed tar"),
        open(&files.tar(), Some("app:1")).expect("by name"),
    ] {
        assert_eq!(pushable.root.digest, image.digest);
        assert_eq!(pushable.name.as_deref(), Some("app:1"));
        assert_eq!(push(&pushable).expect("push"), 3);
    }
}

#[test]
fn an_index_keeps_all_platforms() {
    let mut files = Files::default();
    let images = vec![files.image("amd64"), files.image("arm/v7")];
    let index = files.blob(media::OCI_INDEX, json(&Index::new(images)));
    let pushable = open(&files.finish(vec![index.clone()]).tar(), None).expect("open");
    assert_eq!((pushable.root.digest, push(&pushable).expect("push")), (index.digest, 7));
    let device = Platform::linux("arm", Some("v7"));
    let resolved = resolve(pushable.blobs(), &index.digest, &device).expect("resolve");
    assert!(matches!(resolved, Resolved::Container { layers, .. } if layers.len() == 1));
}

#[test]
fn builds_that_lie_straight_in_index_json_are_one_image() {
    let mut files = Files::default();
    let images = vec![files.image("amd64"), files.image("arm64")];
    let pushable = open(&files.finish(images.clone()).tar(), None).expect("open");
    assert_eq!(pushable.root, Descriptor::of(media::OCI_INDEX, &json(&Index::new(images))));
    assert_eq!(push(&pushable).expect("push"), 7);
}

#[test]
fn several_images_must_be_chosen_from() {
    let mut files = Files::default();
    let images = vec![named(files.image("amd64"), "one"), named(files.image("arm64"), "two")];
    let tar = files.finish(images.clone()).tar();
    refused(&tar, "it holds several images; choose one of: one, two");
    assert_eq!(open(&tar, Some("two")).expect("two").root.digest, images[1].digest);
    let error = open(&tar, Some("three")).expect_err("three");
    assert!(error.ends_with("it holds no image named \"three\"; it holds: one, two"), "{error}");
    refused(&Files::default().finish(vec![]).tar(), "it holds no image");
}

#[test]
fn builds_that_were_never_downloaded_are_left_out_of_the_index() {
    let mut elsewhere = Files::default();
    let mut files = Files::default();
    let (amd64, arm64) = (files.image("amd64"), files.image("arm64"));
    let armv7 = elsewhere.image("arm/v7");
    let one = json(&Index::new(vec![amd64.clone(), armv7.clone()]));
    let two = json(&Index::new(vec![amd64.clone(), armv7.clone(), arm64.clone()]));
    let one = named(files.blob(media::OCI_INDEX, one), "one");
    let two = named(files.blob(media::OCI_INDEX, two), "two");
    let tar = files.finish(vec![one, two]).tar();
    let single = open(&tar, Some("one")).expect("one");
    assert_eq!((single.root.digest, single.absent.len()), (amd64.digest, 1));
    let several = open(&tar, Some("two")).expect("two");
    let kept = json(&Index::new(vec![amd64, arm64]));
    assert_eq!(several.root.digest, Digest::of(&kept));
    assert_eq!(several.absent, [armv7]);
    assert_eq!(push(&several).expect("push"), 7);
}

#[test]
fn a_damaged_layout_is_refused_before_or_while_it_is_pushed() {
    let mut files = Files::default();
    let image = files.image("amd64");
    let files = files.finish(vec![image]);
    let without = |part: &str| {
        let kept = files.0.iter().filter(|(path, _)| !path.contains(part)).cloned().collect();
        Files(kept).tar()
    };
    let layer = Digest::of(b"layer for amd64").hex();
    refused(&without("oci-layout"), "has no oci-layout");
    refused(&without(&layer), "could not read the layer of the image: blob sha256:");
    let mut shorter = files.clone();
    let mut rotten = files.clone();
    for (path, content) in shorter.0.iter_mut().filter(|(path, _)| path.contains(&layer)) {
        assert!(path.starts_with("blobs"));
        content.pop();
    }
    refused(&shorter.tar(), "14 bytes, but its descriptor says 15");
    for (_, content) in rotten.0.iter_mut().filter(|(path, _)| path.contains(&layer)) {
        content[0] ^= 1;
    }
    let pushable = open(&rotten.tar(), None).expect("layers are verified while they are read");
    assert!(push(&pushable).expect_err("rotten").to_string().contains("is corrupt"));
    for (_, content) in rotten.0.iter_mut().filter(|(_, content)| content.starts_with(b"{\"sch")) {
        content[0] = b' ';
    }
    refused(&rotten.tar(), "not valid");
}

/// A docker archive of two layers, the way that `layers` says.
fn docker(layers: &[(&str, Vec<u8>)], contents: &[&[u8]]) -> Files {
    let diff_ids: Vec<Digest> = contents.iter().map(|content| Digest::of(content)).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let paths: Vec<&str> = layers.iter().map(|(path, _)| *path).collect();
    let manifest =
        serde_json::json!([{ "Config": "c.json", "RepoTags": ["app:1"], "Layers": paths }]);
    let mut files = Files::default();
    for (path, content) in layers {
        files.put(path, content.clone());
    }
    files.put("c.json", json(&config));
    files.put("manifest.json", json(&manifest));
    files
}

#[test]
fn a_docker_archive_becomes_an_oci_image() {
    let layers = [("a/layer.tar", b"one".to_vec()), ("b/layer.tar", gzip(b"two"))];
    let files = docker(&layers, &[b"one", b"two"]);
    for bytes in [files.tar(), gzip(&files.tar())] {
        let pushable = open(&bytes, None).expect("open");
        assert_eq!(pushable.name.as_deref(), Some("app:1"));
        assert_eq!(push(&pushable).expect("push"), 4);
        let types: Vec<&str> =
            pushable.pieces().iter().map(|piece| piece.descriptor.media_type.as_str()).collect();
        let expected =
            [media::OCI_CONFIG, media::OCI_LAYER, media::OCI_LAYER_GZIP, media::OCI_MANIFEST];
        assert_eq!(types, expected);
        assert_eq!(open(&bytes, Some("app:1")).expect("by name").root, pushable.root);
    }
    let error = open(&files.tar(), Some("other")).expect_err("other");
    assert!(error.ends_with("it holds: app:1"), "{error}");
}

#[test]
fn a_wrong_docker_archive_is_refused_by_what_is_wrong() {
    let layers = [("a", b"one".to_vec())];
    refused(&docker(&layers, &[b"two"]).tar(), "layer a is corrupt");
    refused(&docker(&[("a", gzip(b"one"))], &[b"two"]).tar(), "layer a is corrupt");
    refused(&docker(&layers, &[]).tar(), "1 layers, but its configuration has digests for 0");
    let mut outside = docker(&layers, &[b"one"]);
    outside.0.remove(0);
    refused(&outside.tar(), "the archive has no a");
    let manifest = r#"[{"Config":"../../etc/hostname","Layers":["/etc/passwd"]}]"#;
    let mut hostile = Files::default();
    hostile.put("manifest.json", manifest);
    refused(&hostile.tar(), "the archive has no ../../etc/hostname");
    let mut empty = Files::default();
    empty.put("manifest.json", "[]");
    refused(&empty.tar(), "holds no image");
    let mut cut = docker(&layers, &[b"one"]).tar();
    cut.truncate(1024);
    refused(&cut, "cut off; save or download it again");
    cut.truncate(514);
    refused(&cut, "\"a\" goes beyond its end");
}

#[test]
fn wasm_is_recognised_in_both_forms_and_kinds() {
    let component = |bytes: &[u8]| {
        let pushable = open(bytes, None).expect("open");
        assert_eq!(push(&pushable).expect("push"), 3);
        let device = Platform::linux("riscv64", None);
        match resolve(pushable.blobs(), &pushable.root.digest, &device).expect("resolve") {
            Resolved::Wasm { component, .. } => component,
            other => panic!("{other:?}"),
        }
    };
    assert!(!component(b";; a comment first\n(module)"));
    assert!(!component(b"\n  (module (func))"));
    assert!(!component(b"\0asm\x01\0\0\0"));
    assert!(component(b"(component)"));
    assert!(component(b"\0asm\x0d\0\x01\0"));
}

#[test]
fn what_is_no_image_is_named_with_a_hint() {
    refused(b"", "an empty file");
    refused(b"\x7fELF\x02\x01\x01", "lichen image pack");
    refused(b"\x28\xb5\x2f\xfd rest", "zstd -d");
    refused(b"hello", "none of");
    refused(b"(modul)", "not a valid WebAssembly text");
    refused(&gzip(b"hello"), "not an archive inside");
    refused(&gzip(b"hello")[..12], "could not decompress it");
    let mut plain = Files::default();
    plain.put("etc/hostname", "x");
    refused(&plain.tar(), "lichen image pack");
    let dir = plain.directory();
    let error = source::open(dir.path(), None).expect_err("no layout");
    let message = distribution::chain(&error);
    assert!(message.contains(&dir.path().display().to_string()), "{message}");
    assert!(message.contains("lichen image pack"), "{message}");
    let error = source::open(Path::new("/dev/null"), None).expect_err("device");
    assert!(distribution::chain(&error).contains("neither a file nor a directory"));
    let missing = source::open(&dir.path().join("none"), None).expect_err("missing");
    assert!(distribution::chain(&missing).contains("No such file"));
}

#[test]
fn a_layout_of_links_is_read_but_nothing_that_blocks() {
    let mut files = Files::default();
    let image = files.image("amd64");
    let (layer, config) = (Digest::of(b"layer for amd64").hex(), files.0[0].0.clone());
    let dir = files.finish(vec![image]).directory();
    let moved = dir.path().join("elsewhere");
    let blob = dir.path().join("blobs/sha256").join(layer);
    fs::rename(&blob, &moved).expect("move");
    std::os::unix::fs::symlink(&moved, &blob).expect("link");
    assert_eq!(push(&source::open(dir.path(), None).expect("open")).expect("push"), 3);
    fs::remove_file(dir.path().join(&config)).expect("remove");
    fs::create_dir(dir.path().join(&config)).expect("create");
    let error = source::open(dir.path(), None).expect_err("a directory as blob");
    assert!(distribution::chain(&error).contains("not a regular file"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_image_is_refused_or_pushed_whole(at: usize, byte: u8, docker_form: bool) {
        let mut bytes = match docker_form {
            true => docker(&[("a", b"one".to_vec())], &[b"one"]).tar(),
            false => {
                let mut files = Files::default();
                let image = files.image("amd64");
                files.finish(vec![image]).tar()
            }
        };
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(pushable) = open(&bytes, None) {
            let _ = push(&pushable);
        }
    }

    #[test]
    fn any_file_is_refused_or_read(start in 0usize..5, bytes: Vec<u8>) {
        let starts: [&[u8]; 5] = [b"", b"\0asm", b"\x1f\x8b\x08", b"(module", b"("];
        let _ = open(&[starts[start], &bytes].concat(), None);
    }
}

#[test]
fn nothing_is_left_in_memory_by_length_alone() {
    // A tar file of 1 KiB that declares a layer of 8 GiB, and a sparse file that really is that long.
    let mut header = tar::Header::new_ustar();
    header.set_path("index.json").expect("path");
    header.set_size(8 << 30);
    header.set_cksum();
    refused(&[header.as_bytes().as_slice(), &[0; 512]].concat(), "cut off");
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(header.as_bytes()).expect("write");
    let sparse = File::options().write(true).open(file.path()).expect("open");
    sparse.set_len((8 << 30) + 1024).expect("grow");
    let error = distribution::chain(&source::open(file.path(), None).expect_err("too large"));
    assert!(error.contains("has no oci-layout"), "{error}");
}
