//! The kinds that a hub serves, as its discovery tells them: `/api/v1`, `/apis`, and every group version below. Asked for
//! once per command, and never kept: a newer hub has more kinds, and this program needs to know none of them.

use std::sync::Arc;

use lichen_hub_core::api::{Key, Kind};
use serde_json::Value;

use super::{
    client::{Client, ClientError, segment},
    error::CliError,
};
use crate::manifest::nearest;

/// The core group's version, which has no group in its path.
const CORE: &str = "v1";
/// Group versions that are asked for. Lichen has a handful; a hub that lists more is none.
const MAX_VERSIONS: usize = 64;

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

/// Every kind that a hub serves.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    resources: Vec<Arc<ApiResource>>,
}

impl ApiResource {
    /// A kind that this program knows: manifests are read as these.
    #[must_use]
    pub fn known(kind: Kind) -> Self {
        Self {
            group_version: kind.api_version().to_owned(),
            kind: kind.as_str().to_owned(),
            plural: kind.plural().to_owned(),
            singular: kind.as_str().to_ascii_lowercase(),
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

    fn is_called(&self, name: &str) -> bool {
        name == self.plural
            || name == self.singular
            || name.eq_ignore_ascii_case(&self.kind)
            || self.short_names.iter().any(|short| name == short)
    }

    /// From an entry of an `APIResourceList`; `None` for a subresource, and for what is no entry.
    fn read(group_version: &str, entry: &Value) -> Option<Self> {
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

impl Discovery {
    /// Asks a hub for all of its kinds.
    ///
    /// # Errors
    /// The hub can't be reached.
    pub fn read(client: &Client) -> Result<Self, ClientError> {
        let mut resources = Vec::new();
        resources.extend(list(client, "/api/v1", CORE)?);
        let groups = client.get("/apis")?;
        let groups = groups["groups"].as_array().into_iter().flatten();
        let versions = groups.flat_map(|group| group["versions"].as_array().into_iter().flatten());
        let versions = versions.filter_map(|version| version["groupVersion"].as_str());
        for version in versions.take(MAX_VERSIONS) {
            let path: Vec<String> = version.split('/').map(segment).collect();
            resources.extend(list(client, &format!("/apis/{}", path.join("/")), version)?);
        }
        Ok(Self { resources: resources.into_iter().map(Arc::new).collect() })
    }

    /// A kind by any of its names: plural, singular, short, as in a manifest, or with its group (`deployments.apps`).
    ///
    /// # Errors
    /// There is none; the error lists those that there are, and the one that was most likely meant.
    pub fn find(&self, word: &str) -> Result<Arc<ApiResource>, CliError> {
        self.named(word).ok_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            let lower = word.to_ascii_lowercase();
            let hint = nearest(&lower, &names);
            let hint = hint.map(|name| format!("did you mean {name}? ")).unwrap_or_default();
            let known = names.join(", ");
            CliError::Usage(format!("there is no kind {word:?}; {hint}the hub has {known}"))
        })
    }

    /// The kinds that a word stands for: one kind, or all of a category, as `all`.
    ///
    /// # Errors
    /// There is no such kind or category.
    pub fn find_all(&self, word: &str) -> Result<Vec<Arc<ApiResource>>, CliError> {
        let of_category = |resource: &&Arc<ApiResource>| {
            resource.can("list") && resource.categories.iter().any(|category| category == word)
        };
        let found: Vec<_> = self.resources.iter().filter(of_category).cloned().collect();
        if found.is_empty() { self.find(word).map(|found| vec![found]) } else { Ok(found) }
    }

    /// A kind by its name in manifests, if the hub has it.
    #[must_use]
    pub fn kind(&self, group: &str, kind: &str) -> Option<Arc<ApiResource>> {
        let mut resources = self.resources.iter();
        resources.find(|resource| resource.kind == kind && resource.group() == group).cloned()
    }

    /// The plurals of all kinds.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(|resource| resource.plural.as_str())
    }

    fn named(&self, word: &str) -> Option<Arc<ApiResource>> {
        let lower = word.to_ascii_lowercase();
        let (name, group) = lower.split_once('.').unwrap_or((&lower, ""));
        // `deployments.apps`, or `deployments.v1.apps` with the version.
        let in_group = |resource: &ApiResource| {
            let version = resource.group_version.rsplit('/').next().unwrap_or_default();
            let full = format!("{version}.{}", resource.group());
            group.is_empty() || group == resource.group() || group == full.trim_end_matches('.')
        };
        let mut resources = self.resources.iter();
        resources.find(|resource| resource.is_called(name) && in_group(resource)).cloned()
    }
}

fn list(client: &Client, path: &str, group_version: &str) -> Result<Vec<ApiResource>, ClientError> {
    let answer = client.get(path)?;
    let entries = answer["resources"].as_array().into_iter().flatten();
    Ok(entries.filter_map(|entry| ApiResource::read(group_version, entry)).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A hub with a kind that this program has never heard of.
    pub fn sample() -> Discovery {
        let entry = |version: &str, plural: &str, kind: &str, namespaced: bool, short: &[&str]| {
            let categories = if kind == "Pod" || kind == "Deployment" { &["all"][..] } else { &[] };
            let entry = json!({"name": plural, "singularName": "", "kind": kind, "shortNames": short,
                "namespaced": namespaced, "verbs": ["get", "list"], "categories": categories});
            Arc::new(ApiResource::read(version, &entry).expect("an entry"))
        };
        let resources = vec![
            entry("v1", "pods", "Pod", true, &["po"]),
            entry("v1", "nodes", "Node", false, &["no"]),
            entry("v1", "configmaps", "ConfigMap", true, &["cm"]),
            entry("apps/v1", "deployments", "Deployment", true, &["deploy"]),
            entry("lichen.dev/v1", "mosses", "Moss", true, &[]),
        ];
        Discovery { resources }
    }

    #[test]
    fn a_kind_has_many_names() {
        let hub = sample();
        for (word, kind) in [
            ("pods", "Pod"),
            ("po", "Pod"),
            ("Deployment", "Deployment"),
            ("deployments.apps", "Deployment"),
            ("deploy.v1.apps", "Deployment"),
            ("pods.v1", "Pod"),
            ("moss", "Moss"),
            ("mosses.lichen.dev", "Moss"),
        ] {
            assert_eq!(hub.find(word).map(|found| found.kind.clone()).ok().as_deref(), Some(kind));
        }
        assert!(hub.find("pods.apps").is_err());
        let all = hub.find_all("all").expect("a category");
        assert_eq!(
            all.iter().map(|one| one.plural.as_str()).collect::<Vec<_>>(),
            ["pods", "deployments"]
        );
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_known_ones() {
        let said = |word: &str| sample().find(word).expect_err(word).to_string();
        let all = "pods, nodes, configmaps, deployments, mosses";
        assert_eq!(said("secrets"), format!("there is no kind \"secrets\"; the hub has {all}"));
        assert_eq!(
            said("deploymets"),
            format!("there is no kind \"deploymets\"; did you mean deployments? the hub has {all}")
        );
    }

    #[test]
    fn paths_are_kubernetes_own_and_names_cannot_leave_them() {
        let path = |kind: &str, namespace: &str, name: &str| {
            ObjectRef::new(&sample().find(kind).expect(kind), namespace, name).path()
        };
        assert_eq!(path("deploy", "a", "web"), "/apis/apps/v1/namespaces/a/deployments/web");
        assert_eq!(path("node", "a", "pi"), "/api/v1/nodes/pi");
        assert_eq!(path("pod", "../x", "a?b"), "/api/v1/namespaces/..%2Fx/pods/a%3Fb");
        assert_eq!(path("moss", "a", "b"), "/apis/lichen.dev/v1/namespaces/a/mosses/b");
        assert_eq!(ApiResource::known(Kind::Pod).collection(None), "/api/v1/pods");
    }

    #[test]
    fn subresources_and_what_is_no_kind_are_passed_over() {
        assert_eq!(ApiResource::read("v1", &json!({"name": "pods/log", "kind": "Pod"})), None);
        assert_eq!(ApiResource::read("v1", &json!({"name": "x"})), None);
        assert_eq!(ApiResource::read("v1", &json!(7)), None);
    }
}
