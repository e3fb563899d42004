//! What the device is short of: Kubernetes' conditions of a Node, and whom it costs. The shell measures now and then and says
//! what it found; thresholds and hysteresis are here.
//!
//! The thresholds are the kubelet's, adapted to boards on which its 100 MiB of memory would be a fifth, and to disks of
//! which its tenth would be more than anything on them needs.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use firmware_compat::{
    id::PodId,
    time::Instant,
    v1::owned::{ConditionKind, List, NodeCondition, Text},
};

use crate::{
    event::{Measured, PodUse, Room},
    out::Out,
};

/// A condition ends only when nothing was short for so long: the kubelet's `eviction-pressure-transition-period`.
const HYSTERESIS: Duration = Duration::from_mins(5);
/// The kubelet's `memory.available<100Mi`.
const MEMORY_BYTES: u64 = 100 << 20;
/// And no more than this part of what there is.
const MEMORY_PART: u64 = 20;
/// The kubelet's `nodefs.available<10%`.
const DISK_PART: u64 = 10;
/// And no more than this.
const DISK_BYTES: u64 = 1 << 30;
/// The kubelet's `nodefs.inodesFree<5%`.
const INODES_PART: u64 = 20;
/// The kubelet has none for process ids. Below this part of them, nothing can be relied on to start.
const PIDS_PART: u64 = 20;
/// A Pod is evicted for a shortage only if it holds at least this part of what is short: evicting others would help nobody.
const WORTH_PART: u64 = 4;

/// Every condition of the device.
#[derive(Debug, Default)]
pub struct Pressure {
    conditions: BTreeMap<ConditionKind, NodeCondition>,
    /// When each was last short, of those that are so.
    short_at: BTreeMap<ConditionKind, Instant>,
    /// What was short when it was measured last.
    shortages: Vec<Shortage>,
}

/// Something is below its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub kind: ConditionKind,
    /// As the kubelet calls it.
    resource: &'static str,
    unit: Unit,
    free: u64,
    total: u64,
    threshold: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    Pieces,
}

impl Pressure {
    /// What the device says of itself.
    pub fn conditions(
        &self,
    ) -> List<NodeCondition, { firmware_compat::capacity::full::CONDITIONS }> {
        let all: Vec<NodeCondition> = self.conditions.values().cloned().collect();
        all.try_into().unwrap_or_default()
    }

    /// The shell knows this one by itself. Returns whether it is news.
    pub fn set(&mut self, condition: NodeCondition, now: Instant, out: &mut Out) -> bool {
        let before = self.conditions.insert(condition.kind, condition.clone());
        let is_news = before.as_ref() != Some(&condition);
        let was_true = before.is_some_and(|before| before.is_true);
        if condition.is_true && is_news {
            out.warn(now, None, &condition.reason, &condition.message);
        } else if was_true && is_news {
            out.normal(now, None, &condition.reason, &condition.message);
        }
        is_news
    }

    /// Takes in what was measured. Returns whether a condition changed.
    pub fn measured(&mut self, measured: &Measured, now: Instant, out: &mut Out) -> bool {
        self.shortages = shortages(measured);
        let kinds = [
            ConditionKind::MemoryPressure,
            ConditionKind::DiskPressure,
            ConditionKind::PidPressure,
        ];
        let mut is_changed = false;
        for kind in kinds {
            let shortage = self.shortages.iter().find(|shortage| shortage.kind == kind).copied();
            is_changed |= self.judge(kind, shortage, now, out);
        }
        is_changed
    }

    fn judge(
        &mut self,
        kind: ConditionKind,
        shortage: Option<Shortage>,
        now: Instant,
        out: &mut Out,
    ) -> bool {
        let was = self.conditions.get(&kind).map(|condition| condition.is_true);
        let rested = |at: &Instant| now.since(*at) >= HYSTERESIS;
        let is_true = match shortage {
            Some(_) => {
                self.short_at.insert(kind, now);
                true
            }
            None => was == Some(true) && !self.short_at.get(&kind).is_none_or(rested),
        };
        if was == Some(is_true) {
            return false;
        }
        let words = words(kind, is_true);
        let message = match shortage {
            Some(shortage) => shortage.to_string(),
            None => words.message.to_string(),
        };
        let (reason, message) = (Text::cut(words.reason), Text::cut(&message));
        self.conditions
            .insert(kind, NodeCondition { kind, is_true, reason, message: message.clone() });
        match (is_true, was) {
            (true, _) => out.warn(now, None, words.event, &message),
            (false, Some(_)) => out.normal(now, None, words.event, &message),
            (false, None) => {}
        }
        true
    }

