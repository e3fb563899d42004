//! The saved assignment on disk: which files there are, in which order they are changed, and what is made of them after
//! a start. The shell carries the steps out and reads the files; what they contain is in `format`.
//!
//! `assignment` is the newest, `assignment.previous` the one before. The order of steps is such that a power cut between
//! any two of them, after which a step that no sync covers may or may not have happened, leaves the newest
//! acknowledged assignment loadable:
//!
//! - Every part is a file of its own, named by its hash: written and synced under another name first, so that a file that
//!   has such a name is whole. The names of all parts are durable before an assignment is written that refers to them.
//!   What is there is not written again.
//! - What no assignment refers to, old or new, is left of a save that failed: it goes first, since the disk may be full.
//!   What only the assignment before the last refers to goes last.
//! - The new content is complete and synced under a third name before it gets the name that counts.
//! - The two renames share the name `assignment`, and file systems keep the order of changes to one name: the second
//!   never lasts without the first. Between them the newest is `assignment.previous` alone.
//! - A copy that this agent could not follow is overwritten, never kept in the place of one that it can.
//! - What was found in the directory may be a rename that no power cut has tested yet. It is acknowledged only after
//!   [`LOAD_STEPS`], and an assignment that is there already counts as saved only after a sync.

mod format;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{capacity::full as capacity, frame::decode_body, id::Hash};

pub use format::{Damage, MAX_FILE, encode};

use super::parts::{pick, references};
use crate::{assignment as assign, config::SavedAssignment};

/// The file of the newest assignment.
pub const CURRENT: &str = "assignment";
/// The file of the one before.
pub const PREVIOUS: &str = "assignment.previous";
/// The file that becomes [`CURRENT`]. Left behind by a power cut, it means nothing.
pub const TEMPORARY: &str = "assignment.new";
/// The file that becomes a part's. Left behind by a power cut, it means nothing.
pub const TEMPORARY_PART: &str = "part.new";
/// No part is longer; a file that is was not written by an agent, and need not be read further.
pub const MAX_PART: usize = if capacity::POD_BYTES > capacity::SEALED_PART_BYTES {
    capacity::POD_BYTES
} else {
    capacity::SEALED_PART_BYTES
};

/// The file of a part.
#[must_use]
pub fn part_name(hash: &Hash) -> String {
    format!("part-{hash}")
}

/// The part whose file has this name.
#[must_use]
pub fn part_of(name: &str) -> Option<Hash> {
    Hash::parse(name.strip_prefix("part-")?)
}

/// What the state directory holds of assignments, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Content of [`CURRENT`]; `None` if there is no such file. One that can't be read counts as empty.
    pub current: Option<Vec<u8>>,
    /// Content of [`PREVIOUS`].
    pub previous: Option<Vec<u8>>,
    /// Content of every file for which [`part_of`] gives a hash. One that can't be read counts as empty.
    pub parts: BTreeMap<Hash, Vec<u8>>,
}

/// One step of a durable change to files of the state directory. The shell carries them out in order and stops at the
/// first that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskStep {
    /// Creates or empties the file and writes it.
    Write {
        /// The file.
        name: String,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Makes the file's content durable. Its name may not be yet.
    Sync {
        /// The file.
        name: String,
    },
    /// Gives a file another name, in place of the file that has it.
    Rename {
        /// The name that it loses.
        from: String,
        /// The name that it gets.
        to: String,
    },
    /// Takes a file away, if it is there.
    Remove {
        /// The file.
        name: String,
    },
    /// Makes everything durable that happened to names.
    SyncDir,
}

/// To be carried out before the files are read for [`load`]: what is read there is acknowledged to the hub, and an agent
/// that was killed before its last step has left names that a power cut would take back.
pub const LOAD_STEPS: [DiskStep; 1] = [DiskStep::SyncDir];

