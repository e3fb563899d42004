//! The level `baseline`: nothing that is known to lead out of a container. Sections are those of the standard's table
//! "Baseline".
//!
//! What the standard has on Windows, `SELinux` and hosts of probes is not here: manifests can't ask for it.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use super::{Check, Version, Violation, containers, named, violation};
use crate::api::core::pod::{Container, PodSpec, Profile};

/// With the first version that has each, in Kubernetes' order.
pub(super) const CHECKS: &[(Version, Check)] = &[
    (Version(0), app_armor),
    (Version(0), capabilities),
    (Version(0), host_namespaces),
    (Version(0), host_path_volumes),
    (Version(0), host_ports),
    (Version(0), privileged),
    (Version(0), proc_mount),
    (Version(0), seccomp),
    (Version(0), sysctls),
];

/// The same without those that `restricted` has a stricter one of.
pub(super) const CHECKS_ALSO_OF_RESTRICTED: &[(Version, Check)] = &[
    (Version(0), app_armor),
    (Version(0), host_namespaces),
    (Version(0), host_ports),
    (Version(0), privileged),
    (Version(0), proc_mount),
    (Version(0), seccomp_before_restricted),
    (Version(0), sysctls),
];

/// "Capabilities": those that may be added.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// "Sysctls": those that may be set, with the version that has added each.
const SYSCTLS: [(Version, &str); 12] = [
    (Version(0), "kernel.shm_rmid_forced"),
    (Version(0), "net.ipv4.ip_local_port_range"),
    (Version(0), "net.ipv4.tcp_syncookies"),
    (Version(0), "net.ipv4.ping_group_range"),
    (Version(0), "net.ipv4.ip_unprivileged_port_start"),
    (Version(27), "net.ipv4.ip_local_reserved_ports"),
    (Version(29), "net.ipv4.tcp_keepalive_time"),
    (Version(29), "net.ipv4.tcp_fin_timeout"),
    (Version(29), "net.ipv4.tcp_keepalive_intvl"),
    (Version(29), "net.ipv4.tcp_keepalive_probes"),
    (Version(32), "net.ipv4.tcp_rmem"),
    (Version(32), "net.ipv4.tcp_wmem"),
];

/// "AppArmor".
fn app_armor(spec: &PodSpec, _: Version) -> Option<Violation> {
    let is_off = |profile: Option<&Profile>| profile.is_some_and(|p| p.kind == "Unconfined");
    let of_pod = spec.security_context.as_ref().and_then(|own| own.app_armor_profile.as_ref());
    let of = |c: &Container| {
        is_off(c.security_context.as_ref().and_then(|own| own.app_armor_profile.as_ref()))
    };
    let detail = subjects(is_off(of_pod), containers(spec, of))
        .map(|who| format!("{who} must not set AppArmor profile type to \"Unconfined\""));
    violation("forbidden AppArmor profile", detail)
}

/// "Capabilities".
fn capabilities(spec: &PodSpec, _: Version) -> Option<Violation> {
    let allowed = |name: &String| DEFAULT_CAPABILITIES.contains(&name.as_str());
    not_allowed(spec, "non-default capabilities", allowed)
}

/// Capabilities that are added and not allowed.
fn not_allowed(
    spec: &PodSpec,
    reason: &'static str,
    allowed: impl Fn(&String) -> bool,
) -> Option<Violation> {
    let forbidden: BTreeSet<&str> = spec
        .init_containers
        .iter()
        .chain(&spec.containers)
        .flat_map(added)
        .filter(|name| !allowed(name))
        .map(String::as_str)
        .collect();
    let who = containers(spec, |c| added(c).any(|name| !allowed(name)))?;
    let names: Vec<String> = forbidden.iter().map(|name| format!("\"{name}\"")).collect();
    let detail =
        format!("{who} must not include {} in securityContext.capabilities.add", names.join(", "));
    violation(reason, Some(detail))
}

/// The capabilities that a container adds.
pub(super) fn added(container: &Container) -> impl Iterator<Item = &String> {
    let own = container.security_context.iter();
    own.filter_map(|own| own.capabilities.as_ref()).flat_map(|both| &both.add)
}

