//! The checks. Each has a name after the promise that it stands for; the first that fails ends a run.
//!
//! | check | promise | looks |
//! |---|---|---|
//! | `accepted-is-kept` | 1 | after each step: every accepted object is there, as accepted |
//! | `acknowledged-is-kept` | 1 | at each start of an agent: it holds what it had acknowledged |
//! | `boots-offline` | 2 | two minutes after power on: everything that was assigned has been started |
//! | `time-blocks-nothing` | 5 | the same, where the clock is wrong |
//! | `no-restart-without-reason` | 3 | at each stop, and each time the hub lets go of a Pod |
//! | `init-containers-come-first` | 3 | at each start: every init container before it has ended with code 0 in this sandbox |
//! | `no-pod-runs-twice` | 3 | at each start: no second process of a container, no second Pod of a DaemonSet |
//! | `one-pod-of-a-name` | 3 | at each start: no other Pod of its name runs on any board |
//! | `claimed-data-stays` | 1 | when a board removes the data of a claim: the claim is gone |
//! | `generations-rise` | 4 | at each head and each save |
//! | `restored-hub-pauses` | 4 | at each save after a restore |
//! | `wire-budget` | 6 | after each step, and in a quiet hour |
//! | `quiet-hour-saves-nothing` | 7 | in a quiet hour at the end |
//! | `runs-only-what-was-assigned` | 8 | at each start |
//! | `hub-alone-is-heard` | 8 | at each save, log, time and change of keys: a hub said so to this device, and for the first time |
//! | `secrets-stay-sealed` | 8 | in each frame, commit and line of the story; every disk after each step |
//! | `new-keys-are-handed-over` | 8 | when a hub lets its old key go: devices that were there keep the new one |
//! | `unknown-key-is-told` | 8 | at the end: a device that does not know the hub's key is shown to be one |
//! | `revoked-stays-out` | 8 | after each step: no session of a device that an operator has revoked |
//! | `expired-renews-and-returns` | 5 | at each renewal that is refused, and at the end: within the grace devices come back |
//! | `work-needs-no-certificate` | 5 | as `boots-offline`, and at each stop, on a board that is kept out |
//! | `one-board-has-the-name` | 3 | at each session: no board takes its name back from another that is connected |
//! | `two-boards-are-told` | 10 | once two boards of one name are noticed: one event says where both are |
//! | `job-counts-once` | 1 | at each commit: a Job has no more completions than declared, and than Pods that ended well |
//! | `bounds-hold` | 9 | at each turn and after each step |
//! | `every-stop-has-a-reason` | 10 | in each status, and after each step in the API |
//! | `deleted-is-gone` | 10 | at the end |
//! | `converges` | all | at the end: everything is as declared, within a stated time |

mod board;
mod claims;
mod door;
mod end;
mod hub;
mod look;
mod secrets;
mod trust;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use firmware_compat::{
    id::{Generation, Hash, PodId},
    v1::owned::AssignmentId,
};
use lichen_hub_core::{
    record::{PodRecord, RevisionRecord},
    resolve::Roots,
};
pub use wire::Wire;

use crate::{declared::Thing, jobs::Jobs};

/// So long after power on, everything that was assigned has been started once: a slow program takes a minute.
pub const BOOT_WITHIN_MS: u64 = 120_000;

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its name.
    pub check: &'static str,
    /// What it saw.
    pub what: String,
}

/// What the checks remember.
#[derive(Debug, Default)]
pub struct Audit {
    pub verdict: Option<Verdict>,
    pub wire: Wire,
    pub said: trust::Said,
    pub jobs: Jobs,
    names: door::Names,
    /// What each board has acknowledged, by label.
    acknowledged: BTreeMap<String, AssignmentId>,
    /// Boards whose saved state was damaged by a fault since they acknowledged.
    damaged: BTreeSet<String>,
    /// Since when the hub can't have heard a device.
    absent: BTreeMap<String, u64>,
    /// Last head of each device.
    heads: BTreeMap<String, Generation>,
    /// What was ever part of a device's assignments.
    assigned: BTreeSet<(String, PodId, Hash)>,
    /// Pods as the hub's store has them.
    pods: BTreeMap<PodId, PodRecord>,
    /// Revisions of workloads as the hub's store has them, by uid and hash.
    revisions: BTreeMap<(String, String), RevisionRecord>,
    /// Uids of workloads as the hub's store has them.
    uids: BTreeMap<Thing, String>,
    /// What the images of workloads meant when they were applied, as the hub's store has it.
    roots: BTreeMap<Thing, Roots>,
    /// Devices whose Nodes operators deleted.
    pub let_go: BTreeSet<String>,
    /// Pods that operators deleted.
    pub deleted_pods: BTreeSet<String>,
    /// After a restore: the generations that the backup knew, by device.
    restored: Option<BTreeMap<String, Generation>>,
    /// Bodies that the hub has written since.
    written: BTreeSet<Hash>,
    /// Devices that an operator let follow a restored hub.
    pub resumed: BTreeSet<String>,
    /// Why hubs refused to start.
    pub refused_starts: Vec<String>,
    /// What the last failed attempt at convergence lacked.
    pub lacking: String,
    pending_bound: Option<String>,
}

impl Audit {
    /// What a Pod runs, as the hub's store has it.
    pub fn revision(&self, pod: &PodRecord) -> Option<&RevisionRecord> {
        self.revisions.get(&(pod.owner_uid.clone(), pod.revision.clone()))
    }

    pub fn refused_start(&mut self, _hub: usize, why: String) {
        self.refused_starts.push(why);
    }

    /// Something that must not grow beyond a bound.
    pub fn bound(&mut self, what: &str, is: usize, most: usize) {
        if is > most {
            self.pending_bound.get_or_insert_with(|| format!("{what}: {is}, at most {most}"));
        }
    }

    /// The hub can't hear a device from now on.
    pub fn goes_absent(&mut self, name: &str, now: u64) {
        self.absent.entry(name.to_owned()).or_insert(now);
    }

    /// The hub has heard a device.
    pub fn is_heard(&mut self, name: &str) {
        self.absent.remove(name);
    }

    /// A board's saved state was damaged on purpose.
    pub fn excuse(&mut self, label: &str) {
        self.damaged.insert(label.to_owned());
    }

    /// The hub goes on from a backup.
    pub fn restored(&mut self, known: BTreeMap<String, Generation>) {
        self.heads.clear();
        self.written.clear();
        self.resumed.clear();
        self.restored = Some(known);
    }

    /// Pods as the hub's store has them.
    pub fn pods(&self) -> impl Iterator<Item = (&PodId, &PodRecord)> {
        self.pods.iter()
    }
}
