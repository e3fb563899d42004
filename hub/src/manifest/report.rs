//! What is wrong with a manifest, for people: file, line, column, the lines themselves, the cause and the fix.

use std::{fmt, sync::Arc};

use lichen_hub_core::api::FieldError;

use super::node::{Aim, Node, Position};

/// Longest line of an excerpt, in characters. A longer one is shown around the place that is meant.
const MAX_EXCERPT: usize = 96;
/// Most problems that are printed with their excerpts.
pub const MAX_SHOWN: usize = 50;

/// A manifest's name and text.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// As the operator named it; `stdin` for `-`.
    pub name: String,
    /// What it holds.
    pub text: String,
}

impl Source {
    /// The lines as YAML counts them: a carriage return ends one too, with or without a line feed behind it.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        let fed = self.text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        fed.flat_map(|line| line.split('\r'))
    }
}

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The manifest.
    pub source: Arc<Source>,
    /// Where.
    pub at: Position,
    /// The field's path; empty for the whole document.
    pub field: String,
    /// What is wrong.
    pub cause: String,
    /// What to do about it, if that isn't said by the cause.
    pub fix: Option<String>,
}

impl Problem {
    /// A problem with a text as a whole or at a place in it.
    pub fn at(source: &Arc<Source>, at: Position, cause: impl Into<String>) -> Self {
        Self { source: source.clone(), at, field: String::new(), cause: cause.into(), fix: None }
    }

    /// A problem with a field of a document, also as the hub reports it.
    #[must_use]
    pub fn of(source: &Arc<Source>, document: &Node, error: &FieldError) -> Self {
        let unsupported = error.cause.starts_with(UNSUPPORTED);
        let aim = if unsupported { Aim::Name } else { Aim::Value };
        Self {
            source: source.clone(),
            at: document.locate(&error.field, aim),
            field: error.field.clone(),
            cause: error.cause.clone(),
            fix: fix(error),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column, length } = self.at;
        write!(f, "{}:{line}:{column}: ", self.source.name)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}", self.cause)?;
        if let Some(text) = self.source.lines().nth(line.saturating_sub(1)) {
            let (shown, column, length) = excerpt(text, column, length);
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            write!(f, "\n  {number} | {shown}")?;
            write!(f, "\n  {margin} | {}{}", " ".repeat(column - 1), "^".repeat(length))?;
        }
        if let Some(fix) = &self.fix {
            write!(f, "\n    fix: {fix}")?;
        }
        Ok(())
    }
}

/// How the decoder begins what it says about a field that the types don't have.
const UNSUPPORTED: &str = "Lichen does not support this field";

fn fix(error: &FieldError) -> Option<String> {
    let cause = error.cause.as_str();
    if let Some(rest) = cause.strip_prefix(UNSUPPORTED) {
        let meant = rest.strip_prefix("; did you mean ").and_then(|rest| rest.strip_suffix('?'));
        return Some(match meant {
            Some(name) => format!("write {name}, or remove the field"),
            None => "remove the field".to_owned(),
        });
    }
    if let Some(found) = cause.strip_prefix("must be a string, not ") {
        let written = found.split('`').nth(1)?;
        return Some(format!("put it in quotes: \"{written}\""));
    }
    if cause == "is missing" {
        let name = error.field.rsplit('.').next()?;
        return Some(format!("add {name}"));
    }
    None
}

/// A line as it is shown, and where the marks go. Tabs become spaces; a long line is cut around the place.
fn excerpt(line: &str, column: usize, length: usize) -> (String, usize, usize) {
    let letters: Vec<char> = line
        .trim_end()
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let column = column.clamp(1, letters.len() + 1);
    let start =
        if letters.len() <= MAX_EXCERPT { 0 } else { (column - 1).saturating_sub(MAX_EXCERPT / 2) };
    let end = letters.len().min(start + MAX_EXCERPT);
    let mut shown: String = letters[start..end].iter().collect();
    if end < letters.len() {
        shown.push('…');
    }
    let lead = if start > 0 { "…" } else { "" };
    let column = column - start + lead.chars().count();
    let room = (end - start + 1 + lead.chars().count()).saturating_sub(column).max(1);
    (format!("{lead}{shown}"), column, length.clamp(1, room))
}

/// Everything that is wrong with some manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// `Ok` if there is nothing wrong.
    ///
    /// # Errors
    /// Itself.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(MAX_SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().checked_sub(MAX_SHOWN) {
            Some(more) if more > 0 => write!(f, "\nand {more} more"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_yaml_counts_them() {
        let text = "a\rb\r\nc\n\r\r\nd".to_owned();
        let source = Source { name: String::new(), text };
        assert_eq!(source.lines().collect::<Vec<_>>(), ["a", "b", "c", "", "", "d"]);
    }
}
