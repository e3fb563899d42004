//! What a container may do, as its manifest says: the parts of `config.json` that follow from a security context.
//!
//! The order of capabilities is containerd's: `ALL` first, of what is added and then of what is dropped, then names.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::config::{ContainerSpec, Host};
use crate::devices::{Allowed, Device};
use crate::profile;

/// What a container may do. The default is a plain container's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// All capabilities and devices, no filter, nothing of the kernel's files hidden.
    pub privileged: bool,
    /// Capabilities beyond the usual ones.
    pub added: Capabilities,
    /// Capabilities that it does not get.
    pub dropped: Capabilities,
    /// No filter of system calls.
    pub seccomp_unconfined: bool,
    /// Nothing in `/proc` is hidden or read-only.
    pub unmasked_proc: bool,
    /// Settings of the kernel, of the Pod's own namespaces.
    pub sysctls: Vec<(String, String)>,
    /// Devices that it sees by its mounts.
    pub devices: Vec<Allowed>,
}

/// A set of capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// All that the kernel has.
    pub all: bool,
    /// Names without `CAP_`.
    pub names: Vec<&'static str>,
}

/// Which processes a container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Processes {
    /// Its own.
    #[default]
    Private,
    /// The device's.
    Host,
    /// Those of its Pod, by the path of the namespace.
    Join(PathBuf),
}

/// `process.capabilities`.
pub(crate) fn capabilities(security: &Security, host: &Host) -> Value {
    let mut set: Vec<&str> = match security.privileged || security.added.all {
        true => own_capabilities(),
        // The default, where no device rules are enforced, is without the right to make device nodes: with the one of the
        // host's disk a container could read and write everything.
        false => profile::capabilities(host.limits_enforced),
    };
    if !security.privileged {
        if security.dropped.all {
            set.clear();
        }
        for name in &security.added.names {
            if !set.contains(name) {
                set.push(name);
            }
        }
        set.retain(|name| !security.dropped.names.contains(name));
    }
    let set: Vec<_> = set.iter().map(|name| format!("CAP_{name}")).collect();
    json!({ "bounding": set, "effective": set, "permitted": set })
}

/// All that there are: those of the agent, as containerd gives its own. Runtimes refuse what the kernel does not have, and the
/// kernel refuses what the agent does not have.
fn own_capabilities() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let own = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let all = profile::ALL_CAPABILITIES.into_iter().enumerate();
    all.filter(|(number, _)| own >> number & 1 == 1).map(|(_, name)| name).collect()
}

/// Completes `linux`: what is hidden, the filter, devices and settings.
pub(crate) fn linux(spec: &ContainerSpec, host: &Host, linux: &mut Value) {
    let security = &spec.security;
    if !security.privileged && !security.unmasked_proc {
        linux["maskedPaths"] = profile::masked_paths();
        linux["readonlyPaths"] = profile::read_only_paths();
    }
    let filtered = host.seccomp && !security.privileged && !security.seccomp_unconfined;
    if let Some(filter) = profile::seccomp(host.architecture).filter(|_| filtered) {
        linux["seccomp"] = filter;
    }
    if !security.sysctls.is_empty() {
        let settings = security.sysctls.iter().map(|(name, value)| (name.clone(), json!(value)));
        linux["sysctl"] = Value::Object(settings.collect());
    }
    // A device's own `/dev` has its nodes already.
    if security.privileged && !spec.mounts.iter().any(|mount| mount.target == "/dev") {
        linux["devices"] = Device::all().iter().map(Device::section).collect();
    }
}

/// The rules of the device cgroup. The runtime adds `/dev/null` and its like.
pub(crate) fn device_rules(security: &Security) -> Vec<Value> {
    let mut rules = vec![json!({ "allow": security.privileged, "access": "rwm" })];
    if !security.privileged {
        rules.extend(security.devices.iter().map(|device| device.rule()));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CgroupVersion;

    fn set(security: &Security) -> Vec<String> {
        let host = Host {
            cgroup: CgroupVersion::V2,
            limits_enforced: true,
            seccomp: true,
            mqueue: true,
            architecture: "x86_64",
            cgroup_parent: String::new(),
            lacks: Default::default(),
        };
        let set = capabilities(security, &host);
        assert_eq!(set["bounding"], set["effective"]);
        let names = set["permitted"].as_array().expect("a list");
        names.iter().map(|name| name.as_str().expect("text").to_owned()).collect()
    }

    fn these(names: &[&'static str]) -> Capabilities {
        let all = names.contains(&"ALL");
        Capabilities { all, names: names.iter().copied().filter(|name| *name != "ALL").collect() }
    }

    #[test]
    fn capabilities_are_added_and_dropped_in_containerds_order() {
        let of = |added: &[&'static str], dropped: &[&'static str]| {
            let (added, dropped) = (these(added), these(dropped));
            set(&Security { added, dropped, ..Security::default() })
        };
        let usual = of(&[], &[]);
        assert_eq!(usual.len(), 14);
        assert_eq!(of(&["NET_ADMIN"], &[]), [&usual[..], &["CAP_NET_ADMIN".into()]].concat());
        assert_eq!(of(&[], &["ALL"]), [""; 0]);
        assert_eq!(of(&["NET_BIND_SERVICE"], &["ALL"]), ["CAP_NET_BIND_SERVICE"]);
        assert_eq!(of(&["ALL"], &["ALL"]), [""; 0]);
        assert_eq!(of(&["CHOWN"], &["CHOWN"]).len(), 13);
        let all = of(&["ALL"], &[]);
        let own = own_capabilities().into_iter().map(|name| format!("CAP_{name}"));
        assert!(own.eq(all.iter().cloned()));
        let but_one = all.iter().filter(|name| *name != "CAP_SYS_ADMIN").cloned();
        assert!(but_one.eq(of(&["ALL"], &["SYS_ADMIN"])));
        assert_eq!(set(&Security { privileged: true, ..Security::default() }), all);
    }
}
