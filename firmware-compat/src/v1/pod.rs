//! A Pod: a sandbox (volumes, network, hostname) with init containers and containers in it. Compiled once per form, see
//! [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{
    Bytes, Claim, ContainerSecurity, Fact, List, MountPropagation, PodNames, PodSecurity,
    RuntimeClass, Supervision, Text, capacity,
};
use crate::id::{Hash, PodId};

/// One Pod, as a device runs it: a part of an assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// The Pod's uid.
    pub id: PodId,
    /// SHA-256 over all that, when changed, calls for a restart. What may change in place (the data of a configMap,
    /// the compiled form of a module) is left out.
    pub identity: Hash,
    /// The Pod's namespace.
    pub namespace: Text<{ capacity::NAMESPACE }>,
    /// The Pod's name.
    pub name: Text<{ capacity::NAME }>,
    /// What its containers see as their host's name: a DNS label.
    pub hostname: Text<{ capacity::NAMESPACE }>,
    /// Its other names, and whom it asks for those of others.
    pub names: PodNames,
    /// What runs its containers.
    pub runtime_class: RuntimeClass,
    /// Run one after the other, each to its end with code 0, before the containers start.
    pub init_containers: List<Container, { capacity::INIT_CONTAINERS }>,
    /// Run together. At least one.
    pub containers: List<Container, { capacity::CONTAINERS }>,
    /// What the mounts of both refer to.
    pub volumes: List<Volume, { capacity::VOLUMES }>,
    /// What volumes and variables refer to, by its place in this list. Not part of the identity.
    pub secrets: List<Secret, { capacity::SECRETS }>,
    /// When a container that ended is started again.
    pub restart: RestartPolicy,
    /// Time between the stop signal and the kill, in milliseconds.
    pub grace_ms: u32,
    /// It may be active for so many seconds, then it has failed; 0 for as long as it likes.
    pub active_deadline_s: u32,
    /// Whether it shares the device's network.
    pub host_network: bool,
    /// As whom its containers run.
    pub security: PodSecurity,
    /// Pods that it takes the place of: it starts once none of them runs on the device. They are never part of
    /// the same assignment; one that the device does not have holds nothing up. Not part of the identity.
    pub after: List<PodId, { capacity::PREDECESSORS }>,
}

/// When a container that ended is started again. Kubernetes' `restartPolicy`. An init container that ended with code 0
/// is never started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Always, with backoff.
    Always,
    /// After a non-zero exit, with backoff.
    OnFailure,
    /// Never.
    Never,
}

/// One container of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Unique in its Pod, over both lists.
    pub name: Text<{ capacity::NAMESPACE }>,
    /// The image as the operator wrote it, for people.
    pub reference: Text<{ capacity::REFERENCE }>,
    /// What is to be there before it starts.
    pub artefacts: Artefacts,
    /// Replaces the image's entrypoint if not empty.
    pub command: List<Text<{ capacity::ARGUMENT }>, { capacity::ARGUMENTS }>,
    /// Replaces the image's arguments if not empty.
    pub args: List<Text<{ capacity::ARGUMENT }>, { capacity::ARGUMENTS }>,
    /// Replaces the image's working directory if not empty.
    pub working_dir: Text<{ capacity::PATH }>,
    /// Added to the image's environment.
    pub env: List<Variable, { capacity::VARIABLES }>,
    /// For people and for probes; nothing is opened or closed by it.
    pub ports: List<Port, { capacity::PORTS }>,
    /// What it asks for and what it may use.
    pub resources: Resources,
    /// Where volumes appear.
    pub mounts: List<Mount, { capacity::VOLUMES }>,
    /// What it may do.
    pub security: ContainerSecurity,
    /// How it is watched over.
    pub supervision: Supervision,
}

/// Content-addressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Blob {
    /// SHA-256 of the bytes.
    pub digest: Hash,
    /// Length in bytes.
    pub size: u64,
}

/// How a layer's bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Packing {
    /// A tar file.
    Tar,
    /// A tar file under gzip.
    TarGzip,
    /// A tar file under zstd.
    TarZstd,
}

/// One layer of a container image, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The packed bytes.
    pub blob: Blob,
    /// How they are packed.
    pub packing: Packing,
}

