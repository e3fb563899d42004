//! Writes an instance's `config.json` for the OCI runtime: a pure function of the instance, the image and the host.
//!
//! Names and meaning follow Kubernetes (what the operator wrote) and the OCI runtime specification 1.0 (what the runtime
//! reads). Looking up users, files and volumes is done before: see [`crate::user`] and [`crate::bundle`].

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use crate::expand::{MAX_EXPANDED_BYTES, TooLong, command_line, expand, expand_env};
use crate::image::ImageConfig;
use crate::profile;
use crate::user::UserIds;

/// Processes and threads of an instance without a limit of its own: far above what programs on small devices use,
/// far below what a fork bomb needs to stop one.
pub const DEFAULT_PIDS_LIMIT: u64 = 1024;
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Length of a CPU period in microseconds; Kubernetes' value.
const CPU_PERIOD_US: u64 = 100_000;
/// The kernel's hostname limit is 64 with its NUL.
const MAX_HOSTNAME_BYTES: usize = 63;

/// One container of an instance, resolved: every name looked up, every quantity a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Names the container to the runtime and its cgroup: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The instance's name, cut to what the kernel takes. With [`Network::Host`] the device's name, for `HOSTNAME` only.
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
    /// Requests and limits.
    pub resources: Resources,
    /// Who dies first when memory runs out, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Volumes.
    pub mounts: Vec<Mount>,
    /// The files that tell a program its names and addresses.
    pub etc: EtcFiles,
}

/// Which network an instance sees.
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

/// Requests and limits in plain units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Share of the CPU under contention, in thousandths of a core.
    pub cpu_request_milli: Option<u64>,
    /// Most CPU, in thousandths of a core.
    pub cpu_limit_milli: Option<u64>,
    /// Most memory in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Most processes and threads; [`DEFAULT_PIDS_LIMIT`] if absent.
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
    /// A path inside the volume to mount instead of its root. Make sure of it with
    /// [`crate::bundle::prepare_sub_path`] first: here it is only checked in form.
    pub sub_path: Option<String>,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A directory or file that the agent made (emptyDir, configMap): no devices, no set-uid programs.
    Volume(PathBuf),
    /// A path of the device.
    HostPath(PathBuf),
    /// Memory, up to a size in bytes.
    Memory {
        /// Most bytes; the kernel's default is half of the memory.
        size_bytes: Option<u64>,
    },
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
    /// The runtime and the kernel have seccomp.
    pub seccomp: bool,
    /// The kernel has POSIX message queues.
    pub mqueue: bool,
    /// Rust's name of the architecture.
    pub architecture: &'static str,
    /// The cgroup above all containers, for example `/lichen`; empty for none.
    pub cgroup_parent: String,
}

/// Why an instance can't be described to the runtime. All of them are the operator's to fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The id would not be safe as a name of directories.
    #[error("container id {0:?} has other characters than letters, digits, \"-\", \"_\" and \".\"")]
    Id(String),
    /// Nothing says what to run.
    #[error(
        "nothing to run: the image has neither entrypoint nor cmd; set command in the manifest"
    )]
    NothingToRun,
    /// A variable's name is empty or has `=` in it.
    #[error("env name {0:?} is empty or contains \"=\"")]
    EnvName(String),
    /// A text has a NUL in it, which no program could receive.
    #[error("{0} contains a NUL character")]
    Nul(&'static str),
    /// A text is too long after `$(NAME)` was replaced.
    #[error(
        "{0} is longer than {MAX_EXPANDED_BYTES} bytes after expansion, which the kernel refuses"
    )]
    TooLong(&'static str),
    /// The working directory is relative.
    #[error("workingDir {0:?} is not an absolute path")]
    WorkingDir(String),
    /// A mount's place is relative, the root or leaves it.
    #[error("mountPath {0:?} is not an absolute path below \"/\" without \"..\"")]
    MountPath(String),
    /// A volume's path on the device is relative or leaves its place.
    #[error("path {0:?} of a volume is not absolute and without \"..\"")]
    VolumePath(String),
    /// A sub path leaves its volume or the volume has no paths.
    #[error("subPath {0:?} must be relative, without \"..\", and its volume not of medium Memory")]
    SubPath(String),
}

/// The `config.json` of a container whose bundle has its root at `rootfs`.
pub fn runtime_config(
    spec: &ContainerSpec,
    image: &ImageConfig,
    host: &Host,
) -> Result<Value, ConfigError> {
    check_id(&spec.id)?;
    let mut config = json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": spec.read_only_root },
        "process": process(spec, image, host)?,
        "mounts": mounts(spec, host)?,
        "linux": {
            "namespaces": namespaces(spec, host),
            "maskedPaths": profile::masked_paths(),
            "readonlyPaths": profile::read_only_paths(),
        },
    });
    if spec.network != Network::Host {
        config["hostname"] = json!(hostname(spec));
    }
    if host.limits_enforced {
        config["linux"]["resources"] = resources(&spec.resources);
        config["linux"]["cgroupsPath"] = json!(format!("{}/{}", host.cgroup_parent, spec.id));
    }
    if let Some(filter) = profile::seccomp(host.architecture).filter(|_| host.seccomp) {
        config["linux"]["seccomp"] = filter;
    }
    Ok(config)
}

