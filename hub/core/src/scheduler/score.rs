//! Which of the devices that can take a Pod gets it: one ordered score.

use crate::device::Device;

use super::filter::Load;

/// Lower is better: taints that ask to stay away, what preferences are against, how full its places are of those that are
/// spread, Pods of the same workload, then the share of the scarcer resource
/// that is used (in thousandths), then Pods, then the place in the order of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    avoid: bool,
    dislike: i64,
    crowd: usize,
    own: usize,
    used_permille: u64,
    pods: usize,
    /// The device's place in the order of names.
    pub index: usize,
}

/// A device among those that can take a Pod.
pub(super) struct Candidate<'a> {
    pub device: &'a Device,
    pub load: Load,
    pub avoid: bool,
    /// How little preferences like it.
    pub dislike: i64,
}

impl Candidate<'_> {
    /// Its score, by its place in the order of names and what rules about other Pods add.
    pub(super) fn score(&self, index: usize, (dislike, crowd): (i64, usize)) -> Score {
        let (have, load) = (self.device.allocatable(), &self.load);
        let share =
            |used: u64, have: u64| used.saturating_mul(1000).checked_div(have).unwrap_or(1000);
        Score {
            avoid: self.avoid,
            dislike: self.dislike.saturating_add(dislike),
            crowd,
            own: load.own,
            used_permille: share(load.allocated.cpu_milli, have.cpu_milli)
                .max(share(load.allocated.memory_bytes, have.memory_bytes)),
            pods: load.pods,
            index,
        }
    }
}
