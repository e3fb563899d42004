//! Reads an input as a script of small steps, so that a mutation of one byte changes one step.

use std::path::{Path, PathBuf};

/// What is left of the script.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// The whole input.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte, if there is one.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next byte, or 0 at the end.
    pub fn number(&mut self) -> u8 {
        self.byte().unwrap_or(0)
    }

    /// A piece: two bytes of length, little-endian, and so many bytes, or as many as there are.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.number()) | usize::from(self.number()) << 8;
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }

    /// A short piece: one byte of length.
    pub fn word(&mut self) -> &'a [u8] {
        let length = usize::from(self.number());
        let (word, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        word
    }
}

/// Where files of a run go: into memory where there is such a place, since thousands a second are a load for a disk.
pub fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_never_reaches_beyond_the_end() {
        let mut script = Script::new(&[7, 2, 0, 1, 2, 255, 255, 3]);
        assert_eq!(script.byte(), Some(7));
        assert_eq!(script.piece(), [1, 2]);
        assert_eq!(script.piece(), [3]);
        assert_eq!((script.byte(), script.number()), (None, 0));
        assert!(script.piece().is_empty() && script.word().is_empty());
    }
}
