//! Which entries somebody wants to see.

use super::Entry;

/// See the module. What is not said is not asked for; what is said is all asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Not before, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Not after.
    pub until_ms: Option<u64>,
    /// Of this actor.
    pub actor: Option<String>,
    /// Of this device, and of what was done with it.
    pub node: Option<String>,
    /// With this verb.
    pub verb: Option<String>,
    /// About this resource: a plural, with or without group (`deployments.apps`) or subresource (`pods/log`).
    pub resource: Option<String>,
    /// In this namespace.
    pub namespace: Option<String>,
    /// Only what was refused.
    pub refused: bool,
}

impl Filter {
    /// Whether an entry is wanted.
    #[must_use]
    pub fn wants(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        is(&self.actor, &entry.actor)
            && is(&self.verb, &entry.verb)
            && is(&self.namespace, &entry.namespace)
            && (!self.refused || entry.is_refused())
            && self.resource.as_deref().is_none_or(|wanted| is_about(entry, wanted))
            && self.node.as_deref().is_none_or(|node| is_of_node(entry, node))
            && self.is_within(entry)
    }

    /// An entry without a time that can be read is shown: better too much than too little.
    fn is_within(&self, entry: &Entry) -> bool {
        if self.since_ms.is_none() && self.until_ms.is_none() {
            return true;
        }
        entry.unix_ms().is_none_or(|at| {
            self.since_ms.is_none_or(|since| at >= since)
                && self.until_ms.is_none_or(|until| at <= until)
        })
    }
}

fn is_about(entry: &Entry, wanted: &str) -> bool {
    let (resource, group) = match wanted.split_once('.') {
        Some((resource, group)) => (resource, Some(group)),
        None => (wanted, None),
    };
    let plain = entry.resource.split('/').next().unwrap_or_default();
    (entry.resource == resource || plain == resource)
        && group.is_none_or(|group| group == entry.group)
}

fn is_of_node(entry: &Entry, node: &str) -> bool {
    let about = matches!(is_about_device(entry), Some(name) if name == node);
    about || entry.actor.strip_prefix("system:node:") == Some(node)
}

fn is_about_device(entry: &Entry) -> Option<&str> {
    let plain = entry.resource.split('/').next().unwrap_or_default();
    matches!(plain, "nodes" | "enrolments").then_some(entry.name.as_str())
}
