//! The level `restricted`: what good practice allows. Sections are those of the standard's table "Restricted".

use alloc::{format, string::String, vec::Vec};

use super::{
    Check, Version, Violation,
    baseline::{added, subjects},
    containers, violation,
};
use crate::api::core::pod::{Container, PodSecurityContext, PodSpec, SecurityContext, Volume};

/// "Seccomp (v1.19+)".
pub(super) const SECCOMP_SINCE: Version = Version(19);

/// With the first version that has each, in Kubernetes' order.
pub(super) const CHECKS: &[(Version, Check)] = &[
    (Version(8), allow_privilege_escalation),
    (Version(22), capabilities),
    (Version(0), volume_types),
    (Version(0), run_as_non_root),
    (Version(23), run_as_user),
    (SECCOMP_SINCE, seccomp),
];

fn own(container: &Container) -> SecurityContext {
    container.security_context.clone().unwrap_or_default()
}

fn of_pod(spec: &PodSpec) -> PodSecurityContext {
    spec.security_context.clone().unwrap_or_default()
}

/// "Privilege Escalation (v1.8+)".
fn allow_privilege_escalation(spec: &PodSpec, _: Version) -> Option<Violation> {
    let who = containers(spec, |c| own(c).allow_privilege_escalation != Some(false));
    let detail =
        who.map(|who| format!("{who} must set securityContext.allowPrivilegeEscalation=false"));
    violation("allowPrivilegeEscalation != false", detail)
}

/// "Capabilities (v1.22+)": all are dropped, and only one may be added back.
fn capabilities(spec: &PodSpec, _: Version) -> Option<Violation> {
    let keeps = containers(spec, |c| {
        !own(c).capabilities.is_some_and(|both| both.drop.iter().any(|name| name == "ALL"))
    });
    let is_forbidden = |name: &&String| name.as_str() != "NET_BIND_SERVICE";
    let adds = containers(spec, |c| added(c).any(|name| is_forbidden(&name)));
    let mut details = Vec::new();
    details.extend(
        keeps.map(|who| format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]")),
    );
    if let Some(who) = adds {
        let all = spec.init_containers.iter().chain(&spec.containers).flat_map(added);
        let mut names: Vec<String> =
            all.filter(is_forbidden).map(|name| format!("\"{name}\"")).collect();
        names.sort_unstable();
        names.dedup();
        details.push(format!(
            "{who} must not include {} in securityContext.capabilities.add",
            names.join(", ")
        ));
    }
    violation("unrestricted capabilities", (!details.is_empty()).then(|| details.join("; ")))
}

/// "Volume Types".
fn volume_types(spec: &PodSpec, _: Version) -> Option<Violation> {
    let host: Vec<&Volume> =
        spec.volumes.iter().filter(|volume| volume.host_path.is_some()).collect();
    let names = super::named("volume", host.iter().map(|volume| volume.name.as_str()));
    let verb = if host.len() == 1 { "uses" } else { "use" };
    let detail = names.map(|names| format!("{names} {verb} restricted volume type \"hostPath\""));
    violation("restricted volume types", detail)
}

/// "Running as Non-root".
fn run_as_non_root(spec: &PodSpec, _: Version) -> Option<Violation> {
    let pod = of_pod(spec).run_as_non_root;
    let says_no = containers(spec, |c| own(c).run_as_non_root == Some(false));
    let silent = containers(spec, |c| own(c).run_as_non_root.is_none());
    // That of the Pod counts for containers that say nothing.
    let detail = match (pod, says_no, silent) {
        (_, Some(who), _) => {
            let who = subjects(pod == Some(false), Some(who))?;
            Some(format!("{who} must not set securityContext.runAsNonRoot=false"))
        }
        (Some(false), None, Some(_)) => {
            Some("pod must not set securityContext.runAsNonRoot=false".into())
        }
        (None, None, Some(who)) => {
            Some(format!("pod or {who} must set securityContext.runAsNonRoot=true"))
        }
        (Some(_), None, _) | (None, None, None) => None,
    };
    violation("runAsNonRoot != true", detail)
}

/// "Running as Non-root user (v1.23+)".
fn run_as_user(spec: &PodSpec, _: Version) -> Option<Violation> {
    let who = containers(spec, |c| own(c).run_as_user == Some(0));
    let who = subjects(of_pod(spec).run_as_user == Some(0), who);
    violation("runAsUser=0", who.map(|who| format!("{who} must not set runAsUser=0")))
}

/// "Seccomp (v1.19+)": it must be turned on by name.
fn seccomp(spec: &PodSpec, _: Version) -> Option<Violation> {
    let good = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let pod = of_pod(spec).seccomp_profile;
    let pod_is_bad = pod.as_ref().is_some_and(|profile| !good(&profile.kind));
    let bad =
        containers(spec, |c| own(c).seccomp_profile.is_some_and(|profile| !good(&profile.kind)));
    if let Some(who) = subjects(pod_is_bad, bad) {
        let detail =
            format!("{who} must not set securityContext.seccompProfile.type to \"Unconfined\"");
        return violation("seccompProfile", Some(detail));
    }
    if pod.is_some() {
        return None;
    }
    let who = containers(spec, |c| own(c).seccomp_profile.is_none());
    let detail = who.map(|who| {
        format!(
            "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        )
    });
    violation("seccompProfile", detail)
}
