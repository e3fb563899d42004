//! The objects of the API, with Kubernetes' names, shapes and meaning, as far as Lichen supports them.
//!
//! One file a kind, by group: [`core`](self::core), [`apps`], [`batch`], [`storage`], [`rbac`], [`authorization`],
//! [`authentication`], [`scheduling`], [`lichen`].
//! Each says all there is to say of its kind by implementing
//! [`Resource`]; [`kinds`] lists them, and nothing else does. What kinds share: [`meta`], [`quantity`], [`time`],
//! [`validate`], [`cell`].

pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod batch;
pub mod cell;
pub mod core;
mod error;
pub mod field;
pub mod lichen;
pub mod meta;
pub mod quantity;
pub mod rbac;
pub mod resource;
pub mod scheduling;
pub mod selector;
pub mod storage;
pub mod time;
pub mod validate;

use ::core::fmt;
use alloc::{
    borrow::{Cow, ToOwned},
    string::String,
    vec::Vec,
};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

pub use self::{
    apps::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
    authentication::{SelfSubjectReview, TokenReview},
    authorization::{
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview,
        SubjectAccessReview,
    },
    batch::Job,
    core::{
        ConfigMap, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim,
        Pod, ResourceQuota, Secret, ServiceAccount,
    },
    error::ApiError,
    lichen::{Enrolment, JoinToken},
    meta::ObjectMeta,
    rbac::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    resource::Resource,
    scheduling::PriorityClass,
    storage::StorageClass,
    validate::FieldError,
};
use self::{
    core::pod::PodTemplate,
    field::Message,
    resource::{ColumnNames, Names, RestartRule},
    selector::LabelSelector,
    validate::Errors,
};

/// Makes [`Kind`], [`Object`], [`KINDS`] and the ways from one to another of a list of kinds.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// The kinds that the API serves, in the order in which their records are loaded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        /// Every kind.
        pub const KINDS: &[Kind] = &[$(Kind::$kind,)*];

        /// Any object of the API.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object {
            $($(#[$doc])* $kind($kind),)*
        }

        /// Goes on with the type that stands for a kind.
        macro_rules! of_kind {
            ($value:expr, $type:ident => $body:expr) => {
                match $value { $(Kind::$kind => { type $type = $kind; $body })* }
            };
        }

        /// Goes on with the object, whatever its kind.
        macro_rules! of_object {
            ($value:expr, $object:ident => $body:expr) => {
                match $value { $(Object::$kind($object) => $body,)* }
            };
        }

        /// Goes on with two objects of one kind; with the last expression if they are of two.
        macro_rules! of_both {
            ($left:expr, $right:expr, ($one:ident, $other:ident) => $body:expr, $else:expr) => {
                match ($left, $right) {
                    $((Object::$kind($one), Object::$kind($other)) => $body,)*
                    _ => $else,
                }
            };
        }

        impl Object {
            /// The object's kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }

            /// Reads the JSON of an object whose kind is known. Fields that the types don't have are not looked at.
            ///
            /// # Errors
            /// Those of serde, naming the type that does not fit.
            pub fn from_json(kind: Kind, json: &[u8]) -> Result<Self, serde_json::Error> {
                Ok(match kind { $(Kind::$kind => Self::$kind(serde_json::from_slice(json)?),)* })
            }

            /// The same, from a value.
            ///
            /// # Errors
            /// Those of serde, naming the type that does not fit.
            pub fn from_value(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
                Ok(match kind { $(Kind::$kind => Self::$kind(serde_json::from_value(value)?),)* })
            }
        }

        $(impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(object)
            }
        })*
    };
}

kinds! {
    /// `v1` Namespace: a space of names.
    Namespace,
    /// `v1` ConfigMap: configuration data.
    ConfigMap,
    /// `v1` Secret: data that is not for everybody.
    Secret,
    /// `v1` ServiceAccount: a name for programs.
    ServiceAccount,
    /// `v1` ResourceQuota: how much a namespace may use.
    ResourceQuota,
    /// `v1` LimitRange: what each container, Pod and claim of a namespace may use.
    LimitRange,
    /// `storage.k8s.io/v1` StorageClass: what becomes of a claim's data.
    StorageClass,
    /// `v1` PersistentVolumeClaim: data that outlives Pods.
    PersistentVolumeClaim,
    /// `v1` PersistentVolume: the directory of a claim on its device.
    PersistentVolume,
    /// `apps/v1` Deployment: a number of Pods, where they fit.
    Deployment,
    /// `apps/v1` DaemonSet: one Pod on every matching device.
    DaemonSet,
    /// `apps/v1` StatefulSet: Pods with names of their own that stay.
    StatefulSet,
    /// `batch/v1` Job: Pods that are to end well.
    Job,
    /// `apps/v1` ReplicaSet: a saved revision of a Deployment.
    ReplicaSet,
    /// `apps/v1` ControllerRevision: a saved revision of a DaemonSet or StatefulSet.
    ControllerRevision,
    /// `scheduling.k8s.io/v1` PriorityClass: how much Pods matter.
    PriorityClass,
    /// `lichen.dev/v1` JoinToken: lets devices join.
    JoinToken,
    /// `lichen.dev/v1` Enrolment: a device's admission.
    Enrolment,
    /// `v1` Node: a device.
    Node,
    /// `v1` Pod: what runs on one device.
    Pod,
    /// `v1` Event: something that happened.
    Event,
    /// `rbac.authorization.k8s.io/v1` Role: what may be done in its namespace.
    Role,
    /// `rbac.authorization.k8s.io/v1` ClusterRole: what may be done.
    ClusterRole,
    /// `rbac.authorization.k8s.io/v1` RoleBinding: gives a role to somebody, in its namespace.
    RoleBinding,
    /// `rbac.authorization.k8s.io/v1` ClusterRoleBinding: gives a ClusterRole to somebody, everywhere.
    ClusterRoleBinding,
    /// `authorization.k8s.io/v1` SubjectAccessReview: may somebody do something?
    SubjectAccessReview,
    /// `authorization.k8s.io/v1` LocalSubjectAccessReview: may somebody do something in this namespace?
    LocalSubjectAccessReview,
    /// `authorization.k8s.io/v1` SelfSubjectAccessReview: may I do something?
    SelfSubjectAccessReview,
    /// `authorization.k8s.io/v1` SelfSubjectRulesReview: what may I do?
    SelfSubjectRulesReview,
    /// `authentication.k8s.io/v1` SelfSubjectReview: who am I?
    SelfSubjectReview,
    /// `authentication.k8s.io/v1` TokenReview: whose token is this?
    TokenReview,
}

