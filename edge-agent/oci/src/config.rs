//! Writes a container's `config.json` for the OCI runtime: a pure function of the container, the image and the host.
//!
//! Names and meaning follow Kubernetes (what the operator wrote) and the OCI runtime specification 1.0 (what the runtime
//! reads). Looking up users, files and volumes is done before: see [`crate::user`] and [`crate::bundle`].

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use crate::container::{
    CgroupVersion, ContainerSpec, EtcFiles, Host, Ipc, Mount, MountSource, Network, Propagation,
    Resources,
};
use crate::expand::{MAX_EXPANDED_BYTES, TooLong, command_line, expand, expand_env};
use crate::image::ImageConfig;
use crate::mounts::mounts;
use crate::security;
pub use crate::security::{Capabilities, Processes, Security};

/// Processes and threads of a container without a limit of its own: far above what programs on small devices use,
/// far below what a fork bomb needs to stop one.
pub const DEFAULT_PIDS_LIMIT: u64 = 1024;
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Length of a CPU period in microseconds; Kubernetes' value.
const CPU_PERIOD_US: u64 = 100_000;
/// The kernel's hostname limit is 64 with its NUL.
const MAX_HOSTNAME_BYTES: usize = 63;

/// Why a container can't be described to the runtime. All of them are the operator's to fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The id would not be safe as a name of directories.
    #[error(
        "container id or cgroup {0:?} has other characters than letters, digits, \"-\", \"_\" and \".\""
    )]
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
}

/// The `config.json` of a container whose bundle has its root at `rootfs`.
pub fn runtime_config(
    spec: &ContainerSpec,
    image: &ImageConfig,
    host: &Host,
) -> Result<Value, ConfigError> {
    check_id(&spec.id)?;
    spec.cgroup.split('/').try_for_each(check_id)?;
    let mut config = json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": spec.read_only_root },
        "process": process(spec, image, host)?,
        "mounts": mounts(spec, host)?,
        "linux": {
            "namespaces": namespaces(spec, host),
        },
    });
    if spec.network != Network::Host {
        config["hostname"] = json!(hostname(spec));
    }
    if host.limits_enforced {
        let resources = resources(&spec.resources, &spec.security);
        config["linux"]["resources"] = host.lacks.without(resources);
        config["linux"]["cgroupsPath"] = json!(format!("{}/{}", host.cgroup_parent, spec.cgroup));
    }
    security::linux(spec, host, &mut config["linux"]);
    if let Some(propagation) = root_propagation(spec) {
        config["linux"]["rootfsPropagation"] = json!(propagation);
    }
    Ok(config)
}

fn check_id(id: &str) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let first = id.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && id.len() <= 128 && id.chars().all(plain) {
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
        "capabilities": security::capabilities(&spec.security, host),
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

/// What the root of the container's mounts must be for those below it to be seen as they are to.
fn root_propagation(spec: &ContainerSpec) -> Option<&'static str> {
    let follows = spec.mounts.iter().any(|mount| mount.propagation == Propagation::Slave);
    follows.then_some("rslave")
}

fn namespaces(spec: &ContainerSpec, host: &Host) -> Vec<Value> {
    let mut namespaces = Vec::new();
    match &spec.processes {
        Processes::Private => namespaces.push(json!({ "type": "pid" })),
        Processes::Join(path) => namespaces.push(json!({ "type": "pid", "path": path })),
        Processes::Host => {}
    }
    namespaces.push(json!({ "type": "mount" }));
    match &spec.ipc {
        Ipc::Private => namespaces.push(json!({ "type": "ipc" })),
        Ipc::Join { namespace, .. } => {
            namespaces.push(json!({ "type": "ipc", "path": namespace }));
        }
        Ipc::Host => {}
    }
    match &spec.network {
        Network::Host => {}
        Network::Private => {
            namespaces.extend([json!({ "type": "uts" }), json!({ "type": "network" })]);
        }
        Network::Join(path) => namespaces
            .extend([json!({ "type": "uts" }), json!({ "type": "network", "path": path })]),
    }
    // As containerd has it: who is privileged sees the device's.
    if host.cgroup == CgroupVersion::V2 && !spec.security.privileged {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    namespaces
}

/// The formulas of the kubelet: shares from the request (or the limit, which then counts as the request), quota from
/// the limit.
fn resources(resources: &Resources, security: &Security) -> Value {
    let request = resources.cpu_request_milli.or(resources.cpu_limit_milli).unwrap_or(0);
    let shares = (request.saturating_mul(1024) / 1000).clamp(2, 262_144);
    let mut section = json!({
        "devices": security::device_rules(security),
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
