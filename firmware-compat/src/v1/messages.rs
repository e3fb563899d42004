//! What each message holds. Compiled once per form: `Text`, `List`, `Bytes` and `capacity` are the form's own.
//! Field order and variant order are the wire format: append in a new version, never reorder.

use serde::{Deserialize, Serialize};

use super::{Bytes, List, Text, capacity};
use crate::{
    frame::{Kind, Message},
    id::{AgentId, BootId, Generation, Hash, Lineage, PodId},
};

/// A key and its value, as Kubernetes defines labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    /// Optional prefix, a slash, a name.
    pub key: Text<{ capacity::LABEL_KEY }>,
    /// May be empty.
    pub value: Text<{ capacity::LABEL_VALUE }>,
}

/// Which assignment a device holds, or is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentId {
    /// Of the hub's store that wrote it.
    pub lineage: Lineage,
    /// Rises with every change.
    pub generation: Generation,
    /// SHA-256 of the body.
    pub hash: Hash,
}

/// Which engine runs a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RuntimeClass {
    /// An OCI runtime: crun, runc or youki.
    Container,
    /// WebAssembly.
    Wasm,
    /// A microcontroller's own firmware slot.
    Firmware,
}

/// One engine that a device found, tried, and can or cannot use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// What it runs.
    pub engine: RuntimeClass,
    /// The program's name: `crun`, `runc`, `youki`, `wasmtime`.
    pub name: Text<{ capacity::WORD }>,
    /// The program's version, empty if unknown.
    pub version: Text<{ capacity::VERSION }>,
    /// Whether the trial run worked.
    pub usable: bool,
    /// Whether memory and CPU limits are enforced.
    pub limits_enforced: bool,
    /// Why it is not usable, or why limits are not enforced; empty if all is well.
    pub reason: Text<{ capacity::MESSAGE }>,
}

/// What a device needs compiled Wasm to match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WasmSupport {
    /// `x86_64`, `aarch64`, `riscv64`, `pulley32` or `pulley64`.
    pub class: Text<{ capacity::WORD }>,
    /// Hash over the engine's version and settings; code compiled under another is refused.
    pub compatibility: Text<{ capacity::WORD }>,
}

/// Who a device is and what it can do. The first frame of every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Of the state directory: tells two boards with one name apart.
    pub agent: AgentId,
    /// Changes with every boot.
    pub boot: BootId,
    /// The agent's version.
    pub version: Text<{ capacity::VERSION }>,
    /// Kubernetes' name of the architecture: `amd64`, `arm64`, `arm`, `riscv64`.
    pub arch: Text<{ capacity::WORD }>,
    /// `linux`, or the name of the microcontroller's system.
    pub os: Text<{ capacity::WORD }>,
    /// Kernel release or board name, for people.
    pub kernel: Text<{ capacity::DESCRIPTION }>,
    /// Features that compiled Wasm may use beyond the class's baseline.
    pub cpu_features: List<Text<{ capacity::WORD }>, { capacity::CPU_FEATURES }>,
    /// Thousandths of a CPU.
    pub cpu_milli: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Size of the file system that holds the state directory, in bytes.
    pub disk_bytes: u64,
    /// Every engine that was looked for.
    pub runtimes: List<Runtime, { capacity::RUNTIMES }>,
    /// Absent if the device runs no Wasm.
    pub wasm: Option<WasmSupport>,
    /// Given on the agent's command line.
    pub labels: List<Label, { capacity::LABELS }>,
    /// The assignment that the device has saved. Absent on a fresh device.
    pub assignment: Option<AssignmentId>,
    /// The device's clock: milliseconds since 1970, whatever it is worth.
    pub clock_ms: u64,
    /// Largest assignment body that the device takes, in bytes.
    pub max_body_bytes: u32,
}

/// The newest assignment of a device; retained, under 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which assignment.
    pub assignment: AssignmentId,
    /// Bytes of the body.
    pub length: u32,
    /// Ed25519 over lineage, device, generation and hash. Empty while the hub has no identity.
    pub signature: Bytes<{ capacity::SIGNATURE }>,
}

/// Asks for an assignment's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Hash of the body.
    pub hash: Hash,
    /// First byte wanted.
    pub offset: u32,
}

/// A chunk of an assignment's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Hash of the whole body.
    pub hash: Hash,
    /// Where these bytes belong.
    pub offset: u32,
    /// The bytes.
    pub bytes: Bytes<{ capacity::CHUNK }>,
}

/// Everything that one device should run. The body behind a [`Head`]; its bytes are what the hash is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// In ascending order of id.
    pub pods: List<Pod, { capacity::PODS }>,
}

/// One running copy of a workload.
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
    /// What runs it.
    pub engine: RuntimeClass,
    /// The programs.
    pub containers: List<Container, { capacity::CONTAINERS }>,
    /// What their mounts refer to.
    pub volumes: List<Volume, { capacity::VOLUMES }>,
    /// When a program that ended is started again.
    pub restart: RestartPolicy,
    /// Time between the stop signal and the kill, in milliseconds.
    pub grace_ms: u32,
    /// Whether it shares the device's network.
    pub host_network: bool,
    /// Pods that it takes the place of: it starts once none of them runs on the device. They are never part of
    /// the same assignment; one that the device does not have holds nothing up. Not part of the identity.
    pub after: List<PodId, { capacity::PREDECESSORS }>,
}

