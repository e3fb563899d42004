//! Packing real directories and made-up programs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::resolve::{Resolved, resolve};
use crate::source;
use crate::write::{Output, write};

const MUSL: &str = "/lib/ld-musl-armhf.so.1";

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary directory")
}

fn put(root: &Path, path: &str, content: &[u8], mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a parent")).expect("create");
    fs::write(&path, content).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
}

/// A tiny root file system, made in an order that is not the sorted one.
fn tree(root: &Path) {
    put(root, "usr/bin/app", &elf::sample(183, true, None), 0o755);
    put(root, "etc/app.conf", b"level = 1\n", 0o640);
    symlink("/usr/bin/app", root.join("init")).expect("link");
    for dir in ["usr", "usr/bin", "etc"] {
        fs::set_permissions(root.join(dir), fs::Permissions::from_mode(0o755)).expect("mode");
    }
}

fn options() -> Options {
    Options {
        entrypoint: vec!["/init".to_owned()],
        args: vec!["--verbose".to_owned()],
        env: vec![("LEVEL".to_owned(), "1".to_owned())],
        workdir: Some("/etc".to_owned()),
        user: Some("1000:1000".to_owned()),
        platform: None,
        labels: [("dev.lichen.test".to_owned(), "yes".to_owned())].into(),
    }
}

fn refused(source: &Source, options: &Options, part: &str) {
    let error = pack(source, options).expect_err(part);
    let error = crate::distribution::chain(&error);
    assert!(error.contains(part), "{error}");
}

#[test]
fn the_same_tree_gives_the_same_image_on_every_machine() {
    let (one, two) = (directory(), directory());
    tree(one.path());
    tree(two.path());
    let packed = |dir: &tempfile::TempDir| {
        pack(&Source::at(dir.path()), &options()).expect("pack").into_pushable().expect("whole")
    };
    let (one, two) = (packed(&one), packed(&two));
    assert_eq!(one.root, two.root);
    let digests: Vec<String> =
        one.pieces().iter().map(|piece| piece.descriptor.digest.to_string()).collect();
    // Configuration (with the digest of the uncompressed layer), compressed layer, manifest. A change here means that
    // every user's packed images change: intended only with a new compressor or a new format.
    assert_eq!(
        digests,
        [
            "sha256:e026088b2b93cd092536d7f9f4167a8f0cbd5299500dfd7c074e25ca6d808ac6",
            "sha256:2ef75cf7ef82a9a0d0f2b220e36ed402a251d9021c00cc8a9893708dd3bb1208",
            "sha256:fc9897a1c9062822211fcf1da789336b616586af466aa657585ad34dbbac69a3"
        ]
    );
}

#[test]
fn what_was_written_is_read_back_from_both_forms() {
    let dir = directory();
    let app = dir.path().join("app");
    put(dir.path(), "app", &elf::sample(40, false, None), 0o600);
    let packed = pack(&Source::at(&app), &Options::default()).expect("pack");
    let root = packed.root.digest;
    for to in ["layout", "image.tar"] {
        let to = dir.path().join(to);
        write(&packed, &Output::at(&to), Some("app:1")).expect("write");
        let pushable = source::open(&to, None).expect("open");
        assert_eq!((pushable.root.digest, pushable.name.as_deref()), (root, Some("app:1")));
        let device = Platform::linux("arm", Some("v7"));
        let resolved = resolve(pushable.blobs(), &root, &device).expect("resolve");
        let Resolved::Container { config, layers, .. } = resolved else { panic!("{resolved:?}") };
        let config =
            crate::blobs::read_small(pushable.blobs(), &config.digest, 4096).expect("config");
        let config: serde_json::Value = serde_json::from_slice(&config).expect("json");
        assert_eq!(config["config"]["Entrypoint"][0], "/app");
        assert_eq!((&config["architecture"], &config["variant"]), (&"arm".into(), &"v7".into()));
        assert_eq!(layers.len(), 1);
    }
    let again = write(&packed, &Output::Layout(dir.path().join("layout")), None);
    assert!(again.expect_err("taken").to_string().contains("is not empty"));
}