    /// Whether the disk was short when it was measured last.
    pub fn is_disk_short(&self) -> bool {
        self.shortages.iter().any(|shortage| shortage.kind == ConditionKind::DiskPressure)
    }

    /// Whom the worst shortage costs, and why: as the kubelet chooses, first who uses more than it asked for, and of these
    /// who is furthest above. Nobody, if no Pod has enough of it.
    pub fn victim(&self, uses: &[PodUse]) -> Option<(PodId, String)> {
        self.shortages.iter().find_map(|shortage| {
            let used = |pod: &PodUse| match shortage.kind {
                ConditionKind::MemoryPressure => (pod.memory_bytes, pod.memory_request_bytes),
                ConditionKind::DiskPressure if shortage.unit == Unit::Bytes => (pod.disk_bytes, 0),
                _ => (0, 0),
            };
            let worth = (shortage.threshold.saturating_sub(shortage.free) / WORTH_PART).max(1);
            let above = |pod: &&PodUse| {
                let (used, asked) = used(pod);
                (used > asked, used.saturating_sub(asked), pod.pod)
            };
            let pod = uses.iter().filter(|pod| used(pod).0 >= worth).max_by_key(above)?;
            let (used, asked) = used(pod);
            let message = format!(
                "The node was low on resource: {}. Threshold quantity: {}, available: {}. The pod was using {}, request is {}.",
                shortage.resource,
                quantity(shortage.threshold),
                quantity(shortage.free),
                quantity(used),
                quantity(asked)
            );
            Some((pod.pod, message))
        })
    }
}

impl core::fmt::Display for Shortage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let amount = |amount: u64| match self.unit {
            Unit::Bytes => quantity(amount),
            Unit::Pieces => amount.to_string(),
        };
        let [free, total, threshold] = [self.free, self.total, self.threshold].map(amount);
        write!(f, "{}: {free} of {total} are available, less than {threshold}", self.resource)
    }
}

fn shortages(measured: &Measured) -> Vec<Shortage> {
    use ConditionKind::{DiskPressure, MemoryPressure, PidPressure};
    let of = |kind, resource, unit, room: Room, threshold| Shortage {
        kind,
        resource,
        unit,
        free: room.free,
        total: room.total,
        threshold,
    };
    let Measured { memory, disk, inodes, pids, .. } = measured;
    let all = [
        of(
            MemoryPressure,
            "memory",
            Unit::Bytes,
            *memory,
            MEMORY_BYTES.min(memory.total / MEMORY_PART),
        ),
        of(
            DiskPressure,
            "ephemeral-storage",
            Unit::Bytes,
            *disk,
            DISK_BYTES.min(disk.total / DISK_PART),
        ),
        of(DiskPressure, "inodes", Unit::Pieces, *inodes, inodes.total / INODES_PART),
        of(PidPressure, "pids", Unit::Pieces, *pids, pids.total / PIDS_PART),
    ];
    all.into_iter().filter(|shortage| shortage.free < shortage.threshold).collect()
}

struct Words {
    reason: &'static str,
    message: &'static str,
    event: &'static str,
}

/// The kubelet's.
fn words(kind: ConditionKind, is_true: bool) -> Words {
    let (reason, message, event) = match (kind, is_true) {
        (ConditionKind::MemoryPressure, true) => {
            ("KubeletHasInsufficientMemory", "memory is short", "NodeHasInsufficientMemory")
        }
        (ConditionKind::MemoryPressure, false) => {
            ("KubeletHasSufficientMemory", "there is enough memory", "NodeHasSufficientMemory")
        }
        (ConditionKind::DiskPressure, true) => {
            ("KubeletHasDiskPressure", "the disk is short", "NodeHasDiskPressure")
        }
        (ConditionKind::DiskPressure, false) => (
            "KubeletHasNoDiskPressure",
            "there is enough room on the disk",
            "NodeHasNoDiskPressure",
        ),
        (ConditionKind::PidPressure, true) => {
            ("KubeletHasInsufficientPID", "process ids are short", "NodeHasInsufficientPID")
        }
        (ConditionKind::PidPressure, false) => {
            ("KubeletHasSufficientPID", "there are enough process ids", "NodeHasSufficientPID")
        }
        (ConditionKind::ReadonlyFilesystem | ConditionKind::LimitsNotEnforced, _) => {
            ("Unknown", "", "Unknown")
        }
    };
    Words { reason, message, event }
}

