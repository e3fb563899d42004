//! The words that name kinds and objects on the command line: kubectl's, with its short names.

use lichen_hub_core::api::{Key, Kind};

use super::error::CliError;
use crate::manifest::nearest;

/// Where objects are if nothing else is said.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Kinds that `all` stands for.
const ALL: [Kind; 3] = [Kind::Pod, Kind::Deployment, Kind::DaemonSet];

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Every object of these kinds.
    Kinds(Vec<Kind>),
    /// These objects.
    Objects(Vec<Key>),
}

/// Reads `KIND[,KIND] [NAME…]` or `KIND/NAME…`.
///
/// # Errors
/// An unknown kind, with the known ones.
pub fn wanted(words: &[String], namespace: &str) -> Result<Wanted, CliError> {
    if words.iter().any(|word| word.contains('/')) {
        return slashed(words, namespace).map(Wanted::Objects);
    }
    let Some((kinds, names)) = words.split_first() else {
        return Err(CliError::Usage(format!("name a kind: {}", known())));
    };
    let kinds = list(kinds)?;
    if names.is_empty() {
        return Ok(Wanted::Kinds(kinds));
    }
    let keys =
        kinds.iter().flat_map(|kind| names.iter().map(|name| Key::new(*kind, namespace, name)));
    Ok(Wanted::Objects(keys.collect()))
}

/// Reads `KIND NAME…` or `KIND/NAME…`; a kind alone is not enough.
///
/// # Errors
/// An unknown kind, or no name.
pub fn objects(words: &[String], namespace: &str, verb: &str) -> Result<Vec<Key>, CliError> {
    match wanted(words, namespace)? {
        Wanted::Objects(keys) => Ok(keys),
        Wanted::Kinds(kinds) => {
            let kind = kinds.first().map_or("deployment", |kind| singular(*kind));
            Err(CliError::Usage(format!("which {kind}? write: lichen {verb} {kind} NAME")))
        }
    }
}

fn slashed(words: &[String], namespace: &str) -> Result<Vec<Key>, CliError> {
    let object = |word: &String| match word.split_once('/') {
        Some((kind, name)) if !name.is_empty() && !name.contains('/') => {
            Ok(Key::new(kind_of(kind)?, namespace, name))
        }
        _ => Err(CliError::Usage(format!("{word:?} is not KIND/NAME; don't mix the two forms"))),
    };
    words.iter().map(object).collect()
}

fn list(word: &str) -> Result<Vec<Kind>, CliError> {
    let mut kinds = Vec::new();
    for word in word.split(',').filter(|word| !word.is_empty()) {
        let named = if word == "all" { ALL.to_vec() } else { vec![kind_of(word)?] };
        kinds.extend(named);
    }
    if kinds.is_empty() {
        return Err(CliError::Usage(format!("name a kind: {}", known())));
    }
    Ok(kinds)
}

/// A kind by any of its names.
///
/// # Errors
/// There is no such kind; the known ones are listed.
pub fn kind_of(word: &str) -> Result<Kind, CliError> {
    let lower = word.to_ascii_lowercase();
    // `deployments.apps`, as kubectl writes it.
    let name = lower.split('.').next().unwrap_or_default();
    let found = Kind::EVERY.into_iter().find(|kind| {
        name == kind.plural() || name == singular(*kind) || short(*kind).contains(&name)
    });
    found.ok_or_else(|| {
        let names: Vec<&str> = Kind::EVERY.map(Kind::plural).to_vec();
        let hint =
            nearest(name, &names).map(|name| format!("did you mean {name}? ")).unwrap_or_default();
        CliError::Usage(format!("there is no kind {word:?}; {hint}Lichen has {}", known()))
    })
}

fn known() -> String {
    Kind::EVERY.map(Kind::plural).join(", ")
}

/// A kind's name for one object.
#[must_use]
pub fn singular(kind: Kind) -> &'static str {
    match kind {
        Kind::Namespace => "namespace",
        Kind::ConfigMap => "configmap",
        Kind::Deployment => "deployment",
        Kind::DaemonSet => "daemonset",
        Kind::Node => "node",
        Kind::Pod => "pod",
        Kind::Event => "event",
    }
}

fn short(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Namespace => &["ns"],
        Kind::ConfigMap => &["cm"],
        Kind::Deployment => &["deploy", "dep"],
        Kind::DaemonSet => &["ds"],
        Kind::Node => &["no", "device", "devices"],
        Kind::Pod => &["po", "pod", "pods"],
        Kind::Event => &["ev"],
    }
}

/// `deployment/web`.
#[must_use]
pub fn label(key: &Key) -> String {
    format!("{}/{}", singular(key.kind), key.name)
}

/// What is said of an object that isn't there.
#[must_use]
pub fn not_found(key: &Key) -> CliError {
    let (kind, name) = (singular(key.kind), &key.name);
    let (place, all) = match key.namespace.as_str() {
        "" => (String::new(), ""),
        namespace => (format!(" in namespace {namespace}"), " -A"),
    };
    let plural = key.kind.plural();
    CliError::Failed(format!(
        "{kind} {name} not found{place}; see all with: lichen get {plural}{all}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let shown = match wanted(&words, "shop") {
            Ok(Wanted::Kinds(kinds)) => format!("{kinds:?}"),
            Ok(Wanted::Objects(keys)) => {
                keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn objects_are_named_as_with_kubectl() {
        check("pods", "[Pod]");
        check("po,deploy.apps", "[Pod, Deployment]");
        check("all", "[Pod, Deployment, DaemonSet]");
        check("deploy web api", "Deployment shop/web, Deployment shop/api");
        check("ds/a no/pi", "DaemonSet shop/a, Node pi");
        check("Deployment web", "Deployment shop/web");
        check("cm,ns x", "ConfigMap shop/x, Namespace x");
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_known_ones() {
        let all = "namespaces, configmaps, deployments, daemonsets, nodes, pods, events";
        check("secrets", &format!("there is no kind \"secrets\"; Lichen has {all}"));
        check(
            "deploymets x",
            &format!("there is no kind \"deploymets\"; did you mean deployments? Lichen has {all}"),
        );
        check("pod/", "\"pod/\" is not KIND/NAME; don't mix the two forms");
        check("pod web pod/x", "\"pod\" is not KIND/NAME; don't mix the two forms");
        check(",", &format!("name a kind: {all}"));
    }
}
