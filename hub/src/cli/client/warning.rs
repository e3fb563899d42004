//! What the hub has to say besides its answer: `Warning` headers, as Kubernetes' servers send and kubectl shows them.

use ureq::http::{HeaderMap, header::WARNING};

/// Shows each of them once, on stderr.
pub(super) fn show(headers: &HeaderMap) {
    let mut shown: Vec<String> = Vec::new();
    for value in headers.get_all(WARNING) {
        let Some(text) = value.to_str().ok().and_then(text_of) else { continue };
        if !shown.contains(&text) {
            eprintln!("Warning: {text}");
            shown.push(text);
        }
    }
}

/// The text in `299 - "text"`, without what would do something to a terminal.
fn text_of(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 ")?.split_once(" \"")?.1.strip_suffix('"')?;
    let mut text = String::with_capacity(quoted.len());
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        let letter = if letter == '\\' { letters.next()? } else { letter };
        text.extend(Some(letter).filter(|letter| !letter.is_control()));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_was_quoted() {
        assert_eq!(text_of("299 - \"a \\\"b\\\" \\\\c\"").as_deref(), Some("a \"b\" \\c"));
        assert_eq!(text_of("299 - \"\u{1b}[2Ja\"").as_deref(), Some("[2Ja"));
        for other in ["", "199 - \"a\"", "299 - a", "299 -", "299 - \"a\\"] {
            assert_eq!(text_of(other), None, "{other}");
        }
    }
}
