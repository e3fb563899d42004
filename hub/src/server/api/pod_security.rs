//! What is said of a workload that was let in, as its namespace's labels want it: warnings to whoever asked, as Kubernetes'
//! header has them, and a note in the audit log.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use lichen_hub_core::{
    api::{KINDS, Key, Kind, Object, meta::Map, resource::Home},
    pod_security::{self, Mode},
};

use super::Api;
use crate::server::{
    audit::Told,
    watch_cache::{Ask, Selects},
};

/// Warnings of one answer, and bytes of one of them: a response's head is bounded, by clients too.
const MAX_WARNINGS: usize = 20;
const MAX_WARNING_BYTES: usize = 1024;
const WARNING: HeaderName = HeaderName::from_static("warning");
/// Kubernetes' name of the annotation of its audit log.
const AUDIT: &str = "pod-security.kubernetes.io/audit-violations";

/// A namespace's labels before it is changed.
pub(super) fn labels_before(api: &Api, key: &Key) -> Map {
    match key.kind {
        Kind::Namespace => labels(api, &key.name),
        _ => Map::new(),
    }
}

/// Adds to an answer what is to be said of the object that was stored. `before`: see [`labels_before`].
pub(super) fn remark(api: &Api, mut response: Response, object: &Object, before: &Map) -> Response {
    let meta = object.meta();
    let mut warnings = Vec::new();
    if object.kind() == Kind::Namespace {
        warnings = of_namespace(api, &meta.name, before, &meta.labels);
    }
    if let Some((template, _)) = object.template() {
        let labels = labels(api, &meta.namespace);
        warnings.extend(pod_security::remark(&labels, Mode::Warn, &template.spec));
        if let Some(found) = pod_security::remark(&labels, Mode::Audit, &template.spec) {
            let note = format!("{AUDIT}: {found}");
            response.extensions_mut().insert(Told { name: meta.name.clone(), note });
        }
    }
    warn(&mut response, &warnings);
    response
}

fn labels(api: &Api, namespace: &str) -> Map {
    let found = api.cache.get(&Key::new(Kind::Namespace, "", namespace));
    found.map(|namespace| namespace.meta().labels.clone()).unwrap_or_default()
}

fn of_namespace(api: &Api, name: &str, before: &Map, labels: &Map) -> Vec<String> {
    if before == labels {
        return Vec::new();
    }
    let workloads = workloads(api, name);
    let named = workloads.iter().filter_map(|object| {
        let kind = object.kind().names().singular;
        Some((format!("{kind}/{}", object.meta().name), object.template()?.0))
    });
    let named: Vec<_> = named.collect();
    let specs = named.iter().map(|(name, template)| (name.clone(), &template.spec));
    pod_security::of_existing(name, before, labels, specs)
}

struct MakesPods;

impl Selects for MakesPods {
    fn selects(&self, object: &Object) -> bool {
        object.template().is_some()
    }
}

/// Everything in a namespace that makes Pods, each once, but for what a workload has saved of itself.
fn workloads(api: &Api, namespace: &str) -> Vec<Arc<Object>> {
    let stored =
        KINDS.iter().filter(|kind| kind.names().home == Home::Objects && kind.namespaced());
    let mut found = BTreeMap::new();
    for kind in stored {
        let ask = Ask {
            kind: *kind,
            namespace: Some(namespace),
            name: None,
            selects: &MakesPods,
            limit: None,
            go_on: None,
        };
        // What is asked for as of now has not expired.
        let objects = api.cache.page(&ask).map(|page| page.objects).unwrap_or_default();
        found.extend(objects.into_iter().map(|object| (object.key(), object)));
    }
    found.into_values().collect()
}

/// RFC 9111 has dropped the header; Kubernetes has kept it: `299 - "text"`.
fn warn(response: &mut Response, warnings: &[String]) {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        let end = warning.floor_char_boundary(MAX_WARNING_BYTES);
        let quoted = warning[..end].replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
}
