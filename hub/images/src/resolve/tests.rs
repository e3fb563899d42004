//! Images of every shape, asked for by devices of every kind.

use super::*;
use crate::blobs::Memory;

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("to json")
}

fn platform(text: &str) -> Platform {
    text.parse().expect(text)
}

fn image(blobs: &mut Memory, text: &str) -> Descriptor {
    let platform = platform(text);
    let config = blobs.add(media::OCI_CONFIG, json(&platform));
    let layer = blobs.add(media::OCI_LAYER_GZIP, text.as_bytes().to_vec());
    let mut root = blobs.add(media::OCI_MANIFEST, json(&Manifest::new(config, vec![layer])));
    root.platform = Some(platform);
    root
}

fn module(blobs: &mut Memory, text: &str) -> Descriptor {
    let binary = wasm::binary(text.as_bytes().to_vec()).expect("wat");
    wasm::artefact(binary, blobs).expect("artefact")
}

fn index(blobs: &mut Memory, manifests: Vec<Descriptor>) -> Descriptor {
    blobs.add(media::OCI_INDEX, json(&Index::new(manifests)))
}

fn check(blobs: &Memory, root: &Descriptor, device: &str, expected: Result<&Descriptor, &str>) {
    let resolved = resolve(blobs, &root.digest, &platform(device));
    match (resolved, expected) {
        (
            Ok(Resolved::Container { manifest, .. } | Resolved::Wasm { manifest, .. }),
            Ok(expected),
        ) => assert_eq!(manifest, expected.digest, "{device}"),
        (Err(error), Err(expected)) => assert_eq!(crate::distribution::chain(&error), expected),
        (resolved, expected) => panic!("{device}: {resolved:?} instead of {expected:?}"),
    }
}

#[test]
fn a_device_gets_the_build_for_its_platform_or_a_list_of_what_there_is() {
    let mut blobs = Memory::default();
    let amd64 = image(&mut blobs, "amd64");
    let arm64 = image(&mut blobs, "arm64/v8");
    let armv6 = image(&mut blobs, "arm/v6");
    let armv7 = image(&mut blobs, "arm/v7");
    let mut attestation = image(&mut blobs, "unknown");
    attestation.platform =
        Some(Platform { os: "unknown".to_owned(), ..Platform::linux("unknown", None) });
    let some = index(&mut blobs, vec![attestation, arm64.clone(), amd64.clone()]);
    check(&blobs, &some, "amd64", Ok(&amd64));
    check(&blobs, &some, "arm64", Ok(&arm64));
    check(&blobs, &some, "arm/v7", Err("image has no build for arm/v7; it has amd64, arm64"));
    let arms = index(&mut blobs, vec![armv6.clone(), armv7.clone()]);
    check(&blobs, &arms, "arm/v7", Ok(&armv7));
    check(&blobs, &arms, "arm/v6", Ok(&armv6));
    check(&blobs, &amd64, "riscv64", Err("image has no build for riscv64; it has amd64"));
    let nested = index(&mut blobs, vec![some, arms]);
    check(&blobs, &nested, "arm/v7", Ok(&armv7));
    let all = platforms(&blobs, &nested.digest).expect("platforms");
    let all: Vec<String> = all.iter().map(Platform::to_string).collect();
    assert_eq!(all, ["amd64", "arm/v6", "arm/v7", "arm64"]);
    let empty = index(&mut blobs, vec![]);
    check(&blobs, &empty, "amd64", Err("image has no build for amd64; it has none"));
}

#[test]
fn a_container_names_its_configuration_and_layers() {
    let mut blobs = Memory::default();
    let root = image(&mut blobs, "amd64");
    let resolved = resolve(&blobs, &root.digest, &platform("amd64")).expect("resolve");
    let Resolved::Container { config, layers, .. } = resolved else { panic!("{resolved:?}") };
    assert_eq!(config.media_type, media::OCI_CONFIG);
    let layer = Blob {
        digest: Digest::of(b"amd64"),
        size: 5,
        media_type: media::OCI_LAYER_GZIP.to_owned(),
    };
    assert_eq!(layers, [layer]);
}

#[test]
fn wasm_suits_every_device_and_says_which_kind_it_is() {
    let mut blobs = Memory::default();
    let (core, component) = (module(&mut blobs, "(module)"), module(&mut blobs, "(component)"));
    let is_component = |root: &Descriptor| match resolve(&blobs, &root.digest, &platform("arm/v7"))
    {
        Ok(Resolved::Wasm { component, size, .. }) => {
            assert_eq!(size, 8);
            component
        }
        other => panic!("{other:?}"),
    };
    assert!(!is_component(&core));
    assert!(is_component(&component));
    let mut blobs = blobs.clone();
    let native = image(&mut blobs, "amd64");
    let both = index(&mut blobs, vec![core.clone(), native.clone()]);
    check(&blobs, &both, "amd64", Ok(&native));
    check(&blobs, &both, "riscv64", Ok(&core));
}

#[test]
fn what_cannot_run_is_refused_by_name() {
    let mut blobs = Memory::default();
    let config = blobs.add("application/vnd.cncf.helm.config.v1+json", b"{}".to_vec());
    let chart = blobs.add(media::OCI_MANIFEST, json(&Manifest::new(config, vec![])));
    check(
        &blobs,
        &chart,
        "amd64",
        Err(
            "it is not a container image or a Wasm module: its configuration has the type \"application/vnd.cncf.helm.config.v1+json\"",
        ),
    );
    let config = blobs.add(media::OCI_CONFIG, json(&platform("amd64")));
    let layer = blobs.add("application/x-foreign", b"x".to_vec());
    let digest = layer.digest;
    let foreign = blobs.add(media::OCI_MANIFEST, json(&Manifest::new(config, vec![layer])));
    let message = format!(
        "layer {digest} has the type \"application/x-foreign\", which a device can't unpack"
    );
    check(&blobs, &foreign, "amd64", Err(&message));
    let missing = Descriptor::of(media::OCI_MANIFEST, b"missing");
    check(&blobs, &missing, "amd64", Err(&format!("blob {} is missing", missing.digest)));
}

#[test]
fn indexes_that_repeat_each_other_are_not_read_without_end() {
    let mut blobs = Memory::default();
    let mut leaf = image(&mut blobs, "amd64");
    leaf.platform = None;
    let middle = index(&mut blobs, vec![leaf; 200]);
    let root = index(&mut blobs, vec![middle; 200]);
    check(&blobs, &root, "amd64", Err("the image has more than 4096 blobs"));
}
