//! The bytes are a request to the hub. The first byte says which part of one:
//!
//! | first byte mod 4 | what follows |
//! |---|---|
//! | 0 | lines: path, query, label selector, field selector, `Range`, `If-None-Match`, `If-Range`, `Content-Range` of an upload, path of the registry, `Authorization` |
//! | 1 | a kind, and a message of it in protobuf |
//! | 2 | a media type, and a body of it for a path |
//! | 3 | an object in JSON, shown as a row |

use lichen_hub::server::strangers;
use lichen_hub_core::{
    api::{KINDS, Key, Kind, Object, meta::Map},
    authorizer::Target,
};
use lichen_images::{
    Digest,
    conditional::{Answer, Conditions, evaluate},
    range::{Ranged, parse_chunk_range, parse_range},
    route::{Route, Wanted},
};
use serde_json::Value;

use crate::{meter::bounded, script::Script};

/// Heap bytes of any request; a body of YAML may repeat itself, see `manifests`.
const BASE_BYTES: usize = 96 * 1024 * 1024;
/// Heap bytes per byte: a field of two bytes becomes a value in a map.
const BYTES_PER_BYTE: usize = 2048;

/// One request.
pub fn requests(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    bounded("reading a request", limit, || match first % 4 {
        0 => lines(&String::from_utf8_lossy(rest)),
        1 => protobuf(rest),
        2 => body(rest),
        _ => row(rest),
    });
}

fn lines(text: &str) {
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let first = line();
    path(first);
    wanted(first);
    query(line());
    selectors(line(), line());
    let (range, if_none_match, if_range) = (line(), line(), line());
    for len in [0, 1, 1000, u64::MAX] {
        ranges(range, len);
        conditions(range, if_none_match, if_range, len);
    }
    if let Some(span) = parse_chunk_range(line()) {
        assert!(span.first <= span.last);
        assert_eq!(span.len(), span.last - span.first + 1);
        assert_eq!(parse_chunk_range(&span.to_string()), Some(span));
    }
    registry(line());
    authorization(line());
}

/// A path is written again from what it names, and names the same.
fn path(text: &str) {
    let Some(named) = strangers::path(text) else { return };
    let version = named.kind.api_version();
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let mut again = format!("{root}/{version}");
    if let Some(namespace) = named.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        again += &format!("/namespaces/{}", encoded(namespace));
    }
    again += &format!("/{}", named.kind.plural());
    for part in named.name.iter().chain(&named.subresource) {
        again += &format!("/{}", encoded(part));
    }
    assert_eq!(strangers::path(&again), Some(named), "{again}");
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn query(text: &str) {
    for name in ["watch", "limit", "labelSelector", "tailLines", "a"] {
        match strangers::parameter(text, name) {
            Ok((value, _, number)) => {
                assert!(value.as_ref().is_none_or(|value| !value.is_empty()));
                assert_eq!(number.is_some(), value.is_some(), "a number is read or refused");
            }
            Err(cause) => assert!(cause.contains(name), "{cause}"),
        }
    }
}

