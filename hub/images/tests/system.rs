//! With real counterparts: what skopeo and umoci write is read, and what is packed here is accepted by them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lichen_images::document::Document;
use lichen_images::pack::{Options, Source, pack};
use lichen_images::source::{self, Pushable};
use lichen_images::write::{Output, write};
use lichen_images::{Digest, Platform, blobs, resolve};

/// Where Debian's `busybox-static` puts a program that is always static.
const BUSYBOX: &str = "/bin/busybox";

fn run(dir: &Path, command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).current_dir(dir).output();
    let output = output.unwrap_or_else(|error| panic!("could not run {command}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// A layout `layout:app` of busybox, made by umoci.
fn umoci_layout() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    let umoci = |arguments: &[&str]| run(dir.path(), "umoci", arguments);
    umoci(&["init", "--layout", "layout"]);
    umoci(&["new", "--image", "layout:app"]);
    umoci(&["insert", "--rootless", "--image", "layout:app", BUSYBOX, "/bin/busybox"]);
    umoci(&["config", "--image", "layout:app", "--config.entrypoint", BUSYBOX]);
    dir
}

/// Opens and reads everything; gives the digest of the configuration.
fn config_of(path: &Path) -> Digest {
    let pushable = source::open(path, None).expect("open");
    for piece in pushable.pieces() {
        let mut reader = pushable.open(piece).expect("open a piece");
        std::io::copy(&mut reader, &mut std::io::sink()).expect("verified");
    }
    let root = blobs::read_small(pushable.blobs(), &pushable.root.digest, 1 << 20).expect("root");
    match Document::parse(&root, None).expect("parse") {
        Document::Manifest(manifest) => manifest.config.digest,
        Document::Index(_) => panic!("one platform was written"),
    }
}

#[test]
#[ignore = "needs skopeo, umoci and busybox-static: run by make test"]
fn every_form_that_skopeo_writes_is_the_same_image() {
    let dir = umoci_layout();
    let copy =
        |to: &str| run(dir.path(), "skopeo", &["--insecure-policy", "copy", "oci:layout:app", to]);
    copy("docker-archive:docker.tar:app:1");
    copy("oci-archive:archive.tar:app");
    run(dir.path(), "gzip", &["-k", "docker.tar"]);
    let original = config_of(&dir.path().join("layout"));
    for form in ["docker.tar", "docker.tar.gz", "archive.tar"] {
        assert_eq!(config_of(&dir.path().join(form)), original, "{form}");
    }
}

#[test]
#[ignore = "needs skopeo, umoci and busybox-static: run by make test"]
fn what_is_packed_is_accepted_and_unpacked_by_others() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options {
        args: vec!["echo".to_owned(), "hello".to_owned()],
        env: vec![("GREETING".to_owned(), "hello".to_owned())],
        labels: [("kind".to_owned(), "test".to_owned())].into(),
        ..Options::default()
    };
    let packed = pack(&Source::at(Path::new(BUSYBOX)), &options).expect("pack");
    let layout = dir.path().join("layout");
    write(&packed, &Output::at(&layout), Some("app")).expect("layout");
    write(&packed, &Output::at(&dir.path().join("app.tar")), Some("app")).expect("archive");
    for from in ["oci:layout:app", "oci-archive:app.tar:app"] {
        let inspected = run(dir.path(), "skopeo", &["inspect", from]);
        let inspected: serde_json::Value = serde_json::from_str(&inspected).expect("json");
        assert_eq!(inspected["Digest"], packed.root.digest.to_string(), "{from}");
        assert_eq!(inspected["Architecture"], packed.platform.architecture, "{from}");
        assert_eq!(inspected["Labels"]["kind"], "test", "{from}");
    }
    run(dir.path(), "umoci", &["unpack", "--rootless", "--image", "layout:app", "bundle"]);
    let unpacked = dir.path().join("bundle/rootfs/busybox");
    assert_eq!(fs::read(&unpacked).expect("unpacked"), fs::read(BUSYBOX).expect("busybox"));
    let mode = fs::metadata(&unpacked).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let config = fs::read_to_string(dir.path().join("bundle/config.json")).expect("config");
    let config: serde_json::Value = serde_json::from_str(&config).expect("json");
    assert_eq!(config["process"]["args"], serde_json::json!(["/busybox", "echo", "hello"]));
}

