//! Which of the devices that can take a Pod gets it: one ordered score.

use crate::{device::Device, resolve::Amount};

use super::filter::Load;

/// Lower is better: taints that ask to stay away, Pods of the same workload, then the share of the scarcer resource
/// that is used (in thousandths), then Pods, then the place in the order of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    avoid: bool,
    own: usize,
    used_permille: u64,
    pods: usize,
    /// The device's place in the order of names.
    pub index: usize,
}

/// The score of a device that holds this already.
pub(super) fn score(have: Amount, load: &Load, avoid: bool, index: usize) -> Score {
    let share = |used: u64, have: u64| used.saturating_mul(1000).checked_div(have).unwrap_or(1000);
    Score {
        avoid,
        own: load.own,
        used_permille: share(load.allocated.cpu_milli, have.cpu_milli)
            .max(share(load.allocated.memory_bytes, have.memory_bytes)),
        pods: load.pods,
        index,
    }
}

/// A device among those that can take a Pod.
pub(super) struct Candidate<'a> {
    pub device: &'a Device,
    pub load: Load,
    pub avoid: bool,
}

impl Candidate<'_> {
    pub(super) fn score(&self, index: usize) -> Score {
        score(self.device.allocatable(), &self.load, self.avoid, index)
    }
}
