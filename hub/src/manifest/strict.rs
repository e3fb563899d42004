//! Holds JSON against a kind's table of fields: what the table does not have, what Lichen does not support, what has the
//! wrong type, what is missing. All of it is told at once, each with its path, and nothing is ever dropped in silence:
//! what is left out is marked so in the table.

use std::fmt;

use lichen_hub_core::{
    api::{
        FieldError,
        field::{Field, Message, Shape},
    },
    hidden::Hidden,
};
use serde_json::{Map, Value};

/// Most fields that are named in one answer. An operator mends a few and sees the next ones; a hostile body can't make
/// the answer large.
const MAX_FINDINGS: usize = 64;

/// How everything begins that is said about a field that the table does not have or does not support.
pub(super) const UNSUPPORTED: &str = "Lichen does not support this field";

/// The fields that the table has, without nulls (null means absent) and without what only the hub writes; and everything
/// that is wrong with the rest. `apiVersion` and `kind` are not looked at.
/// Of what is `confidential`, no value is told.
pub(crate) fn read(
    fields: &Map<String, Value>,
    table: &'static Message,
    confidential: bool,
) -> (Map<String, Value>, Vec<FieldError>) {
    let mut reader = Reader { errors: Vec::new(), confidential };
    let mut fields = fields.clone();
    fields.remove("apiVersion");
    fields.remove("kind");
    let read = reader.object(&fields, table, "");
    (read, reader.errors)
}

struct Reader {
    errors: Vec<FieldError>,
    confidential: bool,
}

impl Reader {
    fn error(&mut self, path: &str, cause: impl Into<String>) {
        if self.errors.len() < MAX_FINDINGS {
            self.errors.push(FieldError::new(path, cause));
        }
    }

    /// The table nests to a fixed depth, so this does too.
    fn object(
        &mut self,
        fields: &Map<String, Value>,
        table: &'static Message,
        path: &str,
    ) -> Map<String, Value> {
        let mut meant = Vec::new();
        let mut known = Vec::new();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match table.field(name) {
                None => meant.extend(self.unknown(name, table, path)),
                Some(field) if field.supported() => known.push((field, value)),
                Some(field) => self.unsupported(field, value, path),
            }
        }
        let mut read = Map::new();
        for (field, value) in known {
            let path = below(path, field.name);
            if let Some(value) = self.field(field, value, &path) {
                read.insert(field.name.to_owned(), value);
            }
        }
        table.each(&mut |field| {
            let given = fields.get(field.name).is_some_and(|value| !value.is_null());
            if field.required && !given && !meant.contains(&field.name) {
                self.error(&below(path, field.name), "is missing");
            }
        });
        read
    }

    /// Tells of a field that is not in the table; gives the one that was most likely meant.
    fn unknown(&mut self, name: &str, table: &'static Message, path: &str) -> Option<&'static str> {
        let mut known = Vec::new();
        table.each(&mut |field| known.extend(Some(field.name).filter(|_| field.supported())));
        let meant = nearest(name, &known);
        let hint = meant.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        self.error(&below(path, name), format!("{UNSUPPORTED}{hint}"));
        meant
    }

    fn unsupported(&mut self, field: &'static Field, value: &Value, path: &str) {
        let advice = match field.shape {
            Shape::UnsupportedUnlessEmpty(_) if is_empty(value) => return,
            Shape::Unsupported(advice) | Shape::UnsupportedUnlessEmpty(advice) => advice,
            _ => return,
        };
        let advice = if advice.is_empty() { String::new() } else { format!(": {advice}") };
        self.error(&below(path, field.name), format!("{UNSUPPORTED}{advice}"));
    }

    fn field(&mut self, field: &'static Field, value: &Value, path: &str) -> Option<Value> {
        if !field.list {
            return self.value(&field.shape, value, path);
        }
        let Value::Array(items) = value else { return self.wrong(path, "a list", value) };
        let items: Vec<Option<Value>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.value(&field.shape, item, &format!("{path}[{index}]")))
            .collect();
        items.into_iter().collect::<Option<_>>().map(Value::Array)
    }

    fn value(&mut self, shape: &'static Shape, value: &Value, path: &str) -> Option<Value> {
        match (shape, value) {
            (Shape::Data, Value::String(text)) => match Hidden::from_base64(text) {
                Some(_) => Some(value.clone()),
                None => {
                    self.error(path, "is not base64");
                    None
                }
            },
            (Shape::Text, Value::String(_))
            | (Shape::Flag, Value::Bool(_))
            | (
                Shape::Quantity | Shape::CountOrPercent | Shape::NumberOrName,
                Value::String(_) | Value::Number(_),
            ) => Some(value.clone()),
            (Shape::Count, Value::Number(number)) => match number.as_u64() {
                Some(number) if number <= u64::from(u32::MAX) => Some(value.clone()),
                Some(_) => {
                    self.error(path, format!("must be at most {}, not {}", u32::MAX, Found(value)));
                    None
                }
                None => self.wrong(path, "a whole number of 0 or more", value),
            },
            (Shape::Integer, Value::Number(number)) => match number.as_i64().map(i32::try_from) {
                Some(Ok(_)) => Some(value.clone()),
                Some(Err(_)) => {
                    let (least, most) = (i32::MIN, i32::MAX);
                    self.error(path, format!("must be {least} to {most}, not {}", Found(value)));
                    None
                }
                None => self.wrong(path, "a whole number", value),
            },
            (Shape::Object(table) | Shape::Inline(table), Value::Object(fields)) => {
                Some(Value::Object(self.object(fields, table, path)))
            }
            (Shape::Map(shape), Value::Object(fields)) => {
                let given = fields.iter().filter(|(_, value)| !value.is_null());
                let read: Vec<_> = given
                    .map(|(name, value)| {
                        (name.clone(), self.value(shape, value, &below(path, name)))
                    })
                    .collect();
                let read = read.into_iter().filter_map(|(name, value)| Some((name, value?)));
                Some(Value::Object(read.collect()))
            }
            (shape, value) => self.wrong(path, expected(shape), value),
        }
    }

    fn wrong(&mut self, path: &str, expected: &str, value: &Value) -> Option<Value> {
        let found = match self.confidential {
            true => kind_of(value).to_owned(),
            false => Found(value).to_string(),
        };
        self.error(path, format!("must be {expected}, not {found}"));
        None
    }
}

