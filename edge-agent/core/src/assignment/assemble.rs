//! Puts the chunks of one body or part together: in any order, more than once, with gaps. Memory grows with the
//! bytes that arrive, never with a length that somebody declares.

use alloc::{collections::BTreeMap, vec::Vec};

use firmware_compat::{capacity::full as capacity, v1::owned::Bytes};

/// Chunks kept that do not follow on yet: a whole part of full chunks behind a lost first one.
const AHEAD: usize = capacity::SEALED_PART_BYTES / capacity::CHUNK;

/// A body on its way.
#[derive(Debug, Default)]
pub struct Assembler {
    length: usize,
    /// Everything up to the first gap.
    start: Vec<u8>,
    /// By offset, behind the first gap.
    ahead: BTreeMap<usize, Bytes<{ capacity::CHUNK }>>,
}

impl Assembler {
    /// For a body of so many bytes.
    pub fn new(length: u32) -> Self {
        Self { length: length as usize, ..Self::default() }
    }

    /// Takes a chunk. Returns whether it brought anything new.
    pub fn take(&mut self, offset: u32, bytes: Bytes<{ capacity::CHUNK }>) -> bool {
        let offset = offset as usize;
        let end = offset.saturating_add(bytes.len());
        if bytes.is_empty() || end > self.length || end <= self.start.len() {
            return false;
        }
        if offset > self.start.len() {
            return self.keep(offset, bytes);
        }
        self.append(offset, &bytes);
        while let Some(entry) = self.ahead.first_entry().filter(|e| *e.key() <= self.start.len()) {
            let (offset, bytes) = entry.remove_entry();
            self.append(offset, &bytes);
        }
        true
    }

    /// Of the whole.
    pub fn length(&self) -> usize {
        self.length
    }

    /// First byte that is missing.
    pub fn gap(&self) -> u32 {
        u32::try_from(self.start.len()).unwrap_or(u32::MAX)
    }

    /// Whether all bytes are there.
    pub fn is_complete(&self) -> bool {
        self.start.len() == self.length
    }

    /// The bytes, complete or not; the assembler starts over.
    pub fn empty(&mut self) -> Vec<u8> {
        self.ahead.clear();
        core::mem::take(&mut self.start)
    }

    fn keep(&mut self, offset: usize, bytes: Bytes<{ capacity::CHUNK }>) -> bool {
        let is_longer = self.ahead.get(&offset).is_none_or(|old| old.len() < bytes.len());
        let has_room = self.ahead.len() < AHEAD || self.ahead.contains_key(&offset);
        if is_longer && has_room {
            self.ahead.insert(offset, bytes);
        }
        is_longer && has_room
    }

    fn append(&mut self, offset: usize, bytes: &[u8]) {
        let known = self.start.len().saturating_sub(offset);
        self.start.extend_from_slice(bytes.get(known..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn chunk(bytes: &[u8]) -> Bytes<{ capacity::CHUNK }> {
        bytes.to_vec().try_into().expect("short")
    }

    #[test]
    fn chunks_in_any_order_twice_and_overlapping_make_the_body() {
        let mut body = Assembler::new(8);
        assert!(body.take(6, chunk(b"gh")));
        assert!(body.take(2, chunk(b"cde")));
        assert!(!body.take(2, chunk(b"cd")));
        assert_eq!((body.gap(), body.is_complete()), (0, false));
        assert!(body.take(0, chunk(b"abc")));
        assert!(!body.take(0, chunk(b"abc")));
        assert_eq!(body.gap(), 5);
        assert!(body.take(4, chunk(b"ef")));
        assert!(body.is_complete());
        assert_eq!(body.empty(), vec![b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h']);
    }

    #[test]
    fn bytes_beyond_the_declared_length_and_empty_chunks_are_refused() {
        let mut body = Assembler::new(4);
        assert!(!body.take(2, chunk(b"cde")));
        assert!(!body.take(u32::MAX, chunk(b"x")));
        assert!(!body.take(1, chunk(b"")));
        assert!(body.empty().is_empty());
    }

    #[test]
    fn many_tiny_chunks_ahead_of_a_gap_stay_bounded() {
        let mut body = Assembler::new(1_000_000);
        let kept = (1..100_000).filter(|n| body.take(n * 2, chunk(b"x"))).count();
        assert_eq!(kept, AHEAD);
    }
}
