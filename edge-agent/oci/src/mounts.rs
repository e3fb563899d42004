//! The mounts of a container: the base ones, the files at `/etc` and the volumes, in the order that the runtime makes
//! them. Only the form of paths is checked here; what is behind them is the business of [`crate::bundle`].

use std::path::{Component, Path};

use serde_json::{Value, json};

use crate::config::ConfigError;
use crate::container::{ContainerSpec, EtcFiles, Host, Ipc, Mount, MountSource, Propagation};
use crate::profile;

/// Where POSIX shared memory is.
const SHM: &str = "/dev/shm";

/// The base mounts, the files in `/etc` and the volumes; a volume at the place of one of the others replaces it, and
/// outer places come before inner ones.
pub(crate) fn mounts(spec: &ContainerSpec, host: &Host) -> Result<Vec<Value>, ConfigError> {
    let mut own = Vec::with_capacity(spec.mounts.len());
    for mount in &spec.mounts {
        let target = mount_target(&mount.target)?;
        own.push((target.clone(), volume(mount, &target)?));
    }
    own.sort_by_key(|(target, _)| target.matches('/').count());
    let mut mounts: Vec<Value> = profile::base_mounts(host, spec.security.privileged);
    let shm = match &spec.ipc {
        Ipc::Private => None,
        Ipc::Host => Some(Path::new(SHM)),
        Ipc::Join { shm, .. } => Some(shm.as_path()),
    };
    if let Some(shm) = shm {
        let shared = bind(SHM, &host_path(shm)?, false, &["nosuid", "noexec", "nodev"]);
        mounts.iter_mut().filter(|mount| mount["destination"] == SHM).for_each(|own| {
            *own = shared.clone();
        });
    }
    mounts.extend(etc_mounts(&spec.etc)?);
    for (target, mount) in own {
        match mounts.iter_mut().find(|base| base["destination"] == target.as_str()) {
            Some(base) => *base = mount,
            None => mounts.push(mount),
        }
    }
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
    let (MountSource::Volume(path) | MountSource::HostPath(path)) = &mount.source;
    let options: &[&str] = match mount.source {
        MountSource::Volume(_) => &["nosuid", "nodev"],
        MountSource::HostPath(_) => &[],
    };
    let mut bound = bind(target, &host_path(path)?, mount.read_only, options);
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::Slave => "rslave",
    };
    bound["options"][1] = json!(propagation);
    Ok(bound)
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
