//! The objects of the API, with Kubernetes' names, shapes and meaning, as far as Lichen supports them. The types are
//! the JSON: what is not here is refused by whoever decodes (see the hub's `manifest` module), never dropped in silence.
//!
//! One file a kind, by group: [`core`](self::core), [`apps`]. What they share: [`meta`], [`quantity`], [`time`],
//! [`validate`].

pub mod apps;
pub mod core;
mod error;
pub mod meta;
pub mod quantity;
pub mod time;
pub mod validate;

use ::core::fmt;
use alloc::{borrow::ToOwned, string::String};

use serde::{Deserialize, Serialize};

pub use self::{
    apps::{DaemonSet, Deployment},
    core::{ConfigMap, Event, Namespace, Node, Pod},
    error::ApiError,
    meta::{ObjectMeta, TypeMeta},
    validate::FieldError,
};

/// The kinds that the API serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `v1` Namespace, of the cluster.
    Namespace,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `v1` Node, of the cluster: a device.
    Node,
    /// `v1` Pod: a Pod.
    Pod,
    /// `v1` Event.
    Event,
}

impl Kind {
    /// Every kind, in the order in which their records are loaded.
    pub const EVERY: [Self; 7] = [
        Self::Namespace,
        Self::ConfigMap,
        Self::Deployment,
        Self::DaemonSet,
        Self::Node,
        Self::Pod,
        Self::Event,
    ];

    /// `apiVersion` of the kind.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::DaemonSet => "apps/v1",
            Self::Namespace | Self::ConfigMap | Self::Node | Self::Pod | Self::Event => "v1",
        }
    }

    /// `kind` as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ConfigMap => "ConfigMap",
            Self::Deployment => "Deployment",
            Self::DaemonSet => "DaemonSet",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Event => "Event",
        }
    }

    /// The resource's name in REST paths.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::ConfigMap => "configmaps",
            Self::Deployment => "deployments",
            Self::DaemonSet => "daemonsets",
            Self::Node => "nodes",
            Self::Pod => "pods",
            Self::Event => "events",
        }
    }

    /// Whether its objects live in a namespace.
    #[must_use]
    pub fn namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What names one object: kind, namespace (empty for cluster kinds), name. Ordered in that order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The object's kind.
    pub kind: Kind,
    /// Empty for kinds of the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A key; the namespace of a cluster kind is dropped.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced() { namespace.to_owned() } else { String::new() };
        Self { kind, namespace, name: name.to_owned() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// Any object of the API. Its JSON is the object itself, with `apiVersion` and `kind`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// Configuration data.
    ConfigMap(ConfigMap),
    /// A number of copies somewhere.
    Deployment(Deployment),
    /// One copy on every matching device.
    DaemonSet(DaemonSet),
    /// A device.
    Node(Node),
    /// A Pod.
    Pod(Pod),
    /// A happening.
    Event(Event),
}

macro_rules! each_object {
    ($value:expr, $object:ident => $body:expr) => {
        match $value {
            Object::Namespace($object) => $body,
            Object::ConfigMap($object) => $body,
            Object::Deployment($object) => $body,
            Object::DaemonSet($object) => $body,
            Object::Node($object) => $body,
            Object::Pod($object) => $body,
            Object::Event($object) => $body,
        }
    };
}

impl Object {
    /// The object's kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Deployment(_) => Kind::Deployment,
            Self::DaemonSet(_) => Kind::DaemonSet,
            Self::Node(_) => Kind::Node,
            Self::Pod(_) => Kind::Pod,
            Self::Event(_) => Kind::Event,
        }
    }

    /// Its metadata.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        each_object!(self, object => &object.metadata)
    }

    /// Its metadata, to change.
    pub fn meta_mut(&mut self) -> &mut ObjectMeta {
        each_object!(self, object => &mut object.metadata)
    }

    /// What names it.
    #[must_use]
    pub fn key(&self) -> Key {
        let meta = self.meta();
        Key::new(self.kind(), &meta.namespace, &meta.name)
    }

    /// Reads the JSON of an object whose kind is known. Fields that the types don't have are not looked at here.
    ///
    /// # Errors
    /// Those of serde, naming the type that does not fit.
    pub fn from_json(kind: Kind, json: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::Namespace => Self::Namespace(serde_json::from_slice(json)?),
            Kind::ConfigMap => Self::ConfigMap(serde_json::from_slice(json)?),
            Kind::Deployment => Self::Deployment(serde_json::from_slice(json)?),
            Kind::DaemonSet => Self::DaemonSet(serde_json::from_slice(json)?),
            Kind::Node => Self::Node(serde_json::from_slice(json)?),
            Kind::Pod => Self::Pod(serde_json::from_slice(json)?),
            Kind::Event => Self::Event(serde_json::from_slice(json)?),
        })
    }
}
