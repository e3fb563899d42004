//! `securityContext` of a Pod and of a container: as whom they run, and what they may do.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    field::{
        Message, Shape, count, flag, instead, list, object, objects, text, texts, unless_empty,
    },
    meta::nullable,
};

/// What holds for every container of a Pod. What a container says itself counts more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSecurityContext {
    /// As whom its containers run. Absent, the image says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<u32>,
    /// Their primary group. Absent, the image says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<u32>,
    /// Whether they must not run as root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// More groups.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub supplemental_groups: Vec<u32>,
    /// `Merge` (default) adds the groups that the image gives its user, `Strict` leaves them out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supplemental_groups_policy: Option<String>,
    /// The group of its own volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<u32>,
    /// `Always` (default) or `OnRootMismatch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_group_change_policy: Option<String>,
    /// Settings of the kernel.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub sysctls: Vec<Sysctl>,
    /// The filter of system calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<Profile>,
    /// The profile of `AppArmor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_armor_profile: Option<Profile>,
}

/// What holds for one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityContext {
    /// Beyond the usual rights, and without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Whether it may do what the device's root may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// As whom it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<u32>,
    /// Its primary group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<u32>,
    /// Whether it must not run as root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// Whether its root file system can't be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
    /// Whether a program may get more rights than the one that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_privilege_escalation: Option<bool>,
    /// `Default` or `Unmasked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proc_mount: Option<String>,
    /// The filter of system calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<Profile>,
    /// The profile of `AppArmor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_armor_profile: Option<Profile>,
}

/// Capabilities of Linux, with or without `CAP_`; `ALL` for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Beyond the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub add: Vec<String>,
    /// Not these.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub drop: Vec<String>,
}

/// Which profile holds, of seccomp or of `AppArmor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    /// `RuntimeDefault`, `Unconfined` or `Localhost`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    /// Of `Localhost`: its name on the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub localhost_profile: Option<String>,
}

/// A setting of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sysctl {
    /// With dots.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// What is written.
    #[serde(deserialize_with = "nullable")]
    pub value: String,
}

const NO_SELINUX: &str = "agents label nothing for SELinux; leave it out";
const NO_WINDOWS: &str = "devices run Linux; leave it out";

/// The fields of [`PodSecurityContext`].
pub const POD_SECURITY_CONTEXT: Message = Message {
    name: "PodSecurityContext",
    fields: &[
        unless_empty("seLinuxOptions", 1, NO_SELINUX),
        count("runAsUser", 2).optional(),
        flag("runAsNonRoot", 3).optional(),
        list("supplementalGroups", 4, Shape::Count),
        count("fsGroup", 5).optional(),
        count("runAsGroup", 6).optional(),
        objects("sysctls", 7, &SYSCTL),
        unless_empty("windowsOptions", 8, NO_WINDOWS),
        text("fsGroupChangePolicy", 9).optional(),
        object("seccompProfile", 10, &SECCOMP_PROFILE).optional(),
        object("appArmorProfile", 11, &APP_ARMOR_PROFILE).optional(),
        text("supplementalGroupsPolicy", 12).optional(),
        instead("seLinuxChangePolicy", 13, NO_SELINUX),
    ],
};

/// The fields of [`SecurityContext`].
pub const SECURITY_CONTEXT: Message = Message {
    name: "SecurityContext",
    fields: &[
        object("capabilities", 1, &CAPABILITIES).optional(),
        flag("privileged", 2).optional(),
        unless_empty("seLinuxOptions", 3, NO_SELINUX),
        count("runAsUser", 4).optional(),
        flag("runAsNonRoot", 5).optional(),
        flag("readOnlyRootFilesystem", 6).optional(),
        flag("allowPrivilegeEscalation", 7).optional(),
        count("runAsGroup", 8).optional(),
        text("procMount", 9).optional(),
        unless_empty("windowsOptions", 10, NO_WINDOWS),
        object("seccompProfile", 11, &SECCOMP_PROFILE).optional(),
        object("appArmorProfile", 12, &APP_ARMOR_PROFILE).optional(),
    ],
};

/// The fields of [`Capabilities`].
const CAPABILITIES: Message =
    Message { name: "Capabilities", fields: &[texts("add", 1), texts("drop", 2)] };

/// The fields of [`Profile`], as seccomp's.
const SECCOMP_PROFILE: Message = Message {
    name: "SeccompProfile",
    fields: &[text("type", 1), text("localhostProfile", 2).optional()],
};

/// The fields of [`Profile`], as `AppArmor`'s.
const APP_ARMOR_PROFILE: Message = Message {
    name: "AppArmorProfile",
    fields: &[text("type", 1), text("localhostProfile", 2).optional()],
};

/// The fields of [`Sysctl`].
const SYSCTL: Message = Message { name: "Sysctl", fields: &[text("name", 1), text("value", 2)] };
