//! The kinds that a hub serves, as its discovery tells them: `/api/v1`, `/apis`, and every group version below. Asked for
//! once per command, and never kept: a newer hub has more kinds, and this program needs to know none of them.

mod resource;

use std::sync::Arc;

use super::{
    client::{Client, ClientError, segment},
    error::CliError,
};
use crate::manifest::nearest;
use resource::CORE;
pub use resource::{ApiResource, ObjectRef};

/// Group versions that are asked for. Lichen has a handful; a hub that lists more is none.
const MAX_VERSIONS: usize = 64;

/// Every kind that a hub serves.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    resources: Vec<Arc<ApiResource>>,
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
            let plurals: Vec<&str> = self.names().collect();
            let singulars = self.resources.iter().map(|resource| resource.singular.as_str());
            let names: Vec<&str> = plurals.iter().copied().chain(singulars).collect();
            let lower = word.to_ascii_lowercase();
            let hint = nearest(&lower, &names);
            let hint = hint.map(|name| format!("did you mean {name}? ")).unwrap_or_default();
            let known = plurals.join(", ");
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

    /// The plurals of all kinds that can be looked at.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let kept = self.resources.iter().filter(|resource| resource.can("get"));
        kept.map(|resource| resource.plural.as_str())
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
    use lichen_hub_core::api::Kind;
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
        assert!(said("nod").contains("did you mean node?"), "{}", said("nod"));
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
}
