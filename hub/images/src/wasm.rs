//! Wasm modules and components as OCI artefacts, by the CNCF guidance for Wasm OCI artefacts: a manifest whose
//! configuration has the type `application/vnd.wasm.config.v0+json`, and the module as its one layer.
//!
//! Only the structure is read here; whether the code is valid is found by the hub's compiler, in a
//! process of its own.

use std::io::Read;

use serde::Serialize;
use wasmparser::{Parser, Payload};

use crate::blobs::{BlobError, Blobs, Memory};
use crate::document::Manifest;
use crate::{Descriptor, Digest, media};

/// Largest module: interpreters with their libraries stay below; larger ones don't fit the devices anyway.
pub const MAX_MODULE_BYTES: u64 = 128 << 20;
/// The artefact is the same whenever it is made.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The two kinds of WebAssembly binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A core module, run as WASI preview 1.
    Module,
    /// A component, run as WASI preview 2.
    Component,
}

/// Why bytes are not a Wasm module or component.
#[derive(Debug, thiserror::Error)]
pub enum WasmError {
    /// More than [`MAX_MODULE_BYTES`].
    #[error("it has more than {MAX_MODULE_BYTES} bytes, the most that a Wasm module may have")]
    TooLarge,
    /// The text form has a mistake.
    #[error("it is not a valid WebAssembly text: {0}")]
    Text(String),
    /// The binary's header is not known.
    #[error(
        "its header is neither that of a WebAssembly module (version 1) nor of a component; rebuild it with a current toolchain"
    )]
    Header,
    /// The header is right, the rest isn't.
    #[error("its WebAssembly is damaged or cut off: {0}; build or download it again")]
    Damaged(String),
    /// The blob could not be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// The kind, from the first eight bytes: a magic number, a version and, for components, a layer.
pub fn kind(head: &[u8]) -> Option<Kind> {
    match head.get(..8)? {
        [0, b'a', b's', b'm', 1, 0, 0, 0] => Some(Kind::Module),
        [0, b'a', b's', b'm', _, _, 1, 0] => Some(Kind::Component),
        _ => None,
    }
}

/// The kind of a stored module, read from its beginning.
///
/// # Errors
/// It is missing or unreadable, or neither kind.
pub fn kind_of(blobs: &dyn Blobs, digest: &Digest) -> Result<Kind, WasmError> {
    let io = |source| BlobError::Io { digest: *digest, source };
    let blob = blobs.open(digest).map_err(io)?.ok_or(BlobError::Missing(*digest))?;
    let mut head = Vec::new();
    blob.reader.take(8).read_to_end(&mut head).map_err(io)?;
    kind(&head).ok_or(WasmError::Header)
}

/// The binary form of a module, a component or their text form.
///
/// # Errors
/// It is too large or not WebAssembly.
pub fn binary(bytes: Vec<u8>) -> Result<Vec<u8>, WasmError> {
    if bytes.len() as u64 > MAX_MODULE_BYTES {
        return Err(WasmError::TooLarge);
    }
    if bytes.starts_with(b"\0asm") {
        return kind(&bytes).map(|_| bytes).ok_or(WasmError::Header);
    }
    match wat::parse_bytes(&bytes) {
        Ok(binary) => Ok(binary.into_owned()),
        Err(error) => Err(WasmError::Text(error.to_string())),
    }
}

/// Adds the artefact's blobs and describes its manifest.
///
/// # Errors
/// The binary is neither a module nor a component.
pub fn artefact(binary: Vec<u8>, blobs: &mut Memory) -> Result<Descriptor, WasmError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        created: &'static str,
        architecture: &'static str,
        os: &'static str,
        layer_digests: [Digest; 1],
        #[serde(skip_serializing_if = "Option::is_none")]
        component: Option<Interface>,
    }
    let interface = interface(&binary)?;
    let (os, component) = match kind(&binary).ok_or(WasmError::Header)? {
        Kind::Module => ("wasip1", None),
        Kind::Component => ("wasip2", Some(interface)),
    };
    let layer = blobs.add(media::WASM_LAYER, binary);
    let layer_digests = [layer.digest];
    let config = Config { created: CREATED, architecture: "wasm", os, layer_digests, component };
    let config = blobs.add(media::WASM_CONFIG, json(&config));
    Ok(blobs.add(media::OCI_MANIFEST, json(&Manifest::new(config, vec![layer]))))
}

