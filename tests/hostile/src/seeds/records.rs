//! Stores: what a hub has written of itself, whole, and with one record that bit rot or an unlucky restore has changed.

use lichen_hub_core::{
    api::Kind,
    record::{self, KeyOf, LoadError},
};
use serde_json::{Value, json};

use super::{Seed, seed};
use crate::{
    hub::fleet::{Fleet, Records},
    records::opened,
};

pub(super) fn seeds() -> Vec<Seed> {
    let store = Fleet::beginning();
    let whole: Vec<(String, Value)> =
        store.iter().map(|(key, value)| (key.clone(), json_of(value))).collect();
    let keys =
        b"+object/Pod/a/b\n{}\0nothing\n{}\0image/a/b@c\n[2]\0data/Secret/a/b\n{\"x\":[]}".to_vec();
    let overflow = json!(u64::MAX);
    let last = |record: &mut Value| record["generation"] = overflow.clone();
    let (_, device) = first(&store, |key| matches!(key, KeyOf::Device(_)));
    let pod = |change: fn(&mut Value)| {
        beside(&[changed(&store, |key| matches!(key, KeyOf::Pod(_)), change)])
    };
    let meta = |version: Value| {
        let change = |record: &mut Value| record["reserved_resource_version"] = version;
        beside(&[changed(&store, |key| matches!(key, KeyOf::Meta), change)])
    };
    let of_kind =
        |kind: Kind| move |key: &KeyOf<'_>| matches!(key, KeyOf::Object(of) if of.kind == kind);
    let revision = |key: &KeyOf<'_>| matches!(key, KeyOf::Revision(..));
    let without_roots = |record: &mut Value| record["roots"] = json!({});
    vec![
        seed(
            "records",
            "daemonset",
            beside(&[changed(&store, of_kind(Kind::DaemonSet), without_roots)]),
            loads,
        ),
        seed(
            "records",
            "deployment",
            beside(&[changed(&store, of_kind(Kind::Deployment), without_roots)]),
            loads,
        ),
        seed(
            "records",
            "deployment-last-generation",
            beside(&[changed(&store, of_kind(Kind::Deployment), |record| {
                record["object"]["metadata"]["generation"] = json!(u64::MAX);
                record["object"]["metadata"]["resourceVersion"] = json!(u64::MAX.to_string());
            })]),
            loads,
        ),
        seed(
            "records",
            "device",
            beside(&[(record::device_key("board-7"), device.clone())]),
            |bytes| names(bytes, Kind::Node).iter().any(|name| name == "board-7"),
        ),
        seed(
            "records",
            "device-last-generation",
            beside(&[changed(&store, |key| matches!(key, KeyOf::Device(_)), last)]),
            |bytes| is_refused(bytes, "its generation is one that no hub reaches"),
        ),
        seed(
            "records",
            "device-that-is-none",
            beside(&[("device/../x".to_owned(), device)]),
            |bytes| is_refused(bytes, "its key is no device's name"),
        ),
        seed("records", "empty", b"+image/x\n".to_vec(), |bytes| {
            is_refused(bytes, "image/x is damaged")
        }),
        seed("records", "keys", keys, |bytes| is_refused(bytes, "is damaged")),
        seed("records", "meta", meta(json!(100_000)), loads),
        seed(
            "records",
            "time-beyond-the-last",
            beside(&[changed(
                &store,
                |key| matches!(key, KeyOf::Time),
                |record| record["unix_ms"] = json!(u64::MAX),
            )]),
            loads,
        ),
        seed("records", "meta-last-version", meta(json!(u64::MAX)), |bytes| {
            is_refused(bytes, "its resource version is one that no hub reaches")
        }),
        seed("records", "newer", b"+meta\n\x02{}".to_vec(), |bytes| {
            matches!(opened(bytes), Err(LoadError::Newer { .. }))
        }),
        seed(
            "records",
            "pod-deleting",
            pod(|record| {
                record["deleting_ms"] = json!(5);
                record["released"] = json!(2);
            }),
            loads,
        ),
        seed("records", "pod-of-nobody", pod(|record| record["owner"] = json!("gone")), loads),
        seed(
            "records",
            "pod-without-revision",
            pod(|record| record["revision"] = json!("0")),
            |bytes| is_refused(bytes, "its revision 0 is not there"),
        ),
        seed(
            "records",
            "retired-last-generation",
            beside(&[("retired/board-3".to_owned(), overflow)]),
            |bytes| is_refused(bytes, "its generation is one that no hub reaches"),
        ),
        seed(
            "records",
            "revision-last-number",
            beside(&[changed(&store, revision, |record| {
                record["number"] = json!(u64::MAX);
            })]),
            loads,
        ),
        seed("records", "data-of-nobody", data(), loads),
        seed("records", "whole-store", text(&whole), |bytes| {
            let kinds = [
                Kind::Secret,
                Kind::Deployment,
                Kind::DaemonSet,
                Kind::ConfigMap,
                Kind::Node,
                Kind::Pod,
            ];
            kinds.iter().all(|kind| !names(bytes, *kind).is_empty())
        }),
    ]
}

/// Data of a Secret that is gone, and that nobody uses; more of it than the next hub knows of.
fn data() -> Vec<u8> {
    let value = json!({"data": {"token": "aHVudGVyMg=="}, "more": 1});
    beside(&[("data/Secret/default/gone".to_owned(), value)])
}

fn json_of(value: &[u8]) -> Value {
    serde_json::from_slice(&value[1..]).expect("a record is a version and JSON")
}

/// The first record whose key is such.
fn first(store: &Records, such: impl Fn(&KeyOf<'_>) -> bool) -> (String, Value) {
    let is = |key: &str| record::parse_key(key).is_some_and(|key| such(&key));
    let (key, value) = store.iter().find(|(key, _)| is(key)).expect("the store has one");
    (key.clone(), json_of(value))
}

fn changed(
    store: &Records,
    such: impl Fn(&KeyOf<'_>) -> bool,
    change: impl FnOnce(&mut Value),
) -> (String, Value) {
    let (key, mut value) = first(store, such);
    change(&mut value);
    (key, value)
}

/// Records in place of those of a sound store.
fn beside(records: &[(String, Value)]) -> Vec<u8> {
    [b"+".to_vec(), text(records)].concat()
}

fn text(records: &[(String, Value)]) -> Vec<u8> {
    let entries: Vec<String> =
        records.iter().map(|(key, value)| format!("{key}\n{value}")).collect();
    entries.join("\0").into_bytes()
}

fn loads(bytes: &[u8]) -> bool {
    opened(bytes).is_ok()
}

fn is_refused(bytes: &[u8], why: &str) -> bool {
    opened(bytes).err().is_some_and(|error| error.to_string().contains(why))
}

fn names(bytes: &[u8], kind: Kind) -> Vec<String> {
    let Ok(mut fleet) = opened(bytes) else { return Vec::new() };
    fleet.list(kind).iter().map(|object| object.meta().name.clone()).collect()
}
