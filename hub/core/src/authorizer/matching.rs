//! Whether a rule allows a request. The same words mean the same as in Kubernetes: `*` stands for everything, `*/scale`
//! for that subresource of everything, and a path that ends with `*` for every path that begins so.

use alloc::string::String;

use super::{Attributes, ResourceTarget, Target};
use crate::api::rbac::PolicyRule;

/// What stands for everything.
pub(super) const ALL: &str = "*";

/// Whether a rule allows a request.
pub(super) fn allows(rule: &PolicyRule, asked: &Attributes) -> bool {
    if !has(&rule.verbs, &asked.verb) {
        return false;
    }
    match &asked.target {
        Target::Resource(target) => {
            has(&rule.api_groups, &target.group)
                && is_resource(rule, target)
                && is_named(rule, target)
        }
        Target::Path(path) => rule.non_resource_urls.iter().any(|known| covers_path(known, path)),
    }
}

fn is_resource(rule: &PolicyRule, target: &ResourceTarget) -> bool {
    rule.resources.iter().any(|known| names_resource(known, &target.resource, &target.subresource))
}

/// Whether a rule's resource is one, without a copy of the two joined.
fn names_resource(known: &str, resource: &str, subresource: &str) -> bool {
    if known == ALL || subresource.is_empty() {
        return known == ALL || known == resource;
    }
    known
        .split_once('/')
        .is_some_and(|(of, below)| below == subresource && (of == ALL || of == resource))
}

fn is_named(rule: &PolicyRule, target: &ResourceTarget) -> bool {
    rule.resource_names.is_empty() || rule.resource_names.contains(&target.name)
}

/// Whether a list has a word, or the one for everything.
pub(super) fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|known| known == ALL || known == word)
}

/// Whether a list of resources has one, or one that stands for it.
pub(super) fn covers_resource(list: &[String], resource: &str) -> bool {
    let below = resource.split_once('/').map(|(_, below)| below);
    list.iter().any(|known| {
        known == ALL
            || known == resource
            || below.is_some_and(|below| known.strip_prefix("*/") == Some(below))
    })
}

/// Whether a rule's path covers one, which may end with `*` itself.
pub(super) fn covers_path(known: &str, path: &str) -> bool {
    known == path || known.strip_suffix('*').is_some_and(|beginning| path.starts_with(beginning))
}
