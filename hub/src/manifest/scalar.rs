//! What a plain scalar means. YAML 1.2's core schema, with the two habits of Kubernetes' files that it lacks: octal
//! permission bits with a leading zero, and big numbers for quantities.

use saphyr_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

/// Reads a scalar.
///
/// # Errors
/// A tag that means nothing here, or that the text doesn't fit.
pub(super) fn read(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => plain(text),
            _ => Value::String(text.to_owned()),
        });
    };
    // A lone `!` says that it is not to be interpreted.
    if tag.handle.is_empty() && tag.suffix == "!" {
        return Ok(Value::String(text.to_owned()));
    }
    let name = tag.suffix.as_str();
    let wanted = match (tag.is_yaml_core_schema(), name) {
        (true, "str") => return Ok(Value::String(text.to_owned())),
        (true, "null") => Value::is_null as fn(&Value) -> bool,
        (true, "bool") => Value::is_boolean,
        (true, "int" | "float") => Value::is_number,
        _ => return Err(format!("tag {tag} means nothing here; leave it out")),
    };
    Some(plain(text))
        .filter(wanted)
        .ok_or_else(|| format!("{text:?} is no {name}, as its tag says"))
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Some(whole) = whole(digits) {
        return match (negative, i64::try_from(whole)) {
            (false, _) => Some(whole.into()),
            (true, Ok(whole)) => Some((-whole).into()),
            (true, Err(_)) => None,
        };
    }
    let simple = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    if !digits.bytes().all(simple) || !digits.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    text.strip_prefix('+').unwrap_or(text).parse().ok().and_then(Number::from_f64)
}

fn whole(digits: &str) -> Option<u64> {
    if let Some(hex) = digits.strip_prefix("0x") {
        return unsigned(hex, 16);
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return unsigned(octal, 8);
    }
    match digits.strip_prefix('0') {
        // As in Kubernetes: `defaultMode: 0644` are permission bits. `089` is then no number at all.
        Some(octal) if !octal.is_empty() => unsigned(octal, 8),
        _ => unsigned(digits, 10),
    }
}

fn unsigned(digits: &str, radix: u32) -> Option<u64> {
    // from_str_radix would take a sign.
    let first = digits.bytes().next().filter(u8::is_ascii_alphanumeric);
    first.and_then(|_| u64::from_str_radix(digits, radix).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_mean_what_kubernetes_takes_them_for() {
        for (text, expected) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("False", json!(false)),
            // Norway's country code and old habits: text, as YAML 1.2 has it.
            ("no", json!("no")),
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("3", json!(3)),
            ("-3", json!(-3)),
            ("+3", json!(3)),
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("0x1F", json!(31)),
            ("0", json!(0)),
            ("00", json!(0)),
            ("0.5", json!(0.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("500m", json!("500m")),
            ("64Mi", json!("64Mi")),
            ("1.2.3", json!("1.2.3")),
            ("127.0.0.1", json!("127.0.0.1")),
            ("2024-01-01", json!("2024-01-01")),
            ("12:30", json!("12:30")),
            ("1_000", json!("1_000")),
            (".inf", json!(".inf")),
            (".", json!(".")),
            ("-", json!("-")),
            ("+", json!("+")),
            ("0x", json!("0x")),
            ("e3", json!("e3")),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }
}
