//! Kubernetes' protobuf bodies, which Go clients send by default, as the JSON that they stand for. Answers stay JSON,
//! which those clients take.
//!
//! A body is the four bytes `k8s\0` and a `runtime.Unknown`: the object's type, and its message. A kind's table of fields
//! says what the numbers in its message mean. As in Go's encoding, what is empty and not optional counts as absent.

mod schema;
mod wire;

use lichen_hub_core::api::field::{Field, Message, Shape};
use serde_json::{Map, Value};

use wire::{Fields, Wire};

/// What every body starts with.
const MAGIC: &[u8; 4] = b"k8s\0";

/// Why a body can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtobufError {
    /// No magic number.
    #[error("it does not start with the bytes k8s\\0")]
    Magic,
    /// It ends early, or a number is malformed.
    #[error("it is damaged")]
    Damaged,
    /// A kind that Lichen does not have.
    #[error("Lichen has no kind {0}")]
    Kind(String),
    /// A field of a newer Kubernetes, say.
    #[error(
        "{message} has a field with number {number}, which Lichen does not know; send JSON to see its name"
    )]
    Field {
        /// Of which message.
        message: &'static str,
        /// Its number.
        number: u32,
    },
}

/// The JSON that a body stands for.
pub(super) fn to_json(body: &[u8]) -> Result<Value, ProtobufError> {
    let unknown = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let envelope = read(unknown, &schema::UNKNOWN)?;
    let text = |name: &str| envelope.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = text("kind");
    let message = schema::of(kind).ok_or_else(|| ProtobufError::Kind(kind.to_owned()))?;
    let mut raw = &[][..];
    for field in Fields(unknown) {
        if let (schema::RAW, Wire::Bytes(bytes)) = field? {
            raw = bytes;
        }
    }
    let mut object = read(raw, message)?;
    object.insert("apiVersion".to_owned(), text("apiVersion").into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

/// Reads a message. The schema nests to a fixed depth, so this does too.
fn read(bytes: &[u8], message: &'static Message) -> Result<Map<String, Value>, ProtobufError> {
    let mut object = Map::new();
    for field in Fields(bytes) {
        let (number, wire) = field?;
        let unknown = ProtobufError::Field { message: message.name, number };
        let field = message.fields.iter().find(|field| field.number == number).ok_or(unknown)?;
        add(&mut object, field, wire)?;
    }
    Ok(object)
}

fn add(
    object: &mut Map<String, Value>,
    field: &Field,
    wire: Wire<'_>,
) -> Result<(), ProtobufError> {
    let value = match (&field.shape, wire) {
        (Shape::Written, _) => return Ok(()),
        // Go writes the empty texts of an empty message too.
        (Shape::UnsupportedUnlessEmpty(_), Wire::Bytes(bytes)) if is_blank(bytes, BLANK_DEPTH) => {
            return Ok(());
        }
        (Shape::Inline(message), Wire::Bytes(bytes)) => {
            object.extend(read(bytes, message)?);
            return Ok(());
        }
        (Shape::Map(value), Wire::Bytes(bytes)) => {
            let (key, value) = entry(bytes, value)?;
            return insert_into(object, field.name, key, value);
        }
        (shape, wire) => plain(shape, wire)?,
    };
    if field.list {
        let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut().ok_or(ProtobufError::Damaged)?.push(value);
    } else if field.optional || !is_zero(&value) {
        object.insert(field.name.to_owned(), value);
    }
    Ok(())
}

fn insert_into(
    object: &mut Map<String, Value>,
    name: &str,
    key: String,
    value: Value,
) -> Result<(), ProtobufError> {
    let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
    map.as_object_mut().ok_or(ProtobufError::Damaged)?.insert(key, value);
    Ok(())
}

/// A map's entry: its key is field 1, its value field 2.
fn entry(bytes: &[u8], shape: &Shape) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut value) = (String::new(), plain(shape, Wire::Bytes(&[]))?);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(bytes)) => key = text(bytes)?,
            (2, wire) => value = plain(shape, wire)?,
            _ => return Err(ProtobufError::Damaged),
        }
    }
    Ok((key, value))
}

fn plain(shape: &Shape, wire: Wire<'_>) -> Result<Value, ProtobufError> {
    Ok(match (shape, wire) {
        (Shape::Text, Wire::Bytes(bytes)) => text(bytes)?.into(),
        (Shape::Data, Wire::Bytes(bytes)) => base64(bytes).into(),
        (Shape::Count | Shape::Integer, Wire::Number(number)) => number.cast_signed().into(),
        (Shape::Flag, Wire::Number(number)) => (number != 0).into(),
        (Shape::Object(message), Wire::Bytes(bytes)) => Value::Object(read(bytes, message)?),
        (Shape::Quantity, Wire::Bytes(bytes)) => {
            let quantity = read(bytes, &schema::QUANTITY)?;
            quantity.get("string").cloned().unwrap_or_else(|| "0".into())
        }
        (Shape::CountOrPercent | Shape::NumberOrName, Wire::Bytes(bytes)) => {
            let mut either = read(bytes, &schema::COUNT_OR_PERCENT)?;
            let text = either.contains_key("type");
            let value = either.remove(if text { "strVal" } else { "intVal" });
            value.unwrap_or_else(|| if text { "".into() } else { 0.into() })
        }
        // Kept in a form that says enough: whoever decodes the JSON refuses the field by its name.
        (Shape::Unsupported(_) | Shape::UnsupportedUnlessEmpty(_), Wire::Number(number)) => {
            number.into()
        }
        (Shape::Unsupported(_) | Shape::UnsupportedUnlessEmpty(_), Wire::Bytes(bytes)) => {
            String::from_utf8_lossy(bytes).trim_matches('\0').into()
        }
        _ => return Err(ProtobufError::Damaged),
    })
}

