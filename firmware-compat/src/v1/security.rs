//! As whom the containers of a Pod run, and what they may do. Compiled once per form, see [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{List, Text, capacity};

/// What holds for every container of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSecurity {
    /// Whether its containers see the processes of the device.
    pub host_pid: bool,
    /// Whether they have the device's System V and POSIX IPC.
    pub host_ipc: bool,
    /// Whether they see each other's processes.
    pub share_processes: bool,
    /// Groups that their processes are in besides their own.
    pub groups: List<u32, { capacity::GROUPS }>,
    /// Whether the groups that the image gives its user are left out.
    pub only_these_groups: bool,
    /// The group that the Pod's own volumes belong to; their processes are in it, too.
    pub fs_group: Option<u32>,
    /// Settings of the kernel, of the Pod's own network and IPC.
    pub sysctls: List<Sysctl, { capacity::SYSCTLS }>,
}

/// A setting of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// With dots: `net.ipv4.tcp_syncookies`.
    pub name: Text<{ capacity::SYSCTL }>,
    /// What is written there.
    pub value: Text<{ capacity::SYSCTL }>,
}

/// What one container may do. Kubernetes' `securityContext`, with the Pod's merged into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSecurity {
    /// Whether its root file system can't be written.
    pub read_only_root: bool,
    /// As whom it runs; the image says, if nothing else does.
    pub user: Option<u32>,
    /// Its primary group; the image says, if nothing else does.
    pub group: Option<u32>,
    /// Whether it is not started as user 0.
    pub non_root: bool,
    /// All capabilities and devices, no filter of system calls, and the kernel's files can be written.
    pub privileged: bool,
    /// Whether no program gets more rights than the one that started it: set-uid programs do not work.
    pub no_new_privileges: bool,
    /// Whether its system calls are not filtered.
    pub seccomp_unconfined: bool,
    /// Whether all of `/proc` is seen.
    pub unmasked_proc: bool,
    /// Capabilities beyond the usual ones, by [`crate::capabilities`].
    pub added_capabilities: u64,
    /// Capabilities that it does not get.
    pub dropped_capabilities: u64,
}

/// Which mounts below a volume are seen, that are made after a container's start. Kubernetes' `mountPropagation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountPropagation {
    /// None.
    #[default]
    None,
    /// The device's, by the container.
    HostToContainer,
}
