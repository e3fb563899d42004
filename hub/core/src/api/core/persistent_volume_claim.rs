//! `v1` PersistentVolumeClaim: data that outlives Pods. It is bound to a device with the first Pod that uses it, and keeps
//! its Pods there.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    cell,
    field::{Field, Message, Shape, field, instead, object, text, texts, written},
    meta::{Condition, OBJECT_META, ObjectMeta, nullable},
    quantity::Amounts,
    resource::{Column, Names, Resource},
    storage::storage_class::BUILT_IN,
    validate::{Errors, check_subdomain},
};

/// Keeps a claim as long as Pods use it.
pub const PVC_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// On a bound claim: its device.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The one resource of volumes.
pub const STORAGE: &str = "storage";

/// Data that outlives Pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PersistentVolumeClaim {
    /// Name, labels and so on.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: PersistentVolumeClaimSpec,
    /// Whether it is bound. Written by the hub alone.
    #[serde(default, deserialize_with = "nullable")]
    pub status: PersistentVolumeClaimStatus,
}

/// What a claim wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimSpec {
    /// Kubernetes' words.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub access_modes: Vec<String>,
    /// How much.
    #[serde(deserialize_with = "nullable")]
    pub resources: VolumeResources,
    /// The PersistentVolume that it is bound to. Written by the hub alone.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub volume_name: String,
    /// Its StorageClass. Absent means the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// `Filesystem`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_mode: Option<String>,
}

/// How much of a volume is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeResources {
    /// At most.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub limits: Amounts,
    /// At least.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub requests: Amounts,
}

/// Whether a claim is bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimStatus {
    /// `Pending`, `Bound` or `Lost`.
    pub phase: String,
    /// Those of the volume.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub access_modes: Vec<String>,
    /// Of the volume.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub capacity: Amounts,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub conditions: Vec<Condition>,
}

impl PersistentVolumeClaim {
    /// How much it asks for, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.spec.resources.requests.get(STORAGE).and_then(|size| size.in_units()).unwrap_or(0)
    }

    /// Whether only one Pod may use it at a time.
    #[must_use]
    pub fn is_for_one_pod(&self) -> bool {
        self.spec.access_modes.iter().any(|mode| mode == "ReadWriteOncePod")
    }

    /// Whether nobody writes to it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let modes = &self.spec.access_modes;
        !modes.is_empty() && modes.iter().all(|mode| mode == "ReadOnlyMany")
    }

    /// Its class.
    #[must_use]
    pub fn class(&self) -> &str {
        self.spec.storage_class_name.as_deref().unwrap_or(BUILT_IN)
    }
}

impl PersistentVolumeClaimSpec {
    /// Finds what is wrong with what an operator wrote, at a path in its object.
    pub fn validate(&self, at: &str, errors: &mut Errors) {
        if self.access_modes.is_empty() {
            errors.add(format!("{at}.accessModes"), "at least 1 access mode is required");
        }
        for mode in &self.access_modes {
            if !is_access_mode(mode) {
                errors.add(
                    format!("{at}.accessModes"),
                    format!("\"{mode}\" must be ReadWriteOnce, ReadWriteOncePod, ReadOnlyMany or ReadWriteMany"),
                );
            }
        }
        if self.access_modes.len() > 1 && self.access_modes.iter().any(|m| m == "ReadWriteOncePod")
        {
            errors.add(
                format!("{at}.accessModes"),
                "may not use ReadWriteOncePod with other access modes",
            );
        }
        let requests = format!("{at}.resources.requests");
        match self.resources.requests.get(STORAGE) {
            None => errors.add(format!("{requests}.storage"), "must be given, as in 1Gi"),
            Some(size) if size.in_units().is_none_or(|bytes| bytes == 0) => errors.add(
                format!("{requests}.storage"),
                format!("\"{size}\" must be more than nothing"),
            ),
            Some(_) => {}
        }
        let lists = [("requests", &self.resources.requests), ("limits", &self.resources.limits)];
        for (list, amounts) in lists {
            for name in amounts.keys().filter(|name| *name != STORAGE) {
                errors.add(
                    format!("{at}.resources.{list}.{name}"),
                    "a volume has storage and nothing else",
                );
            }
        }
        match self.storage_class_name.as_deref() {
            Some("") => errors.add(
                format!("{at}.storageClassName"),
                "\"\" asks for a PersistentVolume that was made by hand, and this hub makes them all; leave it out",
            ),
            Some(class) => {
                errors.keep(check_subdomain(&format!("{at}.storageClassName"), class, 253));
            }
            None => {}
        }
        if let Some(mode) = self.volume_mode.as_deref().filter(|mode| *mode != "Filesystem") {
            errors.add(
                format!("{at}.volumeMode"),
                format!("\"{mode}\" is not possible: a claim is a directory of its device; use \"Filesystem\" or nothing"),
            );
        }
    }

