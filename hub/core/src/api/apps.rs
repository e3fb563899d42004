//! The group `apps/v1`: workloads.

pub mod daemon_set;
pub mod deployment;
pub mod rollout;

use alloc::format;

pub use daemon_set::DaemonSet;
pub use deployment::Deployment;

use super::{core::pod::PodTemplate, meta::LabelSelector, validate::Errors};

/// The label that carries the hash of the template on a Pod.
pub const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";

/// What every workload's selector must be: some of the template's labels, and the same for ever.
fn validate_workload(
    selector: &LabelSelector,
    old: Option<&LabelSelector>,
    template: &PodTemplate,
    errors: &mut Errors,
) {
    if old.is_some_and(|old| old != selector) {
        errors.add("spec.selector", "can't be changed; delete the workload and apply it again");
    }
    if selector.match_labels.is_empty() {
        errors.add("spec.selector.matchLabels", "needs at least one label of the template");
    }
    for (key, value) in &selector.match_labels {
        if template.metadata.labels.get(key) != Some(value) {
            errors.add(
                "spec.selector.matchLabels",
                format!("{key}={value} must also be in spec.template.metadata.labels"),
            );
        }
    }
}
