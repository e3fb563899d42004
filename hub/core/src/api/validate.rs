//! What is wrong with a field, and the rules for names and labels (RFC 1123 and Kubernetes' own).

use alloc::{format, string::String, vec::Vec};

use super::meta::Map;

/// Where and why an object's field can't be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {cause}")]
pub struct FieldError {
    /// JSON path in the object, as Kubernetes writes it: `spec.template.spec.containers[0].image`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub cause: String,
}

impl FieldError {
    /// An error at a path.
    pub fn new(field: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { field: field.into(), cause: cause.into() }
    }

    /// The same error, seen from the object around it.
    #[must_use]
    pub fn under(self, parent: &str) -> Self {
        Self { field: format!("{parent}.{}", self.field), cause: self.cause }
    }
}

/// Everything that is wrong with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(pub Vec<FieldError>);

impl Errors {
    /// Adds an error at a path.
    pub fn add(&mut self, field: impl Into<String>, cause: impl Into<String>) {
        self.0.push(FieldError::new(field, cause));
    }

    /// Adds what a check found.
    pub fn keep(&mut self, result: Result<(), FieldError>) {
        self.0.extend(result.err());
    }
}

/// Checks a DNS label (RFC 1123): 1 to 63 of `a-z`, `0-9`, `-`, alphanumeric at both ends.
///
/// # Errors
/// Names the field, the value and the rule.
pub fn check_label_name(field: &str, value: &str) -> Result<(), FieldError> {
    if value.len() <= 63 && is_dns_label(value) {
        return Ok(());
    }
    Err(FieldError::new(
        field,
        format!(
            "\"{value}\" must be 1 to 63 lower-case letters, digits or '-', with a letter or digit at both ends"
        ),
    ))
}

/// Checks a DNS subdomain (RFC 1123): labels joined by dots, at most `longest` bytes.
///
/// # Errors
/// Names the field, the value and the rule.
pub fn check_subdomain(field: &str, value: &str, longest: usize) -> Result<(), FieldError> {
    if value.len() <= longest && value.split('.').all(is_dns_label) {
        return Ok(());
    }
    Err(FieldError::new(
        field,
        format!(
            "\"{value}\" must be at most {longest} lower-case letters, digits, '-' or '.', with a letter or digit at both ends of each part"
        ),
    ))
}

/// Checks a name that has a segment of a path for itself: Kubernetes' rule for roles.
///
/// # Errors
/// Names the field, the value and the rule.
pub fn check_segment(field: &str, value: &str, longest: usize) -> Result<(), FieldError> {
    let fits = !value.is_empty() && value.len() <= longest && !matches!(value, "." | "..");
    if fits && !value.chars().any(|letter| matches!(letter, '/' | '%') || letter.is_control()) {
        return Ok(());
    }
    Err(FieldError::new(
        field,
        format!("{value:?} must be 1 to {longest} bytes without '/' and '%', and not '.' or '..'"),
    ))
}

/// Checks label keys and values, of an object or of a selector.
///
/// # Errors
/// Names the first field that breaks the rule.
pub fn check_labels(field: &str, labels: &Map) -> Result<(), FieldError> {
    for (key, value) in labels {
        check_label(field, key, value)?;
    }
    Ok(())
}

/// Checks one label.
///
/// # Errors
/// Names the field and the rule that key or value breaks.
pub fn check_label(field: &str, key: &str, value: &str) -> Result<(), FieldError> {
    let (prefix, name) =
        key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if let Some(prefix) = prefix {
        check_subdomain(&format!("{field}[{key}]"), prefix, 253)?;
    }
    if name.is_empty() || !is_label_word(name) {
        return Err(FieldError::new(
            field,
            format!(
                "key \"{key}\" must be up to 63 letters, digits, '-', '_' or '.', after an optional DNS prefix and '/'"
            ),
        ));
    }
    if !is_label_word(value) {
        return Err(FieldError::new(
            format!("{field}[{key}]"),
            format!(
                "\"{value}\" must be up to 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends, or empty"
            ),
        ));
    }
    Ok(())
}

fn is_dns_label(label: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !label.is_empty()
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_label_word(word: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    word.len() <= 63
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && edge(word.as_bytes().first())
        && edge(word.as_bytes().last())
}