fn check_id(id: &str) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let first = id.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && id.len() <= 200 && id.chars().all(plain) {
        Ok(())
    } else {
        Err(ConfigError::Id(id.chars().take(80).collect()))
    }
}

/// The hostname as Kubernetes cuts it: 63 bytes, not ending in a mark.
fn hostname(spec: &ContainerSpec) -> &str {
    let mut end = spec.hostname.len().min(MAX_HOSTNAME_BYTES);
    while !spec.hostname.is_char_boundary(end) {
        end -= 1;
    }
    spec.hostname[..end].trim_end_matches(['-', '.'])
}

fn process(spec: &ContainerSpec, image: &ImageConfig, host: &Host) -> Result<Value, ConfigError> {
    let variables = expand_env(&spec.env).map_err(|TooLong| ConfigError::TooLong("env"))?;
    let mut process = json!({
        "terminal": false,
        "user": { "uid": spec.user.uid, "gid": spec.user.gid, "additionalGids": spec.user.more_gids },
        "args": arguments(spec, image, &variables)?,
        "env": environment(spec, image, &variables)?,
        "cwd": working_dir(spec, image)?,
        "capabilities": profile::capabilities(host.limits_enforced),
        "noNewPrivileges": !spec.allow_privilege_escalation,
    });
    if let Some(adjustment) = spec.oom_score_adj {
        process["oomScoreAdj"] = json!(adjustment.clamp(-1000, 1000));
    }
    Ok(process)
}

fn arguments(
    spec: &ContainerSpec,
    image: &ImageConfig,
    variables: &BTreeMap<&str, String>,
) -> Result<Vec<String>, ConfigError> {
    let words = command_line(&spec.command, &spec.args, &image.entrypoint, &image.cmd);
    let line = words.into_iter().map(|(word, expands)| match expands {
        true => expand(word, variables).map_err(|TooLong| ConfigError::TooLong("command")),
        false => Ok(word.to_owned()),
    });
    let line: Vec<String> = line.collect::<Result<_, _>>()?;
    if line.first().is_none_or(|program| program.is_empty()) {
        return Err(ConfigError::NothingToRun);
    }
    no_nul("command", line.iter())?;
    Ok(line)
}

/// The image's variables, then the names that every container has, then the manifest's; a later one replaces an
/// earlier one in its place.
fn environment(
    spec: &ContainerSpec,
    image: &ImageConfig,
    variables: &BTreeMap<&str, String>,
) -> Result<Vec<String>, ConfigError> {
    let mut env: Vec<(&str, &str)> = Vec::new();
    let image_env = image.env.iter().filter_map(|pair| pair.split_once('='));
    let own_env =
        spec.env.iter().map(|(name, _)| (name.as_str(), variables[name.as_str()].as_str()));
    for (name, value) in image_env.chain([("HOSTNAME", hostname(spec))]).chain(own_env) {
        if name.is_empty() || name.contains('=') {
            return Err(ConfigError::EnvName(name.to_owned()));
        }
        match env.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => env.push((name, value)),
        }
    }
    if !env.iter().any(|(name, _)| *name == "PATH") {
        env.insert(0, ("PATH", DEFAULT_PATH));
    }
    let env: Vec<_> = env.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    no_nul("env", env.iter())?;
    Ok(env)
}

fn working_dir(spec: &ContainerSpec, image: &ImageConfig) -> Result<String, ConfigError> {
    let directory = match &spec.working_dir {
        Some(directory) if !directory.is_empty() => directory,
        _ if image.working_dir.is_empty() => return Ok("/".to_owned()),
        _ => &image.working_dir,
    };
    no_nul("workingDir", [directory])?;
    if directory.starts_with('/') {
        Ok(directory.clone())
    } else {
        Err(ConfigError::WorkingDir(directory.clone()))
    }
}

fn no_nul<'a>(
    what: &'static str,
    texts: impl IntoIterator<Item = &'a String>,
) -> Result<(), ConfigError> {
    match texts.into_iter().any(|text| text.contains('\0')) {
        true => Err(ConfigError::Nul(what)),
        false => Ok(()),
    }
}

