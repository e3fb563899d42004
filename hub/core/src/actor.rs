//! Who asks. Every request to the engine carries an actor, from the connection that it came on to the decision.
//!
//! An actor is what authentication found out: a name, groups, and from where. What it may do, the rules say
//! ([`crate::authorizer`]); only [`MASTERS`] may do everything, whatever they say.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::SocketAddr};

/// Kubernetes' group of those who may do everything. It is in the code, so that no rule can lock it out.
pub const MASTERS: &str = "system:masters";
/// Everybody who has shown who they are, but for devices.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Everybody who has not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Devices.
pub const NODES: &str = "system:nodes";
/// Programs with a token of a ServiceAccount.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// The name of whoever has not shown who they are.
pub const ANONYMOUS: &str = "system:anonymous";
/// What the name of a ServiceAccount begins with, before its namespace.
const SERVICE_ACCOUNT: &str = "system:serviceaccount";
/// The hub's own name, for what nobody asked it to do.
const HUB: &str = "system:hub";
/// The name of the machine's owner.
const ADMIN: &str = "system:admin";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// As rules name it.
    pub name: String,
    /// Tells two apart that had one name; empty where there is nothing to tell.
    pub uid: String,
    /// Groups that rules may name instead.
    pub groups: Vec<String>,
    /// From where it asks.
    pub from: Origin,
}

/// From where somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From within the hub.
    Hub,
    /// Over a connection from this address.
    Address(SocketAddr),
}

impl Actor {
    /// The hub itself.
    #[must_use]
    pub fn hub() -> Self {
        Self::new(HUB, [MASTERS, AUTHENTICATED], Origin::Hub)
    }

    /// The owner of the hub's machine.
    #[must_use]
    pub fn admin(from: Origin) -> Self {
        Self::new(ADMIN, [MASTERS, AUTHENTICATED], from)
    }

    /// Somebody with a certificate: its common name, its organizations.
    #[must_use]
    pub fn user(name: &str, groups: &[String], from: Origin) -> Self {
        let groups = groups.iter().map(String::as_str).chain([AUTHENTICATED]);
        Self::new(name, groups, from)
    }

    /// A device. It is no operator: it has no part in what every operator may do.
    #[must_use]
    pub fn device(name: &str, from: Origin) -> Self {
        Self::new(&format!("system:node:{name}"), [NODES], from)
    }

    /// A program with a token of a ServiceAccount.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str, uid: &str, from: Origin) -> Self {
        let of_namespace = format!("{SERVICE_ACCOUNTS}:{namespace}");
        let groups = [SERVICE_ACCOUNTS, of_namespace.as_str(), AUTHENTICATED];
        let actor = Self::new(&service_account_name(namespace, name), groups, from);
        Self { uid: uid.to_owned(), ..actor }
    }

    /// Somebody who has not shown who they are.
    #[must_use]
    pub fn anonymous(from: Origin) -> Self {
        Self::new(ANONYMOUS, [UNAUTHENTICATED], from)
    }

    fn new<'g>(name: &str, groups: impl IntoIterator<Item = &'g str>, from: Origin) -> Self {
        let groups = groups.into_iter().map(ToString::to_string).collect();
        Self { name: name.to_owned(), uid: String::new(), groups, from }
    }

    /// Whether it may do everything.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.is_in(MASTERS)
    }

    /// Whether it has not shown who it is.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.is_in(UNAUTHENTICATED)
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|of| of == group)
    }
}

/// The name of a ServiceAccount as a user.
#[must_use]
pub fn service_account_name(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT}:{namespace}:{name}")
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub => f.write_str("hub"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}
