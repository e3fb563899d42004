//! Records: what the store holds of the engine. A key of text, a value of one version byte and JSON, so that a record
//! can be read by a person and gain fields. The store neither knows nor needs any of this.
//!
//! | key | holds |
//! |---|---|
//! | `meta` | lineage, reserved resource version |
//! | `time` | a time that was said to devices |
//! | `object/<Kind>/<namespace>/<name>` | an object that an operator wrote |
//! | `data/<Kind>/<namespace>/<name>` | data of a deleted ConfigMap or Secret that Pods still use |
//! | `pod/<id>` | a Pod |
//! | `revision/<uid of the workload>/<hash>` | a template of a workload, with the digests of its images |
//! | `device/<name>` | a device |
//! | `retired/<name>` | last generation of a device that was deleted |
//! | `withdrawn/<serial number>` | until when a certificate of a device that was forgotten would last |
//! | `image/<reference>` | a name in the catalogue |

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{
    id::{Generation, Hash, Lineage, PodId},
    time::UnixMs,
    v1::owned::{AssignmentId, Hello, PodStatus, WasmSupport},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    api::{Key, Kind, core::pod::PodTemplate, meta::Map},
    device::Operator,
    event::Platform,
    hidden::Hidden,
    pod::Supplied,
    resolve::Roots,
    state::Saved,
};

/// Version of the records that this build writes.
pub const VERSION: u8 = 1;

/// Why a record can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Written by a newer hub.
    #[error(
        "record {key} has version {version}, this hub reads up to {VERSION}; run the hub version that wrote it, or newer"
    )]
    Newer {
        /// The record.
        key: String,
        /// Its version.
        version: u8,
    },
    /// Not what this hub writes.
    #[error("record {key} is damaged: {cause}; restore the store from a backup")]
    Damaged {
        /// The record.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// `meta`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Meta {
    /// Random id of this store.
    pub lineage: Lineage,
    /// Every resource version that was given out is below this.
    pub reserved_resource_version: u64,
}

/// `time`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TimeRecord {
    /// What was said last, or almost.
    pub unix_ms: UnixMs,
}

/// `Pod/<id>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodRecord {
    /// Hash of all that, when changed, calls for a restart.
    pub identity: Hash,
    /// Kind of the workload.
    pub owner_kind: Kind,
    /// Namespace of the workload and of the Pod.
    pub namespace: String,
    /// Name of the workload.
    pub owner: String,
    /// Uid of the workload.
    pub owner_uid: String,
    /// Name of the Pod.
    pub name: String,
    /// Hash of the revision of its workload that it is of.
    pub revision: String,
    /// When it was made.
    pub created_ms: UnixMs,
    /// Its device.
    pub device: Option<String>,
    /// What its device needs of the images.
    pub supply: Option<SupplyRecord>,
    /// Since when it is to go.
    pub deleting_ms: Option<UnixMs>,
    /// First generation without it.
    pub released: Option<Generation>,
    /// What its device last said.
    pub report: Option<PodStatus>,
    /// Whether an assignment ever held it. Records that do not say are of Pods that may have been assigned.
    #[serde(default = "may_be")]
    pub assigned: bool,
    /// Pods whose place it takes.
    #[serde(default)]
    pub after: Vec<PodId>,
    /// How much it matters.
    #[serde(default)]
    pub priority: i32,
    /// Its number, if the Pods of its workload have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Whether its Job has counted how it ended.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub counted: bool,
}

fn may_be() -> bool {
    true
}

/// `revision/<uid>/<hash>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevisionRecord {
    /// Kind of the workload.
    pub owner_kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub owner: String,
    /// Rises with every revision of the workload that becomes the newest.
    pub number: u64,
    /// When it was first the newest.
    pub created_ms: UnixMs,
    /// The template.
    pub template: PodTemplate,
    /// Digests of its images.
    pub roots: Roots,
    /// Annotations of the workload while it was the newest.
    pub annotations: Map,
    /// Whether it was rolled out to the end.
    pub complete: bool,
}

