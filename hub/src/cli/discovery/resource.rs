//! Kinds as a hub serves them, and objects of them: what a path is made of.

use std::sync::Arc;

use lichen_hub_core::api::{Key, Kind};
use serde_json::Value;

use crate::cli::{client::segment, error::CliError};

/// The core group's version, which has no group in its path.
pub(super) const CORE: &str = "v1";

/// A kind as a hub serves it: Kubernetes' `APIResource`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiResource {
    /// `v1`, `apps/v1`.
    pub group_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `deployments`.
    pub plural: String,
    /// `deployment`.
    pub singular: String,
    /// `deploy`.
    pub short_names: Vec<String>,
    /// `all`.
    pub categories: Vec<String>,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// `get`, `list`, `watch`…
    pub verbs: Vec<String>,
}

/// One object of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its kind.
    pub resource: Arc<ApiResource>,
    /// Empty if its kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ApiResource {
    /// A kind that this program knows: manifests are read as these.
    #[must_use]
    pub fn known(kind: Kind) -> Self {
        Self {
            group_version: kind.api_version().to_owned(),
            kind: kind.as_str().to_owned(),
            plural: kind.plural().to_owned(),
            singular: kind.names().singular.to_owned(),
            namespaced: kind.namespaced(),
            ..Self::default()
        }
    }

    /// The path of its objects, in one namespace or everywhere.
    #[must_use]
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group_version == CORE { "/api" } else { "/apis" };
        let (version, plural) = (&self.group_version, segment(&self.plural));
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => {
                format!("{root}/{version}/namespaces/{}/{plural}", segment(namespace))
            }
            None => format!("{root}/{version}/{plural}"),
        }
    }

    /// Whether it can be asked for in this way.
    #[must_use]
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// `apps`; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group_version.split_once('/').map_or("", |(group, _)| group)
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        name == self.plural
            || name == self.singular
            || name.eq_ignore_ascii_case(&self.kind)
            || self.short_names.iter().any(|short| name == short)
    }

    /// From an entry of an `APIResourceList`; `None` for a subresource, and for what is no entry.
    pub(super) fn read(group_version: &str, entry: &Value) -> Option<Self> {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let texts = |name: &str| {
            let values = entry[name].as_array().into_iter().flatten();
            values.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let (kind, plural) = (text("kind"), text("name"));
        if kind.is_empty() || plural.is_empty() || plural.contains('/') {
            return None;
        }
        let singular = Some(text("singularName")).filter(|name| !name.is_empty());
        Some(Self {
            group_version: group_version.to_owned(),
            singular: singular.unwrap_or_else(|| kind.to_ascii_lowercase()),
            short_names: texts("shortNames"),
            categories: texts("categories"),
            namespaced: entry["namespaced"] == true,
            verbs: texts("verbs"),
            kind,
            plural,
        })
    }
}

impl ObjectRef {
    /// An object; a namespace is dropped if its kind has none.
    #[must_use]
    pub fn new(resource: &Arc<ApiResource>, namespace: &str, name: &str) -> Self {
        let namespace = if resource.namespaced { namespace } else { "" };
        Self {
            resource: Arc::clone(resource),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// An object that a manifest of this program names.
    #[must_use]
    pub fn known(key: &Key) -> Self {
        Self::new(&Arc::new(ApiResource::known(key.kind)), &key.namespace, &key.name)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.resource.collection(Some(&self.namespace)), segment(&self.name))
    }

    /// `deployment/web`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.resource.singular, self.name)
    }

    /// What is said of it if it isn't there.
    #[must_use]
    pub fn not_found(&self) -> CliError {
        let ApiResource { singular, plural, .. } = self.resource.as_ref();
        let (place, all) = match self.namespace.as_str() {
            "" => (String::new(), ""),
            namespace => (format!(" in namespace {namespace}"), " -A"),
        };
        let name = &self.name;
        CliError::Failed(format!(
            "{singular} {name} not found{place}; see all with: lichen get {plural}{all}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn subresources_and_what_is_no_kind_are_passed_over() {
        assert_eq!(ApiResource::read("v1", &json!({"name": "pods/log", "kind": "Pod"})), None);
        assert_eq!(ApiResource::read("v1", &json!({"name": "x"})), None);
        assert_eq!(ApiResource::read("v1", &json!(7)), None);
    }
}
