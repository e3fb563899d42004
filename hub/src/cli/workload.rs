//! The Pods of a workload: those that it owns, and those that its ReplicaSets own.

use serde_json::Value;

use super::{
    Context,
    client::{Form, Item, Selectors},
    discovery::{ApiResource, ObjectRef},
    error::CliError,
};

/// Lists the Pods that a workload owns, itself or by way of what it owns.
///
/// # Errors
/// The hub can't be reached.
pub fn pods_of(context: &Context, object: &ObjectRef) -> Result<Vec<Value>, CliError> {
    let namespace = Some(object.namespace.as_str());
    let Context { client, .. } = context;
    let list = |resource: &ApiResource| {
        client.list(resource, namespace, &Selectors::default(), Form::Objects)
    };
    let (kind, name) = (object.resource.kind.clone(), object.name.clone());
    // Of all kinds only a Deployment owns Pods by way of others.
    let between = match kind.as_str() {
        "Deployment" => context.discovery()?.kind("apps", "ReplicaSet"),
        _ => None,
    };
    let sets = between.map(|sets| list(&sets)).transpose()?.unwrap_or_default();
    let sets = sets.items.iter().filter(|set| owned_by(&set.object, &kind, &name));
    let mut owners: Vec<(String, String)> =
        sets.map(|set| ("ReplicaSet".to_owned(), set.name().to_owned())).collect();
    owners.push((kind, name));
    let pods = list(context.discovery()?.find("pods")?.as_ref())?.items;
    let is_own = |pod: &Item| owners.iter().any(|(kind, name)| owned_by(&pod.object, kind, name));
    Ok(pods.into_iter().filter(is_own).map(|pod| pod.object).collect())
}

/// Whether an object names another one of its namespace as its owner.
fn owned_by(object: &Value, kind: &str, name: &str) -> bool {
    let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.any(|owner| owner["kind"] == kind && owner["name"] == name)
}
