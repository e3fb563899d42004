//! `lichen.dev/v1` JoinToken: lets so many devices join until a certain time. Of its secret only the hash is kept.

use alloc::{format, string::String};

use firmware_compat::{id::Hash, time::UnixMs};
use serde::{Deserialize, Serialize};

use crate::api::{
    cell,
    field::{Message, count, object, text, text_map, written},
    meta::{Map, OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Names, Resource},
    time::unix_ms,
    validate::{Errors, check_labels},
};

/// Longest pattern of names.
const MAX_PATTERN: usize = 63;

/// A permission to join.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// What it is good for.
    #[serde(default)]
    pub spec: JoinTokenSpec,
    /// What it was used for.
    #[serde(default)]
    pub status: JoinTokenStatus,
}

/// What a token is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JoinTokenSpec {
    /// SHA-256 of the secret, in hex.
    pub secret_hash: String,
    /// Until when, RFC 3339; for ever if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<String>,
    /// For how many devices.
    pub uses: u32,
    /// Labels that its devices get on their Nodes.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub labels: Map,
    /// Names that its devices may have, with `*` for any letters; any name if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_pattern: String,
}

/// What a token was used for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JoinTokenStatus {
    /// By how many devices.
    pub used: u32,
}

impl JoinToken {
    /// Whether it may be used once more now; else why not.
    ///
    /// # Errors
    /// A sentence for whoever holds it.
    pub fn check_use(&self, now_ms: UnixMs) -> Result<(), String> {
        let end = self.spec.expiration_time.as_deref().and_then(unix_ms);
        if end.is_some_and(|end| now_ms >= end) {
            let end = self.spec.expiration_time.as_deref().unwrap_or_default();
            return Err(format!("the token was good until {end}"));
        }
        if self.status.used >= self.spec.uses {
            return Err(match self.spec.uses {
                1 => String::from("the token was good for one device, and that has joined"),
                uses => format!("the token was good for {uses} devices, and they have joined"),
            });
        }
        Ok(())
    }

    /// Whether a device of this name may join by it.
    #[must_use]
    pub fn allows_name(&self, name: &str) -> bool {
        self.spec.name_pattern.is_empty() || matches(&self.spec.name_pattern, name)
    }
}

/// Whether a text is of a pattern, in which `*` stands for any letters or none.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        // The part before was no end: it may stand anywhere, and the first place is as good as any.
        if let Some(middle) = last.replace(part) {
            let Some(at) = rest.find(middle) else { return false };
            rest = &rest[at + middle.len()..];
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

impl Resource for JoinToken {
    const NAMES: Names = Names {
        kind: "JoinToken",
        plural: "jointokens",
        singular: "jointoken",
        apply_order: 20,
        ..Names::LICHEN
    };
    const FIELDS: &'static Message = &Message {
        name: "JoinToken",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in the hub.", |o, _| cell::name(&o.metadata)),
        Column::text("Used", "By how many devices, of how many.", |o, _| {
            format!("{}/{}", o.status.used, o.spec.uses).into()
        }),
        Column::text("Expires", "Until when it is good.", |o, _| {
            cell::or_none(o.spec.expiration_time.as_deref().unwrap_or_default())
        }),
        Column::text("Names", "Which names its devices may have.", |o, _| {
            if o.spec.name_pattern.is_empty() {
                "*".into()
            } else {
                o.spec.name_pattern.as_str().into()
            }
        }),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("Device Labels", "What its devices get.", |o, _| cell::pairs(&o.spec.labels)),
    ];

    fn validate(&self, _old: Option<&Self>, errors: &mut Errors) {
        if Hash::parse(&self.spec.secret_hash).is_none() {
            errors.add(
                "spec.secretHash",
                "must be the SHA-256 of the secret in 64 lower-case hex digits; lichen token create makes both",
            );
        }
        let end = self.spec.expiration_time.as_deref();
        if end.is_some_and(|end| unix_ms(end).is_none()) {
            errors.add("spec.expirationTime", "must be a time like 2026-05-01T09:30:00Z");
        }
        if self.spec.uses == 0 {
            errors.add("spec.uses", "must be at least 1");
        }
        errors.keep(check_labels("spec.labels", &self.spec.labels));
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'*';
        let pattern = &self.spec.name_pattern;
        if pattern.len() > MAX_PATTERN || !pattern.bytes().all(fits) {
            errors.add(
                "spec.namePattern",
                format!("must be at most {MAX_PATTERN} of a-z, 0-9, '-' and '*', as in kiosk-*"),
            );
        }
    }

    fn prepare_for_create(&mut self) {
        self.status = JoinTokenStatus::default();
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
    }
}

const SPEC: Message = Message {
    name: "JoinTokenSpec",
    fields: &[
        text("secretHash", 1).required(),
        text("expirationTime", 2).optional(),
        count("uses", 3).required(),
        text_map("labels", 4),
        text("namePattern", 5),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters_or_none() {
        for (pattern, text, expected) in [
            ("kiosk", "kiosk", true),
            ("kiosk", "kiosk-1", false),
            ("kiosk-*", "kiosk-1", true),
            ("kiosk-*", "kiosk-", true),
            ("kiosk-*", "kios", false),
            ("*", "anything", true),
            ("*", "", true),
            ("*-pi", "site-1-pi", true),
            ("*-pi", "site-1-pix", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
