//! By which names a Pod is known in itself, and whom it asks for those of others: what becomes of `/etc/hosts` and
//! `/etc/resolv.conf` in its containers. Compiled once per form, see [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{List, Text, capacity};

/// Names for the containers of a Pod, besides its hostname.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodNames {
    /// What follows its hostname and a dot in its whole name; empty for none.
    pub domain: Text<{ capacity::NAME }>,
    /// More lines of `/etc/hosts`.
    pub aliases: List<HostAlias, { capacity::HOST_ALIASES }>,
    /// What differs from the device's `/etc/resolv.conf`.
    pub dns: Dns,
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAlias {
    /// The address.
    pub ip: Text<{ capacity::ADDRESS }>,
    /// Its names.
    pub names: List<Text<{ capacity::NAME }>, { capacity::ALIAS_NAMES }>,
}

/// Name servers and how they are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Nothing is taken from the device's. Kubernetes' policy `None`.
    pub own: bool,
    /// Addresses of name servers, behind the device's.
    pub nameservers: List<Text<{ capacity::ADDRESS }>, { capacity::NAMESERVERS }>,
    /// Domains in which short names are looked for, behind the device's.
    pub searches: List<Text<{ capacity::NAME }>, { capacity::SEARCHES }>,
    /// `name` or `name:value`, in place of the device's of that name.
    pub options: List<Text<{ capacity::NAME }>, { capacity::DNS_OPTIONS }>,
}