/// Saves an assignment with its parts and keeps the one before.
#[must_use]
pub fn save_steps(files: &Files, saved: &SavedAssignment) -> Vec<DiskStep> {
    let mut parts = Vec::new();
    for (hash, part) in &saved.parts {
        let bytes = part.bytes();
        if files.parts.get(hash) != Some(&bytes) {
            parts.extend(replace(TEMPORARY_PART, bytes, &part_name(hash)));
        }
    }
    let bytes = encode(saved);
    let current = files.current.as_deref();
    let keeps_current =
        current.is_some_and(|current| current != bytes && is_usable(current, files));
    let before = if keeps_current { current } else { files.previous.as_deref() };
    let in_use = needed(files, saved, &[current, files.previous.as_deref()]);
    let kept = needed(files, saved, &[before]);
    let mut steps: Vec<DiskStep> = removals(files, |hash| !in_use.contains(hash)).collect();
    let writes_parts = !parts.is_empty();
    steps.extend(parts);
    if current == Some(&bytes) {
        // It got there in an attempt whose last step failed, or a part of it had gone.
        steps.push(DiskStep::SyncDir);
    } else {
        steps.extend(writes_parts.then_some(DiskStep::SyncDir));
        let [write, sync, rename] = replace(TEMPORARY, bytes, CURRENT);
        steps.extend([write, sync]);
        steps.extend(keeps_current.then(|| rename_step(CURRENT, PREVIOUS)));
        steps.extend([rename, DiskStep::SyncDir]);
    }
    steps.extend(removals(files, |hash| in_use.contains(hash) && !kept.contains(hash)));
    steps
}

fn replace(temporary: &str, bytes: Vec<u8>, name: &str) -> [DiskStep; 3] {
    let write = DiskStep::Write { name: temporary.to_string(), bytes };
    let sync = DiskStep::Sync { name: temporary.to_string() };
    [write, sync, rename_step(temporary, name)]
}

fn rename_step(from: &str, to: &str) -> DiskStep {
    DiskStep::Rename { from: from.to_string(), to: to.to_string() }
}

/// Takes parts away. A power cut may bring one back: the next save looks again.
fn removals(files: &Files, goes: impl Fn(&Hash) -> bool) -> impl Iterator<Item = DiskStep> {
    let names = files.parts.keys().filter(move |hash| goes(hash)).map(part_name);
    names.map(|name| DiskStep::Remove { name })
}

/// Every part of an assignment that is to be saved, and of these.
fn needed(files: &Files, saved: &SavedAssignment, others: &[Option<&[u8]>]) -> BTreeSet<Hash> {
    let others = others.iter().flatten().flat_map(|other| referred(other, files));
    saved.parts.keys().copied().chain(others).collect()
}

/// Every part that a saved assignment refers to, there or not.
fn referred(file: &[u8], files: &Files) -> BTreeSet<Hash> {
    let Ok(saved) = format::decode(file) else { return BTreeSet::new() };
    let Ok(assignment) = decode_body(&saved.body) else { return BTreeSet::new() };
    let parts = pick(&assignment, &files.parts);
    references(&assignment, &parts).map(|(hash, _)| hash).collect()
}

fn is_usable(file: &[u8], files: &Files) -> bool {
    decode(file, files).is_ok_and(|saved| assign::read(&saved).is_ok())
}

/// A saved assignment with those of its parts that are sound.
fn decode(file: &[u8], files: &Files) -> Result<SavedAssignment, Damage> {
    let mut saved = format::decode(file)?;
    if let Ok(assignment) = decode_body(&saved.body) {
        saved.parts = pick(&assignment, &files.parts);
    }
    Ok(saved)
}

/// What was found at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The sound copies, newest first.
    pub saved: Vec<SavedAssignment>,
    /// What was wrong with the others, in words. The agent tells the hub.
    pub damage: Vec<String>,
    /// The newest copy is not among the sound ones, so what they don't name may be wanted all the same.
    pub newest_lost: bool,
    /// Sound parts of neither: a save that was cut short has left them, and need not fetch them again.
    pub spare: BTreeMap<Hash, Vec<u8>>,
}

/// Makes what it can of what the state directory holds.
#[must_use]
pub fn load(mut files: Files) -> Loaded {
    let mut loaded = Loaded::default();
    for (name, file) in [(CURRENT, &files.current), (PREVIOUS, &files.previous)] {
        match file.as_deref().map(|file| decode(file, &files)) {
            Some(Ok(saved)) => loaded.saved.push(saved),
            Some(Err(damage)) => loaded.damage.push(format!("{name}: {damage}")),
            None => {}
        }
    }
    loaded.newest_lost = match &files.current {
        Some(current) => decode(current, &files).is_err(),
        None => files.previous.is_some(),
    };
    if files.current.is_none() && files.previous.is_some() {
        // Which of the two it was can't be told: someone should know that the other may have happened.
        let message =
            format!("{CURRENT}: there is none; a save was cut short, or the file was lost");
        loaded.damage.insert(0, message);
    }
    files.parts.retain(|hash, bytes| {
        loaded.saved.iter().all(|saved| !saved.parts.contains_key(hash))
            && assign::hash(bytes) == *hash
    });
    loaded.spare = files.parts;
    loaded
}

#[cfg(test)]
mod tests;
