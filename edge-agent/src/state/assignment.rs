//! The saved assignment: `assignment` and, as it was before the last change, `assignment.previous`.
//!
//! `magic | version: u32 | length: u64 | sha256 of the payload | payload`, integers little-endian. The payload is a
//! length-prefixed id and signature in postcard and then the body, byte for byte as the hub hashed it. A copy that
//! does not match its checksum is reported and left out.

use std::{fs, path::Path};

use firmware_compat::{capacity::full::BODY_BYTES, frame::decode_body};
use lichen_agent_core::SavedAssignment;
use sha2::{Digest, Sha256};

use super::{StateDir, StateError, read_bounded, write::sync_dir_of};

const CURRENT: &str = "assignment";
const PREVIOUS: &str = "assignment.previous";

const MAGIC: [u8; 8] = *b"lichenas";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 8 + 4 + 8 + 32;
/// An id and a signature are under 200 bytes; anything that claims more is damaged.
const MAX_HEAD: usize = 1024;
const MAX_FILE: usize = HEADER_BYTES + 4 + MAX_HEAD + BODY_BYTES;

/// What was found at the start.
#[derive(Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The sound copies, newest first.
    pub saved: Vec<SavedAssignment>,
    /// What was wrong with the others, in words.
    pub damage: Vec<String>,
}

/// Why a file is not a saved assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Cut short or not ours.
    #[error("it is cut short or not an assignment")]
    Shape,
    /// Written by another version of the agent.
    #[error("it has format {0}, this agent reads format {VERSION}")]
    Version(u32),
    /// Its bytes have changed since they were written.
    #[error("its checksum does not match")]
    Checksum,
}

impl StateDir {
    /// Reads the saved assignment and the one before.
    ///
    /// # Errors
    /// Those of the system.
    pub fn load_assignments(&self) -> Result<Loaded, StateError> {
        let (mut saved, mut damage) = (Vec::new(), Vec::new());
        for name in [CURRENT, PREVIOUS] {
            let path = self.path().join(name);
            match read(&path)? {
                Some(Ok(sound)) => saved.push(sound),
                Some(Err(error)) => damage.push(format!("{}: {error}", path.display())),
                None => {}
            }
        }
        Ok(Loaded { saved, damage })
    }

    /// Saves an assignment durably and keeps the one before. Writes nothing if it is saved already.
    ///
    /// # Errors
    /// Those of the system; the saved assignment is then the one before.
    pub fn save_assignment(&self, saved: &SavedAssignment) -> Result<(), StateError> {
        let (current, previous) = (self.path().join(CURRENT), self.path().join(PREVIOUS));
        let before = read(&current)?;
        if before.as_ref() == Some(&Ok(saved.clone())) {
            return Ok(());
        }
        let temporary = self.written().prepare(&current, &encode(saved))?;
        // A damaged copy must not push out a sound one.
        if let Some(Ok(_)) = before {
            fs::rename(&current, &previous)
                .map_err(|source| StateError::io("keep", &current, source))?;
        }
        fs::rename(&temporary, &current)
            .map_err(|source| StateError::io("replace", &current, source))?;
        sync_dir_of(&current)
    }
}

fn read(path: &Path) -> Result<Option<Result<SavedAssignment, Damage>>, StateError> {
    let bytes = read_bounded(path, MAX_FILE as u64 + 1)?;
    Ok(bytes.map(|bytes| decode(&bytes)))
}

fn encode(saved: &SavedAssignment) -> Vec<u8> {
    let head = postcard::to_allocvec(&(saved.id, &saved.signature));
    let head = head.expect("bounded fields encode");
    let head_length = u32::try_from(head.len()).expect("a head is small");
    let mut payload = Vec::with_capacity(4 + head.len() + saved.body.len());
    payload.extend(head_length.to_le_bytes());
    payload.extend(head);
    payload.extend(&saved.body);
    let mut file = Vec::with_capacity(HEADER_BYTES + payload.len());
    file.extend(MAGIC);
    file.extend(VERSION.to_le_bytes());
    file.extend((payload.len() as u64).to_le_bytes());
    file.extend(Sha256::digest(&payload));
    file.extend(payload);
    file
}