fn text(bytes: &[u8]) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::Damaged)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// How deep a message is looked into that may be empty.
const BLANK_DEPTH: usize = 4;

/// Whether a message says nothing: every field of it is zero or says nothing itself.
fn is_blank(bytes: &[u8], depth: usize) -> bool {
    Fields(bytes).all(|field| match field {
        Ok((_, Wire::Number(number))) => number == 0,
        Ok((_, Wire::Bytes(bytes))) => {
            bytes.is_empty() || (depth > 0 && is_blank(bytes, depth - 1))
        }
        Err(_) => false,
    })
}

/// Base64 with padding (RFC 4648, section 4), the form of bytes in JSON.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use serde_json::json;

    /// A field with bytes in it.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 128, "one byte of length");
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    fn number(number: u8, value: u8) -> Vec<u8> {
        vec![number << 3, value]
    }

    fn body(version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
        let types = [bytes(1, version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &types), bytes(2, object), bytes(3, b""), bytes(4, b"")].concat()
    }

    #[test]
    fn a_config_map_is_read_with_its_maps_and_without_what_is_empty() {
        let label = bytes(11, &[bytes(1, b"tier"), bytes(2, b"x")].concat());
        let metadata =
            [bytes(1, b"settings"), bytes(2, b""), bytes(3, b"default"), bytes(8, b""), label]
                .concat();
        let data = bytes(2, &[bytes(1, b"a"), bytes(2, b"b")].concat());
        let empty = bytes(2, &bytes(1, b"nothing"));
        let binary = bytes(3, &[bytes(1, b"raw"), bytes(2, &[0, 255])].concat());
        let object = [bytes(1, &metadata), data, empty, binary].concat();
        assert_eq!(
            to_json(&body("v1", "ConfigMap", &object)),
            Ok(json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "settings", "namespace": "default", "labels": {"tier": "x"}},
                "data": {"a": "b", "nothing": ""}, "binaryData": {"raw": "AP8="},
            }))
        );
    }

    #[test]
    fn a_zero_counts_where_go_has_a_pointer() {
        let spec = |replicas: &[u8]| bytes(2, replicas);
        let read = |spec: Vec<u8>| to_json(&body("apps/v1", "Deployment", &spec)).expect("valid");
        assert_eq!(read(spec(&number(1, 0)))["spec"], json!({"replicas": 0}));
        assert_eq!(read(spec(&number(5, 0))).get("spec"), None, "minReadySeconds is no pointer");
    }

    #[test]
    fn an_unsupported_field_keeps_its_name_and_an_unknown_one_its_number() {
        let spec = bytes(2, &bytes(3, &bytes(2, &bytes(14, &number(13, 1)))));
        let value = to_json(&body("apps/v1", "Deployment", &spec)).expect("valid");
        assert_eq!(
            value["spec"]["template"]["spec"],
            json!({"securityContext": {"seLinuxChangePolicy": 1}})
        );
        let error = to_json(&body("apps/v1", "Deployment", &bytes(2, &number(15, 1))))
            .expect_err("unknown");
        assert!(error.to_string().contains("DeploymentSpec has a field with number 15"), "{error}");
    }

    #[test]
    fn an_empty_message_that_is_not_supported_says_nothing() {
        let context = |content: &[u8]| {
            let spec = bytes(2, &bytes(3, &bytes(2, &bytes(14, &bytes(1, content)))));
            let object = to_json(&body("apps/v1", "Deployment", &spec)).expect("valid");
            object["spec"]["template"]["spec"]["securityContext"]["seLinuxOptions"].clone()
        };
        assert_eq!(context(b""), Value::Null);
        assert!(context(&number(2, 1)).is_string());
    }

    #[test]
    fn what_is_no_such_body_is_refused() {
        assert_eq!(to_json(b"{}"), Err(ProtobufError::Magic));
        let unknown = ProtobufError::Kind("Endpoints".into());
        assert_eq!(to_json(&body("v1", "Endpoints", b"")), Err(unknown));
        let whole = body("v1", "ConfigMap", &bytes(1, &bytes(1, b"x")));
        assert_eq!(to_json(&whole[..whole.len() - 5]), Err(ProtobufError::Damaged));
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(object in vec(any::<u8>(), 0..120), kind in "ConfigMap|Deployment|DaemonSet|Node") {
            let _ = to_json(&body("v1", &kind, &object));
            let _ = to_json(&object);
        }
    }
}
