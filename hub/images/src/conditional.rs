//! Conditional requests of HTTP (RFC 9110, section 13) for content-addressed bytes: the entity tag is the digest, and it is
//! always strong. There are no modification dates, so conditions on dates never hold.

use crate::Digest;
use crate::range::{Ranged, parse_range};

/// What to answer to a GET or HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Status 304 without a body: the client has it.
    NotModified,
    /// Status 200, 206 or 416.
    Content(Ranged),
}

/// The headers that decide it, as they came. Several `If-None-Match` lines are joined with commas by the caller.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
    /// `Range`. The caller leaves it out for HEAD, where it has no meaning.
    pub range: Option<&'a str>,
}

impl Digest {
    /// The value of the `ETag` header.
    pub fn etag(&self) -> String {
        format!("\"{self}\"")
    }
}

/// Decides the answer for a blob of `len` bytes, in the order of RFC 9110, section 13.2.2.
pub fn evaluate(conditions: &Conditions<'_>, digest: &Digest, len: u64) -> Answer {
    if conditions.if_none_match.is_some_and(|value| lists_tag(value, digest)) {
        return Answer::NotModified;
    }
    let Some(range) = conditions.range else { return Answer::Content(Ranged::Whole) };
    // A part is only right if the client's earlier part is of the same bytes: strong comparison.
    let same = conditions.if_range.is_none_or(|value| value.trim() == digest.etag());
    Answer::Content(if same { parse_range(range, len) } else { Ranged::Whole })
}

/// Whether a list of entity tags has this one or is `*`. Weak tags count, as they do for `If-None-Match`.
fn lists_tag(value: &str, digest: &Digest) -> bool {
    if value.trim() == "*" {
        return true;
    }
    let wanted = digest.etag();
    // A tag may contain a comma, but ours has none, so a piece of a foreign tag can never equal it: our tag begins
    // and ends with a quote, and a foreign tag has quotes only at its ends.
    value.split(',').any(|tag| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag) == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::Span;
    use proptest::prelude::*;

    fn ask(if_none_match: &str, if_range: &str, range: &str) -> Answer {
        let present = |text| Some(text).filter(|text: &&str| !text.is_empty());
        let conditions = Conditions {
            if_none_match: present(if_none_match),
            if_range: present(if_range),
            range: present(range),
        };
        evaluate(&conditions, &Digest::of(b"0123456789"), 10)
    }

    const WHOLE: Answer = Answer::Content(Ranged::Whole);
    const PART: Answer = Answer::Content(Ranged::Part(Span { first: 5, last: 9 }));

    #[test]
    fn a_client_that_has_the_bytes_gets_none() {
        let tag = Digest::of(b"0123456789").etag();
        assert_eq!(ask(&tag, "", ""), Answer::NotModified);
        assert_eq!(ask(&format!("\"a,b\", W/{tag}"), "", ""), Answer::NotModified);
        assert_eq!(ask("*", "", ""), Answer::NotModified);
        assert_eq!(ask(&tag, "", "bytes=5-"), Answer::NotModified);
        assert_eq!(ask("\"other\"", "", ""), WHOLE);
        assert_eq!(ask(&tag[1..tag.len() - 1], "", ""), WHOLE);
    }

    #[test]
    fn a_part_is_given_only_of_the_same_bytes() {
        let tag = Digest::of(b"0123456789").etag();
        assert_eq!(ask("", "", "bytes=5-"), PART);
        assert_eq!(ask("", &tag, "bytes=5-"), PART);
        assert_eq!(ask("", "\"other\"", "bytes=5-"), WHOLE);
        assert_eq!(ask("", &format!("W/{tag}"), "bytes=5-"), WHOLE);
        assert_eq!(ask("", "Sat, 01 Jan 2000 00:00:00 GMT", "bytes=5-"), WHOLE);
        assert_eq!(ask("", &tag, "bytes=10-"), Answer::Content(Ranged::Unsatisfiable));
    }

    proptest! {
        #[test]
        fn only_our_own_tag_or_a_star_means_not_modified(value in "[ -~]{0,60}") {
            prop_assume!(value.trim() != "*");
            prop_assert_eq!(ask(&value, "", ""), WHOLE);
        }
    }
}
