//! What the containers of a Pod share, made once before the first of them: volumes, the namespaces of network and IPC,
//! `/dev/shm`, the files in `/etc`, the parent of their cgroups. No process holds any of it, so it outlives the agent and every shim; with the
//! device's next boot it is made anew, but for what is on disk.

mod shm;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use firmware_compat::{
    id::{AgentId, Hash, PodId},
    v1::owned::{Pod, PodNames, RuntimeClass, Text},
};
use lichen_agent_core::PodSpec;
use lichen_oci::{
    bundle::{BundleError, remove_run_dir},
    config::{EtcFiles, Ipc, Network, Processes},
    etc,
    namespace::{self, Namespace, NamespaceError},
    resolver::Dns,
    runtime::CGROUP_PARENT,
};
use lichen_shim::BootId;

use lichen_shim::pause;

use crate::{
    pod_dir::{PodDir, Record},
    probe,
    secrets::Secrets,
    state::{StateError, Written},
    volumes::{self, VolumeError},
};

/// Why a Pod has no sandbox, or still has one.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Its directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// A volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Its network, or its IPC.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// Its shared memory.
    #[error("could not {what} {} for the pod's /dev/shm: {source}", path.display())]
    Shm {
        /// The step.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The files in `/etc`, or what is to be removed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A volume in memory that is in use.
    #[error("could not unmount the volumes in {}: {source}", path.display())]
    Release {
        /// Where they are.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A process that does not end, in words.
    #[error("{0}")]
    Cgroup(String),
    /// The namespace of its processes, in words.
    #[error("{0}")]
    Processes(String),
}

/// What a container of the Pod is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The network to join.
    pub network: Network,
    /// The IPC to join.
    pub ipc: Ipc,
    /// The processes to see.
    pub processes: Processes,
    /// The Pod's, or the device's on its own network.
    pub hostname: String,
    /// To be mounted at `/etc`.
    pub etc: EtcFiles,
}

/// Makes what is missing.
///
/// # Errors
/// See [`SandboxError`].
pub fn make(
    pod: &PodSpec,
    dir: &PodDir,
    written: &Written,
    secrets: &Secrets,
    shim: &Path,
) -> Result<(), SandboxError> {
    dir.make()?;
    volumes::place(pod, &dir.volumes(), written, secrets)?;
    let is_boxed = pod.runtime_class == RuntimeClass::Container;
    let network = is_boxed && !pod.host_network;
    if network {
        namespace::make(Namespace::Network, &dir.network())?;
    }
    if is_boxed {
        namespace::make(Namespace::Ipc, &dir.ipc())?;
        names(pod, dir)?;
    }
    if pod.security.share_processes && !pause::is_alive(&dir.processes()) {
        namespace::remove(Namespace::Processes, &dir.processes())?;
        pause::make(shim, &dir.processes(), &label(pod)).map_err(SandboxError::Processes)?;
    }
    let before = dir.record()?.filter(|before| before.identity == pod.identity);
    let active_since = before.and_then(|before| before.active_since);
    let record = Record {
        identity: pod.identity,
        boot_id: probe::boot_id(),
        network,
        label: label(pod),
        grace_ms: pod.grace_ms,
        wasm: pod.runtime_class == RuntimeClass::Wasm,
        active_since: active_since.filter(|(boot, _)| Some(*boot) == probe::boot_id()).or_else(now),
        failed: None,
    };
    Ok(dir.set_record(&record, written)?)
}

/// This boot, and how long it has been going on: the clock counts while the device sleeps, and nobody sets it.
fn now() -> Option<(BootId, u64)> {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(clock.tv_sec).ok()?;
    let ms = seconds.saturating_mul(1000).saturating_add(clock.tv_nsec as u64 / 1_000_000);
    probe::boot_id().map(|boot| (boot, ms))
}