/// The interfaces that a component gives and needs, such as `wasi:cli/run@0.2.0`.
#[derive(Debug, Default, Serialize)]
struct Interface {
    exports: Vec<String>,
    imports: Vec<String>,
}

/// Reads the structure to the end, so that a damaged file is noticed, and the interface of a component. Those of the
/// modules and components inside it are its own affair.
fn interface(binary: &[u8]) -> Result<Interface, WasmError> {
    let damaged = |error: wasmparser::BinaryReaderError| WasmError::Damaged(error.to_string());
    let mut found = Interface::default();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(binary) {
        match payload.map_err(damaged)? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    found.imports.push(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    found.exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a plain structure is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_and_component_are_told_apart_by_their_header() {
        let module = binary(b"(module)".to_vec()).expect("module");
        let component = binary(b"(component)".to_vec()).expect("component");
        assert_eq!(kind(&module), Some(Kind::Module));
        assert_eq!(kind(&component), Some(Kind::Component));
        assert_eq!(kind(b"\0asm\x02\0\0\0"), None);
        assert_eq!(kind(b"\0asm"), None);
    }

    #[test]
    fn a_mistake_in_the_text_is_shown_with_its_place() {
        let error = binary(b"(module\n  (fnc))".to_vec()).expect_err("mistake").to_string();
        assert!(error.contains(":2:") && error.contains("fnc"), "{error}");
        let error = binary(b"\0asm\x07\0\0\0".to_vec()).expect_err("version").to_string();
        assert!(error.contains("rebuild it"), "{error}");
    }

    #[test]
    fn the_artefact_follows_the_guidance() {
        let mut blobs = Memory::default();
        let module = binary(b"(module)".to_vec()).expect("module");
        let layer = Digest::of(&module);
        let root = artefact(module, &mut blobs).expect("artefact");
        let manifest = crate::blobs::read_small(&blobs, &root.digest, 4096).expect("manifest");
        let crate::document::Document::Manifest(manifest) =
            crate::document::Document::parse(&manifest, None).expect("parse")
        else {
            panic!("not a manifest")
        };
        assert_eq!(manifest.config.media_type, media::WASM_CONFIG);
        assert_eq!(manifest.layers, [Descriptor::new(media::WASM_LAYER, layer, 8)]);
        let config =
            crate::blobs::read_small(&blobs, &manifest.config.digest, 4096).expect("config");
        let expected = format!(
            r#"{{"created":"1970-01-01T00:00:00Z","architecture":"wasm","os":"wasip1","layerDigests":["{layer}"]}}"#
        );
        assert_eq!(String::from_utf8(config).expect("text"), expected);
        assert_eq!(kind_of(&blobs, &layer).expect("kind"), Kind::Module);
    }

    #[test]
    fn a_component_says_what_it_gives_and_needs() {
        let text = r#"(component
            (import "test:host/log@0.1.0" (instance $log (export "write" (func))))
            (component (import "inner" (func)))
            (alias export $log "write" (func $write))
            (instance $out (export "go" (func $write)))
            (export "test:guest/run@0.1.0" (instance $out)))"#;
        let component = binary(text.as_bytes().to_vec()).expect("component");
        let found = interface(&component).expect("interface");
        assert_eq!(found.imports, ["test:host/log@0.1.0"]);
        assert_eq!(found.exports, ["test:guest/run@0.1.0"]);
        let cut = component[..component.len() - 3].to_vec();
        let error = artefact(cut, &mut Memory::default()).expect_err("cut off").to_string();
        assert!(error.contains("damaged or cut off"), "{error}");
    }
}
