//! Places for what is mounted below another volume. A volume that nobody but the device writes is mounted so that the runtime
//! can't make them either, so they are made here, as the kubelet does.

use std::{
    fs,
    path::{Path, PathBuf},
};

use firmware_compat::v1::owned::{Container, HostPathKind, Mount, Pod, Volume, VolumeSource};
use lichen_shim::beneath;

use super::{VolumeError, has_files, io_failed, own_path, refused};

/// Makes the places in the volumes of `pod`, which are in `dir`.
pub(super) fn place(pod: &Pod, dir: &Path) -> Result<(), VolumeError> {
    let every = pod.init_containers.iter().chain(pod.containers.iter());
    every.into_iter().try_for_each(|container| place_for(pod, container, dir))
}

fn place_for(pod: &Pod, container: &Container, dir: &Path) -> Result<(), VolumeError> {
    for inner in &container.mounts {
        let target = Path::new(inner.path.as_str());
        // The mount that it is in: of those around it the innermost.
        let around = container.mounts.iter().filter(|outer| {
            let outer = Path::new(outer.path.as_str());
            outer != target && target.starts_with(outer)
        });
        let Some(outer) =
            around.max_by_key(|outer| Path::new(outer.path.as_str()).components().count())
        else {
            continue;
        };
        let Some(volume) = find(pod, outer) else { continue };
        let is_ours = has_files(volume)
            || (outer.read_only && matches!(volume.source, VolumeSource::EmptyDir { .. }));
        if !is_ours || !outer.sub_path.is_empty() {
            continue;
        }
        let below = target.strip_prefix(outer.path.as_str()).unwrap_or(target);
        make(volume, &own_path(dir, volume), below, is_file(pod, inner, dir))?;
    }
    Ok(())
}

fn find<'a>(pod: &'a Pod, mount: &Mount) -> Option<&'a Volume> {
    pod.volumes.iter().find(|volume| volume.name == mount.volume)
}

/// Whether what is mounted is a file. What is not there yet will be a directory.
fn is_file(pod: &Pod, mount: &Mount, dir: &Path) -> bool {
    let Some(volume) = find(pod, mount) else { return false };
    let root = match &volume.source {
        VolumeSource::HostPath { path, kind } => {
            if mount.sub_path.is_empty() && *kind == HostPathKind::FileOrCreate {
                return true;
            }
            PathBuf::from(path.as_str())
        }
        // Where its data is, is known to whoever places it. It is a directory.
        VolumeSource::Claim(_) => return false,
        VolumeSource::EmptyDir { .. }
        | VolumeSource::ConfigMap { .. }
        | VolumeSource::Secret { .. }
        | VolumeSource::Projected { .. } => own_path(dir, volume),
    };
    let path = root.join(mount.sub_path.as_str());
    path.exists() && !path.is_dir()
}

/// Makes a place in a volume, unless something is there.
fn make(volume: &Volume, root: &Path, below: &Path, is_file: bool) -> Result<(), VolumeError> {
    let path = root.join(below);
    if path.exists() {
        return Ok(());
    }
    let first = below.components().next().map(|first| root.join(first));
    if has_files(volume) && first.is_some_and(|first| first.is_symlink()) {
        return Err(refused(
            volume,
            &below.to_string_lossy(),
            "something else is to be mounted among its files, where each update would hide it; mount that beside the volume",
        ));
    }
    let failed = io_failed(volume, "make", &path);
    let parent = if is_file { below.parent().unwrap_or(Path::new("")) } else { below };
    if !parent.as_os_str().is_empty() {
        beneath::make(root, parent).map_err(&failed)?;
    }
    if is_file {
        fs::File::options().write(true).create_new(true).open(&path).map_err(&failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use firmware_compat::{
        id::Hash,
        v1::owned::{ConfigData, File, MountPropagation},
    };
    use lichen_agent_core::PodSpec;

    use super::*;
    use crate::{
        secrets::tests::Device,
        state::Written,
        volumes::{
            self,
            tests::{container, pod},
        },
    };

    fn mount(volume: &str, path: &str, sub_path: &str) -> Mount {
        Mount {
            volume: volume.try_into().expect("short"),
            path: path.try_into().expect("short"),
            sub_path: sub_path.try_into().expect("short"),
            expand: false,
            read_only: false,
            propagation: MountPropagation::None,
        }
    }

    fn with(mounts: Vec<Mount>, keys: &[&str]) -> PodSpec {
        let volume = |name: &str| Volume {
            name: name.try_into().expect("short"),
            source: VolumeSource::ConfigMap { data: Hash([1; 32]) },
        };
        let mut pod: Pod = (*pod(vec![volume("a"), volume("b")])).clone();
        pod.containers = vec![container(mounts)].try_into().expect("one");
        let files: Vec<File> = keys
            .iter()
            .map(|key| File {
                path: (*key).try_into().expect("short"),
                mode: 0o644,
                data: b"x".to_vec().try_into().expect("small"),
            })
            .collect();
        let data = Arc::new(ConfigData { files: files.try_into().expect("few") });
        PodSpec::new(Arc::new(pod), BTreeMap::from([(Hash([1; 32]), data)]), BTreeMap::new())
    }

    #[test]
    fn a_config_map_in_a_config_map_has_its_place_and_keeps_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (written, secrets) = (Written::default(), Device::new("pi").secrets);
        let mounts = vec![
            mount("b", "/etc/app/conf.d/deep", ""),
            mount("a", "/etc/app", ""),
            mount("b", "/etc/app/extra", "key"),
        ];
        let before = with(mounts.clone(), &["key"]);
        volumes::place(&before, dir.path(), &written, &secrets).expect("placeable");
        let there = || {
            let a = dir.path().join("a");
            a.join("conf.d/deep").is_dir() && a.join("extra").is_file() && a.join("key").is_file()
        };
        assert!(there());
        assert!(!dir.path().join("b/conf.d").exists());
        let after = with(mounts, &["key", "other"]);
        volumes::update_files(&after, dir.path(), &written, &secrets).expect("updatable");
        assert!(there());
        assert!(dir.path().join("a/other").is_file());
    }

    #[test]
    fn what_an_update_would_hide_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let (written, secrets) = (Written::default(), Device::new("pi").secrets);
        let pod = with(vec![mount("a", "/a", ""), mount("b", "/a/sub/place", "")], &["sub/key"]);
        let error = volumes::place(&pod, dir.path(), &written, &secrets).expect_err("refused");
        assert!(error.to_string().contains("each update would hide it"), "{error}");
    }
}
