//! The saved assignment on disk: which files there are, in which order they are changed, and what is made of them after
//! a start. The shell carries the steps out and reads the files; what they contain is in `format`.
//!
//! `assignment` is the newest, `assignment.previous` the one before. The order of steps is such that a power cut between
//! any two of them, after which a step that no sync covers may or may not have happened, leaves the newest
//! acknowledged assignment loadable:
//!
//! - The new content is complete and synced under a third name before it gets the name that counts.
//! - The two renames share the name `assignment`, and file systems keep the order of changes to one name: the second
//!   never lasts without the first. Between them the newest is `assignment.previous` alone.
//! - A copy that this agent could not follow is overwritten, never kept in the place of one that it can.
//! - What was found in the directory may be a rename that no power cut has tested yet. It is acknowledged only after
//!   [`LOAD_STEPS`], and an assignment that is there already counts as saved only after a sync.

mod format;

use alloc::{format, string::String, vec, vec::Vec};

pub use format::{Damage, MAX_FILE, decode, encode};

use crate::{assignment as assign, config::SavedAssignment};

/// The file of the newest assignment.
pub const CURRENT: &str = "assignment";
/// The file of the one before.
pub const PREVIOUS: &str = "assignment.previous";
/// The file that becomes [`CURRENT`]. Left behind by a power cut, it means nothing.
pub const TEMPORARY: &str = "assignment.new";

/// One step of a durable change to files of the state directory. The shell carries them out in order and stops at the
/// first that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskStep {
    /// Creates or empties the file and writes it.
    Write {
        /// The file.
        name: &'static str,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Makes the file's content durable. Its name may not be yet.
    Sync {
        /// The file.
        name: &'static str,
    },
    /// Gives a file another name, in place of the file that has it.
    Rename {
        /// The name that it loses.
        from: &'static str,
        /// The name that it gets.
        to: &'static str,
    },
    /// Makes everything durable that happened to names.
    SyncDir,
}

/// To be carried out before the files are read for [`load`]: what is read there is acknowledged to the hub, and an agent
/// that was killed before its last step has left names that a power cut would take back.
pub const LOAD_STEPS: [DiskStep; 1] = [DiskStep::SyncDir];

/// Saves an assignment and keeps the one before. `current` is the content of [`CURRENT`], if there is such a file.
#[must_use]
pub fn save_steps(current: Option<&[u8]>, saved: &SavedAssignment) -> Vec<DiskStep> {
    let bytes = encode(saved);
    if current == Some(&bytes) {
        // It got there in an attempt whose last step failed.
        return vec![DiskStep::SyncDir];
    }
    let mut steps =
        vec![DiskStep::Write { name: TEMPORARY, bytes }, DiskStep::Sync { name: TEMPORARY }];
    if current.is_some_and(is_usable) {
        steps.push(DiskStep::Rename { from: CURRENT, to: PREVIOUS });
    }
    steps.push(DiskStep::Rename { from: TEMPORARY, to: CURRENT });
    steps.push(DiskStep::SyncDir);
    steps
}

fn is_usable(file: &[u8]) -> bool {
    decode(file).is_ok_and(|saved| assign::read(&saved.body, saved.id.hash).is_ok())
}

/// What was found at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The sound copies, newest first.
    pub saved: Vec<SavedAssignment>,
    /// What was wrong with the others, in words. The agent tells the hub.
    pub damage: Vec<String>,
}

/// Makes what it can of the content of [`CURRENT`] and [`PREVIOUS`]; `None` for a file that is not there. A file that is
/// there and can't be read counts as empty.
#[must_use]
pub fn load(current: Option<&[u8]>, previous: Option<&[u8]>) -> Loaded {
    let mut loaded = Loaded::default();
    for (name, file) in [(CURRENT, current), (PREVIOUS, previous)] {
        match file.map(decode) {
            Some(Ok(sound)) => loaded.saved.push(sound),
            Some(Err(damage)) => loaded.damage.push(format!("{name}: {damage}")),
            None => {}
        }
    }
    if current.is_none() && previous.is_some() {
        // Which of the two it was can't be told: someone should know that the other may have happened.
        let message =
            format!("{CURRENT}: there is none; a save was cut short, or the file was lost");
        loaded.damage.insert(0, message);
    }
    loaded
}

#[cfg(test)]
mod tests {
    use firmware_compat::v1::owned::Assignment;

    use super::{format::tests::saved, *};

    /// One that the agent could follow: it assigns nothing.
    fn followable(generation: u64) -> SavedAssignment {
        let body = postcard::to_allocvec(&Assignment::default()).expect("it encodes");
        let mut followable = saved(generation, &body);
        followable.id.hash = assign::hash(&body);
        followable
    }

    fn renames(steps: &[DiskStep]) -> Vec<(&str, &str)> {
        let pair = |step: &DiskStep| match step {
            DiskStep::Rename { from, to } => Some((*from, *to)),
            _ => None,
        };
        steps.iter().filter_map(pair).collect()
    }

    #[test]
    fn the_new_content_is_synced_before_it_gets_its_name_and_the_names_last() {
        let steps = save_steps(Some(&encode(&followable(1))), &followable(2));
        let bytes = encode(&followable(2));
        let expected = [
            DiskStep::Write { name: TEMPORARY, bytes },
            DiskStep::Sync { name: TEMPORARY },
            DiskStep::Rename { from: CURRENT, to: PREVIOUS },
            DiskStep::Rename { from: TEMPORARY, to: CURRENT },
            DiskStep::SyncDir,
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn a_copy_that_can_not_be_followed_does_not_push_out_the_one_before() {
        let unsound_body = saved(1, b"not the bytes that its hash is of");
        let mut flipped = encode(&followable(1));
        flipped[60] ^= 1;
        for current in [None, Some(&b"rubbish"[..]), Some(&encode(&unsound_body)), Some(&flipped)] {
            let steps = save_steps(current, &followable(2));
            assert_eq!(renames(&steps), [(TEMPORARY, CURRENT)]);
        }
    }

    #[test]
    fn an_assignment_that_is_there_already_is_not_written_again_but_made_to_last() {
        let there = encode(&followable(1));
        assert_eq!(save_steps(Some(&there), &followable(1)), [DiskStep::SyncDir]);
    }

    #[test]
    fn both_copies_are_loaded_newest_first() {
        let (new, old) = (encode(&saved(2, b"two")), encode(&saved(1, b"one")));
        let expected =
            Loaded { saved: vec![saved(2, b"two"), saved(1, b"one")], damage: Vec::new() };
        assert_eq!(load(Some(&new), Some(&old)), expected);
        assert_eq!(load(None, None), Loaded::default());
    }

    #[test]
    fn falling_back_to_the_one_before_is_never_silent() {
        let old = encode(&saved(1, b"one"));
        let mut flipped = encode(&saved(2, b"two"));
        flipped[70] ^= 1;
        for current in [None, Some(&b""[..]), Some(&b"rubbish"[..]), Some(&flipped[..])] {
            let loaded = load(current, Some(&old));
            assert_eq!(loaded.saved, [saved(1, b"one")]);
            assert_eq!(loaded.damage.len(), 1);
            assert!(loaded.damage[0].starts_with("assignment: "), "{:?}", loaded.damage);
        }
        let both = load(Some(b"rubbish"), Some(b"rubbish"));
        assert_eq!((both.saved.len(), both.damage.len()), (0, 2));
    }
}