impl Kind {
    /// What it is called, and what can be done with it.
    #[must_use]
    pub fn names(self) -> &'static Names {
        of_kind!(self, T => &const { T::NAMES })
    }

    /// What it may hold.
    #[must_use]
    pub fn fields(self) -> &'static Message {
        of_kind!(self, T => T::FIELDS)
    }

    /// For workloads: where their template is. Empty for one that is a template itself.
    #[must_use]
    pub fn template_path(self) -> &'static str {
        of_kind!(self, T => T::TEMPLATE)
    }

    /// Its columns in `get`.
    #[must_use]
    pub fn columns(self) -> Vec<ColumnNames> {
        of_kind!(self, T => resource::columns::<T>())
    }

    /// The fields that it can be selected by.
    #[must_use]
    pub fn selectable(self) -> Vec<&'static str> {
        let mut fields = Vec::from(["metadata.name", "metadata.namespace"]);
        fields.extend(of_kind!(self, T => resource::selectable::<T>()));
        fields
    }

    /// `apiVersion` of the kind.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        self.names().api_version
    }

    /// `kind` as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.names().kind
    }

    /// The resource's name in REST paths.
    #[must_use]
    pub fn plural(self) -> &'static str {
        self.names().plural
    }

    /// Whether its objects live in a namespace.
    #[must_use]
    pub fn namespaced(self) -> bool {
        self.names().namespaced
    }

    /// The fields that the kind's type reads.
    #[cfg(test)]
    pub(crate) fn probe(self) -> field::tests::Found {
        of_kind!(self, T => field::tests::of_type::<T>())
    }

    /// The kind with this name in REST paths.
    #[must_use]
    pub fn of_plural(word: &str) -> Option<Self> {
        KINDS.iter().copied().find(|kind| kind.plural() == word)
    }

    /// The kind with this name in manifests.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        KINDS.iter().copied().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Object {
    /// Its metadata.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        of_object!(self, object => &object.metadata)
    }

    /// Its metadata, to change.
    pub fn meta_mut(&mut self) -> &mut ObjectMeta {
        of_object!(self, object => &mut object.metadata)
    }

    /// What names it.
    #[must_use]
    pub fn key(&self) -> Key {
        let meta = self.meta();
        Key::new(self.kind(), &meta.namespace, &meta.name)
    }

    /// Its row in `get`, one cell for each of [`Kind::columns`].
    #[must_use]
    pub fn cells(&self, now_ms: u64) -> Vec<Value> {
        of_object!(self, object => resource::cells(object, now_ms))
    }

    /// Whether it has a value in a selectable field; `None` if it can't be selected by that field.
    #[must_use]
    pub fn is_selected(&self, field: &str, wanted: &str) -> Option<bool> {
        match field {
            "metadata.name" => Some(self.meta().name == wanted),
            "metadata.namespace" => Some(self.meta().namespace == wanted),
            _ => of_object!(self, object => resource::is_selected(object, field, wanted)),
        }
    }

    /// For workloads: what their Pods are made from.
    #[must_use]
    pub fn template(&self) -> Option<(Cow<'_, PodTemplate>, RestartRule)> {
        of_object!(self, object => object.template())
    }

    /// Writes the uid of a new object, and what depends on it.
    pub fn set_uid(&mut self, uid: String) {
        of_object!(self, object => object.set_uid(&uid));
        self.meta_mut().uid = uid;
    }

    /// For workloads that want Pods by number: how many.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        of_object!(self, object => Resource::replicas(object))
    }

    /// For workloads: the labels of their Pods.
    #[must_use]
    pub fn selector(&self) -> Option<&LabelSelector> {
        of_object!(self, object => object.selector())
    }

    /// Fills in what the operator left open and readers expect.
    pub fn default_fields(&mut self) {
        of_object!(self, object => object.default_fields());
    }

    /// Drops what an operator can't write.
    pub fn prepare_for_create(&mut self) {
        of_object!(self, object => object.prepare_for_create());
    }

    /// Takes over what an operator can't write. Objects of two kinds have nothing in common.
    pub fn prepare_for_update(&mut self, old: &Self) {
        of_both!(self, old, (object, old) => object.prepare_for_update(old), ());
    }

    /// Finds what is wrong with what an operator wrote.
    pub fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        match old {
            None => of_object!(self, object => object.validate(None, errors)),
            Some(old) => {
                of_both!(self, old, (object, old) => object.validate(Some(old), errors), ())
            }
        }
    }
}

/// The JSON of an object: `apiVersion`, `kind`, and its own fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Typed<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    object: &'a T,
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Names { api_version, kind, .. } = *self.kind().names();
        of_object!(self, object => Typed { api_version, kind, object }.serialize(serializer))
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
