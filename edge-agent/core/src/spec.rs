//! A Pod as the assignment in force has it, with the files of its ConfigMap volumes and its Secrets, which are sealed; and
//! which of its containers is meant.

use alloc::{collections::BTreeMap, sync::Arc};
use core::{fmt, ops::Deref};

use firmware_compat::{
    id::Hash,
    v1::owned::{Blob, Claim, ConfigData, Container, File, Pod, Sealed, VolumeSource},
};

use crate::artefacts::blobs;

/// Which container of a Pod: its place in one of the spec's lists. As long as a Pod has the same identity, the same
/// container has the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerId {
    /// One of the init containers.
    Init(u8),
    /// One of the containers.
    Main(u8),
}

impl ContainerId {
    /// All containers of a Pod, in the order in which they are started.
    pub fn all(pod: &Pod) -> impl DoubleEndedIterator<Item = Self> + use<> {
        let (init, main) = (pod.init_containers.len(), pod.containers.len());
        (0..index(init)).map(Self::Init).chain((0..index(main)).map(Self::Main))
    }

    /// What the spec says of it.
    #[must_use]
    pub fn of(self, pod: &Pod) -> Option<&Container> {
        match self {
            Self::Init(place) => pod.init_containers.get(usize::from(place)),
            Self::Main(place) => pod.containers.get(usize::from(place)),
        }
    }

    /// Whether it is an init container.
    #[must_use]
    pub fn is_init(self) -> bool {
        matches!(self, Self::Init(_))
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (list, place) = text.split_once('-')?;
        let id = match list {
            "init" => Self::Init(place.parse().ok()?),
            "main" => Self::Main(place.parse().ok()?),
            _ => return None,
        };
        // `main-+1` and `main-01` are no names of ours.
        (alloc::format!("{id}") == text).then_some(id)
    }
}

impl fmt::Display for ContainerId {
    /// As in the name of a directory: `init-0`, `main-2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init(place) => write!(f, "init-{place}"),
            Self::Main(place) => write!(f, "main-{place}"),
        }
    }
}

/// A list of containers is bounded far below 256.
fn index(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// A Pod of the assignment, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSpec {
    pod: Arc<Pod>,
    /// What its ConfigMap volumes refer to.
    config: BTreeMap<Hash, Arc<ConfigData>>,
    /// What its list of Secrets refers to.
    sealed: BTreeMap<Hash, Arc<Sealed>>,
}

impl PodSpec {
    /// A Pod with the files that its ConfigMap volumes refer to, and with its Secrets.
    #[must_use]
    pub fn new(
        pod: Arc<Pod>,
        config: BTreeMap<Hash, Arc<ConfigData>>,
        sealed: BTreeMap<Hash, Arc<Sealed>>,
    ) -> Self {
        Self { pod, config, sealed }
    }

    /// Init containers and containers, in the order in which they are started.
    pub fn every_container(&self) -> impl Iterator<Item = &Container> {
        self.pod.init_containers.iter().chain(self.pod.containers.iter())
    }

    /// Every artefact of its containers, in the order in which they are needed.
    pub fn blobs(&self) -> impl Iterator<Item = Blob> + '_ {
        self.every_container().flat_map(blobs)
    }

    /// The files that a volume refers to by their hash.
    #[must_use]
    pub fn files(&self, data: &Hash) -> &[File] {
        self.config.get(data).map_or(&[], |of| &of.files)
    }

    /// The claims that it mounts.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.pod.volumes.iter().filter_map(|volume| match &volume.source {
            VolumeSource::Claim(claim) => Some(claim),
            VolumeSource::EmptyDir { .. }
            | VolumeSource::HostPath { .. }
            | VolumeSource::ConfigMap { .. }
            | VolumeSource::Secret { .. }
            | VolumeSource::Projected { .. } => None,
        })
    }

    /// What the Pod needs of a Secret, by its place in the Pod's list: the Secret's name, and what is sealed.
    #[must_use]
    pub fn sealed(&self, secret: u8) -> Option<(&str, &Sealed)> {
        let secret = self.pod.secrets.get(usize::from(secret))?;
        Some((&secret.name, self.sealed.get(&secret.data)?))
    }
}

impl Deref for PodSpec {
    type Target = Pod;
    fn deref(&self) -> &Pod {
        &self.pod
    }
}

/// Whether a name that the hub gave is safe as a directory's and in a line of text: letters, digits, `-`, `_` and `.`, which
/// is not the first. Kubernetes' names all are.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_plain)
}
