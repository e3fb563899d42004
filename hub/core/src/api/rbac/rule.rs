//! One rule of a role: verbs on resources, or on paths that are no resources.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    field::{Message, texts},
    meta::nullable,
    validate::Errors,
};

/// Rules of one role. Whoever has the role is held against each of them, with every request.
const MAX_RULES: usize = 200;
/// Combinations of verb, group, resource and name in all rules of a role: so many are looked at when it is granted.
const MAX_COMBINATIONS: usize = 10_000;

/// Verbs on resources, or on paths that are no resources. `*` stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// `get`, `list`, `create`…
    #[serde(deserialize_with = "nullable")]
    pub verbs: Vec<String>,
    /// Groups of the resources; empty text for the core group.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`; `*/scale` for a subresource of everything.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resources: Vec<String>,
    /// Only objects of these names; all, if empty.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resource_names: Vec<String>,
    /// `/metrics`; a `*` at the end stands for any rest.
    #[serde(
        rename = "nonResourceURLs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub non_resource_urls: Vec<String>,
}

/// The fields of [`PolicyRule`].
pub(super) const POLICY_RULE: Message = Message {
    name: "PolicyRule",
    fields: &[
        texts("verbs", 1),
        texts("apiGroups", 2),
        texts("resources", 3),
        texts("resourceNames", 4),
        texts("nonResourceURLs", 5),
    ],
};

impl PolicyRule {
    /// Combinations of verb, group, resource and name, or of verb and path.
    fn combinations(&self) -> usize {
        let names = self.resource_names.len().max(1);
        let places = match self.non_resource_urls.len() {
            0 => [self.api_groups.len(), self.resources.len(), names],
            paths => [paths, 1, 1],
        };
        places.into_iter().fold(self.verbs.len(), usize::saturating_mul)
    }

    fn validate(&self, field: &str, namespaced: bool, errors: &mut Errors) {
        if self.verbs.is_empty() {
            errors.add(format!("{field}.verbs"), "must contain at least one value");
        }
        if self.non_resource_urls.is_empty() {
            if self.api_groups.is_empty() {
                let cause =
                    "resource rules must supply at least one api group; \"\" is the core group";
                errors.add(format!("{field}.apiGroups"), cause);
            }
            if self.resources.is_empty() {
                let cause = "resource rules must supply at least one resource";
                errors.add(format!("{field}.resources"), cause);
            }
            return;
        }
        let path = format!("{field}.nonResourceURLs");
        if namespaced {
            errors
                .add(path, "namespaced rules cannot apply to non-resource URLs; use a ClusterRole");
        } else if ![&self.api_groups, &self.resources, &self.resource_names]
            .iter()
            .all(|list| list.is_empty())
        {
            errors.add(path, "rules cannot apply to both regular resources and non-resource URLs; write two rules");
        }
    }
}

/// Finds what is wrong with the rules of a role.
pub(super) fn validate(rules: &[PolicyRule], namespaced: bool, errors: &mut Errors) {
    if rules.len() > MAX_RULES {
        errors.add("rules", format!("at most {MAX_RULES} are taken; make two roles"));
        return;
    }
    for (index, rule) in rules.iter().enumerate() {
        rule.validate(&format!("rules[{index}]"), namespaced, errors);
    }
    let combinations = rules.iter().map(PolicyRule::combinations).fold(0, usize::saturating_add);
    if combinations > MAX_COMBINATIONS {
        errors.add(
            "rules",
            format!("they stand for {combinations} combinations of verb, group, resource and name; at most {MAX_COMBINATIONS} are taken"),
        );
    }
}
