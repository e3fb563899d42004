//! The tables of fields against the types: what serde would read is what the tables have.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
};
use core::{cell::RefCell, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::{Message, Shape};
use crate::api::{KINDS, Kind, Resource};

/// Fields by the path of the object around them.
pub(crate) type Found = BTreeMap<String, BTreeSet<String>>;

/// Reads anything: whatever a type asks for is there, once, and every structure's fields are noted.
struct Probe<'a> {
    path: String,
    found: &'a RefCell<Found>,
}

#[derive(Debug)]
struct Never(String);

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Never {}

impl de::Error for Never {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Never;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        // Base64 too.
        visitor.visit_str("0000")
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_bool(true)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_i32(0)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_u32(0)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_u64(0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_seq(Once { probe: Some(self), key: None })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_map(Once { probe: Some(self), key: Some("0") })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        let names = fields.iter().map(ToString::to_string);
        self.found.borrow_mut().entry(self.path.clone()).or_default().extend(names);
        visitor.visit_map(Each { probe: &self, fields, next: "" })
    }

    forward_to_deserialize_any! {
        i8 i16 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct tuple tuple_struct enum identifier ignored_any
    }
}

struct Once<'a> {
    probe: Option<Probe<'a>>,
    key: Option<&'static str>,
}

impl<'de> SeqAccess<'de> for Once<'_> {
    type Error = Never;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Never> {
        self.probe.take().map(|probe| seed.deserialize(probe)).transpose()
    }
}

impl<'de> MapAccess<'de> for Once<'_> {
    type Error = Never;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Never> {
        self.key.take().map(|key| seed.deserialize(key.into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Never> {
        seed.deserialize(self.probe.take().ok_or_else(|| Never("asked twice".to_string()))?)
    }
}

struct Each<'p, 'a> {
    probe: &'p Probe<'a>,
    fields: &'static [&'static str],
    next: &'static str,
}

impl<'de> MapAccess<'de> for Each<'_, '_> {
    type Error = Never;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Never> {
        let Some((first, rest)) = self.fields.split_first() else { return Ok(None) };
        (self.next, self.fields) = (first, rest);
        seed.deserialize((*first).into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Never> {
        let path = format!("{}.{}", self.probe.path, self.next);
        seed.deserialize(Probe { path, found: self.probe.found })
    }
}

pub(crate) fn of_type<T: Resource>() -> Found {
    let found = RefCell::default();
    T::deserialize(Probe { path: String::new(), found: &found }).expect("a probe fits every type");
    found.into_inner()
}

/// What the tables have, those of the hub alone apart: the types hold them, and operators can't write them.
fn of_table(message: &'static Message, path: &str, found: &mut Found, written: &mut Found) {
    message.each(&mut |field| {
        let below = format!("{path}.{}", field.name);
        match field.shape {
            Shape::Unsupported(_) | Shape::UnsupportedUnlessEmpty(_) => {}
            Shape::Written => {
                written.entry(path.to_string()).or_default().insert(field.name.to_string());
            }
            shape => {
                found.entry(path.to_string()).or_default().insert(field.name.to_string());
                if let Shape::Object(message) = shape {
                    of_table(message, &below, found, written);
                }
            }
        }
    });
}

#[test]
fn the_tables_have_the_fields_that_the_types_have() {
    for kind in KINDS {
        let mut types = kind.probe();
        let (mut tables, mut written) = (Found::new(), Found::new());
        of_table(kind.fields(), "", &mut tables, &mut written);
        // What stands below a field of the hub's own is the hub's own.
        for (path, fields) in &written {
            for field in fields {
                let below = format!("{path}.{field}");
                types.retain(|path, _| *path != below && !path.starts_with(&format!("{below}.")));
                if let Some(known) = types.get_mut(path) {
                    known.remove(field);
                }
            }
        }
        assert_eq!(tables, types, "{kind}: the table on the left, the type on the right");
    }
}

#[test]
fn numbers_and_names_are_there_once_in_each_message() {
    fn check(message: &'static Message) {
        let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
        message.each(&mut |field| {
            assert!(names.insert(field.name), "{}: {} is there twice", message.name, field.name);
        });
        for field in message.fields {
            assert!(numbers.insert(field.number), "{}: {} twice", message.name, field.number);
            if let Shape::Object(inner) | Shape::Inline(inner) = field.shape {
                check(inner);
                for key in field.merge.into_iter().chain(field.merge_also.map(|(key, _)| key)) {
                    assert!(inner.field(key).is_some(), "{}: {key} is no field", inner.name);
                }
            } else {
                assert_eq!(field.merge, None, "{}: only objects have keys", field.name);
            }
        }
    }
    for kind in KINDS {
        check(kind.fields());
        assert_eq!(kind.fields().name, kind.as_str());
    }
}

#[test]
fn names_of_kinds_are_there_once() {
    let mut words = BTreeSet::new();
    for kind in KINDS {
        let names = kind.names();
        for word in [names.plural, names.singular].iter().chain(names.short) {
            assert!(words.insert(*word), "{word} names two kinds");
        }
        assert_eq!(names.singular, names.kind.to_lowercase());
        assert_eq!(Kind::parse(names.kind), Some(*kind));
        assert_eq!(names.made_by.is_empty(), names.allows(crate::api::resource::Verb::Create));
    }
}
