//! What a binding holds: whom it gives a role, and which role.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{GROUP, cluster_role::ClusterRole, role::Role};
use crate::api::{
    Kind, ServiceAccount,
    field::{Message, text},
    resource::Resource,
    validate::{Errors, check_segment, check_subdomain},
};

/// Subjects of one binding: each has its place in the index of rights.
const MAX_SUBJECTS: usize = 1_000;
/// Longest name of a user or a group: what certificates carry is shorter.
const MAX_SUBJECT_NAME: usize = 1_024;

/// Somebody who has a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// That of this kind; empty for a ServiceAccount.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// Its name.
    pub name: String,
    /// Of a ServiceAccount; that of the binding, if it names none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// The role that a binding gives. It never changes: what a binding means must not depend on when it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRef {
    /// That of roles.
    pub api_group: String,
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The fields of [`Subject`].
pub(super) const SUBJECT: Message = Message {
    name: "Subject",
    fields: &[text("kind", 1), text("apiGroup", 2), text("name", 3), text("namespace", 4)],
};
/// The fields of [`RoleRef`].
pub(super) const ROLE_REF: Message =
    Message { name: "RoleRef", fields: &[text("apiGroup", 1), text("kind", 2), text("name", 3)] };

/// What a subject is.
pub(crate) const USER: &str = "User";
pub(crate) const USERS: &str = "Group";
pub(crate) const PROGRAM: &str = ServiceAccount::NAMES.kind;

impl Subject {
    fn default_fields(&mut self) {
        if self.api_group.is_empty() && [USER, USERS].contains(&self.kind.as_str()) {
            GROUP.clone_into(&mut self.api_group);
        }
    }

    fn validate(&self, field: &str, namespaced: bool, errors: &mut Errors) {
        let group = match self.kind.as_str() {
            PROGRAM => {
                let name = format!("{field}.name");
                errors.keep(check_subdomain(&name, &self.name, ServiceAccount::NAMES.longest_name));
                if !namespaced && self.namespace.is_empty() {
                    errors
                        .add(format!("{field}.namespace"), "is missing: a ServiceAccount has one");
                }
                ""
            }
            USER | USERS => {
                if self.name.is_empty() || self.name.len() > MAX_SUBJECT_NAME {
                    let cause = format!("must be 1 to {MAX_SUBJECT_NAME} bytes");
                    errors.add(format!("{field}.name"), cause);
                }
                GROUP
            }
            other => {
                let cause = format!("must be {USER}, {USERS} or {PROGRAM}, not {other:?}");
                errors.add(format!("{field}.kind"), cause);
                return;
            }
        };
        if self.api_group != group {
            let cause = format!("must be {group:?} for a {}, not {:?}", self.kind, self.api_group);
            errors.add(format!("{field}.apiGroup"), cause);
        }
    }
}

impl RoleRef {
    /// The kind that it refers to; `None` if that is no role.
    #[must_use]
    pub fn role_kind(&self) -> Option<Kind> {
        [Kind::Role, Kind::ClusterRole].into_iter().find(|kind| kind.as_str() == self.kind)
    }

    fn validate(&self, namespaced: bool, errors: &mut Errors) {
        if self.api_group != GROUP {
            errors.add("roleRef.apiGroup", format!("must be {GROUP:?}, not {:?}", self.api_group));
        }
        match self.role_kind() {
            Some(Kind::ClusterRole) => {}
            Some(_) if namespaced => {}
            _ if namespaced => errors.add(
                "roleRef.kind",
                format!("must be {} or {}", Role::NAMES.kind, ClusterRole::NAMES.kind),
            ),
            _ => errors.add("roleRef.kind", format!("must be {}", ClusterRole::NAMES.kind)),
        }
        errors.keep(check_segment("roleRef.name", &self.name, Role::NAMES.longest_name));
    }
}

/// Fills in the groups that go without saying.
pub(super) fn default_fields(role: &mut RoleRef, subjects: &mut [Subject]) {
    if role.api_group.is_empty() {
        GROUP.clone_into(&mut role.api_group);
    }
    subjects.iter_mut().for_each(Subject::default_fields);
}

/// Finds what is wrong with a binding.
pub(super) fn validate(
    role: &RoleRef,
    old: Option<&RoleRef>,
    subjects: &[Subject],
    namespaced: bool,
    errors: &mut Errors,
) {
    role.validate(namespaced, errors);
    if old.is_some_and(|old| old != role) {
        errors.add("roleRef", "can't be changed; delete the binding and create another");
    }
    if subjects.len() > MAX_SUBJECTS {
        errors.add(
            "subjects",
            format!("at most {MAX_SUBJECTS} are taken; use a Group, or make two bindings"),
        );
        return;
    }
    for (index, subject) in subjects.iter().enumerate() {
        subject.validate(&format!("subjects[{index}]"), namespaced, errors);
    }
}

/// The role, as kubectl shows it: `ClusterRole/view`.
pub(super) fn role_cell(role: &RoleRef) -> Value {
    format!("{}/{}", role.kind, role.name).into()
}

/// The subjects of a kind, as kubectl shows them.
pub(super) fn subjects_cell(subjects: &[Subject], kind: &str) -> Value {
    let of_kind = subjects.iter().filter(|subject| subject.kind == kind);
    let names: Vec<String> = of_kind
        .map(|subject| match kind {
            PROGRAM => format!("{}/{}", subject.namespace, subject.name),
            _ => subject.name.clone(),
        })
        .collect();
    names.join(", ").into()
}
