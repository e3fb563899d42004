//! The group `rbac.authorization.k8s.io/v1`: who may do what. What follows from it is decided by
//! [`crate::authorizer`].

pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;
pub mod rule;
pub mod subject;

pub use cluster_role::ClusterRole;
pub use cluster_role_binding::ClusterRoleBinding;
pub use role::Role;
pub use role_binding::RoleBinding;
pub use rule::PolicyRule;
pub use subject::{RoleRef, Subject};

use serde_json::Value;

use super::{
    cell,
    meta::ObjectMeta,
    resource::{Names, Naming},
};

/// The group's name, which also stands in references.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// What the kinds of this group share: names with colons, as Kubernetes' own roles have, and a place behind namespaces
/// and before what runs.
const NAMES: Names = Names {
    api_version: "rbac.authorization.k8s.io/v1",
    naming: Naming::Segment,
    apply_order: 16,
    ..Names::CORE
};
/// Roles and bindings of the whole hub. Each is looked at for requests in every namespace, so there are fewer.
const CLUSTER_NAMES: Names = Names { namespaced: false, most: 1_000, ..NAMES };

/// When the object was created, as kubectl shows it of roles.
fn created_at(meta: &ObjectMeta) -> Value {
    cell::or_none(meta.creation_timestamp.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests;
