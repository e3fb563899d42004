//! `v1` LimitRange: what a container, a Pod or a claim of a namespace may ask for, and what a container asks for whose
//! manifest says nothing.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    cell,
    field::{Field, Message, Shape, field, object, objects, text},
    meta::{OBJECT_META, ObjectMeta, nullable},
    quantity::{Amounts, Quantity},
    resource::{Column, Names, Resource},
    validate::Errors,
};

/// Bounds and defaults of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitRange {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// The bounds.
    #[serde(default)]
    pub spec: LimitRangeSpec,
}

/// The bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitRangeSpec {
    /// For each type of thing.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub limits: Vec<LimitRangeItem>,
}

/// The bounds of one type of thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LimitRangeItem {
    /// `Container`, `Pod` or `PersistentVolumeClaim`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The most that it may ask for or use.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub max: Amounts,
    /// The least that it may ask for or use.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub min: Amounts,
    /// Limits of a container that names none.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub default: Amounts,
    /// Requests of a container that names neither a request nor a limit.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub default_request: Amounts,
    /// How many times its request a limit may be.
    #[serde(skip_serializing_if = "Amounts::is_empty", deserialize_with = "nullable")]
    pub max_limit_request_ratio: Amounts,
}

/// The type of what has a process.
pub const CONTAINER: &str = "Container";
/// The type of what is scheduled.
pub const POD: &str = "Pod";
/// The type of what keeps data.
pub const CLAIM: &str = "PersistentVolumeClaim";
const TYPES: [(&str, &[&str]); 3] =
    [(CONTAINER, &["cpu", "memory"]), (POD, &["cpu", "memory"]), (CLAIM, &["storage"])];

impl LimitRangeItem {
    fn amounts(&self) -> [(&'static str, &Amounts); 5] {
        [
            ("max", &self.max),
            ("min", &self.min),
            ("default", &self.default),
            ("defaultRequest", &self.default_request),
            ("maxLimitRequestRatio", &self.max_limit_request_ratio),
        ]
    }

    /// A bound that is not said follows from others, as Kubernetes has it: the limit is the most, the request is the limit, or
    /// else the least.
    fn default_fields(&mut self) {
        if self.kind != CONTAINER {
            return;
        }
        let add = |to: &mut Amounts, from: &Amounts| {
            for (name, quantity) in from {
                to.entry(name.clone()).or_insert_with(|| quantity.clone());
            }
        };
        add(&mut self.default, &self.max);
        add(&mut self.default_request, &self.default);
        add(&mut self.default_request, &self.min);
    }

    fn validate(&self, at: &str, errors: &mut Errors) {
        let Some((_, resources)) = TYPES.iter().find(|(name, _)| *name == self.kind) else {
            let known = TYPES.map(|(name, _)| name).join(", ");
            return errors.add(format!("{at}.type"), format!("must be one of {known}"));
        };
        for (field, amounts) in self.amounts() {
            if self.kind != CONTAINER && !amounts.is_empty() && field.starts_with("default") {
                errors
                    .add(format!("{at}.{field}"), format!("may not be given for a {}", self.kind));
                continue;
            }
            for (name, quantity) in amounts {
                let at = format!("{at}.{field}[{name}]");
                if !resources.contains(&name.as_str()) {
                    let of = resources.join(" and ");
                    errors.add(at, format!("of a {}, {of} can be bounded", self.kind));
                } else if quantity.in_milli().is_none() {
                    let cause =
                        format!("\"{quantity}\" is not a quantity, such as \"2\" or \"64Mi\"");
                    errors.add(at, cause);
                } else if field == "maxLimitRequestRatio" && quantity.in_milli() < Some(1000) {
                    errors.add(at, "must be 1 or more");
                }
            }
        }
        for resource in *resources {
            self.check_order(at, resource, errors);
        }
    }

    /// The least is no more than what is asked for, that than what is used, that than the most.
    fn check_order(&self, at: &str, resource: &str, errors: &mut Errors) {
        let order = [
            ("min", self.min.get(resource)),
            ("defaultRequest", self.default_request.get(resource)),
            ("default", self.default.get(resource)),
            ("max", self.max.get(resource)),
        ];
        let said = order.into_iter().filter_map(|(field, said)| Some((field, said?)));
        let said: Vec<(&str, &Quantity)> = said.collect();
        for pair in said.windows(2) {
            let [(low, least), (high, most)] = pair else { continue };
            if least.in_milli() > most.in_milli() {
                errors.add(
                    format!("{at}.{low}[{resource}]"),
                    format!("{least} is more than the {high}, {most}"),
                );
            }
        }
    }
}

impl Resource for LimitRange {
    const NAMES: Names = Names {
        kind: "LimitRange",
        plural: "limitranges",
        singular: "limitrange",
        short: &["limits"],
        apply_order: 10,
        most: 1_000,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "LimitRange",
        fields: &[object("metadata", 1, &OBJECT_META).required(), object("spec", 2, &SPEC)],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Created At", "When it was created.", |o, _| {
            o.metadata.creation_timestamp.as_deref().unwrap_or_default().into()
        }),
    ];

    fn default_fields(&mut self) {
        self.spec.limits.iter_mut().for_each(LimitRangeItem::default_fields);
    }

    fn validate(&self, _old: Option<&Self>, errors: &mut Errors) {
        for (index, item) in self.spec.limits.iter().enumerate() {
            item.validate(&format!("spec.limits[{index}]"), errors);
        }
    }
}

const SPEC: Message =
    Message { name: "LimitRangeSpec", fields: &[objects("limits", 1, &ITEM).required()] };

const ITEM: Message = Message {
    name: "LimitRangeItem",
    fields: &[
        text("type", 1).required(),
        amounts("max", 2),
        amounts("min", 3),
        amounts("default", 4),
        amounts("defaultRequest", 5),
        amounts("maxLimitRequestRatio", 6),
    ],
};

const fn amounts(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Map(&Shape::Quantity))
}
