//! What `config.json` is made from: the container as the agent resolved it, and what the device can do.

use crate::controllers::Lacks;
use std::path::PathBuf;

use crate::security::{Processes, Security};
use crate::user::UserIds;

/// One container of a Pod, resolved: every name looked up, every quantity a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Names the container to the runtime: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// Its cgroup below [`Host::cgroup_parent`], such as `<Pod>/<container>`: names like the id's, with `/` between them.
    pub cgroup: String,
    /// The Pod's name, cut to what the kernel takes. With [`Network::Host`] the device's name, for `HOSTNAME` only.
    pub hostname: String,
    /// Replaces the image's entrypoint and cmd, if not empty.
    pub command: Vec<String>,
    /// Replaces the image's cmd, if not empty.
    pub args: Vec<String>,
    /// Variables in the order of the manifest, values unexpanded.
    pub env: Vec<(String, String)>,
    /// Replaces the image's working directory.
    pub working_dir: Option<String>,
    /// Who runs, from [`crate::user::look_up`].
    pub user: UserIds,
    /// The root file system can't be written.
    pub read_only_root: bool,
    /// Set-uid programs such as sudo work.
    pub allow_privilege_escalation: bool,
    /// Which network is seen.
    pub network: Network,
    /// Which IPC is seen.
    pub ipc: Ipc,
    /// Which processes are seen.
    pub processes: Processes,
    /// What it may do.
    pub security: Security,
    /// Requests and limits.
    pub resources: Resources,
    /// Who dies first when memory runs out, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Volumes.
    pub mounts: Vec<Mount>,
    /// The files that tell a program its names and addresses.
    pub etc: EtcFiles,
}

/// Which network a container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Network {
    /// A new one with nothing but loopback.
    #[default]
    Private,
    /// The device's own; hostname included, as with Kubernetes' `hostNetwork`.
    Host,
    /// An existing one, by the path of its namespace.
    Join(PathBuf),
}

/// Which System V and POSIX IPC a container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ipc {
    /// A namespace and a `/dev/shm` of its own.
    #[default]
    Private,
    /// The device's.
    Host,
    /// Those of its Pod.
    Join {
        /// The path of the namespace.
        namespace: PathBuf,
        /// To be mounted at `/dev/shm`.
        shm: PathBuf,
    },
}

/// Requests and limits in plain units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Share of the CPU under contention, in thousandths of a core.
    pub cpu_request_milli: Option<u64>,
    /// Most CPU, in thousandths of a core.
    pub cpu_limit_milli: Option<u64>,
    /// Most memory in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Most processes and threads; [`crate::config::DEFAULT_PIDS_LIMIT`] if absent.
    pub pids_limit: Option<u64>,
}

/// A volume as one container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where: an absolute path in the container.
    pub target: String,
    /// Whether the container may only read.
    pub read_only: bool,
    /// Which mounts that come later are seen.
    pub propagation: Propagation,
}

/// Which mounts below a volume are seen, that are made after a container's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// None.
    #[default]
    Private,
    /// The device's, by the container.
    Slave,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A directory or file that the agent made (emptyDir, configMap): no devices, no set-uid programs.
    Volume(PathBuf),
    /// A path of the device.
    HostPath(PathBuf),
}

/// Files to show at `/etc`, by their path on the device. An absent one leaves the image's file alone. They are
/// read-only in the container, because with [`Network::Host`] they are the device's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EtcFiles {
    /// For `/etc/hosts`.
    pub hosts: Option<PathBuf>,
    /// For `/etc/hostname`.
    pub hostname: Option<PathBuf>,
    /// For `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
}

/// How the device mounts cgroups, as the container will see them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupVersion {
    /// No cgroups.
    #[default]
    None,
    /// Version 1, or both versions mixed.
    V1,
    /// Version 2 alone.
    V2,
}

/// What the device and its runtime can do, from [`crate::runtime::Found::host`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// How cgroups are mounted.
    pub cgroup: CgroupVersion,
    /// The runtime sets limits. Without them there is no resources section at all.
    pub limits_enforced: bool,
    /// What can't be limited all the same.
    pub lacks: Lacks,
    /// The runtime and the kernel have seccomp.
    pub seccomp: bool,
    /// The kernel has POSIX message queues.
    pub mqueue: bool,
    /// Rust's name of the architecture.
    pub architecture: &'static str,
    /// The cgroup above all containers, for example `/lichen`; empty for none.
    pub cgroup_parent: String,
}
