//! Puts the volumes of a Pod where its containers can mount them: once per Pod, for all of them.
//!
//! An emptyDir is a directory in the Pod's own directory and lives as long as the Pod, one in memory until the device
//! restarts ([`memory`]); a configMap is written by [`config_map`], a secret into memory by [`secret`], files of several
//! sources by [`projected`]; a hostPath is checked and used in place. What is mounted below another volume gets a place in
//! it ([`nested`]).

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use firmware_compat::v1::owned::{Mount, MountPropagation, Pod, Volume, VolumeSource};
use lichen_agent_core::{PodSpec, spec::is_plain_name};

use crate::{
    claims::{ClaimError, Claims},
    secrets::{SecretError, Secrets},
    state::Written,
};

pub mod config_map;
mod fs_group;
mod host_path;
pub(crate) mod memory;
mod nested;
mod projected;
mod secret;
mod sub_path;

pub(crate) use fs_group::own_claim;

/// Kubernetes gives every container access to an emptyDir.
const EMPTY_DIR_MODE: u32 = 0o777;

/// Why a volume cannot be used. Each is the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The system refused.
    #[error("volume {volume}: could not {action} {}: {source}", path.display())]
    Io {
        /// The volume.
        volume: String,
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A path that leads somewhere else than it says.
    #[error("volume {volume}: {path:?} is not usable: {problem}")]
    Path {
        /// The volume.
        volume: String,
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The device does not have what the manifest expects.
    #[error("volume {volume}: {} is not {expected}", path.display())]
    Kind {
        /// The volume.
        volume: String,
        /// The path.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// A Secret that can't be opened.
    #[error("volume {volume}: {cause}")]
    Secret {
        /// The volume.
        volume: String,
        /// Why.
        cause: SecretError,
    },
    /// A claim whose data is not there.
    #[error("volume {volume}: {cause}")]
    Claim {
        /// The volume.
        volume: String,
        /// Why.
        cause: ClaimError,
    },
    /// A mount names a volume that the Pod does not have.
    #[error("mount at {path}: the pod has no volume {volume:?}")]
    Unknown {
        /// The volume.
        volume: String,
        /// The path in the container.
        path: String,
    },
}

/// Where a volume's content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory or file that the agent made.
    Own(PathBuf),
    /// A path of the device.
    Host(PathBuf),
}

/// One mount, ready to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The volume.
    pub source: Source,
    /// The part of it to mount, as [`lichen_shim::beneath`] takes it; empty for all of it.
    pub inner: PathBuf,
    /// Where, in the container.
    pub target: String,
    /// Whether writing is refused.
    pub read_only: bool,
    /// Which mounts that come later are seen.
    pub propagation: MountPropagation,
}

