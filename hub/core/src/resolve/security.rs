//! `securityContext` of a Pod and its containers, and what of the device a Pod sees: Kubernetes' rules and defaults, the
//! Pod's context merged into each container's.
//!
//! Where nothing is said: the image's user, containerd's capabilities, the device's filter of system calls (as kubelets with
//! `seccompDefault` have it), and programs may gain rights.

use alloc::{format, string::String, vec::Vec};

use firmware_compat::{
    capabilities,
    capacity::full as capacity,
    v1::owned::{
        self as wire, ContainerSecurity, List, MountPropagation, PodSecurity, RuntimeClass,
    },
};

use super::Check;
use crate::api::core::pod::{
    self, Capabilities, PodSecurityContext, PodSpec, Profile, SecurityContext, Sysctl,
};

/// Largest id of a user or a group: Kubernetes' bound.
const MAX_ID: u32 = i32::MAX as u32;

/// What the kubelet sets without being told to: settings of a network or an IPC of the Pod's own, which no other Pod
/// notices. Source: kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster, "Safe and Unsafe Sysctls".
pub const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

impl Check {
    pub(super) fn pod_security(
        &mut self,
        at: &str,
        spec: &PodSpec,
        engine: RuntimeClass,
    ) -> PodSecurity {
        let [host_pid, host_ipc, share_processes] =
            [spec.host_pid, spec.host_ipc, spec.share_process_namespace]
                .map(|given| given.unwrap_or(false));
        if host_pid && share_processes {
            self.error(
                format!("{at}.shareProcessNamespace"),
                "ShareProcessNamespace and HostPID cannot both be enabled; leave one of them out",
            );
        }
        let none = PodSecurityContext::default();
        let context = spec.security_context.as_ref().unwrap_or(&none);
        let own = format!("{at}.securityContext");
        if engine == RuntimeClass::Wasm {
            let seen = [
                ("hostPID", host_pid),
                ("hostIPC", host_ipc),
                ("shareProcessNamespace", share_processes),
            ];
            for (field, _) in seen.iter().filter(|(_, on)| *on) {
                self.error(
                    format!("{at}.{field}"),
                    "a Wasm module sees no processes and no IPC; leave it out",
                );
            }
            if !context.sysctls.is_empty() {
                self.error(
                    format!("{own}.sysctls"),
                    "a Wasm module has no kernel settings of its own; leave them out",
                );
            }
        }
        for (field, id) in [
            ("runAsUser", context.run_as_user),
            ("runAsGroup", context.run_as_group),
            ("fsGroup", context.fs_group),
        ] {
            self.id(&format!("{own}.{field}"), id);
        }
        let groups = &context.supplemental_groups;
        self.count(&format!("{own}.supplementalGroups"), groups.len(), capacity::GROUPS);
        for (i, group) in groups.iter().enumerate() {
            self.id(&format!("{own}.supplementalGroups[{i}]"), Some(*group));
        }
        let only_these_groups = self.one_of(
            &format!("{own}.supplementalGroupsPolicy"),
            context.supplemental_groups_policy.as_deref(),
            ["Merge", "Strict"],
        );
        // On volumes that go with their Pod both mean the same, as in Kubernetes.
        self.one_of(
            &format!("{own}.fsGroupChangePolicy"),
            context.fs_group_change_policy.as_deref(),
            ["Always", "OnRootMismatch"],
        );
        self.profile(&format!("{own}.seccompProfile"), context.seccomp_profile.as_ref());
        self.profile(&format!("{own}.appArmorProfile"), context.app_armor_profile.as_ref());
        PodSecurity {
            host_pid,
            host_ipc,
            share_processes,
            groups: List::try_from(groups.clone()).unwrap_or_default(),
            only_these_groups,
            fs_group: context.fs_group,
            sysctls: self.sysctls(&format!("{own}.sysctls"), &context.sysctls, spec),
        }
    }

