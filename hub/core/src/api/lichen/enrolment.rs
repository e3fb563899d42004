//! `lichen.dev/v1` Enrolment: one device's admission to this hub. Its name is the device's. An operator approves or
//! revokes it; the hub writes who asked, with which key, and until when its certificate lasts.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use firmware_compat::topic::is_device_name;
use serde::{Deserialize, Serialize};

use crate::api::{
    cell,
    field::{Message, flag, object, text, text_map, written},
    meta::{Map, OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Names, Resource, Selectable},
    validate::{Errors, check_labels},
};

/// Longest serial number of a board.
pub const MAX_SERIAL_NUMBER: usize = 128;

/// A device's admission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The device's name, and labels of the admission itself.
    pub metadata: ObjectMeta,
    /// What an operator says of it.
    #[serde(default)]
    pub spec: EnrolmentSpec,
    /// What the hub knows of it.
    #[serde(default)]
    pub status: EnrolmentStatus,
}

/// What an operator says of a device's admission.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnrolmentSpec {
    /// It may be a device of this hub.
    pub approved: bool,
    /// It may not be one any more.
    pub revoked: bool,
    /// The board that this admission is for, before any has asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serial_number: String,
    /// Labels that its Node gets.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub labels: Map,
}

/// What the hub knows of a device's admission.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnrolmentStatus {
    /// `Registered`, `Pending`, `Enrolled` or `Revoked`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// SHA-256 of its public key in hex; empty before any board has asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The same of the key before that, until the newer one was shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub previous_key: String,
    /// The X25519 public key to which its secrets are sealed, in hex.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sealing_key: String,
    /// The agent's id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// What the board says that it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// The serial number that the board says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serial_number: String,
    /// From where it asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// When it first asked, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<String>,
    /// When it was given its first certificate since it was let in, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolled_at: Option<String>,
    /// The token that it joined with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// When its newest certificate ends, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<String>,
    /// SHA-256 of the CA that issued it, in hex.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub authority: String,
    /// Every certificate that it was given and that may not have ended yet: what a broker is told when it is revoked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// Why the device can't come in with it, and what to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A certificate that was issued.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Certificate {
    /// Its serial number in hex.
    pub serial_number: String,
    /// When it ends, RFC 3339.
    pub not_after: String,
}

impl Enrolment {
    /// Where it stands, in a word.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match (&self.spec, self.status.key.is_empty()) {
            (EnrolmentSpec { revoked: true, .. }, _) => "Revoked",
            (EnrolmentSpec { approved: true, .. }, false) => "Enrolled",
            (EnrolmentSpec { approved: false, .. }, false) => "Pending",
            (_, true) => "Registered",
        }
    }

    /// Writes into the status where it stands.
    pub fn set_phase(&mut self) {
        self.status.phase = self.phase().to_owned();
    }

    /// Whether its device may connect.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.phase() == "Enrolled"
    }
}

impl Resource for Enrolment {
    const NAMES: Names = Names {
        kind: "Enrolment",
        plural: "enrolments",
        singular: "enrolment",
        apply_order: 20,
        most: 100_000,
        ..Names::LICHEN
    };
    const FIELDS: &'static Message = &Message {
        name: "Enrolment",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &SPEC),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "The device's name.", |o, _| cell::name(&o.metadata)),
        Column::text("Status", "Registered, Pending, Enrolled or Revoked.", |o, _| {
            o.phase().into()
        }),
        Column::text("Key", "The beginning of its public key's SHA-256.", |o, _| {
            cell::or_none(o.status.key.get(..16).unwrap_or_default())
        }),
        Column::text("Certificate Until", "When its certificate ends.", |o, _| {
            let until = o.status.certificate_not_after.as_deref().unwrap_or_default();
            let is_worthless = !o.status.message.is_empty();
            cell::or_none(if is_worthless { "of an old CA: join again" } else { until })
        }),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("Serial Number", "What the board says that it has.", |o, _| {
            cell::or_none(&o.status.serial_number)
        }),
        Column::wide("Kept For", "The serial number that it was registered for.", |o, _| {
            cell::or_none(&o.spec.serial_number)
        }),
        Column::wide("Model", "What the board says that it is.", |o, _| {
            cell::or_none(&o.status.model)
        }),
        Column::wide("Address", "From where it asked.", |o, _| cell::or_none(&o.status.address)),
        Column::wide("Token", "What it joined with.", |o, _| cell::or_none(&o.status.token)),
    ];
    const SELECTABLE: &'static [Selectable<Self>] =
        &[Selectable::new("status.phase", |o| o.phase())];

    fn validate(&self, _old: Option<&Self>, errors: &mut Errors) {
        if !is_device_name(&self.metadata.name) {
            errors.add(
                "metadata.name",
                "must be a device's name: 1 to 63 of a-z, 0-9 and '-', none at either end, and not \"all\"",
            );
        }
        errors.keep(check_labels("spec.labels", &self.spec.labels));
        let serial = &self.spec.serial_number;
        if serial.len() > MAX_SERIAL_NUMBER || !serial.bytes().all(|b| b.is_ascii_graphic()) {
            errors.add(
                "spec.serialNumber",
                format!("must be at most {MAX_SERIAL_NUMBER} letters, digits and signs"),
            );
        }
    }

    fn prepare_for_create(&mut self) {
        self.status = EnrolmentStatus::default();
        self.set_phase();
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
        self.set_phase();
    }
}

const SPEC: Message = Message {
    name: "EnrolmentSpec",
    fields: &[
        flag("approved", 1),
        flag("revoked", 2),
        text("serialNumber", 3),
        text_map("labels", 4),
    ],
};
