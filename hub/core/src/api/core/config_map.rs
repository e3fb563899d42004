//! `v1` ConfigMap: configuration data that Pods mount as files or read as variables.

use alloc::{collections::BTreeMap, format, string::String};

use serde::{Deserialize, Serialize};

use super::secret::Data;
use crate::{
    api::{
        cell,
        field::{Field, Message, Shape, field, flag, object, text_map},
        meta::{OBJECT_META, ObjectMeta, nullable},
        resource::{Column, Names, Resource},
        validate::Errors,
    },
    hidden::Hidden,
};

/// Bytes of data in one ConfigMap or Secret: Kubernetes' bound.
pub(super) const MAX_BYTES: usize = 1024 * 1024;
/// Longest key: the longest name of a file.
const MAX_KEY: usize = 253;

/// Configuration data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMap {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Text by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub data: BTreeMap<String, String>,
    /// Bytes by key, as base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub binary_data: BTreeMap<String, String>,
    /// Whether its data stays as it is for good.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub immutable: Option<bool>,
}

const BINARY_DATA: Field = field("binaryData", 3, Shape::Map(&Shape::Data));

impl Resource for ConfigMap {
    const NAMES: Names = Names {
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short: &["cm"],
        apply_order: 20,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "ConfigMap",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            text_map("data", 2),
            BINARY_DATA,
            flag("immutable", 4).optional(),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::number("Data", "How many keys it holds.", |o, _| {
            (o.data.len() + o.binary_data.len()).into()
        }),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("Labels", "Its labels.", |o, _| cell::pairs(&o.metadata.labels)),
    ];

    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        let keys = self.data.keys().map(|key| ("data", key));
        for (field, key) in keys.chain(self.binary_data.keys().map(|key| ("binaryData", key))) {
            check_key(field, key, errors);
        }
        match self.files() {
            Ok(files) if files.values().map(|file| file.len()).sum::<usize>() > MAX_BYTES => {
                errors.add("data", "is over 1 MiB in all");
            }
            Ok(_) => {}
            Err((key, cause)) => errors.add(format!("binaryData[{key}]"), cause),
        }
        if let Some(old) = old.filter(|old| old.immutable == Some(true)) {
            self.check_immutable(old, errors);
        }
    }
}

impl ConfigMap {
    fn check_immutable(&self, old: &Self, errors: &mut Errors) {
        let why = "can't be changed: the ConfigMap is immutable; delete it and create another";
        let changed = [
            ("immutable", self.immutable != Some(true)),
            ("data", self.data != old.data),
            ("binaryData", self.binary_data != old.binary_data),
        ];
        for (field, _) in changed.iter().filter(|(_, changed)| *changed) {
            errors.add(*field, why);
        }
    }

    /// Its data as files, by key.
    ///
    /// # Errors
    /// The key whose data is not base64, or is there twice, and what is wrong with it.
    pub fn files(&self) -> Result<Data, (String, String)> {
        let bytes = |text: &String| Hidden::from(text.clone().into_bytes());
        let mut files: Data =
            self.data.iter().map(|(key, text)| (key.clone(), bytes(text))).collect();
        for (key, text) in &self.binary_data {
            let bytes = Hidden::from_base64(text)
                .ok_or_else(|| (key.clone(), String::from("is not base64")))?;
            if files.insert(key.clone(), bytes).is_some() {
                return Err((key.clone(), String::from("is in data too")));
            }
        }
        Ok(files)
    }
}

/// Checks the key of a ConfigMap or Secret: it is to be a file's name.
pub(super) fn check_key(field: &str, key: &str, errors: &mut Errors) {
    if !is_file_name(key) {
        errors.add(
            field,
            format!(
                "key \"{key}\" must be letters, digits, '-', '_' or '.', and not start with '..'"
            ),
        );
    }
}

fn is_file_name(key: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !key.is_empty()
        && key.len() <= MAX_KEY
        && key.bytes().all(allowed)
        && !key.starts_with("..")
        && key != "."
}
