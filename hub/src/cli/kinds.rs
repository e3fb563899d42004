//! The words that name kinds and objects on the command line, as kubectl takes them. Which kinds there are is
//! [`Discovery`]'s to say.

use std::sync::Arc;

use super::{
    discovery::{ApiResource, Discovery, ObjectRef},
    error::CliError,
};

/// Where objects are if nothing else is said.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every object of these kinds.
    Kinds(Vec<Arc<ApiResource>>),
    /// These objects.
    Objects(Vec<ObjectRef>),
}

/// Reads `KIND[,KIND] [NAME…]` or `KIND/NAME…`.
///
/// # Errors
/// An unknown kind, with the known ones.
pub fn wanted(hub: &Discovery, words: &[String], namespace: &str) -> Result<Wanted, CliError> {
    if words.iter().any(|word| word.contains('/')) {
        return slashed(hub, words, namespace).map(Wanted::Objects);
    }
    let (kinds, names) = words.split_first().ok_or_else(|| no_kind(hub))?;
    let kinds = list(hub, kinds)?;
    if names.is_empty() {
        return Ok(Wanted::Kinds(kinds));
    }
    let of_kind =
        |kind| names.iter().map(move |name: &String| ObjectRef::new(kind, namespace, name));
    Ok(Wanted::Objects(kinds.iter().flat_map(of_kind).collect()))
}

/// Reads `KIND NAME…` or `KIND/NAME…`; a kind alone is not enough.
///
/// # Errors
/// An unknown kind, or no name.
pub fn objects(
    hub: &Discovery,
    words: &[String],
    namespace: &str,
    verb: &str,
) -> Result<Vec<ObjectRef>, CliError> {
    match wanted(hub, words, namespace)? {
        Wanted::Objects(objects) => Ok(objects),
        Wanted::Kinds(kinds) => {
            let kind = kinds.first().map_or("deployment", |kind| kind.singular.as_str());
            Err(CliError::Usage(format!("which {kind}? write: lichen {verb} {kind} NAME")))
        }
    }
}

/// The kinds of `KIND[,KIND]`, each once, in their order.
fn list(hub: &Discovery, word: &str) -> Result<Vec<Arc<ApiResource>>, CliError> {
    let mut kinds = Vec::new();
    for word in word.split(',').filter(|word| !word.is_empty()) {
        for kind in hub.find_all(word)? {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    if kinds.is_empty() { Err(no_kind(hub)) } else { Ok(kinds) }
}

fn slashed(hub: &Discovery, words: &[String], namespace: &str) -> Result<Vec<ObjectRef>, CliError> {
    let object = |word: &String| match word.split_once('/') {
        Some((kind, name)) if !name.is_empty() && !name.contains('/') => {
            Ok(ObjectRef::new(&hub.find(kind)?, namespace, name))
        }
        _ => Err(CliError::Usage(format!("{word:?} is not KIND/NAME; don't mix the two forms"))),
    };
    words.iter().map(object).collect()
}

fn no_kind(hub: &Discovery) -> CliError {
    CliError::Usage(format!("name a kind: {}", hub.names().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::discovery::tests::sample;

    fn check(line: &str, expected: &str) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let shown = match wanted(&sample(), &words, "shop") {
            Ok(Wanted::Kinds(kinds)) => {
                kinds.iter().map(|kind| kind.plural.clone()).collect::<Vec<_>>().join(" ")
            }
            Ok(Wanted::Objects(objects)) => {
                let one = |object: &ObjectRef| format!("{}:{}", object.namespace, object.label());
                objects.iter().map(one).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn objects_are_named_as_with_kubectl() {
        check("pods", "pods");
        check("po,deploy.apps,pod", "pods deployments");
        check("all", "pods deployments");
        check("deploy web api", "shop:deployment/web shop:deployment/api");
        check("moss/a no/pi", "shop:moss/a :node/pi");
        check("Deployment web", "shop:deployment/web");
        check("cm,no x", "shop:configmap/x :node/x");
    }

    #[test]
    fn what_names_nothing_is_answered_with_the_form() {
        check("pod/", "\"pod/\" is not KIND/NAME; don't mix the two forms");
        check("pod web pod/x", "\"pod\" is not KIND/NAME; don't mix the two forms");
        check(",", "name a kind: pods, nodes, configmaps, deployments, mosses");
    }
}
