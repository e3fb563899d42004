//! Refuses an assignment that could not run or would reach outside of its Pods' own places. A refused
//! assignment changes nothing: the one before stays in force.

use alloc::collections::BTreeSet;

use firmware_compat::{
    id::{ClaimId, Hash, PodId},
    v1::owned::{
        Artefacts, Container, PodNames, ProjectedSource, RuntimeClass, Value, Volume, VolumeSource,
    },
};

use crate::spec::{PodSpec, is_plain_name};

/// Why an assignment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Two Pods with one id.
    #[error("pod {0} is assigned twice")]
    Twice(PodId),
    /// It would wait for ever.
    #[error("pod {0} takes the place of one that is assigned too")]
    Preceded(PodId),
    /// What a Pod mounts is never removed.
    #[error("pod {pod} mounts the claim {claim}, whose data is to be removed")]
    RemovedClaim {
        /// Which Pod.
        pod: PodId,
        /// Which claim.
        claim: ClaimId,
    },
    /// One Pod can't run as it is.
    #[error("pod {pod}: {fault}")]
    Pod {
        /// Which Pod.
        pod: PodId,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing to run.
    #[error("has no container")]
    NoContainer,
    /// A firmware slot runs one container.
    #[error("has several containers, a firmware slot runs one")]
    SeveralContainers,
    /// Two containers with one name.
    #[error("has two containers with one name")]
    ContainerTwice,
    /// Two volumes with one name.
    #[error("has two volumes with one name")]
    VolumeTwice,
    /// A mount of a volume that is not there.
    #[error("mounts a volume that it does not have")]
    UnknownVolume,
    /// A volume or variable of a Secret that is not there.
    #[error("takes something from a Secret that it does not have")]
    UnknownSecret,
    /// Say, a Wasm module for a container runtime.
    #[error("has artefacts of another runtime class")]
    WrongArtefacts,
    /// An image without a layer has no root.
    #[error("has an image without layers")]
    NoLayers,
    /// Paths in containers and on the device start at the root and do not climb.
    #[error("has a path that is not absolute or climbs with `..`")]
    BadPath,
    /// Paths in volumes stay in them.
    #[error("has a path in a volume that is absolute or climbs with `..`")]
    BadVolumePath,
    /// Volumes are directories that have their names, and a hostname becomes a line of `/etc/hosts`.
    #[error(
        "has a volume, Secret, host or domain whose name is not plain: letters, digits, `-`, `_` and `.`, not first"
    )]
    BadName,
    /// Not an environment variable's name.
    #[error("has an environment variable whose name is empty or holds `=`")]
    BadVariable,
    /// No kernel takes it.
    #[error("has a zero byte in an argument, variable, name or path")]
    ZeroByte,
}

/// Looks through a whole assignment.
///
/// # Errors
/// The first fault, in the order of Pods.
pub fn check(pods: &[PodSpec]) -> Result<(), CheckError> {
    let mut seen = BTreeSet::new();
    for pod in pods {
        if !seen.insert(pod.id) {
            return Err(CheckError::Twice(pod.id));
        }
        check_pod(pod).map_err(|fault| CheckError::Pod { pod: pod.id, fault })?;
    }
    let waits = |pod: &&PodSpec| pod.after.iter().any(|id| seen.contains(id));
    match pods.iter().find(waits) {
        Some(pod) => Err(CheckError::Preceded(pod.id)),
        None => Ok(()),
    }
}

/// Looks whether what is to be removed is mounted by nobody.
///
/// # Errors
/// The first Pod that mounts one.
pub fn check_claims(pods: &[PodSpec], removed: &[ClaimId]) -> Result<(), CheckError> {
    for pod in pods {
        if let Some(claim) = pod.claims().find(|claim| removed.contains(&claim.id)) {
            return Err(CheckError::RemovedClaim { pod: pod.id, claim: claim.id });
        }
    }
    Ok(())
}

fn check_pod(pod: &PodSpec) -> Result<(), Fault> {
    let every = || pod.init_containers.iter().chain(pod.containers.iter());
    if pod.containers.is_empty() {
        return Err(Fault::NoContainer);
    }
    if pod.runtime_class == RuntimeClass::Firmware && every().count() > 1 {
        return Err(Fault::SeveralContainers);
    }
    let volumes = unique(pod.volumes.iter().map(|v| v.name.as_str()), Fault::VolumeTwice)?;
    unique(every().map(|c| c.name.as_str()), Fault::ContainerTwice)?;
    plain(&pod.hostname)?;
    check_names(&pod.names)?;
    pod.secrets.iter().try_for_each(|secret| plain(&secret.name))?;
    pod.volumes.iter().try_for_each(|volume| check_volume(volume, pod))?;
    every().try_for_each(|c| check_container(c, pod, &volumes))
}

