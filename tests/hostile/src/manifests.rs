//! The bytes are a manifest, as an operator, a pipeline or a stranger may send it, and perhaps, behind a line `%%%`, a
//! patch for its first object.
//!
//! What is accepted is understood whole: it reads back from what is printed, the engine takes it as it is, and what is
//! wrong is named at a place that exists.

use std::sync::Arc;

use lichen_hub::{
    manifest::{self, Source, check, read},
    server::strangers,
};
use lichen_hub_core::{
    api::{Key, Object},
    resolve,
};
use serde_json::Value;

use crate::meter::bounded;

/// Heap bytes that any text may take: what a few lines of aliases may grow to, as a tree and as a value.
const BASE_BYTES: usize = 96 * 1024 * 1024;
/// Heap bytes per byte of text: a value of one character is a node with its place, a value, and a field of an object.
const BYTES_PER_BYTE: usize = 4096;

/// One manifest, and perhaps a patch.
pub fn manifests(bytes: &[u8]) {
    let Ok(text) = read::text_of(bytes.to_vec()) else { return };
    let (text, patch) = text.split_once("\n%%%\n").unwrap_or((&text, ""));
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    bounded("reading a manifest", limit, || {
        let source = Arc::new(Source { name: "manifest".to_owned(), text: text.to_owned() });
        match read::read(&source) {
            Ok(manifests) => {
                for manifest in &manifests {
                    object(&manifest.object);
                }
                if let Some(first) = manifests.first() {
                    patched(&first.object, patch);
                }
            }
            Err(problems) => {
                assert!(!problems.0.is_empty(), "refused without a reason");
                for problem in &problems.0 {
                    assert!(!problem.cause.is_empty());
                    let line = problem.at.line;
                    assert!(line <= source.lines().count() + 1, "line {line} is not there");
                }
                assert!(!problems.to_string().is_empty());
            }
        }
        printed(text);
        printed(patch);
    });
}

/// An object reads back, and the engine's answer is final.
fn object(object: &Object) {
    let json = serde_json::to_value(object).expect("an object is JSON");
    let again = manifest::decode(&json).expect("what was read is printed as it may be read");
    assert_eq!(serde_json::to_value(&again).expect("JSON"), json, "it reads back as another one");
    match check::check(object) {
        Ok(()) => {
            let Some((template, rule)) = object.template() else { return };
            let resolved = resolve::resolve("spec.template", &template, rule);
            let resolved = resolved.expect("it was accepted");
            assert_eq!(resolved.containers.len(), 1);
        }
        Err(causes) => assert!(causes.iter().all(|cause| !cause.cause.is_empty())),
    }
}

/// A value is the same after it was printed as YAML and read.
fn printed(text: &str) {
    match strangers::body("application/yaml", text.as_bytes()) {
        Ok(value) => {
            let printed = strangers::yaml(&value);
            let again = strangers::body("application/yaml", printed.as_bytes());
            // A document that says nothing is no document.
            let again = if value.is_null() { Ok(Value::Null) } else { again };
            assert_eq!(again.as_ref(), Ok(&value), "printed as:\n{printed}");
        }
        Err(cause) => assert!(!cause.is_empty()),
    }
}

fn patched(object: &Object, patch: &str) {
    let Ok(patch) = strangers::body("application/yaml", patch.as_bytes()) else { return };
    let current = serde_json::to_value(object).expect("an object is JSON");
    let key: Key = object.key();
    let merge = "application/merge-patch+json";
    let steps = "application/json-patch+json";
    for kind in [merge, steps, "application/strategic-merge-patch+json"] {
        match strangers::patched(kind, object.kind(), &current, &patch) {
            Ok(changed) => {
                let again = strangers::patched(kind, object.kind(), &changed, &patch);
                // The steps of RFC 6902 may be good for one time only.
                assert!(again.is_ok() || kind == steps, "it was applied before");
                if kind == merge {
                    assert_eq!(
                        again.as_ref(),
                        Ok(&changed),
                        "RFC 7386: applying a patch twice changes nothing more"
                    );
                }
                match strangers::submitted(changed, &key) {
                    Ok(changed) => assert_eq!(changed.key(), key, "a patch moves an object"),
                    Err(cause) => assert!(!cause.is_empty()),
                }
            }
            Err(cause) => assert!(!cause.is_empty()),
        }
    }
}
