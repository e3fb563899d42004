//! The group `apps/v1`: workloads.

pub mod daemon_set;
pub mod deployment;

pub use daemon_set::DaemonSet;
pub use deployment::Deployment;

/// The label that carries the hash of the template on a Pod.
pub const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";
