//! What an agent is told when it starts. Parsed from flags in `args`, or built by a program that embeds the agent.

use std::{path::PathBuf, time::Duration};

use firmware_compat::{capacity::full as capacity, topic, v1::owned::Label};

/// Twenty minutes: with it an idle device stays within a megabyte a month.
pub const KEEP_ALIVE: Duration = Duration::from_secs(20 * 60);

/// Everything that an agent needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds all that survives a restart. One agent at a time.
    pub state: PathBuf,
    /// Shown on the Node and used by selectors. At most [`capacity::LABELS`].
    pub labels: Vec<Label>,
    /// Name or absolute path of the OCI runtime; the first that works if absent.
    pub runtime: Option<String>,
    /// How long the connection may be silent. Longer costs less data and notices a dead connection later.
    pub keep_alive: Duration,
    /// Accept, once, the assignments of a hub with another lineage than the saved assignment's.
    pub adopt_hub: bool,
    /// Stop every Pod before the agent ends.
    pub drain_on_exit: bool,
    /// The program `lichen-shim`.
    pub shim: PathBuf,
    /// The program that runs Wasm when called with `wasm-run SPEC`: an agent or a hub.
    pub wasm_program: PathBuf,
}

/// Why an option cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Not a DNS label.
    #[error(
        "{name:?} cannot be a device's name: use 1 to 63 of a-z, 0-9 and '-', the '-' at neither end, and not \"all\"; \
         give one with --name{}",
        such_as(usable.as_ref())
    )]
    Name {
        /// What was given.
        name: String,
        /// The nearest one that may be.
        usable: Option<String>,
    },
    /// Not `key=value`, or not what Kubernetes allows in a label.
    #[error(
        "{label:?} is not a label: write KEY=VALUE with letters, digits, '-', '_' and '.', the key at most 63 after \
         an optional DNS/ prefix, the value at most 63"
    )]
    Label {
        /// What was given.
        label: String,
    },
    /// Given twice.
    #[error("label {key} is given twice: leave one out")]
    LabelTwice {
        /// The key.
        key: String,
    },
    /// More labels than the wire holds.
    #[error("more than {} labels are given: leave some out", capacity::LABELS)]
    TooManyLabels,
}

fn such_as(usable: Option<&String>) -> String {
    usable.map(|name| format!(", such as --name {name}")).unwrap_or_default()
}

impl OptionError {
    /// A name is not a device's.
    #[must_use]
    pub fn name(name: &str) -> Self {
        let usable = topic::usable_device_name(name).map(|usable| usable.to_string());
        Self::Name { name: name.to_owned(), usable }
    }
}

/// Reads `key=value`.
///
/// # Errors
/// [`OptionError::Label`].
pub fn parse_label(text: &str) -> Result<Label, OptionError> {
    let refused = || OptionError::Label { label: text.to_owned() };
    let (key, value) = text.split_once('=').ok_or_else(refused)?;
    let name = match key.split_once('/') {
        Some((prefix, name)) if is_dns_name(prefix) => name,
        Some(_) => return Err(refused()),
        None => key,
    };
    if !is_label_word(name) || !(value.is_empty() || is_label_word(value)) {
        return Err(refused());
    }
    let key = key.try_into().map_err(|_| refused())?;
    let value = value.try_into().map_err(|_| refused())?;
    Ok(Label { key, value })
}

/// Adds a label to others.
///
/// # Errors
/// [`OptionError::LabelTwice`] and [`OptionError::TooManyLabels`].
pub fn add_label(labels: &mut Vec<Label>, label: Label) -> Result<(), OptionError> {
    if labels.iter().any(|other| other.key == label.key) {
        return Err(OptionError::LabelTwice { key: label.key.to_string() });
    }
    if labels.len() >= capacity::LABELS {
        return Err(OptionError::TooManyLabels);
    }
    labels.push(label);
    Ok(())
}

/// What Kubernetes allows as the name part of a label's key and as a value.
fn is_label_word(word: &str) -> bool {
    let end = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = word.as_bytes();
    bytes.len() <= 63
        && end(bytes.first())
        && end(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let bytes = label.as_bytes();
        !bytes.is_empty()
            && bytes.len() <= 63
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_kubernetes() {
        for sound in ["a=b", "a=", "lichen.dev/site=north", "A_b.c-d=1.2_3-x"] {
            assert!(parse_label(sound).is_ok(), "{sound}");
        }
        let long = format!("{}=x", "k".repeat(64));
        for broken in ["a", "=b", "-a=b", "a=-", "a=b c", "X/a=b", "a/b/c=d", "/a=b", long.as_str()]
        {
            assert!(parse_label(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_label_given_twice_and_one_too_many_are_refused() {
        let label = |text: &str| parse_label(text).expect("a label");
        let mut labels = vec![label("a=1")];
        assert!(matches!(
            add_label(&mut labels, label("a=2")),
            Err(OptionError::LabelTwice { .. })
        ));
        for number in 1..capacity::LABELS {
            add_label(&mut labels, label(&format!("k{number}=v"))).expect("there is room");
        }
        assert_eq!(add_label(&mut labels, label("z=1")), Err(OptionError::TooManyLabels));
    }
}
