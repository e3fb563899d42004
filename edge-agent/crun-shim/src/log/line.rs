//! Cuts a stream of bytes into lines, long ones into parts.

use super::{MAX_LINE, Tag};

/// The unfinished line of one stream. Its buffer is allocated only while a line is unfinished.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    unfinished: Vec<u8>,
}

impl Splitter {
    /// Takes the next bytes and hands out every line, and every part of a long line, that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Tag, &[u8])) {
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.take(text, ended, &mut emit);
        }
    }

    /// The stream has ended: hands out what is left.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(Tag, &[u8])) {
        if !self.unfinished.is_empty() {
            emit(Tag::Full, &self.unfinished);
            self.unfinished = Vec::new();
        }
    }

    fn take(&mut self, mut text: &[u8], ended: bool, emit: &mut impl FnMut(Tag, &[u8])) {
        while self.unfinished.len() + text.len() > MAX_LINE {
            let (part, rest) = text.split_at(MAX_LINE - self.unfinished.len());
            self.emit_with(part, Tag::Partial, emit);
            text = rest;
        }
        if ended {
            self.emit_with(text, Tag::Full, emit);
        } else {
            self.unfinished.extend_from_slice(text);
        }
    }

    fn emit_with(&mut self, text: &[u8], tag: Tag, emit: &mut impl FnMut(Tag, &[u8])) {
        if self.unfinished.is_empty() {
            emit(tag, text);
        } else {
            self.unfinished.extend_from_slice(text);
            emit(tag, &self.unfinished);
            self.unfinished = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Tag, Vec<u8>)> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, |tag, text| lines.push((tag, text.to_vec())));
        }
        splitter.finish(|tag, text| lines.push((tag, text.to_vec())));
        lines
    }

    #[test]
    fn lines_are_joined_across_reads_and_the_last_one_needs_no_line_feed() {
        let lines = split(&[b"one\ntw", b"o\n\nth", b"ree"]);
        let expected = [&b"one"[..], b"two", b"", b"three"];
        assert_eq!(lines, expected.map(|text| (Tag::Full, text.to_vec())));
    }

    #[test]
    fn a_line_of_exactly_the_bound_is_whole() {
        let mut line = vec![b'x'; MAX_LINE];
        line.push(b'\n');
        let lines = split(&[&line]);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].0, Tag::Full);
    }

    #[test]
    fn a_longer_line_comes_in_parts_and_ends_with_a_full_one() {
        let mut line = vec![b'x'; 2 * MAX_LINE + 1];
        line.push(b'\n');
        let shape: Vec<_> = split(&[&line]).iter().map(|(tag, text)| (*tag, text.len())).collect();
        assert_eq!(shape, [(Tag::Partial, MAX_LINE), (Tag::Partial, MAX_LINE), (Tag::Full, 1)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_invented_however_the_bytes_arrive(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..2000),
            size in 1_usize..500,
        ) {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            let mut joined: Vec<u8> = Vec::new();
            for (tag, text) in split(&chunks) {
                joined.extend(text);
                if tag == Tag::Full {
                    joined.push(b'\n');
                }
            }
            let mut expected = bytes;
            if expected.last().is_some_and(|&b| b != b'\n') {
                expected.push(b'\n');
            }
            prop_assert_eq!(joined, expected);
        }
    }
}
