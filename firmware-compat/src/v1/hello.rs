//! Who a device is, and what the hub says to find out. Compiled once per form, see [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{AssignmentId, List, NodeCondition, Storage, Text, capacity};
use crate::id::{AgentId, BootId, KeyId, Lineage};

/// A key and its value, as Kubernetes defines labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    /// Optional prefix, a slash, a name.
    pub key: Text<{ capacity::LABEL_KEY }>,
    /// May be empty.
    pub value: Text<{ capacity::LABEL_VALUE }>,
}

/// What runs a Pod. Kubernetes' `runtimeClassName` maps to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RuntimeClass {
    /// An OCI runtime: crun, runc or youki.
    Container,
    /// WebAssembly.
    Wasm,
    /// A microcontroller's own firmware slot.
    Firmware,
}

/// One runtime that a device found, tried, and can or cannot use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// What it runs.
    pub runtime_class: RuntimeClass,
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
    /// Hash over the runtime's version and settings; code compiled under another is refused.
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
    /// Where it keeps the data of claims. Records of hubs without claims have none.
    #[serde(default)]
    pub storage: Storage,
    /// Every runtime that was looked for.
    pub runtimes: List<Runtime, { capacity::RUNTIMES }>,
    /// Absent if the device runs no Wasm.
    pub wasm: Option<WasmSupport>,
    /// Given on the agent's command line.
    pub labels: List<Label, { capacity::LABELS }>,
    /// The assignment that the device has saved. Absent on a fresh device.
    pub assignment: Option<AssignmentId>,
    /// The device's clock: milliseconds since 1970, whatever it is worth.
    pub clock_ms: u64,
    /// Largest assignment that the device takes, with its parts, in bytes.
    pub max_assignment_bytes: u32,
    /// The hub's keys that the device keeps and knows the hub by, newest first. Without any it believes nobody. Records of
    /// hubs that signed nothing have none.
    #[serde(default)]
    pub keys: List<KeyId, { capacity::SIGNING_KEYS }>,
    /// How the device itself fares.
    #[serde(default)]
    pub conditions: List<NodeCondition, { capacity::CONDITIONS }>,
}

/// The connection broke. Sent by the broker as the will; the frame's session says which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Of the agent that had the connection.
    pub agent: AgentId,
    /// The boot in which it had it: tells two boards with one agent id apart, as after a copy of an SD card.
    pub boot: BootId,
}

/// The time that the hub knows. Signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Of the hub's store.
    pub lineage: Lineage,
    /// Milliseconds since 1970. Rises with everything that a hub says with a time: a device that has heard one heeds
    /// nothing that is not newer.
    pub unix_ms: u64,
}

/// Asks devices whose connections the hub does not know to say hello and to report in full. Signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Of the hub's store.
    pub lineage: Lineage,
    /// As in [`Time`].
    pub unix_ms: u64,
    /// Devices spread their answers over this time, in milliseconds.
    pub spread_ms: u32,
}
