//! How a workload goes from one revision to the next: the fields that Deployments and DaemonSets share.

use alloc::{format, string::String};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::api::{
    field::{Message, Shape, field, object, text},
    meta::nullable,
    validate::Errors,
};

/// A number of Pods, or a share of them: `1`, `"10%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountOrPercent {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

/// `maxSurge` and `maxUnavailable` of a Deployment, where nothing is said.
pub const DEPLOYMENT_DEFAULT: CountOrPercent = CountOrPercent::Percent(25);
/// `maxUnavailable` of a DaemonSet, where nothing is said.
pub const DAEMON_SET_UNAVAILABLE: CountOrPercent = CountOrPercent::Count(1);
/// `maxSurge` of a DaemonSet, where nothing is said.
pub const DAEMON_SET_SURGE: CountOrPercent = CountOrPercent::Count(0);

impl CountOrPercent {
    /// How many of `all`, rounded up.
    #[must_use]
    pub fn of_rounded_up(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => all.saturating_mul(percent as usize).div_ceil(100),
        }
    }

    /// How many of `all`, rounded down.
    #[must_use]
    pub fn of_rounded_down(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => all.saturating_mul(percent as usize) / 100,
        }
    }

    fn is_none(self) -> bool {
        matches!(self, Self::Count(0) | Self::Percent(0))
    }
}

impl Serialize for CountOrPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(percent) => serializer.collect_str(&format_args!("{percent}%")),
        }
    }
}

impl<'de> Deserialize<'de> for CountOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = CountOrPercent;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("a whole number, or a percentage such as \"25%\"")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<CountOrPercent, E> {
                u32::try_from(count)
                    .map(CountOrPercent::Count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(count), &self))
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<CountOrPercent, E> {
                u32::try_from(count)
                    .map(CountOrPercent::Count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(count), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CountOrPercent, E> {
                let percent = text.strip_suffix('%').map(str::parse);
                // A number in quotes is the number.
                let read = match percent {
                    Some(percent) => percent.map(CountOrPercent::Percent),
                    None => text.parse().map(CountOrPercent::Count),
                };
                read.ok().ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// How a Deployment, or a DaemonSet, is updated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// `RollingUpdate` (default); for a Deployment also `Recreate`, for a DaemonSet `OnDelete`.
    #[serde(
        rename = "type",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "nullable"
    )]
    pub kind: String,
    /// How far a rolling update goes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
}

/// How far a rolling update goes at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    /// Pods that may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<CountOrPercent>,
    /// Pods over the declared number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<CountOrPercent>,
}

impl Strategy {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Pods that may be missing, where it says so.
    #[must_use]
    pub fn max_unavailable(&self) -> Option<CountOrPercent> {
        self.rolling_update.as_ref()?.max_unavailable
    }

    /// Pods over the declared number, where it says so.
    #[must_use]
    pub fn max_surge(&self) -> Option<CountOrPercent> {
        self.rolling_update.as_ref()?.max_surge
    }

    /// Finds what is wrong with it. `other` is the type beside `RollingUpdate` that the kind has, `surge` what it means
    /// not to write `maxSurge`.
    pub(super) fn validate(
        &self,
        field: &str,
        other: &str,
        surge: CountOrPercent,
        errors: &mut Errors,
    ) {
        let is_rolling = matches!(self.kind.as_str(), "" | "RollingUpdate");
        if !is_rolling && self.kind != other {
            errors.add(
                format!("{field}.type"),
                format!("\"{}\" must be \"RollingUpdate\" or \"{other}\"", self.kind),
            );
        }
        if !is_rolling && self.rolling_update.is_some() {
            errors.add(
                format!("{field}.rollingUpdate"),
                format!("must be left out where the type is \"{}\"", self.kind),
            );
        }
        let field = format!("{field}.rollingUpdate");
        let (missing, more) = (self.max_unavailable(), self.max_surge());
        if matches!(missing, Some(CountOrPercent::Percent(percent)) if percent > 100) {
            errors.add(format!("{field}.maxUnavailable"), "is at most \"100%\"");
        }
        let more = more.unwrap_or(surge);
        if missing.is_some_and(CountOrPercent::is_none) && more.is_none() {
            errors.add(
                format!("{field}.maxUnavailable"),
                "can't be 0 where maxSurge is 0, too: nothing could ever be replaced",
            );
        }
    }
}

/// The fields of a [`Strategy`] of a Deployment.
pub(super) const DEPLOYMENT_STRATEGY: Message = Message {
    name: "DeploymentStrategy",
    fields: &[text("type", 1), object("rollingUpdate", 2, &ROLLING_DEPLOYMENT).optional()],
};

const ROLLING_DEPLOYMENT: Message = Message {
    name: "RollingUpdateDeployment",
    fields: &[
        field("maxUnavailable", 1, Shape::CountOrPercent).optional(),
        field("maxSurge", 2, Shape::CountOrPercent).optional(),
    ],
};

/// The fields of a [`Strategy`] of a DaemonSet.
pub(super) const DAEMON_SET_STRATEGY: Message = Message {
    name: "DaemonSetUpdateStrategy",
    fields: &[text("type", 1), object("rollingUpdate", 2, &ROLLING_DAEMON_SET).optional()],
};

const ROLLING_DAEMON_SET: Message = Message {
    name: "RollingUpdateDaemonSet",
    fields: &[
        field("maxUnavailable", 1, Shape::CountOrPercent).optional(),
        field("maxSurge", 2, Shape::CountOrPercent).optional(),
    ],
};
