//! The group `apps/v1`: workloads.

pub mod controller_revision;
pub mod daemon_set;
pub mod deployment;
pub mod replica_set;
pub mod rollout;
pub mod stateful_set;

use alloc::{format, string::String};

pub use controller_revision::ControllerRevision;
pub use daemon_set::DaemonSet;
pub use deployment::Deployment;
pub use replica_set::ReplicaSet;
pub use stateful_set::StatefulSet;

use super::{core::pod::PodTemplate, meta::Map, selector::LabelSelector, validate::Errors};

/// The annotation with the number of a revision, on ReplicaSets and on a Deployment, which has that of its newest. Written
/// by the hub alone.
pub const REVISION_ANNOTATION: &str = "deployment.kubernetes.io/revision";
/// What kubectl remembers of the last manifest that it applied: it is about the workload, not about a revision.
const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether a revision takes over an annotation of its workload.
#[must_use]
pub fn is_of_revision(annotation: &str) -> bool {
    ![REVISION_ANNOTATION, LAST_APPLIED_ANNOTATION].contains(&annotation)
}

/// The annotations of a workload that its newest revision takes over.
#[must_use]
pub fn annotations_of_revision(workload: &Map) -> Map {
    let kept = workload.iter().filter(|(name, _)| is_of_revision(name));
    kept.map(|(name, text)| (name.clone(), text.clone())).collect()
}

/// Old templates that are kept of one workload. All of them are in memory, with the annotations of their time.
const MAX_HISTORY: u32 = 100;

/// The label that carries the hash of the template on a Pod.
pub const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";

/// What every workload's selector must be: some of the template's labels, and the same for ever. And how much history it
/// may keep.
fn validate_workload(
    selector: &LabelSelector,
    old: Option<&LabelSelector>,
    template: &PodTemplate,
    history: Option<u32>,
    errors: &mut Errors,
) {
    if history.is_some_and(|history| history > MAX_HISTORY) {
        errors.add("spec.revisionHistoryLimit", format!("at most {MAX_HISTORY} are kept"));
    }
    if old.is_some_and(|old| old != selector) {
        errors.add("spec.selector", "can't be changed; delete the workload and apply it again");
    }
    selector.validate("spec.selector", errors);
    if selector.is_empty() {
        errors.add("spec.selector.matchLabels", "needs at least one label of the template");
    }
    let labels = &template.metadata.labels;
    for (key, value) in &selector.match_labels {
        if labels.get(key) != Some(value) {
            errors.add(
                "spec.selector.matchLabels",
                format!("{key}={value} must also be in spec.template.metadata.labels"),
            );
        }
    }
    for (index, requirement) in selector.match_expressions.iter().enumerate() {
        if !requirement.holds(labels.get(&requirement.key).map(String::as_str)) {
            errors.add(
                format!("spec.selector.matchExpressions[{index}]"),
                format!(
                    "does not select spec.template.metadata.labels, in which \"{}\" is {}",
                    requirement.key,
                    labels.get(&requirement.key).map_or("missing", String::as_str)
                ),
            );
        }
    }
}
