//! The saved revisions of a workload, where Kubernetes keeps them: of a Deployment in its ReplicaSets, with their number in
//! an annotation; of other workloads in ControllerRevisions.

use std::sync::Arc;

use lichen_hub_core::api::apps::{REVISION_ANNOTATION, TEMPLATE_HASH_LABEL, is_of_revision};
use serde_json::{Map, Value};

use crate::cli::{
    Context,
    client::{Form, Selectors},
    discovery::{ApiResource, ObjectRef},
    error::CliError,
};

/// The annotation with why it was made.
const CAUSE: &str = "kubernetes.io/change-cause";

/// One saved revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// 1 for the first.
    pub number: i64,
    /// Why it was made, if somebody said so.
    pub cause: Option<String>,
    /// Annotations that the workload had.
    pub annotations: Map<String, Value>,
    /// What it declares.
    pub template: Value,
}

/// The revisions of a workload, the oldest first.
///
/// # Errors
/// The hub keeps none of this kind, or can't be reached.
pub fn revisions(
    context: &Context,
    workload: &ObjectRef,
    value: &Value,
) -> Result<Vec<Revision>, CliError> {
    let (resource, read): (_, fn(&Value) -> Option<Revision>) =
        match workload.resource.kind.as_str() {
            "Deployment" => (served(context, workload, "ReplicaSet")?, of_replica_set),
            _ => (served(context, workload, "ControllerRevision")?, of_controller_revision),
        };
    let namespace = Some(workload.namespace.as_str());
    let all = context.client.list(&resource, namespace, &Selectors::default(), Form::Objects)?;
    let uid = value["metadata"]["uid"].as_str().unwrap_or_default();
    let own = all.items.iter().filter(|item| is_controlled_by(&item.object, uid));
    let mut revisions: Vec<Revision> = own.filter_map(|item| read(&item.object)).collect();
    revisions.sort_by_key(|revision| revision.number);
    Ok(revisions)
}

fn served(
    context: &Context,
    workload: &ObjectRef,
    kind: &str,
) -> Result<Arc<ApiResource>, CliError> {
    context.discovery()?.kind("apps", kind).ok_or_else(|| {
        CliError::Failed(format!(
            "this hub serves no {kind} (apps/v1), in which Kubernetes keeps the revisions of a {}; \
             go back by applying its earlier manifest",
            workload.resource.singular
        ))
    })
}

fn is_controlled_by(object: &Value, uid: &str) -> bool {
    let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.any(|owner| owner["controller"] == true && owner["uid"] == uid)
}

fn of_replica_set(set: &Value) -> Option<Revision> {
    let annotations = &set["metadata"]["annotations"];
    let number = annotations[REVISION_ANNOTATION].as_str()?.parse().ok()?;
    Some(revision(number, annotations, &set["spec"]["template"]))
}

/// Its data is a patch of the workload, which replaces the whole template.
fn of_controller_revision(saved: &Value) -> Option<Revision> {
    let number = saved["revision"].as_i64()?;
    Some(revision(number, &saved["metadata"]["annotations"], &saved["data"]["spec"]["template"]))
}

fn revision(number: i64, annotations: &Value, template: &Value) -> Revision {
    let cause = annotations[CAUSE].as_str().map(str::to_owned);
    let mut annotations = annotations.as_object().cloned().unwrap_or_default();
    annotations.retain(|name, _| is_of_revision(name));
    Revision { number, cause, annotations, template: declared(template) }
}

/// A template without what the hub added to tell revisions apart.
#[must_use]
pub fn declared(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    let meta = template.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(labels) =
        meta.and_then(|meta| meta.get_mut("labels")).and_then(Value::as_object_mut)
    {
        labels.remove(TEMPLATE_HASH_LABEL);
    }
    template
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_places_of_revisions_read_alike() {
        let template = json!({"metadata": {"labels": {"app": "web", TEMPLATE_HASH_LABEL: "7c9f"}}, "spec": {}});
        let set = json!({"metadata": {"annotations": {REVISION_ANNOTATION: "3", CAUSE: "faster"}},
            "spec": {"template": template}});
        let expected = Revision {
            number: 3,
            cause: Some("faster".to_owned()),
            annotations: Map::from_iter([(CAUSE.to_owned(), "faster".into())]),
            template: json!({"metadata": {"labels": {"app": "web"}}, "spec": {}}),
        };
        assert_eq!(of_replica_set(&set), Some(expected.clone()));
        let mut patch = template;
        patch["$patch"] = "replace".into();
        let saved = json!({"metadata": {"annotations": {CAUSE: "faster"}}, "revision": 3,
            "data": {"spec": {"template": patch}}});
        assert_eq!(of_controller_revision(&saved), Some(expected));
        assert_eq!(of_replica_set(&json!({"metadata": {}})), None);
    }
}