#[test]
#[ignore = "needs skopeo, umoci and busybox-static: run by make test"]
fn a_directory_that_was_packed_is_the_same_directory_after_umoci() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("bin")).expect("create");
    fs::copy(BUSYBOX, root.join("bin/busybox")).expect("copy");
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).expect("link");
    let deep = root.join("a/long/".to_owned() + &"x".repeat(120));
    fs::create_dir_all(&deep).expect("create");
    fs::write(deep.join("file"), "deep").expect("write");
    let options = Options { entrypoint: vec!["/bin/sh".to_owned()], ..Options::default() };
    let packed = pack(&Source::at(&root), &options).expect("pack");
    write(&packed, &Output::at(&dir.path().join("layout")), Some("app")).expect("layout");
    run(dir.path(), "umoci", &["unpack", "--rootless", "--image", "layout:app", "bundle"]);
    run(dir.path(), "diff", &["-r", "--no-dereference", "root", "bundle/rootfs"]);
    let again = dir.path().join("bundle/rootfs");
    let again = pack(&Source::at(&again), &options).expect("pack again");
    assert_eq!(again.root.digest, packed.root.digest);
}

#[test]
#[ignore = "needs skopeo, umoci and busybox-static: run by make test"]
fn a_multi_platform_image_resolves_for_each_of_its_platforms() {
    let dir = umoci_layout();
    // skopeo joins nothing, so the index is written by hand around two images that umoci made.
    run(dir.path(), "umoci", &["tag", "--image", "layout:app", "arm"]);
    let image = "layout:arm";
    run(dir.path(), "umoci", &["config", "--image", image, "--architecture", "arm64"]);
    let index = dir.path().join("layout/index.json");
    let text = fs::read_to_string(&index).expect("index.json");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("json");
    for entry in json["manifests"].as_array_mut().expect("manifests") {
        let arm = entry["annotations"]["org.opencontainers.image.ref.name"] == "arm";
        let architecture = if arm { "arm64" } else { "amd64" };
        entry["platform"] = serde_json::json!({ "os": "linux", "architecture": architecture });
        entry.as_object_mut().expect("object").remove("annotations");
    }
    fs::write(&index, json.to_string()).expect("write");
    let pushable = source::open(&dir.path().join("layout"), None).expect("open");
    let listed = resolve::platforms(pushable.blobs(), &pushable.root.digest).expect("platforms");
    assert_eq!(listed, [Platform::linux("amd64", None), Platform::linux("arm64", None)]);
    for platform in listed {
        resolves(&pushable, &platform);
    }
    let none = Platform::linux("arm", Some("v7"));
    let error = resolve::resolve(pushable.blobs(), &pushable.root.digest, &none).expect_err("none");
    assert_eq!(error.to_string(), "image has no build for arm/v7; it has amd64, arm64");
    // A copy of the whole index is the same for skopeo and for us.
    run(dir.path(), "tar", &["-C", "layout", "-cf", "all.tar", "."]);
    assert_eq!(source::open(&dir.path().join("all.tar"), None).expect("tar").root, pushable.root);
}

fn resolves(pushable: &Pushable, platform: &Platform) {
    let resolved = resolve::resolve(pushable.blobs(), &pushable.root.digest, platform);
    let resolve::Resolved::Container { config, layers, .. } = resolved.expect("resolve") else {
        panic!("not a container")
    };
    let mut text = String::new();
    let piece = pushable.pieces().iter().find(|piece| piece.descriptor.digest == config.digest);
    let mut reader = pushable.open(piece.expect("a piece")).expect("open");
    reader.read_to_string(&mut text).expect("read");
    let config: serde_json::Value = serde_json::from_str(&text).expect("json");
    assert_eq!(
        (&config["architecture"], layers.len()),
        (&platform.architecture.as_str().into(), 1)
    );
}
