//! The bytes of a saved assignment.
//!
//! `magic | version: u32 | length: u64 | sha256 of the payload | payload`, integers little-endian. The payload is a
//! length-prefixed id in postcard and then the body, byte for byte as the hub hashed it. The hub's signature is not kept: it
//! was checked before anything was saved, and its key may be another one by the time that the file is read.

use alloc::vec::Vec;

use firmware_compat::{capacity::full::BODY_BYTES, frame::decode_body};
use sha2::{Digest, Sha256};

use crate::config::{Parts, SavedAssignment};

const MAGIC: [u8; 8] = *b"lichenas";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 8 + 4 + 8 + 32;
/// An id is under 100 bytes; anything that claims more is damaged.
const MAX_HEAD: usize = 1024;
/// No saved assignment is longer; a file that is was not written by an agent, and need not be read further.
pub const MAX_FILE: usize = HEADER_BYTES + 4 + MAX_HEAD + BODY_BYTES;

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

/// The file's content.
#[must_use]
pub fn encode(saved: &SavedAssignment) -> Vec<u8> {
    let head = postcard::to_allocvec(&saved.id).expect("bounded fields encode");
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

/// What [`encode`] made a file of; its parts are in files of their own.
///
/// # Errors
/// See [`Damage`].
pub fn decode(bytes: &[u8]) -> Result<SavedAssignment, Damage> {
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
    let id = decode_body(head).map_err(|_| Damage::Shape)?;
    Ok(SavedAssignment { id, body: body.to_vec(), parts: Parts::new() })
}

#[cfg(test)]
pub(super) mod tests {
    use firmware_compat::{
        id::{Generation, Hash, Lineage},
        v1::owned::AssignmentId,
    };
    use proptest::prelude::*;

    use super::*;

    pub fn saved(generation: u64, body: &[u8]) -> SavedAssignment {
        let id = AssignmentId {
            lineage: Lineage([1; 16]),
            generation: Generation(generation),
            hash: Hash([2; 32]),
        };
        SavedAssignment { id, body: body.to_vec(), parts: Parts::new() }
    }

    #[test]
    fn another_format_is_named_and_not_guessed_at() {
        let mut bytes = encode(&saved(1, b"one"));
        bytes[8] = 9;
        assert_eq!(decode(&bytes), Err(Damage::Version(9)));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(generation: u64, body: Vec<u8>) {
            let saved = saved(generation, &body);
            prop_assert_eq!(decode(&encode(&saved)), Ok(saved));
        }

        #[test]
        fn a_cut_or_changed_file_is_damaged(body: Vec<u8>, at: usize, bit in 0_u8..8) {
            let sound = encode(&saved(1, &body));
            let at = at % sound.len();
            prop_assert!(decode(&sound[..at]).is_err());
            let mut changed = sound;
            changed[at] ^= 1 << bit;
            prop_assert!(decode(&changed).is_err());
            changed[at] ^= 1 << bit;
            changed.push(0);
            prop_assert!(decode(&changed).is_err());
        }

        #[test]
        fn random_bytes_are_never_a_panic(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