    pub(super) fn container_security(
        &mut self,
        at: &str,
        container: &pod::Container,
        spec: &PodSpec,
        engine: RuntimeClass,
    ) -> ContainerSecurity {
        let at = format!("{at}.securityContext");
        let (no_pod, none) = (PodSecurityContext::default(), SecurityContext::default());
        let of_pod = spec.security_context.as_ref().unwrap_or(&no_pod);
        let own = container.security_context.as_ref().unwrap_or(&none);
        self.id(&format!("{at}.runAsUser"), own.run_as_user);
        self.id(&format!("{at}.runAsGroup"), own.run_as_group);
        self.profile(&format!("{at}.seccompProfile"), own.seccomp_profile.as_ref());
        self.profile(&format!("{at}.appArmorProfile"), own.app_armor_profile.as_ref());
        let unmasked_proc = self.one_of(
            &format!("{at}.procMount"),
            own.proc_mount.as_deref(),
            ["Default", "Unmasked"],
        );
        let privileged = own.privileged.unwrap_or(false);
        let (added, dropped) = self.capabilities(&at, own.capabilities.as_ref());
        self.escalation(&at, own);
        if engine == RuntimeClass::Wasm {
            self.wasm_security(&at, privileged, added, unmasked_proc);
        }
        let seccomp = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
        ContainerSecurity {
            read_only_root: own.read_only_root_filesystem.unwrap_or(false),
            user: own.run_as_user.or(of_pod.run_as_user),
            group: own.run_as_group.or(of_pod.run_as_group),
            non_root: own.run_as_non_root.or(of_pod.run_as_non_root).unwrap_or(false),
            privileged,
            no_new_privileges: own.allow_privilege_escalation == Some(false),
            seccomp_unconfined: seccomp.is_some_and(|profile| profile.kind == "Unconfined"),
            unmasked_proc,
            added_capabilities: added,
            dropped_capabilities: dropped,
        }
    }