#[test]
fn a_packed_program_is_executable_and_owned_by_root() {
    let dir = directory();
    put(dir.path(), "app", &elf::sample(62, true, None), 0o600);
    let packed = pack(&Source::Binary(dir.path().join("app")), &Options::default()).expect("pack");
    let pushable = packed.into_pushable().expect("whole");
    let layer = &pushable.pieces()[1];
    let reader = flate2::read::GzDecoder::new(pushable.open(layer).expect("open"));
    let mut archive = tar::Archive::new(reader);
    let entry = archive.entries().expect("entries").next().expect("one").expect("valid");
    let header = entry.header();
    assert_eq!(entry.path().expect("path"), Path::new("app"));
    assert_eq!(header.mode().expect("mode"), 0o755);
    assert_eq!(
        (header.uid().ok(), header.gid().ok(), header.mtime().ok()),
        (Some(0), Some(0), Some(0))
    );
}

#[test]
fn a_dynamic_program_is_refused_unless_its_loader_comes_along() {
    let dir = directory();
    put(dir.path(), "bin/app", &elf::sample(40, false, Some(MUSL)), 0o755);
    let options = Options { entrypoint: vec!["/bin/app".to_owned()], ..Options::default() };
    refused(&Source::Binary(dir.path().join("bin/app")), &Options::default(), MUSL);
    refused(&Source::at(dir.path()), &options, "is not in");
    put(dir.path(), "lib/libc.so", b"loader", 0o755);
    symlink("/lib/libc.so", dir.path().join(&MUSL[1..])).expect("link");
    let packed = pack(&Source::at(dir.path()), &options).expect("with its loader");
    assert_eq!(packed.platform.to_string(), "arm/v7");
}

#[test]
fn the_platform_is_read_from_a_program_or_must_be_named() {
    let dir = directory();
    put(dir.path(), "run.sh", b"#!/bin/sh\n", 0o755);
    let source = Source::at(dir.path());
    let script = Options { entrypoint: vec!["/run.sh".to_owned()], ..Options::default() };
    refused(&source, &script, "--platform");
    let named = Options { platform: "arm/v6".parse().ok(), ..script.clone() };
    assert_eq!(pack(&source, &named).expect("named").platform.to_string(), "arm/v6");
    put(dir.path(), "z/sh", &elf::sample(243, true, None), 0o755);
    assert_eq!(pack(&source, &script).expect("found").platform.to_string(), "riscv64");
    refused(&source, &named, "built for riscv64, not for arm/v6");
}

#[test]
fn what_a_layer_or_an_image_cannot_have_is_refused_by_name() {
    let dir = directory();
    put(dir.path(), "app", &elf::sample(62, true, None), 0o755);
    let (tree, binary) = (Source::at(dir.path()), Source::Binary(dir.path().join("app")));
    let with = |change: fn(&mut Options)| {
        let mut options = Options::default();
        change(&mut options);
        options
    };
    refused(&tree, &with(|o| o.entrypoint = vec!["/none".to_owned()]), "/none is not a file");
    refused(&tree, &with(|o| o.entrypoint = vec!["/../../etc".to_owned()]), "is not a file");
    refused(&tree, &with(|o| o.workdir = Some("data".to_owned())), "must be absolute");
    refused(&tree, &with(|o| o.env = vec![("A=B".to_owned(), String::new())]), "NAME=value");
    refused(&tree, &with(|o| o.user = Some("a:b:c".to_owned())), "user:group");
    refused(&binary, &with(|o| o.user = Some("root".to_owned())), "uid:gid");
    refused(&Source::Binary(dir.path().join("none")), &Options::default(), "could not pack");

    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).expect("socket");
    refused(&tree, &Options::default(), "is a socket");
    drop(socket);
    fs::remove_file(dir.path().join("s")).expect("remove");
    put(dir.path(), "etc/.wh.passwd", b"", 0o644);
    refused(&tree, &Options::default(), "means \"deleted\"");
}
