//! Label selectors, as they stand in a query: `app=web,tier!=cache,site in (a, b),!old`.

use lichen_hub_core::api::{meta::Map, validate::check_label};

/// All requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "could not read the label selector at {at:?}: {cause}; write it like app=web,tier!=cache,site in (a,b),!old"
)]
pub(crate) struct SelectorError {
    at: String,
    cause: String,
}

/// Most requirements of one selector.
const MAX_REQUIREMENTS: usize = 64;

impl LabelSelector {
    /// Reads a selector; an empty text selects everything.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in split(text) {
            if requirements.len() >= MAX_REQUIREMENTS {
                return Err(wrong(
                    part,
                    &format!("there are more than {MAX_REQUIREMENTS} requirements"),
                ));
            }
            requirements.push(Requirement::parse(part)?);
        }
        Ok(Self(requirements))
    }

    /// Whether it selects an object with these labels.
    pub(crate) fn selects(&self, labels: &Map) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }
}

/// The parts between the commas that are not in brackets. An empty text has none.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let parts = text.split(move |letter: char| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth <= 0
    });
    let nothing = text.trim().is_empty();
    parts.filter(move |_| !nothing)
}

impl Requirement {
    fn parse(part: &str) -> Result<Self, SelectorError> {
        let text = part.trim();
        let (key, test) = if let Some(key) = text.strip_prefix('!') {
            (key, Test::Absent)
        } else if let Some((key, value)) = text.split_once("!=") {
            (key, Test::NotIn(vec![value.trim().to_owned()]))
        } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            (key, Test::In(vec![value.trim().to_owned()]))
        } else if let Some(end) = text.find(|c: char| c.is_whitespace() || c == '(') {
            let (key, rest) = text.split_at(end);
            (key, set(text, rest)?)
        } else {
            (text, Test::Exists)
        };
        let requirement = Self { key: key.trim().to_owned(), test };
        requirement.check().map_err(|cause| wrong(part, &cause))?;
        Ok(requirement)
    }

    fn check(&self) -> Result<(), String> {
        let values = match &self.test {
            Test::Exists | Test::Absent => &[String::new()][..],
            Test::In(values) | Test::NotIn(values) => values,
        };
        for value in values {
            check_label("label", &self.key, value).map_err(|error| error.cause)?;
        }
        Ok(())
    }

    fn holds(&self, labels: &Map) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            // As Kubernetes has it: an object without the label is selected.
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
        }
    }
}

/// `in (a, b)` or `notin (a, b)`.
fn set(whole: &str, rest: &str) -> Result<Test, SelectorError> {
    let rest = rest.trim_start();
    let (make, list): (fn(Vec<String>) -> Test, _) = match rest {
        _ if rest.starts_with("notin") => (Test::NotIn, &rest["notin".len()..]),
        _ if rest.starts_with("in") => (Test::In, &rest["in".len()..]),
        _ => return Err(wrong(whole, "an operator is missing between two words")),
    };
    let list = list.trim();
    let inner = list.strip_prefix('(').and_then(|list| list.strip_suffix(')'));
    match inner {
        Some(inner) if !inner.contains(['(', ')']) => {
            Ok(make(inner.split(',').map(|value| value.trim().to_owned()).collect()))
        }
        _ => Err(wrong(whole, "the values must stand in brackets")),
    }
}

fn wrong(at: &str, cause: &str) -> SelectorError {
    SelectorError { at: at.chars().take(100).collect(), cause: cause.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::btree_map, prelude::*};

    fn labels(text: &str) -> Map {
        let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn selectors_select_as_in_kubernetes() {
        let check = |selector: &str, text: &str, expected: bool| {
            let parsed = LabelSelector::parse(selector).expect(selector);
            assert_eq!(parsed.selects(&labels(text)), expected, "{selector} on {text}");
        };
        check("", "", true);
        check("  ", "a=1", true);
        check("a=1", "a=1", true);
        check("a==1", "a=1", true);
        check("a = 1 , b = 2", "a=1 b=2", true);
        check("a=1,b=2", "a=1", false);
        check("a!=1", "a=1", false);
        check("a!=1", "b=1", true);
        check("a", "a=", true);
        check("a", "b=1", false);
        check("!a", "b=1", true);
        check("!a", "a=1", false);
        check("a=", "a=", true);
        check("a in (1, 2)", "a=2", true);
        check("a in (1,2),b", "a=2", false);
        check("a notin (1,2)", "a=3", true);
        check("a notin (1,2)", "a=1", false);
        check("a in(1)", "a=1", true);
        check("lichen.dev/site in (x)", "lichen.dev/site=x", true);
    }

    #[test]
    fn a_wrong_selector_is_refused_with_an_example() {
        for selector in [
            ",",
            "a,",
            "a b",
            "a in 1",
            "a in (1",
            "a in (1))",
            "=1",
            "!",
            "a=b=c",
            "a in (b c)",
            "A/B/C=1",
            "-a=1",
            "a=-1",
            "a > 1",
            "in (a)",
            "(",
            "a (",
        ] {
            let error = LabelSelector::parse(selector).expect_err(selector).to_string();
            assert!(error.contains("write it like app=web"), "{error}");
        }
        let many = vec!["a"; 65].join(",");
        assert!(LabelSelector::parse(&many).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_selector_or_refused(text in "[a-z!=, ()/.-]{0,24}|(a (not)?in \\([a-c, ]{0,6}\\))|.{0,24}") {
            let _ = LabelSelector::parse(&text);
        }

        #[test]
        fn a_selector_and_its_opposite_part_the_world(
            key in "[a-c]", values in "[a-c](,[a-c]){0,2}", labels in btree_map("[a-c]", "[a-c]", 0..3)
        ) {
            let parse = |text: String| LabelSelector::parse(&text).expect("valid");
            let (within, without) = (parse(format!("{key} in ({values})")), parse(format!("{key} notin ({values})")));
            prop_assert_ne!(within.selects(&labels), without.selects(&labels));
            let (there, absent) = (parse(key.clone()), parse(format!("!{key}")));
            prop_assert_ne!(there.selects(&labels), absent.selects(&labels));
            prop_assert!(!within.selects(&labels) || there.selects(&labels));
        }
    }
}