/// For how long a Pod has been active in this boot.
#[must_use]
pub fn age(record: &Record) -> Duration {
    let (Some((boot, since)), Some((this, now))) = (record.active_since, now()) else {
        return Duration::ZERO;
    };
    let ms = if boot == this { now.saturating_sub(since) } else { 0 };
    Duration::from_millis(ms)
}

/// Names, network and IPC of a Pod of OCI containers. Brings the name servers up to date on the way, and has `/dev/shm`
/// mounted: an agent to which its service manager gave other mounts than the one before does not see that one's.
///
/// # Errors
/// See [`SandboxError`].
pub fn names(pod: &Pod, dir: &PodDir) -> Result<Names, SandboxError> {
    let (network, hostname) = match pod.host_network {
        true => {
            let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
            (Network::Host, own)
        }
        false => (Network::Join(dir.network()), pod.hostname.to_string()),
    };
    let etc = etc::write(&dir.etc(), &network, &etc_names(pod, &hostname))?;
    let shm = dir.shm();
    shm::place(&shm).map_err(|source| {
        let path = shm.clone();
        SandboxError::Shm { what: "mount memory on", path, source }
    })?;
    let ipc = match pod.security.host_ipc {
        true => Ipc::Host,
        false => Ipc::Join { namespace: dir.ipc(), shm },
    };
    let processes = match (pod.security.host_pid, pod.security.share_processes) {
        (true, _) => Processes::Host,
        (false, true) => Processes::Join(dir.processes()),
        (false, false) => Processes::Private,
    };
    Ok(Names { network, ipc, processes, hostname, etc })
}

/// What the files in `/etc` are to say.
fn etc_names(pod: &Pod, hostname: &str) -> etc::Names {
    fn texts<const N: usize>(list: &[Text<N>]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }
    let PodNames { domain, aliases, dns } = &pod.names;
    let aliases = aliases.iter().map(|alias| (alias.ip.to_string(), texts(&alias.names)));
    etc::Names {
        hostname: hostname.to_owned(),
        domain: domain.to_string(),
        aliases: aliases.collect(),
        dns: Dns {
            own: dns.own,
            nameservers: texts(&dns.nameservers),
            searches: texts(&dns.searches),
            options: texts(&dns.options),
        },
    }
}

/// What the record of a sandbox would say that can't be read, as far as that can be told: processes of its containers run, so it
/// is of this boot. `None` if none does: then it is made anew.
#[must_use]
pub fn assumed(dir: &PodDir, wasm: bool, processes: &[u32]) -> Option<Record> {
    (!processes.is_empty()).then(|| Record {
        identity: Hash([0; 32]),
        boot_id: probe::boot_id(),
        network: dir.network().exists(),
        label: String::new(),
        grace_ms: 0,
        wasm,
        active_since: None,
        failed: None,
    })
}

/// Whether all of a sandbox is still there: not after a reboot, nor if somebody removed one of its namespaces and none
/// of the Pod's processes has it any more.
#[must_use]
pub fn stands(dir: &PodDir, record: &Record, processes: &[u32]) -> bool {
    let is_of_this_boot = record.boot_id.is_some() && record.boot_id == probe::boot_id();
    let has = |kind, path: PathBuf| {
        let hold_again = |pid: &u32| namespace::hold_again(kind, &path, *pid).is_ok();
        namespace::is_held(&path) || processes.iter().any(hold_again)
    };
    is_of_this_boot
        && (!record.network || has(Namespace::Network, dir.network()))
        && (record.wasm || has(Namespace::Ipc, dir.ipc()))
        && (!dir.processes().exists()
            || has(Namespace::Processes, dir.processes()) && pause::is_alive(&dir.processes()))
}

/// Takes the sandbox down, but for what is on disk and the volumes: the Pod will be started again.
///
/// # Errors
/// See [`SandboxError`].
pub fn take_down(dir: &PodDir, cgroup: &str, written: &Written) -> Result<(), SandboxError> {
    lichen_shim::cgroup::remove(cgroup).map_err(SandboxError::Cgroup)?;
    let_go(dir)?;
    match dir.record()? {
        // One that can't be read says nothing that would have to be taken back. One of another boot does not stand as it is.
        Some(record) if record.boot_id == probe::boot_id() => {
            Ok(dir.set_record(&Record { boot_id: None, ..record }, written)?)
        }
        Some(_) | None => Ok(()),
    }
}