impl RevisionRecord {
    /// The record of a saved revision.
    #[must_use]
    pub fn new(saved: &Saved) -> Self {
        Self {
            owner_kind: saved.owner.kind,
            namespace: saved.owner.namespace.clone(),
            owner: saved.owner.name.clone(),
            number: saved.number,
            created_ms: saved.created_ms,
            template: saved.revision.template.clone(),
            roots: saved.revision.roots.clone(),
            annotations: saved.annotations.clone(),
            complete: saved.complete,
        }
    }
}

/// What a device needs of a Pod's images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SupplyRecord {
    /// Architecture, for containers.
    pub arch: Option<String>,
    /// Class and compatibility, for Wasm.
    pub wasm: Option<WasmSupport>,
    /// By the images' names.
    pub artefacts: Supplied,
}

impl SupplyRecord {
    /// The record of a target and its artefacts.
    #[must_use]
    pub fn new(target: &Platform, artefacts: &Supplied) -> Self {
        let (arch, wasm) = match target {
            Platform::Container { arch } => (Some(arch.clone()), None),
            Platform::Wasm(support) => (None, Some(support.clone())),
        };
        Self { arch, wasm, artefacts: artefacts.clone() }
    }

    /// The target and its artefacts.
    #[must_use]
    pub fn into_parts(self) -> Option<(Platform, Supplied)> {
        let target = match (self.arch, self.wasm) {
            (_, Some(support)) => Platform::Wasm(support),
            (Some(arch), None) => Platform::Container { arch },
            (None, None) => return None,
        };
        Some((target, self.artefacts))
    }
}

/// `device/<name>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// The Node's uid.
    pub uid: String,
    /// When it was first heard of.
    pub created_ms: UnixMs,
    /// What it last said of itself.
    pub facts: Hello,
    /// What the operator set.
    pub operator: Operator,
    /// Newest generation.
    pub generation: Generation,
    /// Hash of its body.
    pub hash: Option<Hash>,
    /// Hashes of the last generations.
    pub recent: Vec<(Generation, Hash)>,
    /// What the device said it holds.
    pub acknowledged: Option<AssignmentId>,
}

/// `object/...` of a workload: digests of its images, beside the object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// The object, as the API shows it.
    pub object: serde_json::Value,
    /// Digests of its images.
    #[serde(default)]
    pub roots: Roots,
    /// The template that its Pods are made of, if its namespace has filled in what it leaves out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,
}

/// `data/...`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataRecord {
    /// By key.
    pub data: BTreeMap<String, Hidden>,
}

/// Writes a value with its version.
#[must_use]
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::from([VERSION]);
    // The records' types hold no map with keys that are not text and no number that JSON lacks.
    bytes.extend(serde_json::to_vec(value).unwrap_or_default());
    bytes
}

/// Reads a value and its version.
///
/// # Errors
/// [`LoadError`] names the record.
pub fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, LoadError> {
    match bytes.split_first() {
        Some((&VERSION, json)) => {
            serde_json::from_slice(json).map_err(|error| damaged(key, &error))
        }
        Some((&version, _)) if version > VERSION => {
            Err(LoadError::Newer { key: key.to_string(), version })
        }
        _ => Err(LoadError::Damaged { key: key.to_string(), cause: "no version byte".to_string() }),
    }
}

/// A record whose JSON is not what this hub writes. What serde says of it may be a part of it.
pub(crate) fn damaged(key: &str, error: &serde_json::Error) -> LoadError {
    let cause = match is_confidential(key) {
        true => "it does not hold what it should".to_string(),
        false => error.to_string(),
    };
    LoadError::Damaged { key: key.to_string(), cause }
}

/// Key of `meta`.
pub const META: &str = "meta";
/// Greatest resource version that a store may have reserved: counting never gets there, and can go on from there.
pub(crate) const LAST_RESOURCE_VERSION: u64 = u64::MAX / 2;
/// Resource versions that a restored hub leaves out: more than any hub gives out in its life. The hub that was lost may have
/// given out some after the backup was made, and whoever remembers one must not take this hub's objects for those.
const LOST_RESOURCE_VERSIONS: u64 = 1 << 40;

