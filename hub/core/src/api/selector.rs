//! Selectors as they stand in objects: labels with their values, and expressions, all of which must hold.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use super::{
    field::{Message, objects, text, text_map, texts},
    meta::{Map, nullable},
    validate::{Errors, check_label},
};

/// Which labels an object must have. An empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// All of these, with these values.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub match_labels: Map,
    /// What else is required of labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub match_expressions: Vec<Requirement>,
}

/// What is required of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`; of devices also `Gt` and `Lt`.
    pub operator: String,
    /// What it is compared with.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether it selects what has these labels.
    pub fn selects<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.match_labels.iter().all(|(key, value)| label(key) == Some(value.as_str()))
            && self.match_expressions.iter().all(|one| one.holds(label(&one.key)))
    }

    /// Adds what is wrong with it.
    pub fn validate(&self, at: &str, errors: &mut Errors) {
        for (key, value) in &self.match_labels {
            errors.keep(check_label(&format!("{at}.matchLabels"), key, value));
        }
        for (index, requirement) in self.match_expressions.iter().enumerate() {
            requirement.validate(&format!("{at}.matchExpressions[{index}]"), false, errors);
        }
    }
}

impl Requirement {
    /// Whether a label with this value, or none, is as required. One without the label is not in any list of values.
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        let is_listed = || value.is_some_and(|value| self.values.iter().any(|own| own == value));
        let number = |text: &str| text.parse::<i64>().ok();
        let compared = || number(value?).zip(number(self.values.first()?));
        match self.operator.as_str() {
            "In" => is_listed(),
            "NotIn" => !is_listed(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "Gt" => compared().is_some_and(|(value, bound)| value > bound),
            "Lt" => compared().is_some_and(|(value, bound)| value < bound),
            _ => false,
        }
    }

    /// Adds what is wrong with it. Numbers are compared for devices only, as Kubernetes has it.
    pub fn validate(&self, at: &str, is_of_node: bool, errors: &mut Errors) {
        let count = self.values.len();
        match self.operator.as_str() {
            "In" | "NotIn" if count == 0 => {
                errors.add(format!("{at}.values"), format!("{} needs at least one", self.operator));
            }
            "Exists" | "DoesNotExist" if count > 0 => errors
                .add(format!("{at}.values"), format!("must be left out with {}", self.operator)),
            "Gt" | "Lt" if is_of_node => {
                let is_number = self.values.first().is_some_and(|text| text.parse::<i64>().is_ok());
                if count != 1 || !is_number {
                    errors.add(
                        format!("{at}.values"),
                        format!("{} needs one whole number, in quotes", self.operator),
                    );
                }
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let more = if is_of_node { ", \"Gt\" or \"Lt\"" } else { "" };
                errors.add(
                    format!("{at}.operator"),
                    format!(
                        "\"{other}\" must be \"In\", \"NotIn\", \"Exists\", \"DoesNotExist\"{more}"
                    ),
                );
            }
        }
        let empty = String::new();
        for value in self.values.iter().chain([&empty].into_iter().filter(|_| count == 0)) {
            errors.keep(check_label(at, &self.key, value));
        }
    }
}

impl fmt::Display for LabelSelector {
    /// As in a query: `app=web,site in (a,b),!old`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (key, value) in &self.match_labels {
            write!(f, "{comma}{key}={value}")?;
            comma = ",";
        }
        for Requirement { key, operator, values } in &self.match_expressions {
            f.write_str(comma)?;
            comma = ",";
            match operator.as_str() {
                "Exists" => f.write_str(key)?,
                "DoesNotExist" => write!(f, "!{key}")?,
                _ => write!(f, "{key} {} ({})", operator.to_lowercase(), values.join(","))?,
            }
        }
        Ok(())
    }
}

/// The fields of [`LabelSelector`].
pub const LABEL_SELECTOR: Message = Message {
    name: "LabelSelector",
    fields: &[
        text_map("matchLabels", 1),
        objects("matchExpressions", 2, &LABEL_SELECTOR_REQUIREMENT),
    ],
};

const LABEL_SELECTOR_REQUIREMENT: Message = Message {
    name: "LabelSelectorRequirement",
    fields: &[text("key", 1), text("operator", 2), texts("values", 3)],
};

/// The same of devices.
pub(crate) const NODE_SELECTOR_REQUIREMENT: Message = Message {
    name: "NodeSelectorRequirement",
    fields: &[text("key", 1), text("operator", 2), texts("values", 3)],
};

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(operator: &str, values: &[&str]) -> Requirement {
        let values = values.iter().map(|value| (*value).into()).collect();
        Requirement { key: "a".into(), operator: operator.into(), values }
    }

    #[test]
    fn each_operator_has_kubernetes_meaning() {
        for (operator, values, value, expected) in [
            ("In", &["x", "y"][..], Some("y"), true),
            ("In", &["x"], None, false),
            ("NotIn", &["x"], Some("x"), false),
            ("NotIn", &["x"], None, true),
            ("Exists", &[], Some(""), true),
            ("Exists", &[], None, false),
            ("DoesNotExist", &[], None, true),
            ("DoesNotExist", &[], Some("x"), false),
            ("Gt", &["9"], Some("10"), true),
            ("Gt", &["9"], Some("9"), false),
            ("Gt", &["9"], Some("many"), false),
            ("Lt", &["9"], Some("-1"), true),
            ("Lt", &["9"], None, false),
        ] {
            let requirement = requirement(operator, values);
            assert_eq!(requirement.holds(value), expected, "{requirement:?} {value:?}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused_by_its_path() {
        for (operator, values, is_of_node, said) in [
            ("In", &[][..], false, Some("x.values: In needs at least one")),
            ("Exists", &["x"], false, Some("x.values: must be left out with Exists")),
            ("Gt", &["1"], false, Some("x.operator: \"Gt\" must be")),
            ("Gt", &["one"], true, Some("x.values: Gt needs one whole number")),
            ("Gt", &["1"], true, None),
            ("in", &["1"], true, Some("x.operator: \"in\" must be")),
            ("In", &["a b"], false, Some("x[a]: \"a b\" must be")),
        ] {
            let mut errors = Errors::default();
            requirement(operator, values).validate("x", is_of_node, &mut errors);
            let first = errors.0.first().map(|error| format!("{error}"));
            match said {
                Some(said) => assert!(first.expect(operator).contains(said), "{operator}"),
                None => assert_eq!(first, None),
            }
        }
    }
}