fn decode(bytes: &[u8]) -> Result<SavedAssignment, Damage> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(Damage::Shape)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(Damage::Shape)?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(Damage::Shape)?;
    let (checksum, payload) = rest.split_first_chunk::<32>().ok_or(Damage::Shape)?;
    if *magic != MAGIC {
        return Err(Damage::Shape);
    }
    match u32::from_le_bytes(*version) {
        VERSION => {}
        other => return Err(Damage::Version(other)),
    }
    if u64::from_le_bytes(*length) != payload.len() as u64 || bytes.len() > MAX_FILE {
        return Err(Damage::Shape);
    }
    if Sha256::digest(payload).as_slice() != checksum {
        return Err(Damage::Checksum);
    }
    let (head_length, rest) = payload.split_first_chunk::<4>().ok_or(Damage::Shape)?;
    let head_length = usize::try_from(u32::from_le_bytes(*head_length)).unwrap_or(usize::MAX);
    let (head, body) = rest.split_at_checked(head_length).ok_or(Damage::Shape)?;
    let (id, signature) = decode_body(head).map_err(|_| Damage::Shape)?;
    Ok(SavedAssignment { id, signature, body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use firmware_compat::{
        id::{Generation, Hash, Lineage},
        v1::owned::AssignmentId,
    };
    use proptest::prelude::*;

    use super::*;

    fn saved(generation: u64, body: &[u8]) -> SavedAssignment {
        let id = AssignmentId {
            lineage: Lineage([1; 16]),
            generation: Generation(generation),
            hash: Hash([2; 32]),
        };
        SavedAssignment { id, signature: Default::default(), body: body.to_vec() }
    }

    fn open() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(dir.path()).expect("a state directory");
        (dir, state)
    }

    #[test]
    fn the_newest_assignment_and_the_one_before_are_there_after_a_restart() {
        let (_dir, state) = open();
        assert_eq!(state.load_assignments().expect("readable").saved, []);
        for (generation, body) in [(1, b"one"), (2, b"two"), (3, b"six")] {
            state.save_assignment(&saved(generation, body)).expect("writable");
        }
        let loaded = state.load_assignments().expect("readable");
        assert_eq!(loaded.saved, [saved(3, b"six"), saved(2, b"two")]);
        assert_eq!(loaded.damage, [""; 0]);
    }

    #[test]
    fn saving_the_same_assignment_again_writes_nothing() {
        let (_dir, state) = open();
        state.save_assignment(&saved(1, b"one")).expect("writable");
        let written = state.written().bytes();
        state.save_assignment(&saved(1, b"one")).expect("writable");
        assert_eq!(state.written().bytes(), written);
    }

    #[test]
    fn a_damaged_copy_is_reported_and_never_pushes_out_a_sound_one() {
        let (_dir, state) = open();
        state.save_assignment(&saved(1, b"one")).expect("writable");
        state.save_assignment(&saved(2, b"two")).expect("writable");
        fs::write(state.path().join(CURRENT), b"rubbish").expect("writable");
        let loaded = state.load_assignments().expect("readable");
        assert_eq!(loaded.saved, [saved(1, b"one")]);
        assert_eq!(loaded.damage.len(), 1);
        state.save_assignment(&saved(3, b"three")).expect("writable");
        fs::remove_file(state.path().join(CURRENT)).expect("removable");
        assert_eq!(state.load_assignments().expect("readable").saved, [saved(1, b"one")]);
    }

    #[test]
    fn another_format_is_named_and_not_guessed_at() {
        let mut bytes = encode(&saved(1, b"one"));
        bytes[8] = 9;
        assert_eq!(decode(&bytes), Err(Damage::Version(9)));
    }

    proptest! {
        // Each case syncs four files.
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_cut_or_changed_copy_falls_back_to_the_one_before(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..300,
            flip in 0_usize..300,
            bit in 0_u8..8,
        ) {
            let (_dir, state) = open();
            state.save_assignment(&saved(1, b"one")).expect("writable");
            state.save_assignment(&saved(2, &body)).expect("writable");
            let mut bytes = fs::read(state.path().join(CURRENT)).expect("readable");
            if cut < bytes.len() {
                bytes.truncate(cut);
            } else {
                let at = flip % bytes.len();
                bytes[at] ^= 1 << bit;
            }
            fs::write(state.path().join(CURRENT), &bytes).expect("writable");
            let loaded = state.load_assignments().expect("readable");
            prop_assert_eq!(loaded.saved, [saved(1, b"one")]);
            prop_assert_eq!(loaded.damage.len(), 1);
        }

        #[test]
        fn random_bytes_are_never_a_panic(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
