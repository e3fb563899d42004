//! What a container is told that only its device knows. Compiled once per form, see [`crate::v1`].

use serde::{Deserialize, Serialize};

/// Something that only the device knows, as text for a variable or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// The device's address. Kubernetes' `status.hostIP`.
    HostIp,
    /// All of them, with commas between.
    HostIps,
    /// The Pod's address. Kubernetes' `status.podIP`.
    PodIp,
    /// All of them, with commas between.
    PodIps,
    /// What the device has of a resource, in units of `divisor`, rounded up: what a container without a limit may use.
    Allocatable {
        /// Of which resource.
        resource: FactResource,
        /// Thousandths of a CPU, or bytes. 0 counts as one unit of the resource.
        divisor: u64,
    },
}

/// A resource of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FactResource {
    /// In thousandths of a CPU.
    Cpu,
    /// In bytes.
    Memory,
    /// Disk, in bytes.
    EphemeralStorage,
}