fn namespaces(spec: &ContainerSpec, host: &Host) -> Vec<Value> {
    let mut namespaces =
        vec![json!({ "type": "pid" }), json!({ "type": "mount" }), json!({ "type": "ipc" })];
    match &spec.network {
        Network::Host => {}
        Network::Private => {
            namespaces.extend([json!({ "type": "uts" }), json!({ "type": "network" })]);
        }
        Network::Join(path) => namespaces
            .extend([json!({ "type": "uts" }), json!({ "type": "network", "path": path })]),
    }
    if host.cgroup == CgroupVersion::V2 {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    namespaces
}

/// The formulas of the kubelet: shares from the request (or the limit, which then counts as the request), quota from
/// the limit.
fn resources(resources: &Resources) -> Value {
    let request = resources.cpu_request_milli.or(resources.cpu_limit_milli).unwrap_or(0);
    let shares = (request.saturating_mul(1024) / 1000).clamp(2, 262_144);
    let mut section = json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "cpu": { "shares": shares },
        "pids": { "limit": resources.pids_limit.unwrap_or(DEFAULT_PIDS_LIMIT) },
    });
    if let Some(limit) = resources.cpu_limit_milli.filter(|limit| *limit > 0) {
        let quota = (limit.saturating_mul(CPU_PERIOD_US) / 1000).clamp(1000, i64::MAX as u64);
        section["cpu"]["quota"] = json!(quota);
        section["cpu"]["period"] = json!(CPU_PERIOD_US);
    }
    if let Some(limit) = resources.memory_limit_bytes.filter(|limit| *limit > 0) {
        section["memory"] = json!({ "limit": limit.min(i64::MAX as u64) });
    }
    section
}

/// The base mounts, the files in `/etc` and the volumes; a volume at the place of one of the others replaces it, and
/// outer places come before inner ones.
fn mounts(spec: &ContainerSpec, host: &Host) -> Result<Vec<Value>, ConfigError> {
    let mut own = Vec::with_capacity(spec.mounts.len());
    for mount in &spec.mounts {
        let target = mount_target(&mount.target)?;
        own.push((target.clone(), volume(mount, &target)?));
    }
    own.sort_by_key(|(target, _)| target.matches('/').count());
    let mut mounts: Vec<Value> = profile::base_mounts(host);
    mounts.extend(etc_mounts(&spec.etc)?);
    mounts.retain(|mount| !own.iter().any(|(target, _)| mount["destination"] == target.as_str()));
    mounts.extend(own.into_iter().map(|(_, mount)| mount));
    Ok(mounts)
}

fn etc_mounts(etc: &EtcFiles) -> Result<Vec<Value>, ConfigError> {
    let files = [
        ("/etc/hosts", &etc.hosts),
        ("/etc/hostname", &etc.hostname),
        ("/etc/resolv.conf", &etc.resolv_conf),
    ];
    let files = files.into_iter().filter_map(|(target, file)| Some((target, file.as_ref()?)));
    files.map(|(target, file)| Ok(bind(target, &host_path(file)?, true, &[]))).collect()
}

fn volume(mount: &Mount, target: &str) -> Result<Value, ConfigError> {
    let sub_path = mount.sub_path.as_deref().filter(|path| !path.is_empty());
    let bad_sub_path = |path: &str| ConfigError::SubPath(path.to_owned());
    match &mount.source {
        MountSource::Memory { size_bytes } => {
            if let Some(path) = sub_path {
                return Err(bad_sub_path(path));
            }
            let mut options = vec!["nosuid".to_owned(), "nodev".to_owned(), "mode=1777".to_owned()];
            options.extend(size_bytes.map(|bytes| format!("size={bytes}")));
            options.push(if mount.read_only { "ro" } else { "rw" }.to_owned());
            Ok(json!({
                "destination": target, "type": "tmpfs", "source": "tmpfs", "options": options,
            }))
        }
        MountSource::Volume(path) | MountSource::HostPath(path) => {
            let mut path = PathBuf::from(host_path(path)?);
            if let Some(sub_path) = sub_path {
                if !is_inner_path(sub_path) {
                    return Err(bad_sub_path(sub_path));
                }
                path.push(sub_path);
            }
            let options: &[&str] = match mount.source {
                MountSource::Volume(_) => &["nosuid", "nodev"],
                _ => &[],
            };
            Ok(bind(target, &host_path(&path)?, mount.read_only, options))
        }
    }
}

fn bind(target: &str, source: &str, read_only: bool, more: &[&str]) -> Value {
    let mut options = vec!["rbind", "rprivate", if read_only { "ro" } else { "rw" }];
    options.extend(more);
    json!({ "destination": target, "type": "bind", "source": source, "options": options })
}

/// The target with one slash between its names and none at its end.
fn mount_target(target: &str) -> Result<String, ConfigError> {
    let names: Vec<_> = target.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    let inside = !names.is_empty() && !names.contains(&"..") && !target.contains('\0');
    if target.starts_with('/') && inside {
        Ok(format!("/{}", names.join("/")))
    } else {
        Err(ConfigError::MountPath(target.to_owned()))
    }
}

fn host_path(path: &Path) -> Result<String, ConfigError> {
    let refused = || ConfigError::VolumePath(path.display().to_string());
    let text = path.to_str().filter(|text| !text.contains('\0')).ok_or_else(refused)?;
    let leaves = path.components().any(|component| component == Component::ParentDir);
    if path.is_absolute() && !leaves { Ok(text.to_owned()) } else { Err(refused()) }
}

/// Whether a sub path is relative and stays inside.
pub(crate) fn is_inner_path(path: &str) -> bool {
    let mut components = Path::new(path).components();
    !path.contains('\0')
        && components.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