fn unique<'a>(
    names: impl Iterator<Item = &'a str>,
    twice: Fault,
) -> Result<BTreeSet<&'a str>, Fault> {
    let mut seen = BTreeSet::new();
    for name in names {
        no_zero(name)?;
        if !seen.insert(name) {
            return Err(twice);
        }
    }
    Ok(seen)
}

fn check_volume(volume: &Volume, pod: &PodSpec) -> Result<(), Fault> {
    plain(&volume.name)?;
    match &volume.source {
        VolumeSource::EmptyDir { .. } => Ok(()),
        VolumeSource::Claim(claim) => no_zero(&claim.name),
        VolumeSource::HostPath { path, .. } => absolute(path),
        VolumeSource::ConfigMap { data } => check_files(pod, data),
        VolumeSource::Secret { secret } => has_secret(pod, *secret),
        VolumeSource::Projected { sources } => sources.iter().try_for_each(|source| match source {
            ProjectedSource::Files { data } => check_files(pod, data),
            ProjectedSource::Secret { secret } => has_secret(pod, *secret),
            ProjectedSource::Fact { path, .. } => file_path(path),
        }),
    }
}

fn check_files(pod: &PodSpec, data: &Hash) -> Result<(), Fault> {
    pod.files(data).iter().try_for_each(|file| file_path(&file.path))
}

fn file_path(path: &str) -> Result<(), Fault> {
    if path.is_empty() { Err(Fault::BadVolumePath) } else { within(path) }
}

/// They become words of `/etc/hosts` and `/etc/resolv.conf`.
fn check_names(names: &PodNames) -> Result<(), Fault> {
    let PodNames { domain, aliases, dns } = names;
    let aliases = aliases.iter().flat_map(|alias| {
        core::iter::once(alias.ip.as_str()).chain(alias.names.iter().map(|name| name.as_str()))
    });
    let servers = dns.nameservers.iter().map(|address| address.as_str());
    let searched = dns.searches.iter().chain(&dns.options).map(|word| word.as_str());
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b';'))
    };
    let domain = Some(domain.as_str()).filter(|domain| !domain.is_empty());
    match domain.into_iter().chain(aliases).chain(servers).chain(searched).all(is_word) {
        true => Ok(()),
        false => Err(Fault::BadName),
    }
}

fn has_secret(pod: &PodSpec, secret: u8) -> Result<(), Fault> {
    pod.sealed(secret).map(drop).ok_or(Fault::UnknownSecret)
}

fn check_container(
    container: &Container,
    pod: &PodSpec,
    volumes: &BTreeSet<&str>,
) -> Result<(), Fault> {
    match (pod.runtime_class, &container.artefacts) {
        (RuntimeClass::Container, Artefacts::Image { layers, .. }) if layers.is_empty() => {
            return Err(Fault::NoLayers);
        }
        (RuntimeClass::Container, Artefacts::Image { .. })
        | (RuntimeClass::Wasm, Artefacts::Wasm { .. })
        | (RuntimeClass::Firmware, Artefacts::Firmware { .. }) => {}
        (RuntimeClass::Container | RuntimeClass::Wasm | RuntimeClass::Firmware, _) => {
            return Err(Fault::WrongArtefacts);
        }
    }
    for word in container.command.iter().chain(container.args.iter()) {
        no_zero(word)?;
    }
    if !container.working_dir.is_empty() {
        absolute(&container.working_dir)?;
    }
    for variable in &container.env {
        no_zero(&variable.name)?;
        match &variable.value {
            Value::Text(text) => no_zero(text)?,
            Value::Secret { secret, .. } => has_secret(pod, *secret)?,
            Value::Unavailable(_) | Value::Fact(_) => {}
        }
        if variable.name.is_empty() || variable.name.contains('=') {
            return Err(Fault::BadVariable);
        }
    }
    for mount in &container.mounts {
        if !volumes.contains(mount.volume.as_str()) {
            return Err(Fault::UnknownVolume);
        }
        absolute(&mount.path)?;
        within(&mount.sub_path)?;
    }
    Ok(())
}

fn plain(name: &str) -> Result<(), Fault> {
    no_zero(name)?;
    if is_plain_name(name) { Ok(()) } else { Err(Fault::BadName) }
}

fn absolute(path: &str) -> Result<(), Fault> {
    no_zero(path)?;
    if path.starts_with('/') && !climbs(path) { Ok(()) } else { Err(Fault::BadPath) }
}

/// Relative, and never above where it starts. May be empty.
fn within(path: &str) -> Result<(), Fault> {
    no_zero(path)?;
    if path.starts_with('/') || climbs(path) { Err(Fault::BadVolumePath) } else { Ok(()) }
}

fn climbs(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

fn no_zero(text: &str) -> Result<(), Fault> {
    if text.contains('\0') { Err(Fault::ZeroByte) } else { Ok(()) }
}