/// Bytes as Kubernetes writes them: in the largest unit of which there is at least one, rounded down.
pub fn quantity(bytes: u64) -> String {
    let units = [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const NOW: Instant = Instant(1_000_000);

    fn plenty() -> Measured {
        let room = Room { free: 1 << 40, total: 2 << 40 };
        let pids = Room { free: 4000, total: 4096 };
        Measured {
            memory: room,
            disk: room,
            inodes: room,
            pids,
            volumes: Vec::new(),
            pods: Vec::new(),
        }
    }

    fn short_of_disk() -> Measured {
        Measured { disk: Room { free: 700 << 20, total: 8 << 30 }, ..plenty() }
    }

    fn is_true(pressure: &Pressure, kind: ConditionKind) -> Option<bool> {
        pressure.conditions().iter().find(|said| said.kind == kind).map(|said| said.is_true)
    }

    #[test]
    fn pressure_begins_at_once_and_ends_after_five_quiet_minutes() {
        let (mut pressure, mut out) = (Pressure::default(), Out::new(1));
        assert!(pressure.measured(&plenty(), NOW, &mut out));
        assert_eq!(is_true(&pressure, ConditionKind::DiskPressure), Some(false));
        assert!(out.effects.is_empty(), "what is well is no event");
        assert!(pressure.measured(&short_of_disk(), NOW, &mut out));
        assert_eq!(is_true(&pressure, ConditionKind::DiskPressure), Some(true));
        assert!(!pressure.measured(&short_of_disk(), NOW + Duration::from_mins(4), &mut out));
        assert!(!pressure.measured(&plenty(), NOW + Duration::from_mins(8), &mut out));
        assert!(pressure.measured(&plenty(), NOW + Duration::from_mins(9), &mut out));
        assert_eq!(is_true(&pressure, ConditionKind::DiskPressure), Some(false));
        assert_eq!(out.effects.len(), 2, "an event each way");
    }

    #[test]
    fn thresholds_are_the_kubelets_and_fit_a_small_board() {
        let (mut pressure, mut out) = (Pressure::default(), Out::new(1));
        let mut check = |change: fn(&mut Measured), kind, expected| {
            let mut measured = plenty();
            change(&mut measured);
            pressure = Pressure::default();
            pressure.measured(&measured, NOW, &mut out);
            assert_eq!(is_true(&pressure, kind), Some(expected), "{measured:?}");
        };
        use ConditionKind::{DiskPressure, MemoryPressure, PidPressure};
        check(|m| m.memory = Room { free: 99 << 20, total: 8 << 30 }, MemoryPressure, true);
        check(|m| m.memory = Room { free: 101 << 20, total: 8 << 30 }, MemoryPressure, false);
        check(|m| m.memory = Room { free: 30 << 20, total: 512 << 20 }, MemoryPressure, false);
        check(|m| m.memory = Room { free: 20 << 20, total: 512 << 20 }, MemoryPressure, true);
        check(|m| m.disk = Room { free: 2 << 30, total: 256 << 30 }, DiskPressure, false);
        check(|m| m.inodes = Room { free: 49, total: 1000 }, DiskPressure, true);
        // A file system without a number of inodes says 0.
        check(|m| m.inodes = Room { free: 0, total: 0 }, DiskPressure, false);
        check(|m| m.pids = Room { free: 100, total: 32768 }, PidPressure, true);
    }

    #[test]
    fn who_uses_more_than_it_asked_for_is_evicted_first() {
        let (mut pressure, mut out) = (Pressure::default(), Out::new(1));
        let memory = Room { free: 10 << 20, total: 512 << 20 };
        pressure.measured(&Measured { memory, ..plenty() }, NOW, &mut out);
        let of = |id: u8, used: u64, asked: u64| PodUse {
            pod: PodId([id; 16]),
            memory_bytes: used << 20,
            memory_request_bytes: asked << 20,
            disk_bytes: 0,
        };
        let victim = |uses: &[PodUse]| pressure.victim(uses).map(|(pod, _)| pod.0[0]);
        assert_eq!(victim(&[of(1, 300, 400), of(2, 40, 20), of(3, 30, 20)]), Some(2));
        assert_eq!(victim(&[of(1, 300, 400), of(2, 40, 40)]), Some(2), "both within; the nearer");
        // Fifteen are short: who holds two of them is left alone.
        assert_eq!(victim(&[of(1, 2, 0)]), None);
        let (_, message) = pressure.victim(&[of(1, 64, 32)]).expect("one");
        let expected = "The node was low on resource: memory. Threshold quantity: 25Mi, available: 10Mi. The pod was using \
                        64Mi, request is 32Mi.";
        assert_eq!(message, expected);
        assert_eq!(
            vec![quantity(1023), quantity(1 << 20), quantity(3 << 30)],
            ["1023", "1Mi", "3Gi"]
        );
    }
}
