//! Metadata that every object has, and the rules for names and labels (RFC 1123 and Kubernetes' own).

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize};

use super::FieldError;

/// Labels and annotations.
pub type Map = BTreeMap<String, String>;

/// Kubernetes' ObjectMeta, as far as supported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Unique in its kind and namespace.
    pub name: String,
    /// Empty for kinds of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Given by the hub: 32 hex digits in UUID form.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Given by the hub with every change; decimal digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Given by the hub: rises when the spec changes.
    #[serde(skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// Given by the hub: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Set while the object waits for a device to let go of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// For selecting.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub labels: Map,
    /// For people and tools.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub annotations: Map,
    /// The workload that a Pod belongs to.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub owner_references: Vec<OwnerReference>,
}

/// The workload that a Pod belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Always true: one workload rules a Pod.
    pub controller: bool,
}

pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// `null` reads as the type's default, as Kubernetes treats absent and null alike.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
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