/// Removes the sandbox and everything else of a Pod. Its containers have ended; a process that is still in its cgroup
/// is killed.
///
/// # Errors
/// See [`SandboxError`].
pub fn remove(dir: &PodDir, cgroup: &str) -> Result<(), SandboxError> {
    lichen_shim::cgroup::remove(cgroup).map_err(SandboxError::Cgroup)?;
    let volumes = dir.volumes();
    volumes::release(&volumes).map_err(|source| SandboxError::Release { path: volumes, source })?;
    let_go(dir)?;
    Ok(remove_run_dir(dir.path())?)
}

/// Removes what is held for the containers of a Pod and is on no disk.
fn let_go(dir: &PodDir) -> Result<(), SandboxError> {
    namespace::remove(Namespace::Network, &dir.network())?;
    namespace::remove(Namespace::Ipc, &dir.ipc())?;
    pause::end(&dir.processes()).map_err(SandboxError::Processes)?;
    namespace::remove(Namespace::Processes, &dir.processes())?;
    let path = dir.shm();
    shm::remove(&path).map_err(|source| SandboxError::Shm { what: "remove", path, source })
}

/// The cgroup of a Pod, below every hierarchy's root.
#[must_use]
pub fn cgroup(agent: AgentId, pod: PodId) -> String {
    format!("{}/{}", CGROUP_PARENT.trim_start_matches('/'), group_name(agent, pod))
}

/// Its last part. The agent's id keeps the agents of one machine apart.
#[must_use]
pub fn group_name(agent: AgentId, pod: PodId) -> String {
    format!("{}{pod}", group_prefix(agent))
}

/// Kills and removes what is left of Pods that have no directory any more, so that no second copy runs beside the
/// first. Returns their ids.
#[must_use]
pub fn remove_unknown(agent: AgentId, known: impl Fn(PodId) -> bool) -> Vec<PodId> {
    let prefix = group_prefix(agent);
    let groups = lichen_shim::cgroup::children(CGROUP_PARENT);
    let pods = groups.iter().filter_map(|name| PodId::parse(name.strip_prefix(&prefix)?));
    let unknown: Vec<PodId> = pods.filter(|pod| !known(*pod)).collect();
    for pod in &unknown {
        if let Err(error) = lichen_shim::cgroup::remove(&cgroup(agent, *pod)) {
            tracing::warn!(%pod, error, "could not end what is left of an unknown Pod");
        }
    }
    unknown
}

/// What the operator calls a Pod.
#[must_use]
pub fn label(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

fn group_prefix(agent: AgentId) -> String {
    let agent = agent.to_string();
    format!("{}-", &agent[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_cgroup_has_the_agents_and_its_own_id() {
        let group = cgroup(AgentId([0xab; 16]), PodId([1; 16]));
        assert_eq!(group, format!("lichen/abababab-{}", PodId([1; 16])));
    }

    #[test]
    fn a_sandbox_of_another_boot_or_without_a_namespace_does_not_stand() {
        let run = tempfile::tempdir().expect("a directory");
        let dir = PodDir::new(run.path(), PodId([1; 16]));
        let stands = |boot_id, network, wasm| {
            let (identity, label) = (Hash([1; 32]), String::new());
            let (active_since, failed) = (None, None);
            let record = Record {
                identity,
                boot_id,
                network,
                label,
                grace_ms: 0,
                wasm,
                active_since,
                failed,
            };
            stands(&dir, &record, &[])
        };
        let this = probe::boot_id();
        assert!(this.is_some() && stands(this, false, true));
        assert!(!stands(this, true, true) && !stands(this, false, false));
        assert!(!stands(None, false, true));
        assert!(!stands(Some(lichen_shim::BootId([9; 16])), false, true));
    }
}
