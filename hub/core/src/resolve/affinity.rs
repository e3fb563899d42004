//! What affinity and spreading of a template may say.

use alloc::{collections::BTreeSet, format};

use super::Check;
use crate::api::{
    core::pod::{
        PodSpec,
        affinity::{
            NodeAffinity, NodeSelectorTerm, PodAffinity, PodAffinityTerm, TopologySpreadConstraint,
        },
    },
    selector::LabelSelector,
    validate::{Errors, check_label, check_label_name},
};

/// Terms and constraints of one template: each costs a look at every device and every Pod that it selects.
const MOST_TERMS: usize = 32;

impl Check {
    /// Affinity to devices and Pods, and spreading.
    pub(super) fn affinity(&mut self, at: &str, spec: &PodSpec) {
        let mut errors = Errors::default();
        if let Some(affinity) = &spec.affinity {
            let at = format!("{at}.affinity");
            if let Some(node) = &affinity.node_affinity {
                node_affinity(&format!("{at}.nodeAffinity"), node, &mut errors);
            }
            for (name, pods) in [
                ("podAffinity", &affinity.pod_affinity),
                ("podAntiAffinity", &affinity.pod_anti_affinity),
            ] {
                if let Some(pods) = pods {
                    pod_affinity(&format!("{at}.{name}"), pods, &mut errors);
                }
            }
        }
        let at = format!("{at}.topologySpreadConstraints");
        few(&at, spec.topology_spread_constraints.len(), &mut errors);
        let mut seen = BTreeSet::new();
        for (index, constraint) in spec.topology_spread_constraints.iter().enumerate() {
            let at = format!("{at}[{index}]");
            if !seen.insert((&constraint.topology_key, &constraint.when_unsatisfiable)) {
                errors.add(
                    format!("{at}.topologyKey"),
                    format!(
                        "\"{}\" is there twice with {}",
                        constraint.topology_key, constraint.when_unsatisfiable
                    ),
                );
            }
            spread(&at, constraint, &mut errors);
        }
        self.errors.extend(errors.0);
    }
}

