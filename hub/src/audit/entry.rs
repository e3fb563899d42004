//! One entry: what a line says. Every text in it is bounded, for much of it is what strangers have sent.

use lichen_hub_core::api::time::rfc3339;
use serde::{Deserialize, Serialize};

use super::{LineHash, is_number, logbook::Place};

/// Characters of a text. Names of Kubernetes have at most 253.
const MAX_TEXT: usize = 256;
/// Characters of a sentence.
const MAX_NOTE: usize = 512;
/// Groups that are named.
const MAX_GROUPS: usize = 16;

/// An entry. What there is nothing to say of is left out of its line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    /// Counts the entries of a hub, from 1.
    pub sequence: u64,
    /// By the hub's known time, like `2026-05-01T09:30:00.125Z`.
    pub time: String,
    /// Whoever did or tried it; `?` if nobody was recognised.
    pub actor: String,
    /// The actor's groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Address and port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// As Kubernetes' rules name it.
    pub verb: String,
    /// The plural, with a subresource behind a slash.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// The resource's group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Where the object is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What was asked for that is no resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// How it ended: a status of HTTP; none if it was no request.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: u16,
    /// Names the request, in the answer's headers too.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// What else is to be said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Of what a device noted itself: where it stands in the device's logbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logbook: Option<Place>,
    /// SHA-256 of the line before.
    pub previous: String,
}

fn is_zero(code: &u16) -> bool {
    *code == 0
}

impl Entry {
    /// What the hub itself has to say.
    #[must_use]
    pub fn of_hub(verb: &str, note: String) -> Self {
        let actor = lichen_hub_core::actor::Actor::hub().name;
        Self { actor, verb: verb.to_owned(), note, ..Self::default() }
    }

    /// Stamps it with a time, in milliseconds since 1970.
    #[must_use]
    pub fn at(mut self, unix_ms: u64) -> Self {
        let text = rfc3339(unix_ms);
        self.time = format!("{}.{:03}Z", text.trim_end_matches('Z'), unix_ms % 1000);
        self
    }

    /// When it was made, in milliseconds since 1970; nothing if its time is none.
    #[must_use]
    pub fn unix_ms(&self) -> Option<u64> {
        let (seconds, rest) = self.time.split_once('.')?;
        let millis: u64 = rest.strip_suffix('Z')?.parse().ok()?;
        lichen_hub_core::api::time::unix_ms(&format!("{seconds}Z"))?.checked_add(millis)
    }

    /// Whether somebody was told no, or not recognised.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.code, 401 | 403)
    }

    /// The line, without its end, as it follows another one.
    pub(super) fn line(&mut self, sequence: u64, previous: LineHash) -> Vec<u8> {
        self.sequence = sequence;
        self.previous = previous.to_string();
        for text in [
            &mut self.time,
            &mut self.actor,
            &mut self.from,
            &mut self.verb,
            &mut self.resource,
            &mut self.group,
            &mut self.namespace,
            &mut self.name,
            &mut self.path,
            &mut self.request,
        ] {
            shorten(text, MAX_TEXT);
        }
        shorten(&mut self.note, MAX_NOTE);
        if let Some(place) = &mut self.logbook {
            shorten(&mut place.log, MAX_TEXT);
            shorten(&mut place.hash, MAX_TEXT);
        }
        self.groups.truncate(MAX_GROUPS);
        self.groups.iter_mut().for_each(|group| shorten(group, MAX_TEXT));
        // Texts and numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a line.
    pub(super) fn parse(line: &[u8]) -> Option<(Self, LineHash)> {
        let entry: Self = serde_json::from_slice(line).ok()?;
        let previous = LineHash::parse(&entry.previous)?;
        is_number(entry.sequence).then_some((entry, previous))
    }
}

/// No text of a stranger does anything to a terminal that shows it.
fn shorten(text: &mut String, most: usize) {
    if text.contains(char::is_control) {
        *text = text.replace(char::is_control, " ");
    }
    if let Some((at, _)) = text.char_indices().nth(most) {
        text.truncate(at);
        text.push('…');
    }
}
