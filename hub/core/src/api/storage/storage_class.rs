//! `storage.k8s.io/v1` StorageClass: what becomes of a claim's data. Every hub has `lichen-local`, the default; others differ
//! from it by their reclaim policy.

use alloc::{borrow::ToOwned, format, string::String};

use serde::{Deserialize, Serialize};

use crate::api::{
    cell,
    field::{Message, flag, instead, object, text},
    meta::{OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Names, Resource},
    validate::Errors,
};

/// The class that every hub has, of claims that name none.
pub const BUILT_IN: &str = "lichen-local";
/// The one provisioner.
pub const PROVISIONER: &str = "lichen.dev/local";
/// Says of which class claims are that name none.
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// What becomes of a claim's data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// Who makes volumes.
    pub provisioner: String,
    /// `Delete` or `Retain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaim_policy: Option<String>,
    /// Whether claims may grow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_volume_expansion: Option<bool>,
    /// `WaitForFirstConsumer`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "nullable")]
    pub volume_binding_mode: Option<String>,
}

impl StorageClass {
    /// The class that every hub has.
    #[must_use]
    pub fn built_in() -> Self {
        let mut class = Self {
            metadata: ObjectMeta { name: BUILT_IN.to_owned(), ..ObjectMeta::default() },
            provisioner: PROVISIONER.to_owned(),
            allow_volume_expansion: Some(true),
            ..Self::default()
        };
        class.metadata.annotations.insert(IS_DEFAULT.to_owned(), "true".to_owned());
        class.default_fields();
        class
    }

    /// What becomes of the data of its claims.
    #[must_use]
    pub fn policy(&self) -> &str {
        self.reclaim_policy.as_deref().unwrap_or("Delete")
    }

    fn is_default(&self) -> bool {
        self.metadata.annotations.get(IS_DEFAULT).is_some_and(|is| is == "true")
    }
}

impl Resource for StorageClass {
    const NAMES: Names = Names {
        api_version: "storage.k8s.io/v1",
        kind: "StorageClass",
        plural: "storageclasses",
        singular: "storageclass",
        short: &["sc"],
        namespaced: false,
        apply_order: 30,
        most: 100,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "StorageClass",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            text("provisioner", 2).required(),
            instead("parameters", 3, "the provisioner lichen.dev/local takes none"),
            text("reclaimPolicy", 4).optional(),
            instead("mountOptions", 5, "a volume is a directory, not a mount"),
            flag("allowVolumeExpansion", 6).optional(),
            text("volumeBindingMode", 7).optional(),
            instead("allowedTopologies", 8, "give the Pods a nodeSelector"),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in the hub.", |o, _| match o.is_default() {
            true => format!("{} (default)", o.metadata.name).into(),
            false => cell::name(&o.metadata),
        }),
        Column::text("Provisioner", "Who makes volumes.", |o, _| o.provisioner.as_str().into()),
        Column::text("ReclaimPolicy", "What becomes of data.", |o, _| o.policy().into()),
        Column::text("VolumeBindingMode", "When claims are bound.", |o, _| {
            o.volume_binding_mode.as_deref().unwrap_or_default().into()
        }),
        Column::text("AllowVolumeExpansion", "Whether claims may grow.", |o, _| {
            o.allow_volume_expansion.unwrap_or(false).into()
        }),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
    ];

    fn default_fields(&mut self) {
        self.reclaim_policy.get_or_insert_with(|| "Delete".to_owned());
        self.volume_binding_mode.get_or_insert_with(|| WAIT.to_owned());
    }

    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        if self.provisioner != PROVISIONER {
            errors.add(
                "provisioner",
                format!(
                    "\"{}\" is not one of this hub: data of claims lies on the devices themselves; use {PROVISIONER}",
                    self.provisioner
                ),
            );
        }
        if !matches!(self.policy(), "Retain" | "Delete") {
            let policy = self.policy();
            errors.add("reclaimPolicy", format!("\"{policy}\" must be \"Retain\" or \"Delete\""));
        }
        if let Some(mode) = self.volume_binding_mode.as_deref().filter(|mode| *mode != WAIT) {
            errors.add(
                "volumeBindingMode",
                format!("\"{mode}\" is not possible: no device is known before a Pod uses the claim; use {WAIT} or nothing"),
            );
        }
        let is_other_default = self.is_default() && self.metadata.name != BUILT_IN;
        if is_other_default {
            errors.add(
                "metadata.annotations",
                format!("{IS_DEFAULT} is {BUILT_IN}'s; claims of this class name it"),
            );
        }
        if old.is_some_and(|old| old.reclaim_policy != self.reclaim_policy) {
            errors.add("reclaimPolicy", "can't be changed; make another class");
        }
    }
}

const WAIT: &str = "WaitForFirstConsumer";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_class_is_one_that_an_operator_could_have_made() {
        let mut errors = Errors::default();
        StorageClass::built_in().validate(None, &mut errors);
        assert!(errors.0.is_empty(), "{errors:?}");
    }
}