fn node_affinity(at: &str, affinity: &NodeAffinity, errors: &mut Errors) {
    if let Some(required) = &affinity.required {
        let at = format!("{at}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
        if required.node_selector_terms.is_empty() {
            errors.add(&*at, "needs at least one term");
        }
        few(&at, required.node_selector_terms.len(), errors);
        for (index, term) in required.node_selector_terms.iter().enumerate() {
            node_term(&format!("{at}[{index}]"), term, errors);
        }
    }
    let at = format!("{at}.preferredDuringSchedulingIgnoredDuringExecution");
    few(&at, affinity.preferred.len(), errors);
    for (index, preferred) in affinity.preferred.iter().enumerate() {
        weight(&format!("{at}[{index}]"), preferred.weight, errors);
        node_term(&format!("{at}[{index}].preference"), &preferred.preference, errors);
    }
}

fn node_term(at: &str, term: &NodeSelectorTerm, errors: &mut Errors) {
    for (index, requirement) in term.match_expressions.iter().enumerate() {
        requirement.validate(&format!("{at}.matchExpressions[{index}]"), true, errors);
    }
    for (index, requirement) in term.match_fields.iter().enumerate() {
        let at = format!("{at}.matchFields[{index}]");
        if requirement.key != "metadata.name" {
            errors.add(
                format!("{at}.key"),
                format!("\"{}\" must be \"metadata.name\"", requirement.key),
            );
        }
        if !matches!(requirement.operator.as_str(), "In" | "NotIn") || requirement.values.len() != 1
        {
            errors.add(&*at, "needs operator \"In\" or \"NotIn\" and one name");
        }
    }
}

fn pod_affinity(at: &str, affinity: &PodAffinity, errors: &mut Errors) {
    let required = format!("{at}.requiredDuringSchedulingIgnoredDuringExecution");
    few(&required, affinity.required.len(), errors);
    for (index, term) in affinity.required.iter().enumerate() {
        pod_term(&format!("{required}[{index}]"), term, errors);
    }
    let preferred = format!("{at}.preferredDuringSchedulingIgnoredDuringExecution");
    few(&preferred, affinity.preferred.len(), errors);
    for (index, weighted) in affinity.preferred.iter().enumerate() {
        let at = format!("{preferred}[{index}]");
        weight(&at, weighted.weight, errors);
        pod_term(&format!("{at}.podAffinityTerm"), &weighted.pod_affinity_term, errors);
    }
}

fn pod_term(at: &str, term: &PodAffinityTerm, errors: &mut Errors) {
    topology_key(at, &term.topology_key, errors);
    selector(&format!("{at}.labelSelector"), term.label_selector.as_ref(), errors);
    selector(&format!("{at}.namespaceSelector"), term.namespace_selector.as_ref(), errors);
    for (index, namespace) in term.namespaces.iter().enumerate() {
        errors.keep(check_label_name(&format!("{at}.namespaces[{index}]"), namespace));
    }
    keys(&format!("{at}.matchLabelKeys"), &term.match_label_keys, errors);
    keys(&format!("{at}.mismatchLabelKeys"), &term.mismatch_label_keys, errors);
}

fn spread(at: &str, constraint: &TopologySpreadConstraint, errors: &mut Errors) {
    if constraint.max_skew == 0 {
        errors.add(format!("{at}.maxSkew"), "must be 1 or more");
    }
    topology_key(at, &constraint.topology_key, errors);
    let is_hard = constraint.when_unsatisfiable == "DoNotSchedule";
    if !is_hard && constraint.when_unsatisfiable != "ScheduleAnyway" {
        errors.add(
            format!("{at}.whenUnsatisfiable"),
            format!(
                "\"{}\" must be \"DoNotSchedule\" or \"ScheduleAnyway\"",
                constraint.when_unsatisfiable
            ),
        );
    }
    match constraint.min_domains {
        Some(0) => errors.add(format!("{at}.minDomains"), "must be 1 or more"),
        Some(_) if !is_hard => {
            errors.add(format!("{at}.minDomains"), "needs whenUnsatisfiable \"DoNotSchedule\"");
        }
        Some(_) | None => {}
    }
    for (name, policy) in [
        ("nodeAffinityPolicy", &constraint.node_affinity_policy),
        ("nodeTaintsPolicy", &constraint.node_taints_policy),
    ] {
        if let Some(policy) = policy.as_deref().filter(|word| !["Honor", "Ignore"].contains(word)) {
            errors.add(
                format!("{at}.{name}"),
                format!("\"{policy}\" must be \"Honor\" or \"Ignore\""),
            );
        }
    }
    selector(&format!("{at}.labelSelector"), constraint.label_selector.as_ref(), errors);
    keys(&format!("{at}.matchLabelKeys"), &constraint.match_label_keys, errors);
}

fn topology_key(at: &str, key: &str, errors: &mut Errors) {
    if key.is_empty() {
        errors.add(
            format!("{at}.topologyKey"),
            "must name a label of devices, such as \"kubernetes.io/hostname\"",
        );
    } else {
        errors.keep(check_label(&format!("{at}.topologyKey"), key, ""));
    }
}

fn selector(at: &str, selector: Option<&LabelSelector>, errors: &mut Errors) {
    if let Some(selector) = selector {
        selector.validate(at, errors);
    }
}

fn keys(at: &str, keys: &[alloc::string::String], errors: &mut Errors) {
    few(at, keys.len(), errors);
    for (index, key) in keys.iter().enumerate() {
        errors.keep(check_label(&format!("{at}[{index}]"), key, ""));
    }
}

fn weight(at: &str, weight: u32, errors: &mut Errors) {
    if !(1..=100).contains(&weight) {
        errors.add(format!("{at}.weight"), format!("{weight} must be 1 to 100"));
    }
}

fn few(at: &str, count: usize, errors: &mut Errors) {
    if count > MOST_TERMS {
        errors.add(at, format!("has {count} entries; at most {MOST_TERMS} are supported"));
    }
}
