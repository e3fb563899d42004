//! A serde reader of JSON values that notices every field that the types don't have, with its path, and that says
//! where a value of a wrong type stands. serde itself tells neither.

use std::{cell::RefCell, fmt};

use lichen_hub_core::api::FieldError;
use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, Error as _, Expected, IntoDeserializer, MapAccess,
        SeqAccess, Unexpected, Visitor,
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

/// Most fields that are named in one answer. An operator mends a few and sees the next ones; a hostile body can't make
/// the answer large.
const MAX_FINDINGS: usize = 64;

/// A field that the types don't have.
pub(super) struct Finding {
    /// Where it stands.
    pub(super) path: String,
    /// Its name.
    pub(super) name: String,
    /// The fields that could stand there.
    pub(super) known: &'static [&'static str],
}

/// Reads a value; tells what it could not be, and every unknown field that was met.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> (Result<T, FieldError>, Vec<Finding>) {
    let findings = RefCell::new(Vec::new());
    let here = Place { value, path: String::new(), findings: &findings };
    let result = T::deserialize(here)
        .map_err(|error| FieldError::new(error.path.unwrap_or_default(), error.cause));
    (result, findings.into_inner())
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

/// A value and where it stands.
struct Place<'a> {
    value: &'a Value,
    path: String,
    findings: &'a RefCell<Vec<Finding>>,
}

impl<'a> Place<'a> {
    fn field(&self, name: &str, value: &'a Value) -> Self {
        let plain =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        let path = match (self.path.as_str(), plain) {
            ("", true) => name.to_owned(),
            (path, true) => format!("{path}.{name}"),
            (path, false) => format!("{path}[{name}]"),
        };
        Self { value, path, findings: self.findings }
    }

    fn item(&self, index: usize, value: &'a Value) -> Self {
        Self { value, path: format!("{}[{index}]", self.path), findings: self.findings }
    }

    fn note_unknown(&self, known: &'static [&'static str]) {
        let Value::Object(fields) = self.value else { return };
        let mut findings = self.findings.borrow_mut();
        for (name, value) in fields.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            if findings.len() < MAX_FINDINGS {
                let path = self.field(name, value).path;
                findings.push(Finding { path, name: name.clone(), known });
            }
        }
    }
}

impl<'de> Deserializer<'de> for Place<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let path = self.path.clone();
        let result = match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (_, _, Some(number)) => visitor.visit_f64(number),
                _ => Err(Wrong::custom("is no number that can be represented")),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => {
                visitor.visit_seq(Items { place: &self, items: items.iter().enumerate() })
            }
            Value::Object(fields) => {
                visitor.visit_map(Fields { place: &self, fields: fields.iter(), value: None })
            }
        };
        result.map_err(|error| error.at(path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if let Value::Array(_) = self.value {
            // serde would take a list for a structure, field by field.
            let wrong: Wrong = de::Error::invalid_type(Unexpected::Seq, &visitor);
            return Err(wrong.at(self.path));
        }
        self.note_unknown(known);
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Items<'p, 'a> {
    place: &'p Place<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Wrong;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Wrong> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        seed.deserialize(self.place.item(index, value)).map(Some)
    }
}

struct Fields<'p, 'a> {
    place: &'p Place<'a>,
    fields: serde_json::map::Iter<'a>,
    value: Option<Place<'a>>,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Wrong;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Wrong> {
        let Some((name, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some(self.place.field(name, value));
        seed.deserialize(name.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let value =
            self.value.take().ok_or_else(|| Wrong::custom("a value was read before its key"))?;
        seed.deserialize(value)
    }
}

/// What is wrong, and where as soon as somebody knows.
#[derive(Debug)]
struct Wrong {
    path: Option<String>,
    cause: String,
}

impl Wrong {
    /// The innermost place counts. A missing field has only its name, so the place is put in front.
    fn at(mut self, path: String) -> Self {
        self.path = Some(match self.path.take() {
            Some(inner) if !inner.starts_with('?') => inner,
            Some(missing) if path.is_empty() => missing[1..].to_owned(),
            Some(missing) => format!("{path}.{}", &missing[1..]),
            None => path,
        });
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(cause: T) -> Self {
        Self { path: None, cause: cause.to_string() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("must be {}, not {found}", in_words(&expected.to_string())))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        // Told from a known path by a character that no field has.
        Self { path: Some(format!("?{field}")), cause: "is missing".to_owned() }
    }
}

/// What the types say that they expect, for people who don't know Rust.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" => "a whole number of 0 or more",
        "i32" | "i64" => "a whole number",
        "a sequence" => "a list",
        "a map" => "a map of names and values",
        other if other.starts_with("struct ") => "an object with fields",
        other => other,
    }
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