/// What must be on the device before a container starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Artefacts {
    /// An OCI image.
    Image {
        /// The image's configuration, which also names the layers' diff ids.
        config: Blob,
        /// Lowest first.
        layers: List<Layer, { capacity::LAYERS }>,
    },
    /// A WebAssembly module or component, compiled for this device.
    Wasm {
        /// SHA-256 of the module that was compiled.
        module: Hash,
        /// The compiled code.
        compiled: Blob,
    },
    /// An image for a firmware slot.
    Firmware {
        /// The image.
        image: Blob,
    },
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: Text<{ capacity::VARIABLE_NAME }>,
    /// Its value.
    pub value: Value,
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// This, before `$(NAME)` is expanded.
    Text(Text<{ capacity::VARIABLE_VALUE }>),
    /// A file of a Secret: text, taken as it is.
    Secret {
        /// Place in the Pod's list.
        secret: u8,
        /// The file's path.
        key: Text<{ capacity::NAME }>,
    },
    /// There is none, and why: what runs goes on, and the container is not started again.
    Unavailable(Text<{ capacity::CONTAINER_MESSAGE }>),
    /// What the device says.
    Fact(Fact),
}

/// Transport of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port that a container listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port's number.
    pub number: u16,
    /// Its transport.
    pub protocol: Protocol,
}

/// What a container asks for and may use. 0 means none given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a CPU asked for.
    pub cpu_request_milli: u32,
    /// Thousandths of a CPU allowed.
    pub cpu_limit_milli: u32,
    /// Memory asked for, in bytes.
    pub memory_request_bytes: u64,
    /// Memory allowed, in bytes.
    pub memory_limit_bytes: u64,
}

/// Where a volume appears in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The volume's name.
    pub volume: Text<{ capacity::NAMESPACE }>,
    /// Path in the container.
    pub path: Text<{ capacity::PATH }>,
    /// Path in the volume; empty for its root.
    pub sub_path: Text<{ capacity::PATH }>,
    /// Whether `sub_path` has `$(NAME)` in it, for which the container's variables stand.
    pub expand: bool,
    /// Whether writing is refused.
    pub read_only: bool,
    /// Whether mounts that are made later on the device are seen.
    pub propagation: MountPropagation,
}

/// Something that containers mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Unique in its Pod.
    pub name: Text<{ capacity::NAMESPACE }>,
    /// What is behind it.
    pub source: VolumeSource,
}

/// What is behind a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// A directory that lives as long as the Pod.
    EmptyDir {
        /// In memory instead of on disk.
        memory: bool,
        /// Bound in bytes; 0 for none. Enforced in memory only.
        size_limit_bytes: u64,
    },
    /// A path of the device.
    HostPath {
        /// The path.
        path: Text<{ capacity::PATH }>,
        /// What it must be.
        kind: HostPathKind,
    },
    /// Files from a ConfigMap.
    ConfigMap {
        /// Hash of the part that is a [`ConfigData`].
        data: Hash,
    },
    /// Files from a Secret, in memory only.
    Secret {
        /// Place in the Pod's list.
        secret: u8,
    },
    /// Files from several sources; of two with one path, that of the later source.
    Projected {
        /// Where they come from.
        sources: List<ProjectedSource, { capacity::PROJECTED_SOURCES }>,
    },
    /// The data of a claim.
    Claim(Claim),
}

/// Where some files of a projected volume come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProjectedSource {
    /// A ConfigMap, or what the hub knows of the Pod.
    Files {
        /// Hash of the part that is a [`ConfigData`].
        data: Hash,
    },
    /// A Secret: then the whole volume is in memory only.
    Secret {
        /// Place in the Pod's list.
        secret: u8,
    },
    /// One file with what the device says.
    Fact {
        /// Relative path in the volume.
        path: Text<{ capacity::NAME }>,
        /// Permission bits.
        mode: u16,
        /// What it holds.
        fact: Fact,
    },
}

/// What a Pod needs of a Secret of its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The Secret's name, for people and to open it by.
    pub name: Text<{ capacity::NAME }>,
    /// Hash of the part that is a [`Sealed`].
    pub data: Hash,
}

/// Files of a Secret, sealed to one device: see [`crate::sealed`]. A part of its own, in the same form on the wire and on
/// the device's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The sender's half of the key agreement: `enc` of HPKE.
    pub encapsulated_key: [u8; 32],
    /// A [`ConfigData`], encrypted, and the tag.
    pub content: Bytes<{ capacity::SEALED_BYTES }>,
}

/// The files of a ConfigMap volume: a part of its own, shared by the Pods that mount the same. Of a Secret, the same under
/// a seal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigData {
    /// The files.
    pub files: List<File, { capacity::FILES }>,
}

/// What a host path must be. Kubernetes' `hostPath.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPathKind {
    /// Not checked.
    Any,
    /// A directory, made if missing.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file, made if missing.
    FileOrCreate,
    /// A file.
    File,
    /// A unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// One file of a volume, or the value of a key that variables refer to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Relative path in the volume.
    pub path: Text<{ capacity::NAME }>,
    /// Permission bits.
    pub mode: u16,
    /// Content.
    pub data: Bytes<{ capacity::FILE_BYTES }>,
}