/// What becomes of a record in a store that is restored from a backup.
///
/// # Errors
/// [`LoadError`] if it can't be read.
pub fn restored(key: &str, value: Vec<u8>) -> Result<Vec<u8>, LoadError> {
    if key != META {
        return Ok(value);
    }
    let meta: Meta = decode(key, &value)?;
    let reserved = meta.reserved_resource_version.saturating_add(LOST_RESOURCE_VERSIONS);
    let reserved_resource_version = reserved.min(LAST_RESOURCE_VERSION);
    Ok(encode(&Meta { reserved_resource_version, ..meta }))
}

/// Key of `time`.
pub const TIME: &str = "time";

/// Key of an object.
#[must_use]
pub fn object_key(key: &Key) -> String {
    format!("object/{}/{}/{}", key.kind, key.namespace, key.name)
}

/// Key of a Pod.
#[must_use]
pub fn pod_key(id: PodId) -> String {
    format!("pod/{id}")
}

/// Key of a revision.
#[must_use]
pub fn revision_key(owner_uid: &str, hash: &str) -> String {
    format!("revision/{owner_uid}/{hash}")
}

/// Key of a device.
#[must_use]
pub fn device_key(name: &str) -> String {
    format!("device/{name}")
}

/// Key of a deleted device's last generation.
#[must_use]
pub fn retired_key(name: &str) -> String {
    format!("retired/{name}")
}

/// Key of a certificate that is worth nothing any more: its serial number in hex.
#[must_use]
pub fn withdrawn_key(serial: &str) -> String {
    format!("withdrawn/{serial}")
}

/// Key of an image's name.
#[must_use]
pub fn image_key(reference: &str) -> String {
    format!("image/{reference}")
}

/// Key of the data of a deleted ConfigMap or Secret.
#[must_use]
pub fn data_key(key: &Key) -> String {
    format!("data/{}/{}/{}", key.kind, key.namespace, key.name)
}

/// What a record's key says that it is.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyOf<'a> {
    /// `meta`.
    Meta,
    /// `time`.
    Time,
    /// An object.
    Object(Key),
    /// A Pod.
    Pod(PodId),
    /// A revision: uid of its workload, hash.
    Revision(&'a str, &'a str),
    /// A device.
    Device(&'a str),
    /// A deleted device.
    Retired(&'a str),
    /// The serial number of a certificate that is worth nothing any more, in hex.
    Withdrawn(&'a str),
    /// An image's name.
    Image(&'a str),
    /// The data of a deleted ConfigMap or Secret.
    Data(Key),
}

/// Whether a record holds what is not for everybody: the shell encrypts it before it stores it.
#[must_use]
pub fn is_confidential(key: &str) -> bool {
    match parse_key(key) {
        Some(KeyOf::Object(key) | KeyOf::Data(key)) => key.kind.names().confidential,
        _ => false,
    }
}

/// Takes the key apart of data as hubs kept it that had no Secrets: `config/<namespace>/<name>`.
pub(crate) fn parse_former_data(key: &str) -> Option<Key> {
    let (namespace, name) = key.strip_prefix("config/")?.split_once('/')?;
    Some(Key::new(Kind::ConfigMap, namespace, name))
}

/// Takes a record's key apart.
#[must_use]
pub fn parse_key(key: &str) -> Option<KeyOf<'_>> {
    match key {
        META => return Some(KeyOf::Meta),
        TIME => return Some(KeyOf::Time),
        _ => {}
    }
    let (table, rest) = key.split_once('/')?;
    Some(match table {
        "object" => KeyOf::Object(parse_object(rest)?),
        "data" => KeyOf::Data(parse_object(rest)?),
        "pod" => KeyOf::Pod(PodId::parse(rest)?),
        "revision" => {
            let (uid, hash) = rest.split_once('/')?;
            KeyOf::Revision(uid, hash)
        }
        "device" => KeyOf::Device(rest),
        "retired" => KeyOf::Retired(rest),
        "withdrawn" => KeyOf::Withdrawn(rest),
        "image" => KeyOf::Image(rest),
        _ => return None,
    })
}

fn parse_object(text: &str) -> Option<Key> {
    let mut parts = text.splitn(3, '/');
    let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Key::new(Kind::parse(kind)?, namespace, name))
}