/// When a program that ended is started again. Kubernetes' `restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Always, with backoff.
    Always,
    /// After a non-zero exit, with backoff.
    OnFailure,
    /// Never.
    Never,
}

/// One program of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Unique in its Pod.
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
    /// What `securityContext` asks for.
    pub read_only_root: bool,
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
    /// Its value, before `$(NAME)` is expanded.
    pub value: Text<{ capacity::VARIABLE_VALUE }>,
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

/// A port that a program listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port's number.
    pub number: u16,
    /// Its transport.
    pub protocol: Protocol,
}

/// What a program asks for and may use. 0 means none given.
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
    /// Whether writing is refused.
    pub read_only: bool,
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
        /// The files.
        files: List<File, { capacity::FILES }>,
    },
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

/// One file of a ConfigMap volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Relative path in the volume.
    pub path: Text<{ capacity::NAME }>,
    /// Permission bits.
    pub mode: u16,
    /// Content.
    pub data: Bytes<{ capacity::FILE_BYTES }>,
}

/// Where a Pod stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Something must happen first: see the reason.
    Waiting,
    /// Its artefacts are being fetched or unpacked.
    Fetching,
    /// Its process is being started.
    Starting,
    /// Its process runs.
    Running,
    /// It ended and will be started again after a delay.
    Backoff,
    /// It was asked to stop.
    Stopping,
    /// It ended with code 0 and stays so.
    Succeeded,
    /// It ended otherwise and stays so.
    Failed,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 plus the signal's number if a signal ended it.
    pub code: i32,
    /// Kubernetes' words: `Completed`, `Error`, `OOMKilled`, `StartError`, `Lost`.
    pub reason: Text<{ capacity::REASON }>,
    /// More for people; may be empty.
    pub message: Text<{ capacity::MESSAGE }>,
    /// When, by the device's clock, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What one Pod does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodStatus {
    /// Which Pod.
    pub id: PodId,
    /// Of the spec that it runs, or is to run.
    pub identity: Hash,
    /// Where it stands.
    pub phase: Phase,
    /// CamelCase reason for a phase other than running; may be empty.
    pub reason: Text<{ capacity::REASON }>,
    /// The reason in words; may be empty.
    pub message: Text<{ capacity::MESSAGE }>,
    /// How often it was started again on this device.
    pub restarts: u32,
    /// Process id on the device; 0 if it has none.
    pub pid: u32,
    /// When the process started, by the device's clock, in milliseconds since 1970; 0 if it has none.
    pub started_ms: u64,
    /// How it last ended.
    pub last_exit: Option<Exit>,
}

/// What the Pods of a device do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The assignment that the device has saved.
    pub assignment: Option<AssignmentId>,
    /// Whether the device holds no Pod but those in this report and the parts that follow it.
    pub full: bool,
    /// More frames of the same report follow.
    pub more: bool,
    /// New state of each.
    pub pods: List<PodStatus, { capacity::STATUS_PODS }>,
    /// Pods that no longer exist on the device: nothing of them is left.
    pub removed: List<PodId, { capacity::STATUS_PODS }>,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// For the record.
    Normal,
    /// Someone should look.
    Warning,
}

/// Something happened on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The Pod that it is about; absent for the device itself.
    pub pod: Option<PodId>,
    /// How much it matters.
    pub severity: Severity,
    /// CamelCase reason.
    pub reason: Text<{ capacity::REASON }>,
    /// In words.
    pub message: Text<{ capacity::MESSAGE }>,
    /// When, by the device's clock, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The connection broke. Sent by the broker as the will; the frame's session says which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Of the agent that had the connection.
    pub agent: AgentId,
}

/// The hub's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

/// Asks devices to say hello and to report in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Devices spread their answers over this time, in milliseconds.
    pub spread_ms: u32,
}

/// Something to do once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Named by the hub; every part of the answer carries it. A repeated id is carried out once.
    pub id: u64,
    /// What to do.
    pub action: Action,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Send the log of a Pod.
    Logs {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers; empty for the only one.
        container: Text<{ capacity::NAMESPACE }>,
        /// Keep sending new lines until cancelled.
        follow: bool,
        /// Only so many lines from the end.
        tail: Option<u32>,
        /// The run before the current one.
        previous: bool,
        /// Put the time in front of each line.
        timestamps: bool,
    },
    /// End an earlier command.
    Cancel {
        /// The earlier command's id.
        command: u64,
    },
}

/// Part of the answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The command's id.
    pub command: u64,
    /// 0 for the first part, rising by one.
    pub part: u32,
    /// What this part says.
    pub outcome: Outcome,
}

/// What a part of an answer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Some bytes of the answer.
    Data(Bytes<{ capacity::CHUNK }>),
    /// The answer is complete.
    Done,
    /// The command can't be carried out.
    Failed {
        /// CamelCase reason.
        reason: Text<{ capacity::REASON }>,
        /// In words.
        message: Text<{ capacity::MESSAGE }>,
    },
}

macro_rules! carried_by {
    ($($message:ident => $kind:ident),* $(,)?) => {
        $(impl Message for $message { const KIND: Kind = Kind::$kind; })*
    };
}

carried_by! {
    Hello => Hello,
    Status => Status,
    Event => Event,
    Reply => Reply,
    Want => Want,
    Gone => Gone,
    Head => Head,
    Body => Body,
    Command => Command,
    Time => Time,
    Report => Report,
}