/// Writes the volumes of `Pod` below `dir`, as far as they are not there already. Their names are durable afterwards: what an
/// application syncs in one survives a loss of power.
///
/// # Errors
/// See [`VolumeError`].
pub fn place(
    pod: &PodSpec,
    dir: &Path,
    written: &Written,
    secrets: &Secrets,
) -> Result<(), VolumeError> {
    pod.volumes.iter().try_for_each(|volume| place_one(pod, volume, dir, written, secrets))?;
    nested::place(pod, dir)?;
    let on_disk =
        |volume: &&Volume| matches!(volume.source, VolumeSource::EmptyDir { memory: false, .. });
    match pod.volumes.iter().find(on_disk) {
        Some(volume) => sync_dir(dir).map_err(io_failed(volume, "sync", dir)),
        None => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Writes the configMap, secret and projected volumes of `Pod` again; containers that have them mounted see all new files at once.
///
/// # Errors
/// See [`VolumeError`].
pub fn update_files(
    pod: &PodSpec,
    dir: &Path,
    written: &Written,
    secrets: &Secrets,
) -> Result<(), VolumeError> {
    let mut volumes = pod.volumes.iter().filter(|volume| has_files(volume));
    volumes.try_for_each(|volume| place_one(pod, volume, dir, written, secrets))
}

/// Whether the device writes it, and nobody else.
fn has_files(volume: &Volume) -> bool {
    match volume.source {
        VolumeSource::ConfigMap { .. }
        | VolumeSource::Secret { .. }
        | VolumeSource::Projected { .. } => true,
        VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } | VolumeSource::Claim(_) => {
            false
        }
    }
}

fn place_one(
    pod: &PodSpec,
    volume: &Volume,
    dir: &Path,
    written: &Written,
    secrets: &Secrets,
) -> Result<(), VolumeError> {
    if !is_plain_name(&volume.name) {
        return Err(refused(volume, &volume.name, "a volume's name is letters, digits and `-`"));
    }
    let (own, group) = (own_path(dir, volume), pod.security.fs_group);
    match &volume.source {
        VolumeSource::EmptyDir { memory: true, size_limit_bytes } => {
            memory::place(volume, &own, *size_limit_bytes, group)
        }
        VolumeSource::EmptyDir { memory: false, .. } => make_empty_dir(volume, &own, group),
        VolumeSource::HostPath { path, kind } => host_path::check(volume, path, *kind),
        VolumeSource::ConfigMap { data } => {
            let files: Vec<config_map::Content<'_>> =
                pod.files(data).iter().map(Into::into).collect();
            config_map::write(&own, &files, group, written)
                .map_err(|error| error.in_volume(&volume.name))
        }
        VolumeSource::Secret { secret } => secret::place(pod, volume, &own, *secret, secrets),
        VolumeSource::Projected { sources } => {
            projected::place(pod, volume, &own, sources, written, secrets)
        }
        // It is of no one Pod.
        VolumeSource::Claim(_) => Ok(()),
    }
}

/// Takes down what [`place`] has mounted below `dir`, so that the directory can be removed.
///
/// # Errors
/// Those of the system.
pub fn release(dir: &Path) -> io::Result<()> {
    memory::release(dir)
}

/// Resolves the mounts of a container to what is behind them. The volumes were placed. `variables` are the container's.
///
/// # Errors
/// See [`VolumeError`].
pub fn resolve(
    pod: &Pod,
    mounts: &[Mount],
    dir: &Path,
    variables: &BTreeMap<&str, String>,
    claims: &Claims,
) -> Result<Vec<Placed>, VolumeError> {
    mounts.iter().map(|mount| resolve_one(pod, mount, dir, variables, claims)).collect()
}

fn resolve_one(
    pod: &Pod,
    mount: &Mount,
    dir: &Path,
    variables: &BTreeMap<&str, String>,
    claims: &Claims,
) -> Result<Placed, VolumeError> {
    let volume = pod.volumes.iter().find(|volume| volume.name == mount.volume);
    let Some(volume) = volume else {
        return Err(VolumeError::Unknown {
            volume: mount.volume.to_string(),
            path: mount.path.to_string(),
        });
    };
    let own = own_path(dir, volume);
    let host = matches!(volume.source, VolumeSource::HostPath { .. });
    let (root, read_only) = match &volume.source {
        VolumeSource::EmptyDir { .. } => (own, mount.read_only),
        VolumeSource::HostPath { path, .. } => (PathBuf::from(path.as_str()), mount.read_only),
        // As in Kubernetes: the device writes it, nobody else.
        VolumeSource::ConfigMap { .. }
        | VolumeSource::Secret { .. }
        | VolumeSource::Projected { .. } => (own, true),
        VolumeSource::Claim(claim) => {
            let of = |cause| VolumeError::Claim { volume: volume.name.to_string(), cause };
            (claims.root(claim).map_err(of)?, mount.read_only || claim.read_only)
        }
    };
    let sub_path = match mount.expand {
        true => sub_path::expanded(volume, &mount.sub_path, variables)?,
        false => mount.sub_path.to_string(),
    };
    let inner = match sub_path.as_str() {
        "" => PathBuf::new(),
        sub_path => sub_path::place(volume, &root, sub_path)?,
    };
    let source = if host { Source::Host(root) } else { Source::Own(root) };
    let propagation = mount.propagation;
    Ok(Placed { source, inner, target: mount.path.to_string(), read_only, propagation })
}

fn own_path(dir: &Path, volume: &Volume) -> PathBuf {
    dir.join(volume.name.as_str())
}

fn make_empty_dir(volume: &Volume, path: &Path, group: Option<u32>) -> Result<(), VolumeError> {
    use std::os::unix::fs::PermissionsExt;
    if path.is_dir() {
        return Ok(());
    }
    let failed = io_failed(volume, "make", path);
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(&failed)?;
    if let Some(group) = group {
        fs_group::own_dir(path, group).map_err(&failed)?;
    }
    // The builder's mode is subject to the umask.
    let mode = EMPTY_DIR_MODE | fs_group::dir_bits(group);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(&failed)
}

fn refused(volume: &Volume, path: &str, problem: &'static str) -> VolumeError {
    VolumeError::Path { volume: volume.name.to_string(), path: path.to_owned(), problem }
}

fn io_failed(
    volume: &Volume,
    action: &'static str,
    path: &Path,
) -> impl Fn(io::Error) -> VolumeError {
    move |source| VolumeError::Io {
        volume: volume.name.to_string(),
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use firmware_compat::{
        id::{AgentId, Hash, PodId},
        v1::owned::{
            Artefacts, Blob, Container, ContainerSecurity, HostPathKind, PodNames, PodSecurity,
            Resources, RestartPolicy, RuntimeClass, Supervision,
        },
    };

    use super::*;
    use crate::identity::IdentityDir;

    pub fn container(mounts: Vec<Mount>) -> Container {
        let blob = Blob { digest: Hash([2; 32]), size: 1 };
        Container {
            name: "main".try_into().expect("short"),
            reference: Default::default(),
            artefacts: Artefacts::Wasm { module: Hash([2; 32]), compiled: blob },
            command: Default::default(),
            args: Default::default(),
            working_dir: Default::default(),
            env: Default::default(),
            ports: Default::default(),
            resources: Resources::default(),
            mounts: mounts.try_into().expect("few"),
            security: ContainerSecurity::default(),
            supervision: Supervision::default(),
        }
    }

    pub fn pod(volumes: Vec<Volume>) -> PodSpec {
        let pod = Pod {
            id: PodId([1; 16]),
            identity: Hash([1; 32]),
            namespace: "default".try_into().expect("short"),
            name: "web".try_into().expect("short"),
            hostname: "web".try_into().expect("short"),
            names: PodNames::default(),
            runtime_class: RuntimeClass::Wasm,
            init_containers: Default::default(),
            containers: Default::default(),
            volumes: volumes.try_into().expect("few"),
            restart: RestartPolicy::Always,
            grace_ms: 0,
            active_deadline_s: 0,
            host_network: false,
            security: PodSecurity::default(),
            after: Default::default(),
            secrets: Default::default(),
        };
        PodSpec::new(std::sync::Arc::new(pod), Default::default(), Default::default())
    }

    /// Places volumes that are no Secret's.
    fn place(pod: &PodSpec, dir: &Path, written: &Written) -> Result<(), VolumeError> {
        let nobody = IdentityDir::at(dir.join("identity"), Written::default());
        super::place(pod, dir, written, &Secrets::of(&nobody))
    }

    /// Resolves mounts of a Pod without claims.
    fn resolve_all(
        pod: &Pod,
        mounts: &[Mount],
        dir: &Path,
        variables: &BTreeMap<&str, String>,
    ) -> Result<Vec<Placed>, VolumeError> {
        let claims = Claims::at(dir, AgentId([0; 16]), Written::default());
        super::resolve(pod, mounts, dir, variables, &claims)
    }

    fn volume(source: VolumeSource) -> Volume {
        Volume { name: "v".try_into().expect("short"), source }
    }

    fn host(path: &Path, kind: HostPathKind) -> PodSpec {
        let path = path.to_str().expect("text").try_into().expect("short");
        pod(vec![volume(VolumeSource::HostPath { path, kind })])
    }

    fn mount(sub_path: &str) -> Mount {
        Mount {
            volume: "v".try_into().expect("short"),
            path: "/data".try_into().expect("short"),
            sub_path: sub_path.try_into().expect("short"),
            expand: false,
            read_only: false,
            propagation: MountPropagation::None,
        }
    }

    #[test]
    fn an_empty_dir_keeps_its_content_when_it_is_placed_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = VolumeSource::EmptyDir { memory: false, size_limit_bytes: 0 };
        let pod = pod(vec![volume(source)]);
        place(&pod, dir.path(), &Written::default()).expect("placeable");
        fs::write(dir.path().join("v/file"), "x").expect("writable");
        place(&pod, dir.path(), &Written::default()).expect("placeable");
        let placed =
            resolve_all(&pod, &[mount("")], dir.path(), &BTreeMap::new()).expect("resolvable");
        assert_eq!(placed[0].source, Source::Own(dir.path().join("v")));
        assert!(dir.path().join("v/file").exists());
    }

    #[test]
    fn a_host_path_must_be_what_the_manifest_says() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = |path: &Path, kind| place(&host(path, kind), dir.path(), &Written::default());
        assert!(place(dir.path(), HostPathKind::Directory).is_ok());
        assert!(matches!(place(dir.path(), HostPathKind::File), Err(VolumeError::Kind { .. })));
        assert!(matches!(place(dir.path(), HostPathKind::Socket), Err(VolumeError::Kind { .. })));
        let missing = dir.path().join("a/b");
        assert!(matches!(place(&missing, HostPathKind::Any), Err(VolumeError::Io { .. })));
        assert!(place(&missing, HostPathKind::DirectoryOrCreate).is_ok());
        assert!(place(&missing.join("f"), HostPathKind::FileOrCreate).is_ok());
        let crooked = dir.path().join("a/../a");
        assert!(matches!(place(&crooked, HostPathKind::Any), Err(VolumeError::Path { .. })));
    }

    #[test]
    fn a_sub_path_cannot_lead_out_of_its_volume() {
        let dir = tempfile::tempdir().expect("a directory");
        let outside = tempfile::tempdir().expect("a directory");
        let source = VolumeSource::EmptyDir { memory: false, size_limit_bytes: 0 };
        let pod = pod(vec![volume(source)]);
        place(&pod, dir.path(), &Written::default()).expect("placeable");
        std::os::unix::fs::symlink(outside.path(), dir.path().join("v/out")).expect("a link");
        let resolve =
            |sub_path| resolve_all(&pod, &[mount(sub_path)], dir.path(), &BTreeMap::new());
        for crooked in ["../x", "/etc", "out", "out/deeper/still"] {
            assert!(matches!(resolve(crooked), Err(VolumeError::Path { .. })), "{crooked}");
        }
        assert_eq!(fs::read_dir(outside.path()).expect("readable").count(), 0);
        let placed = resolve("in/deep").expect("resolvable");
        assert_eq!(placed[0].source, Source::Own(dir.path().join("v")));
        assert_eq!(placed[0].inner, Path::new("in/deep"));
        assert!(dir.path().join("v/in/deep").is_dir());
        // One of the volume's own is gone through here, once.
        std::os::unix::fs::symlink("in", dir.path().join("v/link")).expect("a link");
        assert_eq!(resolve("link/deep").expect("resolvable")[0].inner, Path::new("in/deep"));
        std::os::unix::fs::symlink("nowhere", dir.path().join("v/dangling")).expect("a link");
        assert!(matches!(resolve("dangling"), Err(VolumeError::Path { .. })));
    }

    #[test]
    fn a_sub_path_may_be_made_of_variables() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = VolumeSource::EmptyDir { memory: false, size_limit_bytes: 0 };
        let pod = pod(vec![volume(source)]);
        place(&pod, dir.path(), &Written::default()).expect("placeable");
        let variables = BTreeMap::from([("POD", "web-0".to_owned()), ("UP", "..".to_owned())]);
        let resolve = |expression| {
            let mount = Mount { expand: true, ..mount(expression) };
            resolve_all(&pod, &[mount], dir.path(), &variables)
        };
        assert_eq!(resolve("of/$(POD)").expect("resolvable")[0].inner, Path::new("of/web-0"));
        for crooked in ["$(UP)/x", "$(NONE)", "/$(POD)"] {
            assert!(matches!(resolve(crooked), Err(VolumeError::Path { .. })), "{crooked}");
        }
    }

    #[test]
    fn a_volume_whose_name_leads_elsewhere_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["", ".", "..", "../x", "a/b", "a b"] {
            let source = VolumeSource::EmptyDir { memory: false, size_limit_bytes: 0 };
            let volume = Volume { name: name.try_into().expect("short"), source };
            let error = place(&pod(vec![volume]), dir.path(), &Written::default());
            assert!(matches!(error, Err(VolumeError::Path { .. })), "{name}");
        }
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
    }

    #[test]
    fn a_mount_of_no_volume_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = resolve_all(&pod(Vec::new()), &[mount("")], dir.path(), &BTreeMap::new())
            .expect_err("unknown");
        assert!(error.to_string().contains("no volume \"v\""), "{error}");
    }
}
