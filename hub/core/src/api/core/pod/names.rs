//! By which names a Pod is known in itself, and whom it asks for those of others.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    field::{Message, objects, text, texts},
    meta::nullable,
};

/// Names for one address, in `/etc/hosts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostAlias {
    /// The address.
    #[serde(deserialize_with = "nullable")]
    pub ip: String,
    /// Its names.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub hostnames: Vec<String>,
}

/// Whom a Pod asks for names, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsConfig {
    /// Addresses of name servers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub nameservers: Vec<String>,
    /// Domains in which short names are looked for.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub searches: Vec<String>,
    /// Options of the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub options: Vec<DnsOption>,
}

/// An option of a resolver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsOption {
    /// Its name.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Its value, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The fields of [`HostAlias`].
pub(super) const HOST_ALIAS: Message =
    Message { name: "HostAlias", fields: &[text("ip", 1), texts("hostnames", 2)] };

/// The fields of [`DnsConfig`].
pub(super) const DNS_CONFIG: Message = Message {
    name: "PodDNSConfig",
    fields: &[texts("nameservers", 1), texts("searches", 2), objects("options", 3, &DNS_OPTION)],
};

/// The fields of [`DnsOption`].
const DNS_OPTION: Message =
    Message { name: "PodDNSConfigOption", fields: &[text("name", 1), text("value", 2).optional()] };
