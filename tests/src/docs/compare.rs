//! Text as a page shows it against text as a command prints it.

/// What stands for whatever changes.
const ANY: &str = "...";

/// Whether a text is what was expected: `...` within a line stands for any text, alone on a line for any lines. Runs of
/// spaces are alike, since columns are as wide as what is in them.
#[must_use]
pub fn matches(expected: &str, actual: &str) -> bool {
    let lines = |text: &str| text.trim_end().lines().map(squeezed).collect::<Vec<_>>();
    let (expected, actual) = (lines(expected), lines(actual));
    // Reached: which numbers of actual lines can be covered so far.
    let mut reached: Vec<bool> = (0..=actual.len()).map(|count| count == 0).collect();
    for line in &expected {
        let mut next = vec![false; actual.len() + 1];
        for count in 0..=actual.len() {
            if line == ANY {
                next[count] = reached[count] || (count > 0 && next[count - 1]);
            } else if count > 0 && reached[count - 1] {
                next[count] = line_matches(line, &actual[count - 1]);
            }
        }
        reached = next;
    }
    reached.last() == Some(&true)
}

fn squeezed(line: &str) -> String {
    let margin = line.len() - line.trim_start().len();
    let words: Vec<&str> = line.split_whitespace().collect();
    format!("{}{}", " ".repeat(margin), words.join(" ")).trim_end().to_owned()
}

fn line_matches(expected: &str, actual: &str) -> bool {
    let mut parts = expected.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = actual.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_for_what_changes() {
        for (expected, actual, is_so) in [
            ("a b", "a    b\n", true),
            ("a b", "a c", false),
            ("web-...   1/1   ...s", "web-7c9f 1/1 12s", true),
            ("web-... 1/1 ...s", "web-7c9f 0/1 12s", false),
            ("a\n...\nz", "a\nb\nc\nz", true),
            ("a\n...\nz", "a\nz", true),
            ("a\n...\nz", "a\nb", false),
            ("...", "", true),
            ("a\n...", "a\nb", true),
            ("  a", "a", false),
            ("waiting...", "waiting for it...", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(expected, actual), is_so, "{expected:?} {actual:?}");
        }
    }
}