/// A requirement that is given twice is no other requirement.
fn selectors(labels: &str, fields: &str) {
    let given =
        Map::from([("app", "web"), ("tier", "")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    match strangers::label_selector(labels, &given) {
        Ok(selects) => {
            let twice = format!("{labels},{labels}");
            // There is a bound on requirements; an empty one is none, and two make a comma of their own.
            if let Ok(again) = strangers::label_selector(&twice, &given) {
                assert_eq!(again, selects, "{twice}");
            }
            assert!(selects || !labels.trim().is_empty(), "nothing is asked and nothing is found");
        }
        Err(cause) => assert!(!cause.is_empty()),
    }
    for kind in KINDS.iter().copied() {
        let json = format!(
            r#"{{"metadata":{{"name":"x"}},"apiVersion":"{}","kind":"{kind}"}}"#,
            kind.api_version()
        );
        let Ok(object) = Object::from_json(kind, json.as_bytes()) else { continue };
        match strangers::field_selector(fields, &object) {
            Ok(selects) => {
                let twice = strangers::field_selector(&format!("{fields},{fields}"), &object);
                assert_eq!(twice, Ok(selects));
            }
            Err(cause) => assert!(!cause.is_empty()),
        }
    }
}

/// A part lies inside of what there is, and is written as it is read.
fn ranges(text: &str, len: u64) {
    if let Ranged::Part(span) = parse_range(text, len) {
        assert!(span.first <= span.last && span.last < len);
        assert!((1..=len).contains(&span.len()));
        assert_eq!(parse_range(&format!("bytes={span}"), len), Ranged::Part(span));
        assert_eq!(span.content_range(len), format!("bytes {}-{}/{len}", span.first, span.last));
    }
}

/// Nobody is told that it has the bytes, or given a part of them, for another tag than theirs.
fn conditions(range: &str, if_none_match: &str, if_range: &str, len: u64) {
    let digest = Digest::of(b"0123456789");
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let conditions = Conditions {
        if_none_match: given(if_none_match),
        if_range: given(if_range),
        range: given(range),
    };
    match evaluate(&conditions, &digest, len) {
        Answer::NotModified => {
            assert!(if_none_match.trim() == "*" || if_none_match.contains(&digest.etag()));
        }
        Answer::Content(Ranged::Whole) => {}
        Answer::Content(Ranged::Part(_) | Ranged::Unsatisfiable) => {
            assert!(if_range.is_empty() || if_range.trim() == digest.etag());
        }
    }
}

/// A path of the registry is written again from what it names.
fn registry(text: &str) {
    let route = match Route::parse(text) {
        Ok(route) => route,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let again = match &route {
        Route::Root => "/v2/".to_owned(),
        Route::Catalogue => "/v2/_catalog".to_owned(),
        Route::Tags(name) => format!("/v2/{name}/tags/list"),
        Route::Blob(name, digest) => format!("/v2/{name}/blobs/{digest}"),
        Route::Uploads(name) => format!("/v2/{name}/blobs/uploads/"),
        Route::Upload(name, id) => format!("/v2/{name}/blobs/uploads/{id}"),
        Route::Manifest(name, Wanted::Tag(tag)) => format!("/v2/{name}/manifests/{tag}"),
        Route::Manifest(name, Wanted::Digest(digest)) => format!("/v2/{name}/manifests/{digest}"),
    };
    assert_eq!(Route::parse(&again), Ok(route), "{again}");
}

/// Nobody is recognised by what no hub has signed; and only what can't be in a header at all is nothing.
fn authorization(text: &str) {
    match strangers::authorization(text) {
        Ok(shown) => {
            let fits = |byte: u8| byte == b'\t' || (32..127).contains(&byte);
            assert!(!shown && !text.bytes().all(fits), "{text:?}");
        }
        Err(cause) => assert!(!cause.is_empty()),
    }
}

/// What a request wants is always something, and the same as what the handlers take its path for.
fn wanted(path: &str) {
    for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "BREW"] {
        let Some(wanted) = strangers::wanted(method, path) else { continue };
        assert!(!wanted.is_empty());
        if let Some(named) = strangers::path(path) {
            let names = named.kind.names();
            for one in wanted {
                let Target::Resource(target) = one.target else {
                    panic!("{path} is of {}", named.kind);
                };
                assert_eq!(
                    (target.group.as_ref(), target.resource.as_ref()),
                    (names.group(), names.plural)
                );
                let namespace = named.namespace.clone().unwrap_or_default();
                assert!(target.namespace == namespace || named.kind == Kind::Namespace);
                assert_eq!(target.subresource, named.subresource.clone().unwrap_or_default());
                assert!(named.name.is_none() || named.name.as_ref() == Some(&target.name));
            }
        }
    }
}

/// A body with its envelope; then the bytes without one.
fn protobuf(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let kinds =
        ["ConfigMap", "Deployment", "DaemonSet", "Namespace", "Node", "DeleteOptions", "Pod"];
    let kind = kinds[usize::from(script.number()) % kinds.len()];
    let message = script.piece();
    let types = [field(1, b"apps/v1"), field(2, kind.as_bytes())].concat();
    let envelope = [b"k8s\0".to_vec(), field(1, &types), field(2, message)].concat();
    for bytes in [envelope.as_slice(), bytes] {
        match strangers::protobuf(bytes) {
            Ok(value) => {
                assert!(value.get("kind").is_some_and(Value::is_string));
                let same = strangers::body("application/vnd.kubernetes.protobuf", bytes);
                assert_eq!(same.as_ref(), Ok(&value));
                let text = serde_json::to_vec(&value).expect("it is JSON");
                assert_eq!(strangers::body("application/json", &text), Ok(value.clone()));
                submit(value, kind);
            }
            Err(cause) => assert!(!cause.is_empty()),
        }
    }
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).expect("seven bits"));
    bytes.extend(content);
    bytes
}

fn body(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let types = [
        "",
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "text/html",
    ];
    let media_type = types[usize::from(script.number()) % types.len()];
    let kind = KINDS[usize::from(script.number()) % KINDS.len()];
    match strangers::body(media_type, script.piece()) {
        Ok(value) => submit(value, kind.as_str()),
        Err(cause) => assert!(!cause.is_empty()),
    }
}

/// What is submitted under a path is what the path names, or it is refused with a reason.
fn submit(value: Value, kind: &str) {
    let Some(kind) = Kind::parse(kind) else { return };
    let key = Key::new(kind, "default", "x");
    match strangers::submitted(value, &key) {
        Ok(object) => assert_eq!(object.key(), key),
        Err(cause) => assert!(!cause.is_empty()),
    }
}

/// Any object that the store may hold can be shown.
fn row(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let kind = KINDS[usize::from(script.number()) % KINDS.len()];
    let now_ms = 1 << (script.number() % 64);
    let Ok(object) = Object::from_json(kind, script.piece()) else { return };
    for include in [None, Some("Object"), Some("None")] {
        let row = strangers::row(&object, include, now_ms);
        let columns = row["columnDefinitions"].as_array().map(Vec::len);
        let cells = row["rows"][0]["cells"].as_array().map(Vec::len);
        assert!(columns.is_some() && columns == cells, "a cell for each column");
    }
}