/// "Host Namespaces".
fn host_namespaces(spec: &PodSpec, _: Version) -> Option<Violation> {
    let shared = [
        ("hostNetwork=true", spec.host_network),
        ("hostPID=true", spec.host_pid),
        ("hostIPC=true", spec.host_ipc),
    ];
    let shared: Vec<&str> =
        shared.iter().filter(|(_, on)| *on == Some(true)).map(|(name, _)| *name).collect();
    violation("host namespaces", (!shared.is_empty()).then(|| shared.join(", ")))
}

/// "HostPath Volumes".
fn host_path_volumes(spec: &PodSpec, _: Version) -> Option<Violation> {
    let paths = spec.volumes.iter().filter(|volume| volume.host_path.is_some());
    violation("hostPath volumes", named("volume", paths.map(|volume| volume.name.as_str())))
}

/// "Host Ports". With `hostNetwork`, which is refused by itself, every port is one.
fn host_ports(spec: &PodSpec, _: Version) -> Option<Violation> {
    if spec.host_network != Some(true) {
        return None;
    }
    let who = containers(spec, |c| c.ports.iter().any(|port| port.container_port > 0))?;
    let ports: BTreeSet<u32> = spec
        .init_containers
        .iter()
        .chain(&spec.containers)
        .flat_map(|c| c.ports.iter().map(|port| port.container_port))
        .collect();
    let ports: Vec<String> = ports.iter().map(|port| format!("{port}")).collect();
    let word = if ports.len() == 1 { "hostPort" } else { "hostPorts" };
    violation("hostPort", Some(format!("{who} uses {word} {}", ports.join(", "))))
}

/// "Privileged Containers".
fn privileged(spec: &PodSpec, _: Version) -> Option<Violation> {
    let who = containers(spec, |c| {
        c.security_context.as_ref().is_some_and(|own| own.privileged == Some(true))
    });
    let detail = who.map(|who| format!("{who} must not set securityContext.privileged=true"));
    violation("privileged", detail)
}

/// "/proc Mount Type".
fn proc_mount(spec: &PodSpec, _: Version) -> Option<Violation> {
    let who = containers(spec, |c| {
        let own = c.security_context.as_ref().and_then(|own| own.proc_mount.as_deref());
        !matches!(own, None | Some("" | "Default"))
    });
    let detail =
        who.map(|who| format!("{who} must not set securityContext.procMount to \"Unmasked\""));
    violation("procMount", detail)
}

/// "Seccomp": it must not be turned off.
fn seccomp(spec: &PodSpec, _: Version) -> Option<Violation> {
    let is_off = |profile: Option<&Profile>| profile.is_some_and(|p| p.kind == "Unconfined");
    let of_pod = spec.security_context.as_ref().and_then(|own| own.seccomp_profile.as_ref());
    let of = |c: &Container| {
        is_off(c.security_context.as_ref().and_then(|own| own.seccomp_profile.as_ref()))
    };
    let detail = subjects(is_off(of_pod), containers(spec, of)).map(|who| {
        format!("{who} must not set securityContext.seccompProfile.type to \"Unconfined\"")
    });
    violation("seccompProfile", detail)
}

/// Before 1.19 `restricted` has none of its own.
fn seccomp_before_restricted(spec: &PodSpec, version: Version) -> Option<Violation> {
    if version < super::restricted::SECCOMP_SINCE { seccomp(spec, version) } else { None }
}

/// "Sysctls".
fn sysctls(spec: &PodSpec, version: Version) -> Option<Violation> {
    let allowed = |name: &str| {
        let name = name.replace('/', ".");
        SYSCTLS.iter().any(|(since, known)| *known == name && version >= *since)
    };
    let set = spec.security_context.iter().flat_map(|own| &own.sysctls);
    let forbidden: Vec<&str> =
        set.map(|sysctl| sysctl.name.as_str()).filter(|name| !allowed(name)).collect();
    violation("forbidden sysctls", (!forbidden.is_empty()).then(|| forbidden.join(", ")))
}

/// The Pod, containers, or both.
pub(super) fn subjects(pod: bool, containers: Option<String>) -> Option<String> {
    match (pod, containers) {
        (false, containers) => containers,
        (true, None) => Some("pod".into()),
        (true, Some(containers)) => Some(format!("pod and {containers}")),
    }
}
