//! Pod Security Standards: what the Pods of a namespace may ask for, as the namespace's labels say.
//!
//! `enforce` refuses a workload, `warn` answers with a warning, `audit` notes in the audit log. Each names a level,
//! and perhaps the version of Kubernetes whose rules count: `latest` (default) or `v1.N`. Without a label the level is
//! `privileged`, which allows everything.
//!
//! Kubernetes lets a workload in and refuses its Pods. Here Pods are made by the hub, so that `enforce` refuses the workload
//! itself: whoever wrote it is told.
//!
//! Source: kubernetes.io/docs/concepts/security/pod-security-standards and pod-security-admission; the words are those of
//! `k8s.io/pod-security-admission`. Checks are in [`baseline`] and [`restricted`], each a function of a Pod's spec.

mod baseline;
mod level;
mod restricted;
#[cfg(test)]
mod tests;

use alloc::{format, string::String, vec::Vec};

pub use level::{Level, Mode, Policy, Version, check_labels};

use crate::api::{
    core::pod::{Container, PodSpec},
    meta::Map,
};

/// What a Pod does that a level does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// In a few words.
    pub reason: &'static str,
    /// Where, and what would be right.
    pub detail: String,
}

/// A check: what it finds.
type Check = fn(&PodSpec, Version) -> Option<Violation>;

/// Everything that a policy does not allow, in Kubernetes' order.
#[must_use]
pub fn violations(policy: Policy, spec: &PodSpec) -> Vec<Violation> {
    let (baseline, restricted) = match policy.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => (baseline::CHECKS, &[][..]),
        // What is stricter replaces what it is stricter than.
        Level::Restricted => (baseline::CHECKS_ALSO_OF_RESTRICTED, restricted::CHECKS),
    };
    let all = baseline.iter().chain(restricted);
    all.filter(|(since, _)| policy.version >= *since)
        .filter_map(|(_, check)| check(spec, policy.version))
        .collect()
}

/// Everything, in one sentence: `allowPrivilegeEscalation != false (container "a" must set …), …`.
#[must_use]
pub fn in_words(violations: &[Violation]) -> String {
    let each = violations.iter().map(|Violation { reason, detail }| match detail.is_empty() {
        true => String::from(*reason),
        false => format!("{reason} ({detail})"),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Why a namespace does not let a Pod in. `labels`: the namespace's.
#[must_use]
pub fn refusal(labels: &Map, spec: &PodSpec) -> Option<String> {
    let policy = Policy::of(labels, Mode::Enforce);
    let found = violations(policy, spec);
    (!found.is_empty()).then(|| format!("violates PodSecurity \"{policy}\": {}", in_words(&found)))
}

/// What is to be said of a Pod that was let in, for one of the other two modes.
#[must_use]
pub fn remark(labels: &Map, mode: Mode, spec: &PodSpec) -> Option<String> {
    let policy = Policy::of(labels, mode);
    let found = violations(policy, spec);
    (!found.is_empty())
        .then(|| format!("would violate PodSecurity \"{policy}\": {}", in_words(&found)))
}

/// What is to be said to whoever has changed a namespace's labels: which of its workloads would not be let in now. `old`: the
/// labels before. `workloads`: by a name for people.
#[must_use]
pub fn of_existing<'a>(
    namespace: &str,
    old: &Map,
    labels: &Map,
    workloads: impl Iterator<Item = (String, &'a PodSpec)>,
) -> Vec<String> {
    let policy = Policy::of(labels, Mode::Enforce);
    if policy == Policy::of(old, Mode::Enforce) {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    for (name, spec) in workloads {
        let found = violations(policy, spec);
        if found.is_empty() {
            continue;
        }
        if warnings.is_empty() {
            warnings.push(format!(
                "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{policy}\""
            ));
        }
        // Kubernetes names what is wrong, without the containers.
        let reasons: Vec<_> = found.iter().map(|violation| violation.reason).collect();
        warnings.push(format!("{name}: {}", reasons.join(", ")));
    }
    warnings
}

/// The containers of a Pod of which something is so: `container "a"`, `containers "a", "b"`.
fn containers(spec: &PodSpec, is_so: impl Fn(&Container) -> bool) -> Option<String> {
    let all = spec.init_containers.iter().chain(&spec.containers);
    named("container", all.filter(|container| is_so(container)).map(|c| c.name.as_str()))
}

/// Things with names: one, several, or none.
fn named<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let quoted: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    match quoted.len() {
        0 => None,
        1 => Some(format!("{what} {}", quoted.concat())),
        _ => Some(format!("{what}s {}", quoted.join(", "))),
    }
}

fn violation(reason: &'static str, detail: Option<String>) -> Option<Violation> {
    detail.map(|detail| Violation { reason, detail })
}
