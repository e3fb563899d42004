//! Where a template's Pods may run: tolerations of taints.

use alloc::{format, string::String, vec::Vec};

use super::Check;
use crate::api::core::pod::PodSpec;

/// A taint's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintEffect {
    /// Nothing new.
    NoSchedule,
    /// Nothing new if it fits elsewhere.
    PreferNoSchedule,
    /// Nothing new, and what runs goes.
    NoExecute,
}

impl TaintEffect {
    /// Reads Kubernetes' word for it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "NoSchedule" => Self::NoSchedule,
            "PreferNoSchedule" => Self::PreferNoSchedule,
            "NoExecute" => Self::NoExecute,
            _ => return None,
        })
    }
}

/// A taint that is borne.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toleration {
    /// `None` for every key.
    pub key: Option<String>,
    /// `None` for every value.
    pub value: Option<String>,
    /// `None` for every effect.
    pub effect: Option<TaintEffect>,
    /// How long a `NoExecute` taint is borne; `None` for ever.
    pub seconds: Option<u32>,
}

impl Toleration {
    /// Whether this tolerates a taint.
    #[must_use]
    pub fn tolerates(&self, key: &str, value: &str, effect: TaintEffect) -> bool {
        self.key.as_deref().is_none_or(|own| own == key)
            && self.value.as_deref().is_none_or(|own| own == value)
            && self.effect.is_none_or(|own| own == effect)
    }
}

impl Check {
    pub(super) fn tolerations(&mut self, at: &str, spec: &PodSpec) -> Vec<Toleration> {
        let mut tolerations = Vec::new();
        for (i, toleration) in spec.tolerations.iter().enumerate() {
            let field = format!("{at}.tolerations[{i}]");
            let exists = match toleration.operator.as_deref() {
                None | Some("" | "Equal") => false,
                Some("Exists") => true,
                Some(other) => {
                    self.error(
                        format!("{field}.operator"),
                        format!("\"{other}\" must be \"Equal\" or \"Exists\""),
                    );
                    false
                }
            };
            if toleration.key.is_empty() && !exists {
                self.error(format!("{field}.key"), "may be empty only with operator \"Exists\"");
            }
            let effect = match toleration.effect.as_str() {
                "" => None,
                word => TaintEffect::parse(word).or_else(|| {
                    self.error(
                        format!("{field}.effect"),
                        format!("\"{word}\" must be \"NoSchedule\", \"PreferNoSchedule\" or \"NoExecute\""),
                    );
                    None
                }),
            };
            // The hub puts no other taint on a device by itself; of an operator's taint it knows no time.
            let timed = ["", "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"];
            if toleration.toleration_seconds.is_some() && !timed.contains(&toleration.key.as_str())
            {
                self.error(
                    format!("{field}.tolerationSeconds"),
                    "is supported for node.kubernetes.io/unreachable alone; leave it out to bear the taint for ever",
                );
            }
            tolerations.push(Toleration {
                key: (!toleration.key.is_empty()).then(|| toleration.key.clone()),
                value: (!exists).then(|| toleration.value.clone()),
                effect,
                seconds: toleration.toleration_seconds,
            });
        }
        tolerations
    }
}
