//! JSON values as YAML, in the form that kubectl prints.

use std::fmt::Write;

use serde_json::Value;

/// Longest name that is written in front of its colon: readers look no further than 1024 characters for one.
const MAX_NAME: usize = 1000;

/// A value as a YAML document, ending with a line break.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => write_block(&mut text, value, 0),
        Value::Array(items) if !items.is_empty() => write_block(&mut text, value, 0),
        scalar => {
            text.push_str(&inline(scalar, 0));
            text.push('\n');
        }
    }
    text
}

/// A list or map over several lines.
fn write_block(text: &mut String, value: &Value, indent: usize) {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = scalar(name);
                let _ = match name.chars().count() <= MAX_NAME {
                    true => write!(text, "{margin}{name}:"),
                    false => write!(text, "{margin}? {name}\n{margin}:"),
                };
                write_below(text, value, indent);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(text, "{margin}-");
                if is_block(item) {
                    // The item's first line stands behind the dash.
                    let mut inner = String::new();
                    write_block(&mut inner, item, indent + 2);
                    let _ = write!(text, " {}", inner.trim_start_matches(' '));
                } else {
                    let _ = writeln!(text, " {}", inline(item, indent + 2));
                }
            }
        }
        _ => {}
    }
}

/// What follows `name:`.
fn write_below(text: &mut String, value: &Value, indent: usize) {
    if is_block(value) {
        text.push('\n');
        // As in kubectl's output, lists stand as far left as their name.
        let indent = if value.is_array() { indent } else { indent + 2 };
        write_block(text, value, indent);
    } else {
        let _ = writeln!(text, " {}", inline(value, indent + 2));
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn inline(value: &Value, indent: usize) -> String {
    match value {
        Value::String(string) => literal(string, indent).unwrap_or_else(|| scalar(string)),
        other => other.to_string(),
    }
}

/// Several lines as a literal block, if it gives them back exactly.
fn literal(string: &str, indent: usize) -> Option<String> {
    let body = string.strip_suffix('\n').unwrap_or(string);
    let plain = |c: char| {
        (c == '\n' || c == '\t' || !c.is_control())
            && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
    };
    let fits = body.contains('\n')
        && string.chars().all(plain)
        && !body.starts_with([' ', '\n', '\t'])
        && !body.ends_with('\n')
        && body.lines().all(|line| !line.trim().is_empty() || line.is_empty());
    if !fits {
        return None;
    }
    let margin = " ".repeat(indent);
    let mut text = if string.ends_with('\n') { "|".to_owned() } else { "|-".to_owned() };
    for line in body.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            let _ = write!(text, "{margin}{line}");
        }
    }
    Some(text)
}

/// One line: bare if it then reads as the same text, else in quotes (JSON's are YAML's).
fn scalar(string: &str) -> String {
    let first_fits =
        string.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_'));
    let letters_fit = string.chars().all(|c| {
        c.is_ascii_alphanumeric()
            || matches!(
                c,
                ' ' | '-' | '_' | '.' | '/' | ',' | '=' | '+' | '@' | '(' | ')' | ':' | ';' | '\''
            )
    });
    let no_structure = !string.contains(": ")
        && !string.ends_with(':')
        && !string.ends_with(' ')
        && !string.is_empty();
    let lower = string.to_ascii_lowercase();
    // Also those that older readers take for something else.
    let word = matches!(
        lower.as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if first_fits && letters_fit && no_structure && !word {
        return string.to_owned();
    }
    // JSON leaves some characters alone that YAML readers refuse or fold.
    let mut quoted = String::new();
    for letter in Value::String(string.to_owned()).to_string().chars() {
        match letter {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::manifest;

    #[test]
    fn a_name_that_is_longer_than_readers_look_for_is_marked_as_one() {
        let long = "\u{e}".repeat(300);
        let mut value = json!({"list": [{}]});
        value["list"][0][&long] = json!({"a": "b"});
        value[&long] = json!(1);
        let printed = to_yaml(&value);
        assert_eq!(crate::manifest::value(&printed).as_ref(), Ok(&value), "{printed}");
    }

    #[test]
    fn it_looks_as_kubectl_prints_it() {
        let value = json!({
            "apiVersion": "apps/v1",
            "metadata": {"labels": {"app": "web"}, "name": "web", "resourceVersion": "12"},
            "spec": {"args": ["sh", "-c", "a: b"], "ports": [{"containerPort": 80, "name": "http"}, {}],
                "empty": [], "on": true, "text": "one\ntwo\n", "yes": "yes", "none": null, "site": ""},
        });
        let expected = "\
apiVersion: apps/v1
metadata:
  labels:
    app: web
  name: web
  resourceVersion: \"12\"
spec:
  args:
  - sh
  - \"-c\"
  - \"a: b\"
  empty: []
  none: null
  \"on\": true
  ports:
  - containerPort: 80
    name: http
  - {}
  site: \"\"
  text: |
    one
    two
  \"yes\": \"yes\"
";
        assert_eq!(to_yaml(&value), expected);
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(value in any_json()) {
            let text = to_yaml(&value);
            prop_assert_eq!(manifest::value(&text), Ok(value), "{}", text);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
            "[a-z \n\t:#'-]{0,12}".prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z.:0-9]{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