    /// Kubernetes' words, and its rule: it looks for the long name alone.
    fn escalation(&mut self, at: &str, own: &SecurityContext) {
        if own.allow_privilege_escalation != Some(false) {
            return;
        }
        let field = format!("{at}.allowPrivilegeEscalation");
        if own.privileged == Some(true) {
            self.error(
                field.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        let mut added = own.capabilities.iter().flat_map(|capabilities| &capabilities.add);
        if added.any(|name| name == "CAP_SYS_ADMIN") {
            self.error(
                field,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }

    fn wasm_security(&mut self, at: &str, privileged: bool, added: u64, unmasked_proc: bool) {
        for (field, refused, cause) in [
            ("privileged", privileged, "a Wasm module reaches the device by its mounts alone"),
            ("capabilities.add", added != 0, "a Wasm module calls no kernel"),
            ("procMount", unmasked_proc, "a Wasm module has no /proc"),
        ] {
            if refused {
                self.error(format!("{at}.{field}"), format!("{cause}; leave it out"));
            }
        }
    }

    fn capabilities(&mut self, at: &str, given: Option<&Capabilities>) -> (u64, u64) {
        let Some(Capabilities { add, drop }) = given else { return (0, 0) };
        let mut set = |list: &str, names: &[String]| {
            names.iter().enumerate().fold(0, |set, (i, name)| {
                let bit = capabilities::bit(name);
                if bit.is_none() {
                    self.error(
                        format!("{at}.capabilities.{list}[{i}]"),
                        format!("\"{name}\" is no capability of Linux; names are like \"NET_ADMIN\", and \"ALL\" for all"),
                    );
                }
                set | bit.unwrap_or(0)
            })
        };
        (set("add", add), set("drop", drop))
    }

    fn id(&mut self, field: &str, id: Option<u32>) {
        if let Some(id) = id.filter(|id| *id > MAX_ID) {
            self.error(field, format!("{id} must be between 0 and {MAX_ID}, inclusive"));
        }
    }

    /// Whether it is the second of two words. The first is what goes without saying.
    fn one_of(&mut self, field: &str, given: Option<&str>, [usual, other]: [&str; 2]) -> bool {
        match given {
            None | Some("") => false,
            Some(given) if given == usual => false,
            Some(given) if given == other => true,
            Some(given) => {
                self.error(field, format!("\"{given}\" must be \"{usual}\" or \"{other}\""));
                false
            }
        }
    }

    fn profile(&mut self, field: &str, profile: Option<&Profile>) {
        let Some(Profile { kind, localhost_profile }) = profile else { return };
        match kind.as_str() {
            "RuntimeDefault" | "Unconfined" => {
                if localhost_profile.is_some() {
                    self.error(
                        format!("{field}.localhostProfile"),
                        "may only be set with type Localhost; leave it out",
                    );
                }
            }
            "Localhost" => self.error(
                format!("{field}.type"),
                "\"Localhost\" names a file that each device would have to be given by hand; use \"RuntimeDefault\" or \"Unconfined\"",
            ),
            other => self.error(
                format!("{field}.type"),
                format!("\"{other}\" must be \"RuntimeDefault\" or \"Unconfined\""),
            ),
        }
    }

    fn sysctls(
        &mut self,
        field: &str,
        sysctls: &[Sysctl],
        spec: &PodSpec,
    ) -> List<wire::Sysctl, { capacity::SYSCTLS }> {
        let mut set: Vec<wire::Sysctl> = Vec::new();
        let host_network = spec.host_network.unwrap_or(false);
        let host_ipc = spec.host_ipc.unwrap_or(false);
        for (i, sysctl) in sysctls.iter().enumerate() {
            let name = format!("{field}[{i}].name");
            // `/` between the parts is the same, as long as no part has a dot.
            let dotted = sysctl.name.replace('/', ".");
            if !SAFE_SYSCTLS.contains(&dotted.as_str()) {
                self.error(
                    name,
                    format!(
                        "\"{}\" is not a safe sysctl: it would change the device for all its Pods; safe are {}",
                        sysctl.name,
                        SAFE_SYSCTLS.join(", ")
                    ),
                );
            } else if host_network && dotted.starts_with("net.") {
                self.error(name, format!("\"{}\" is not allowed with hostNetwork: it would change the device's network", sysctl.name));
            } else if host_ipc && dotted.starts_with("kernel.") {
                self.error(
                    name,
                    format!(
                        "\"{}\" is not allowed with hostIPC: it would change the device's IPC",
                        sysctl.name
                    ),
                );
            } else if set.iter().any(|known| known.name.as_str() == dotted) {
                self.error(name, format!("\"{}\" is there twice", sysctl.name));
            } else {
                set.push(wire::Sysctl {
                    name: self.text(&name, &dotted),
                    value: self.text(&format!("{field}[{i}].value"), &sysctl.value),
                });
            }
        }
        List::try_from(set).unwrap_or_default()
    }

    /// Which mounts that are made later are seen.
    pub(super) fn propagation(
        &mut self,
        field: &str,
        given: Option<&str>,
        engine: RuntimeClass,
    ) -> MountPropagation {
        let cause = match given {
            None | Some("" | "None") => return MountPropagation::None,
            Some("HostToContainer") if engine != RuntimeClass::Wasm => {
                return MountPropagation::HostToContainer;
            }
            Some("HostToContainer" | "Bidirectional") if engine == RuntimeClass::Wasm => {
                "a Wasm module sees directories, not mounts; leave it out".into()
            }
            Some("Bidirectional") => {
                "\"Bidirectional\" is not possible: what a container mounts is seen by it alone; mount it on the device, and give the container \"HostToContainer\"".into()
            }
            Some(other) => format!("\"{other}\" must be \"None\" or \"HostToContainer\""),
        };
        self.error(field, cause);
        MountPropagation::None
    }
}

#[cfg(test)]
mod tests;
