//! The environment of a container: variables that are written, those that come from ConfigMaps and Secrets, and those that
//! say something of the Pod itself ([`super::downward`]).

use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::{
    downward::{FIELD_REF, FieldRef, RESOURCE_FIELD_REF, ResourceFieldRef},
    volume::LOCAL_REFERENCE,
};
use crate::api::{
    field::{Message, Shape, field, flag, instead, object, text},
    meta::nullable,
};

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value; `$(NAME)` refers to earlier ones.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub value: String,
    /// Where its value comes from, instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where a variable's value comes from. Exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVarSource {
    /// One key of a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyReference>,
    /// One key of a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,
    /// A field of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
    /// What a container of the Pod may use or asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceFieldRef>,
}

/// One key of an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyReference {
    /// The object's name.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// The key.
    #[serde(deserialize_with = "nullable")]
    pub key: String,
    /// Whether the object or the key may be missing. The variable is missing then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Variables for all keys of an object of the same namespace. Exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvFrom {
    /// In front of each key.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub prefix: String,
    /// A ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ObjectSource>,
    /// A Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ObjectSource>,
}

/// An object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectSource {
    /// Its name.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Whether it may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// The fields of [`EnvVar`].
pub const ENV_VAR: Message = Message {
    name: "EnvVar",
    fields: &[
        text("name", 1),
        text("value", 2),
        object("valueFrom", 3, &ENV_VAR_SOURCE).optional(),
    ],
};

/// The fields of [`EnvVarSource`].
const ENV_VAR_SOURCE: Message = Message {
    name: "EnvVarSource",
    fields: &[
        object("fieldRef", 1, &FIELD_REF).optional(),
        object("resourceFieldRef", 2, &RESOURCE_FIELD_REF).optional(),
        object("configMapKeyRef", 3, &KEY_REFERENCE).optional(),
        object("secretKeyRef", 4, &KEY_REFERENCE).optional(),
        instead("fileKeyRef", 5, "write the value, or put it into a ConfigMap or Secret"),
    ],
};

/// The fields of [`KeyReference`].
const KEY_REFERENCE: Message = Message {
    name: "KeySelector",
    fields: &[
        field("", 1, Shape::Inline(&LOCAL_REFERENCE)),
        text("key", 2),
        flag("optional", 3).optional(),
    ],
};

/// The fields of [`EnvFrom`].
pub const ENV_FROM: Message = Message {
    name: "EnvFromSource",
    fields: &[
        text("prefix", 1),
        object("configMapRef", 2, &OBJECT_SOURCE).optional(),
        object("secretRef", 3, &OBJECT_SOURCE).optional(),
    ],
};

/// The fields of [`ObjectSource`].
const OBJECT_SOURCE: Message = Message {
    name: "EnvSource",
    fields: &[field("", 1, Shape::Inline(&LOCAL_REFERENCE)), flag("optional", 2).optional()],
};