    /// Fills in what goes without saying.
    pub fn default_fields(&mut self) {
        self.storage_class_name.get_or_insert_with(|| BUILT_IN.to_owned());
        self.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
        // What has a limit and no request asks for its limit, as everywhere.
        if let Some(limit) = self.resources.limits.get(STORAGE) {
            let requests = &mut self.resources.requests;
            requests.entry(STORAGE.to_owned()).or_insert_with(|| limit.clone());
        }
    }
}

/// Whether it is one of Kubernetes' words.
fn is_access_mode(mode: &str) -> bool {
    matches!(mode, "ReadWriteOnce" | "ReadWriteOncePod" | "ReadOnlyMany" | "ReadWriteMany")
}

/// Access modes as kubectl writes them.
pub fn short_modes(modes: &[String]) -> String {
    let short = |mode: &String| match mode.as_str() {
        "ReadWriteOnce" => "RWO",
        "ReadWriteOncePod" => "RWOP",
        "ReadOnlyMany" => "ROX",
        _ => "RWX",
    };
    modes.iter().map(short).collect::<Vec<_>>().join(",")
}

impl Resource for PersistentVolumeClaim {
    const NAMES: Names = Names {
        kind: "PersistentVolumeClaim",
        plural: "persistentvolumeclaims",
        singular: "persistentvolumeclaim",
        short: &["pvc"],
        lingers: true,
        apply_order: 40,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "PersistentVolumeClaim",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &CLAIM_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Status", "Whether it is bound to a device.", |o, _| {
            cell::phase(&o.metadata, &o.status.phase)
        }),
        Column::text("Volume", "The PersistentVolume that it is bound to.", |o, _| {
            o.spec.volume_name.as_str().into()
        }),
        Column::text("Capacity", "What it has.", |o, _| cell::storage(&o.status.capacity)),
        Column::text("Access Modes", "What its Pods may do.", |o, _| {
            short_modes(&o.status.access_modes).into()
        }),
        Column::text("StorageClass", "Its class.", |o, _| o.class().into()),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("VolumeMode", "What Pods see of it.", |o, _| {
            o.spec.volume_mode.as_deref().unwrap_or("Filesystem").into()
        }),
    ];

    fn default_fields(&mut self) {
        self.spec.default_fields();
    }

    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        self.spec.validate("spec", errors);
        let known = old.map_or("", |old| old.spec.volume_name.as_str());
        if !self.spec.volume_name.is_empty() && self.spec.volume_name != known {
            errors.add(
                "spec.volumeName",
                "can't be written by hand: the hub makes the PersistentVolume, on the device of the first Pod that uses the claim; leave it out",
            );
        }
        if let Some(old) = old {
            self.validate_change(old, errors);
        }
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
        self.spec.volume_name.clone_from(&old.spec.volume_name);
        match old.metadata.annotations.get(SELECTED_NODE) {
            Some(node) => {
                self.metadata.annotations.insert(SELECTED_NODE.to_owned(), node.clone());
            }
            None => _ = self.metadata.annotations.remove(SELECTED_NODE),
        }
    }

    fn prepare_for_create(&mut self) {
        let phase = "Pending".to_owned();
        self.status = PersistentVolumeClaimStatus { phase, ..Default::default() };
        self.metadata.finalizers = Vec::from([PVC_PROTECTION.to_owned()]);
        self.metadata.annotations.remove(SELECTED_NODE);
    }
}

impl PersistentVolumeClaim {
    /// Nothing but the size changes, and that grows: in Kubernetes' words.
    fn validate_change(&self, old: &Self, errors: &mut Errors) {
        let mut compared = self.spec.clone();
        compared.resources.requests.clone_from(&old.spec.resources.requests);
        compared.volume_name.clone_from(&old.spec.volume_name);
        let is_bound = old.status.phase == "Bound";
        let resized = self.bytes() != old.bytes();
        if compared != old.spec || (resized && !is_bound) {
            errors.add(
                "spec",
                "spec is immutable after creation except resources.requests for bound claims",
            );
        } else if self.bytes() < old.bytes() {
            errors.add(
                "spec.resources.requests.storage",
                "field can not be less than status.capacity",
            );
        }
    }
}

/// Amounts of storage, by the name of the resource.
pub(in crate::api) const fn amounts(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Map(&Shape::Quantity))
}

/// The fields of [`PersistentVolumeClaimSpec`].
pub(in crate::api) const CLAIM_SPEC: Message = Message {
    name: "PersistentVolumeClaimSpec",
    fields: &[
        texts("accessModes", 1),
        object("resources", 2, &VOLUME_RESOURCES),
        text("volumeName", 3),
        instead("selector", 4, "the hub makes a volume for the claim; leave it out"),
        text("storageClassName", 5).optional(),
        text("volumeMode", 6).optional(),
        instead("dataSource", 7, "let an init container fill the volume"),
        instead("dataSourceRef", 8, "let an init container fill the volume"),
        instead("volumeAttributesClassName", 9, "leave it out"),
    ],
};

/// The fields of [`VolumeResources`].
const VOLUME_RESOURCES: Message = Message {
    name: "VolumeResourceRequirements",
    fields: &[amounts("limits", 1), amounts("requests", 2)],
};
