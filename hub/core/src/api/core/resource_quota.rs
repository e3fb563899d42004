//! `v1` ResourceQuota: how much the Pods of a namespace may ask for together, and how many objects it may have.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    KINDS, cell,
    field::{Field, Message, Shape, field, instead, object, written},
    meta::{OBJECT_META, ObjectMeta, nullable},
    quantity::{Amounts, Quantity},
    resource::{Column, Home, Names, Resource, Verb},
    validate::Errors,
};

/// What is bounded, and what of it is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceQuota {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// The bounds.
    #[serde(default)]
    pub spec: ResourceQuotaSpec,
    /// What the hub counts.
    #[serde(default)]
    pub status: ResourceQuotaStatus,
}

/// The bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceQuotaSpec {
    /// By what is bounded: see [`Bounded::parse`].
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub hard: Amounts,
}

/// What of the bounds is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceQuotaStatus {
    /// The bounds that are kept.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub hard: Amounts,
    /// What is used.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub used: Amounts,
}

/// What can be bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounded {
    /// Pods that have not ended.
    Pods,
    /// What they ask for, in thousandths of a core.
    CpuRequests,
    /// What they may use, in thousandths of a core.
    CpuLimits,
    /// What they ask for, in bytes.
    MemoryRequests,
    /// What they may use, in bytes.
    MemoryLimits,
    /// Objects of a kind.
    Objects(crate::api::Kind),
}

impl Bounded {
    /// Reads Kubernetes' name for it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "pods" | "count/pods" => Self::Pods,
            "cpu" | "requests.cpu" => Self::CpuRequests,
            "limits.cpu" => Self::CpuLimits,
            "memory" | "requests.memory" => Self::MemoryRequests,
            "limits.memory" => Self::MemoryLimits,
            _ => {
                let (counted, is_short) = match name.strip_prefix("count/") {
                    Some(counted) => (counted, false),
                    None => (name, true),
                };
                let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
                let is_it = |kind: &&crate::api::Kind| {
                    let names = kind.names();
                    let is_stored = names.home == Home::Objects && names.allows(Verb::Create);
                    let is_core = group.is_empty() && (is_short || names.group().is_empty());
                    let of_group = names.group() == group && (is_core || !group.is_empty());
                    names.namespaced && is_stored && names.plural == plural && of_group
                };
                return KINDS.iter().find(is_it).copied().map(Self::Objects);
            }
        })
    }

    /// An amount of it, as Kubernetes writes it.
    #[must_use]
    pub fn quantity(self, amount: u64) -> Quantity {
        match self {
            Self::CpuRequests | Self::CpuLimits => {
                Quantity::milli(u32::try_from(amount).unwrap_or(u32::MAX))
            }
            Self::MemoryRequests | Self::MemoryLimits => Quantity::bytes(amount),
            Self::Pods | Self::Objects(_) => Quantity(format!("{amount}")),
        }
    }

    /// The amount that a quantity of it is; `None` if it is none.
    #[must_use]
    pub fn amount(self, quantity: &Quantity) -> Option<u64> {
        match self {
            Self::CpuRequests | Self::CpuLimits => quantity.in_milli(),
            _ => quantity.in_units(),
        }
    }
}

impl Resource for ResourceQuota {
    const NAMES: Names = Names {
        kind: "ResourceQuota",
        plural: "resourcequotas",
        singular: "resourcequota",
        short: &["quota"],
        apply_order: 10,
        most: 1_000,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "ResourceQuota",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &RESOURCE_QUOTA_SPEC),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Request", "What is used, of what may be.", |o, _| {
            o.shown(|name| !name.starts_with("limits.")).into()
        }),
        Column::text("Limit", "What limits add up to, of what they may.", |o, _| {
            o.shown(|name| name.starts_with("limits.")).into()
        }),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
    ];

    fn validate(&self, _old: Option<&Self>, errors: &mut Errors) {
        for (name, quantity) in &self.spec.hard {
            let at = format!("spec.hard[{name}]");
            match Bounded::parse(name) {
                None => errors.add(
                    at,
                    "this is not bounded here; pods, requests.cpu, requests.memory, limits.cpu, limits.memory, and count/RESOURCE.GROUP of what is stored are",
                ),
                Some(bounded) if bounded.amount(quantity).is_none() => {
                    errors.add(at, format!("\"{quantity}\" is not a quantity, such as \"2\" or \"64Mi\""));
                }
                Some(_) => {}
            }
        }
    }

    fn prepare_for_create(&mut self) {
        self.status = ResourceQuotaStatus::default();
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
    }
}

impl ResourceQuota {
    /// As kubectl shows it: `pods: 1/10, requests.cpu: 250m/1`.
    fn shown(&self, wanted: impl Fn(&str) -> bool) -> String {
        let hard = self.status.hard.iter().filter(|(name, _)| wanted(name));
        let zero = Quantity("0".into());
        let parts: Vec<String> = hard
            .map(|(name, most)| {
                format!("{name}: {}/{most}", self.status.used.get(name).unwrap_or(&zero))
            })
            .collect();
        parts.join(", ")
    }
}

const RESOURCE_QUOTA_SPEC: Message = Message {
    name: "ResourceQuotaSpec",
    fields: &[
        amounts("hard", 1),
        instead("scopes", 2, "a quota is for all Pods of its namespace"),
        instead("scopeSelector", 3, "a quota is for all Pods of its namespace"),
    ],
};

const fn amounts(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Map(&Shape::Quantity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    #[test]
    fn what_is_bounded_has_kubernetes_names() {
        for (name, expected) in [
            ("pods", Some(Bounded::Pods)),
            ("cpu", Some(Bounded::CpuRequests)),
            ("limits.memory", Some(Bounded::MemoryLimits)),
            ("configmaps", Some(Bounded::Objects(Kind::ConfigMap))),
            ("count/configmaps", Some(Bounded::Objects(Kind::ConfigMap))),
            ("count/deployments.apps", Some(Bounded::Objects(Kind::Deployment))),
            ("count/deployments", None),
            ("count/nodes", None),
            ("count/events", None),
            ("requests.nvidia.com/gpu", None),
            ("deployments.apps", Some(Bounded::Objects(Kind::Deployment))),
        ] {
            assert_eq!(Bounded::parse(name), expected, "{name}");
        }
    }
}
