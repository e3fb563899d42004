//! Byte ranges of HTTP (RFC 9110, section 14) and of the upload protocol, as pure functions over untrusted header values.
//!
//! Whether a range applies at all is decided by [`crate::conditional`].

use core::fmt;

/// What a `Range` header asks of a representation of known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranged {
    /// Everything: no range was asked for, or it is one that a server may and should ignore.
    Whole,
    /// Status 206 with these bytes.
    Part(Span),
    /// Status 416: nothing of the representation is in the range.
    Unsatisfiable,
}

/// Bytes `first..=last`, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
}

impl Span {
    /// How many bytes these are.
    #[expect(clippy::len_without_is_empty, reason = "a span is never empty")]
    pub fn len(&self) -> u64 {
        self.last - self.first + 1
    }

    /// The value of `Content-Range` in a 206 answer.
    pub fn content_range(&self, len: u64) -> String {
        format!("bytes {self}/{len}")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// The value of `Content-Range` in a 416 answer.
pub fn unsatisfied_range(len: u64) -> String {
    format!("bytes */{len}")
}

/// Reads the value of a `Range` header against a representation of `len` bytes.
///
/// A header that is malformed, of another unit, or of several ranges is ignored, as the standard allows: the client
/// gets everything, which is always right.
pub fn parse_range(value: &str, len: u64) -> Ranged {
    let Some((unit, set)) = value.trim().split_once('=') else { return Ranged::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Ranged::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Ranged::Whole };
    match (number(first), number(last)) {
        (Number::Absent, Number::Of(count)) => suffix(count, len),
        (Number::Of(first), Number::Absent) => from(first, u64::MAX, len),
        (Number::Of(first), Number::Of(last)) if first <= last => from(first, last, len),
        _ => Ranged::Whole,
    }
}

/// Reads the `Content-Range` of an upload chunk, `<first>-<last>` (distribution specification), without a unit;
/// `None` if it is malformed.
pub fn parse_chunk_range(value: &str) -> Option<Span> {
    let (first, last) = value.trim().split_once('-')?;
    match (number(first), number(last)) {
        (Number::Of(first), Number::Of(last)) if first <= last && last < u64::MAX => {
            Some(Span { first, last })
        }
        _ => None,
    }
}

fn suffix(count: u64, len: u64) -> Ranged {
    if count == 0 || len == 0 {
        return Ranged::Unsatisfiable;
    }
    Ranged::Part(Span { first: len.saturating_sub(count), last: len - 1 })
}

fn from(first: u64, last: u64, len: u64) -> Ranged {
    if first >= len {
        return Ranged::Unsatisfiable;
    }
    Ranged::Part(Span { first, last: last.min(len - 1) })
}

enum Number {
    Absent,
    Of(u64),
    Malformed,
}

/// Digits only. A number beyond 64 bits is still a number, larger than any length.
fn number(text: &str) -> Number {
    if text.is_empty() {
        return Number::Absent;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Number::Malformed;
    }
    Number::Of(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(first: u64, last: u64) -> Ranged {
        Ranged::Part(Span { first, last })
    }

    #[test]
    fn ranges_of_the_standard_are_understood() {
        let check = |value: &str, expected: Ranged| {
            assert_eq!(parse_range(value, 1000), expected, "{value}");
        };
        check("bytes=0-499", part(0, 499));
        check("bytes=500-", part(500, 999));
        check("bytes=-300", part(700, 999));
        check("bytes=-5000", part(0, 999));
        check("bytes=900-5000", part(900, 999));
        check("Bytes= 1-1 ", part(1, 1));
        check("bytes=0-99999999999999999999999", part(0, 999));
        check("bytes=1000-", Ranged::Unsatisfiable);
        check("bytes=99999999999999999999999-", Ranged::Unsatisfiable);
        check("bytes=-0", Ranged::Unsatisfiable);
        for ignored in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "lines=1-2",
            "bytes=+1-2",
        ] {
            check(ignored, Ranged::Whole);
        }
    }

    #[test]
    fn an_empty_representation_has_no_range() {
        assert_eq!(parse_range("bytes=0-", 0), Ranged::Unsatisfiable);
        assert_eq!(parse_range("bytes=-1", 0), Ranged::Unsatisfiable);
        assert_eq!(unsatisfied_range(0), "bytes */0");
    }

    #[test]
    fn a_part_is_named_in_the_answer() {
        let span = Span { first: 2, last: 4 };
        assert_eq!((span.len(), span.content_range(10).as_str()), (3, "bytes 2-4/10"));
    }

    #[test]
    fn chunks_have_two_ends() {
        assert_eq!(parse_chunk_range("0-1023"), Some(Span { first: 0, last: 1023 }));
        for wrong in ["", "-", "5-", "-5", "5-4", "0-18446744073709551615", "a-b", "bytes 0-1"] {
            assert_eq!(parse_chunk_range(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_inside_the_representation(value in "(bytes=)?[0-9]{0,22}-?[0-9]{0,22}|.{0,40}", len: u64) {
            if let Ranged::Part(span) = parse_range(&value, len) {
                prop_assert!(span.first <= span.last && span.last < len);
            }
            let _ = parse_chunk_range(&value);
        }

        #[test]
        fn what_we_write_we_read(first in 0u64..1000, more in 0u64..1000) {
            let span = Span { first, last: first + more };
            prop_assert_eq!(parse_range(&format!("bytes={span}"), u64::MAX), Ranged::Part(span));
            prop_assert_eq!(parse_chunk_range(&span.to_string()), Some(span));
        }
    }
}