/// What was found, without its value.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

/// The path of a field: `metadata.labels[lichen.dev/site]`.
fn below(path: &str, name: &str) -> String {
    let plain =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match (path, plain) {
        ("", true) => name.to_owned(),
        (path, true) => format!("{path}.{name}"),
        (path, false) => format!("{path}[{name}]"),
    }
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text | Shape::Data => "a string",
        Shape::Count => "a whole number of 0 or more",
        Shape::Integer => "a whole number",
        Shape::Flag => "true or false",
        Shape::Object(_) | Shape::Inline(_) => "an object with fields",
        Shape::Map(_) => "a map of names and values",
        Shape::Quantity => "a quantity such as \"500m\", \"64Mi\" or 2",
        Shape::CountOrPercent => "a number or a percentage such as \"10%\"",
        Shape::NumberOrName => "a number or a name",
        Shape::Written | Shape::Unsupported(_) | Shape::UnsupportedUnlessEmpty(_) => "left out",
    }
}

/// What was found, in a few words.
struct Found<'a>(&'a Value);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "boolean `{value}`"),
            Value::Number(number) if number.is_f64() => write!(f, "floating point `{number}`"),
            Value::Number(number) => write!(f, "integer `{number}`"),
            // The first letters say enough, and a hostile body can't make the answer large.
            Value::String(text) => {
                write!(f, "string {:?}", text.chars().take(64).collect::<String>())
            }
            Value::Array(_) => f.write_str("a list"),
            Value::Object(_) => f.write_str("a map"),
        }
    }
}

/// The known name that a misspelt one most likely means.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = if name.len() <= 4 { 1 } else { 2 };
    let near = known.iter().map(|known| (distance(name, known), *known));
    near.filter(|(distance, _)| *distance <= limit).min().map(|(_, known)| known)
}

/// Letters to add, drop or change between two words, whatever their case. Long words are not compared.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.to_ascii_lowercase(), right.to_ascii_lowercase());
    if left.len() > 64 || right.len() > 64 {
        return usize::MAX;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let known = ["replicas", "selector", "template", "env"];
        assert_eq!(nearest("replica", &known), Some("replicas"));
        assert_eq!(nearest("Selector", &known), Some("selector"));
        assert_eq!(nearest("tempalte", &known), Some("template"));
        assert_eq!(nearest("envs", &known), Some("env"));
        assert_eq!(nearest("strategy", &known), None);
        assert_eq!(nearest("args", &known), None);
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_zero_only_for_the_same_word(
            left in "[a-zA-Z]{0,8}", right in "[a-zA-Z]{0,8}"
        ) {
            prop_assert_eq!(distance(&left, &right), distance(&right, &left));
            prop_assert_eq!(distance(&left, &right) == 0, left.eq_ignore_ascii_case(&right));
        }
    }
}
