//! What an object may hold, as data: every field's name, its number in Kubernetes' protobuf, its shape, how a strategic
//! merge patch merges it, and what is refused with which advice. Decoding, protobuf, patches and the OpenAPI document
//! read these tables; a test holds them against the types.
//!
//! Numbers are those of `generated.proto` of `k8s.io/api` and `k8s.io/apimachinery`.

use alloc::string::String;

use serde_json::{Map, Value};

/// An object with fields: a JSON object, a message of protobuf.
#[derive(Debug)]
pub struct Message {
    /// As Kubernetes calls it.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// As JSON has it.
    pub name: &'static str,
    /// Its number in protobuf.
    pub number: u32,
    /// What it holds, or each of its items.
    pub shape: Shape,
    /// Whether it is a list.
    pub list: bool,
    /// Whether Go has a pointer for it: then a zero is a value in protobuf, else it means absent.
    pub optional: bool,
    /// Whether an object without it is refused.
    pub required: bool,
    /// The field that tells the items of a list apart, as kubectl sees it: such a list is merged item by item. A list
    /// without one is replaced whole.
    pub merge: Option<&'static str>,
    /// A second field that tells its items apart, and what its absence means.
    pub merge_also: Option<(&'static str, &'static str)>,
    /// Why it has no effect on a device, if it has none: see [`Field::without_effect`].
    pub no_effect: Option<&'static str>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Text.
    Text,
    /// Bytes; base64 in JSON.
    Data,
    /// A whole number from 0 to 4,294,967,295.
    Count,
    /// A whole number from -2,147,483,648 to 2,147,483,647.
    Integer,
    /// Yes or no.
    Flag,
    /// An object.
    Object(&'static Message),
    /// A message of protobuf whose fields stand in the object around it.
    Inline(&'static Message),
    /// From text to this.
    Map(&'static Shape),
    /// An amount: text, or a number.
    Quantity,
    /// A number or a percentage: `1`, `"10%"`.
    CountOrPercent,
    /// A number or a name: `80`, `"http"`.
    NumberOrName,
    /// What the hub alone writes: taken and left out.
    Written,
    /// What Lichen does not support, and what to do instead. Empty without advice.
    Unsupported(&'static str),
    /// The same, but `{}` says nothing and is left out: tools write it.
    UnsupportedUnlessEmpty(&'static str),
}

impl Message {
    /// A field of this object by its name in JSON, wherever its message has it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find_map(|field| match field.shape {
            Shape::Inline(message) => message.field(name),
            _ => Some(field).filter(|field| field.name == name),
        })
    }

    /// Every field of this object in JSON.
    pub fn each(&self, visit: &mut impl FnMut(&'static Field)) {
        for field in self.fields {
            match field.shape {
                Shape::Inline(message) => message.each(visit),
                _ => visit(field),
            }
        }
    }

    /// Removes from an object of this shape what has no effect on a device. As deep as the table.
    pub fn remove_without_effect(&self, object: &mut Map<String, Value>) {
        self.each(&mut |field| {
            if field.no_effect.is_some() {
                object.remove(field.name);
            } else if let Shape::Object(message) = field.shape {
                let items = match object.get_mut(field.name) {
                    Some(Value::Array(items)) => items.as_mut_slice(),
                    Some(one) => core::slice::from_mut(one),
                    None => &mut [],
                };
                let objects = items.iter_mut().filter_map(Value::as_object_mut);
                objects.for_each(|object| message.remove_without_effect(object));
            }
        });
    }
}

impl Field {
    /// Whether an operator may write it.
    #[must_use]
    pub const fn supported(&self) -> bool {
        !matches!(
            self.shape,
            Shape::Written | Shape::Unsupported(_) | Shape::UnsupportedUnlessEmpty(_)
        )
    }

    /// The same field, as a pointer of Go.
    #[must_use]
    pub const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// The same field, without which an object is refused.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The same field, whose items are told apart by this field.
    #[must_use]
    pub const fn merged_by(self, key: &'static str) -> Self {
        Self { merge: Some(key), ..self }
    }

    /// The same field, whose items are told apart by this field too; absent, it means `default`.
    #[must_use]
    pub const fn and_by(self, key: &'static str, default: &'static str) -> Self {
        Self { merge_also: Some((key, default)), ..self }
    }

    /// The same field, which is accepted, stored and given back, and has no effect on a device: `why`, as the end of a
    /// sentence. It is no part of what a template means, so that nothing restarts when it changes. Values that would need
    /// an effect are refused where templates are resolved.
    #[must_use]
    pub const fn without_effect(self, why: &'static str) -> Self {
        Self { no_effect: Some(why), ..self }
    }
}

/// A field of any shape.
#[must_use]
pub const fn field(name: &'static str, number: u32, shape: Shape) -> Field {
    Field {
        name,
        number,
        shape,
        list: false,
        optional: false,
        required: false,
        merge: None,
        merge_also: None,
        no_effect: None,
    }
}

/// A list of any shape.
#[must_use]
pub const fn list(name: &'static str, number: u32, shape: Shape) -> Field {
    Field { list: true, ..field(name, number, shape) }
}

/// Text.
#[must_use]
pub const fn text(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Text)
}

/// A list of texts.
#[must_use]
pub const fn texts(name: &'static str, number: u32) -> Field {
    list(name, number, Shape::Text)
}

/// A whole number of 0 or more.
#[must_use]
pub const fn count(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Count)
}

/// A whole number, which may be negative.
#[must_use]
pub const fn integer(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Integer)
}

/// Yes or no.
#[must_use]
pub const fn flag(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Flag)
}

/// An object.
#[must_use]
pub const fn object(name: &'static str, number: u32, message: &'static Message) -> Field {
    field(name, number, Shape::Object(message))
}

/// A list of objects.
#[must_use]
pub const fn objects(name: &'static str, number: u32, message: &'static Message) -> Field {
    list(name, number, Shape::Object(message))
}

/// Texts by name.
#[must_use]
pub const fn text_map(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Map(&Shape::Text))
}

/// What the hub alone writes.
#[must_use]
pub const fn written(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Written)
}

/// What Lichen does not support.
#[must_use]
pub const fn unsupported(name: &'static str, number: u32) -> Field {
    field(name, number, Shape::Unsupported(""))
}

/// What Lichen does not support, and what to do instead.
#[must_use]
pub const fn instead(name: &'static str, number: u32, advice: &'static str) -> Field {
    field(name, number, Shape::Unsupported(advice))
}

/// What Lichen does not support; `{}` is left out.
#[must_use]
pub const fn unless_empty(name: &'static str, number: u32, advice: &'static str) -> Field {
    field(name, number, Shape::UnsupportedUnlessEmpty(advice))
}

#[cfg(test)]
pub(super) mod tests;
