//! `scheduling.k8s.io/v1` PriorityClass: how much the Pods of a template matter. Where no device has room, a Pod that
//! matters more takes the place of some that matter less.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    Object, cell,
    field::{Message, flag, integer, object, text},
    meta::{OBJECT_META, ObjectMeta},
    resource::{Column, Names, Resource},
    validate::Errors,
};

/// The greatest value that operators may give: Kubernetes' bound.
pub const HIGHEST: i32 = 1_000_000_000;
/// What the names of the hub's own classes begin with.
const SYSTEM: &str = "system-";
/// Does not take the place of others.
pub const NEVER: &str = "Never";
const PREEMPT: &str = "PreemptLowerPriority";

/// How much Pods matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PriorityClass {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// The more, the more they matter. Pods of no class have 0.
    #[serde(default)]
    pub value: i32,
    /// Whether Pods that name no class are of this one.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub global_default: bool,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `PreemptLowerPriority` (default) or `Never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemption_policy: Option<String>,
}

impl Resource for PriorityClass {
    const NAMES: Names = Names {
        api_version: "scheduling.k8s.io/v1",
        kind: "PriorityClass",
        plural: "priorityclasses",
        singular: "priorityclass",
        short: &["pc"],
        namespaced: false,
        apply_order: 5,
        most: 1_000,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "PriorityClass",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            integer("value", 2).required(),
            flag("globalDefault", 3),
            text("description", 4),
            text("preemptionPolicy", 5).optional(),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in the hub.", |o, _| cell::name(&o.metadata)),
        Column::number("Value", "The more, the more its Pods matter.", |o, _| o.value.into()),
        Column::text("Global-Default", "Whether Pods that name no class are of it.", |o, _| {
            format!("{}", o.global_default).into()
        }),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::text("PreemptionPolicy", "Whether its Pods take the place of others.", |o, _| {
            o.preemption_policy.as_deref().unwrap_or(PREEMPT).into()
        }),
    ];

    fn default_fields(&mut self) {
        self.preemption_policy.get_or_insert_with(|| PREEMPT.into());
    }

    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        let own = system_classes().into_iter().find(|own| own.metadata.name == self.metadata.name);
        if self.metadata.name.starts_with(SYSTEM)
            && own.as_ref().is_none_or(|own| own.value != self.value)
        {
            errors.add(
                "metadata.name",
                format!("names that begin with \"{SYSTEM}\" are for the hub's own classes"),
            );
        }
        if self.value > HIGHEST && own.is_none() {
            errors.add(
                "value",
                format!("{} is over {HIGHEST}, the highest that there may be", self.value),
            );
        }
        if let Some(old) = old
            && (old.value, &old.preemption_policy) != (self.value, &self.preemption_policy)
        {
            errors.add(
                "value",
                "value and preemptionPolicy can't be changed; make another class and name that one",
            );
        }
        match self.preemption_policy.as_deref() {
            None | Some(NEVER | PREEMPT) => {}
            Some(other) => errors.add(
                "preemptionPolicy",
                format!("\"{other}\" must be \"{PREEMPT}\" or \"{NEVER}\""),
            ),
        }
    }
}

/// The hub's own classes, which are Kubernetes'.
#[must_use]
pub fn system_classes() -> Vec<PriorityClass> {
    let class = |name: &str, value: i32, description: &str| PriorityClass {
        metadata: ObjectMeta { name: name.into(), ..ObjectMeta::default() },
        value,
        description: description.into(),
        preemption_policy: Some(PREEMPT.into()),
        global_default: false,
    };
    Vec::from([
        class("system-cluster-critical", 2_000_000_000, "For Pods that the fleet needs."),
        class("system-node-critical", 2_000_001_000, "For Pods that their device needs."),
    ])
}

/// The same, as objects.
#[must_use]
pub fn defaults() -> Vec<Object> {
    system_classes().into_iter().map(Object::from).collect()
}
