//! The fields of an object as an indented tree, under the names that a manifest gives them. Only the order knows what people
//! look for first; everything else is the object's own.

use serde_json::{Map, Value};

use crate::cli::{
    table::{Cell, Table},
    tone,
    ui::{Ui, plain},
};

/// Fields that come first where they are, in this order; the others follow by name.
const FIRST: [&str; 25] = [
    "metadata",
    "spec",
    "data",
    "binaryData",
    "status",
    "phase",
    "reason",
    "message",
    "type",
    "replicas",
    "paused",
    "selector",
    "nodeName",
    "runtimeClassName",
    "image",
    "command",
    "args",
    "ready",
    "state",
    "lastState",
    "restartCount",
    "initContainers",
    "containers",
    "template",
    "conditions",
];
/// Fields that name an item of a list.
const NAMING: [&str; 5] = ["name", "key", "type", "containerPort", "topologyKey"];
/// Kinds whose data is nobody's to read over a shoulder: only its size is shown.
const SECRET: [&str; 1] = ["Secret"];
/// A list of words stands in one line up to this length.
const LINE: usize = 80;
/// The order is by place in [`FIRST`]; what isn't there comes after.
const LAST: usize = FIRST.len();

/// Everything but kind, version and metadata.
pub fn body(object: &Value, ui: &Ui) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(fields) = object.as_object() else { return lines };
    let is_secret = object["kind"].as_str().is_some_and(|kind| SECRET.contains(&kind));
    for (name, value) in ordered(fields) {
        let says_nothing = is_empty(value) || value.as_object().is_some_and(Map::is_empty);
        if ["apiVersion", "kind", "metadata"].contains(&name) || says_nothing {
            continue;
        }
        match is_secret && value.is_object() {
            true => write(&capitalised(name), &sizes(value), 0, ui, &mut lines),
            false => write(&capitalised(name), value, 0, ui, &mut lines),
        }
    }
    lines
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The values of a Secret as their sizes.
fn sizes(value: &Value) -> Value {
    let fields = value.as_object().into_iter().flatten().map(|(name, value)| {
        let text = value.as_str().unwrap_or_default();
        let bytes = text.trim_end_matches('=').len() * 3 / 4;
        (name.clone(), Value::String(format!("{bytes} bytes")))
    });
    Value::Object(fields.collect())
}

fn ordered(fields: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut fields: Vec<(&str, &Value)> =
        fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
    fields.sort_by_key(|(name, _)| {
        (FIRST.iter().position(|first| first == name).unwrap_or(LAST), *name)
    });
    fields
}

/// What says nothing is left out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty) && !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn write(name: &str, value: &Value, depth: usize, ui: &Ui, lines: &mut Vec<String>) {
    let margin = "  ".repeat(depth);
    let name = plain(name);
    match value {
        Value::Object(fields) if fields.is_empty() => lines.push(format!("{margin}{name}: {{}}")),
        Value::Object(fields) => {
            lines.push(format!("{margin}{name}:"));
            write_fields(fields, depth + 1, ui, lines);
        }
        Value::Array(items) => match in_one_line(items) {
            Some(line) => lines.push(format!("{margin}{name}: {line}")),
            None => {
                lines.push(format!("{margin}{name}:"));
                match conditions(items, ui) {
                    Some(table) => {
                        lines.extend(table.iter().map(|line| format!("{margin}  {line}")))
                    }
                    None => items.iter().for_each(|item| write_item(item, depth + 1, ui, lines)),
                }
            }
        },
        Value::String(text) if text.contains('\n') => {
            lines.push(format!("{margin}{name}:"));
            lines.extend(text.lines().map(|line| format!("{margin}  {}", plain(line))));
        }
        scalar => lines.push(format!("{margin}{name}: {}", plain(&shown(scalar)))),
    }
}

fn write_fields(fields: &Map<String, Value>, depth: usize, ui: &Ui, lines: &mut Vec<String>) {
    for (name, value) in ordered(fields).into_iter().filter(|(_, value)| !is_empty(value)) {
        write(name, value, depth, ui, lines);
    }
}

/// An item of a list, under its name if it has one.
fn write_item(item: &Value, depth: usize, ui: &Ui, lines: &mut Vec<String>) {
    let margin = "  ".repeat(depth);
    let Value::Object(fields) = item else {
        let text = shown(item);
        let mut texts = text.lines();
        lines.push(format!("{margin}- {}", plain(texts.next().unwrap_or_default())));
        lines.extend(texts.map(|line| format!("{margin}  {}", plain(line))));
        return;
    };
    let naming =
        NAMING.iter().find(|name| fields.get(**name).is_some_and(|value| !is_empty(value)));
    let mut others = fields.clone();
    let name = match naming.and_then(|name| others.remove(*name)) {
        Some(name) => shown(&name),
        None => "-".to_owned(),
    };
    others.retain(|_, value| !is_empty(value));
    let mut values = others.iter();
    match (values.next(), values.next()) {
        (None, _) => lines.push(format!("{margin}{}", plain(&name))),
        // An environment variable.
        (Some((only, value)), None) if only == "value" => write(&name, value, depth, ui, lines),
        _ => {
            lines.push(format!("{margin}{}:", plain(&name)));
            write_fields(&others, depth + 1, ui, lines);
        }
    }
}

/// Words in one line, if they are words and fit.
fn in_one_line(items: &[Value]) -> Option<String> {
    let is_word = |text: &String| !text.is_empty() && !text.contains([' ', ',', '\n', '\t']);
    let words: Option<Vec<String>> = items
        .iter()
        .map(|item| Some(item).filter(|item| !item.is_object() && !item.is_array()).map(shown))
        .collect();
    let words = words.filter(|words| words.iter().all(is_word))?;
    Some(plain(&words.join(", "))).filter(|line| line.chars().count() <= LINE)
}

/// Conditions as a table: a list of objects that have a type and a status.
fn conditions(items: &[Value], ui: &Ui) -> Option<Vec<String>> {
    const COLUMNS: [(&str, &str); 5] = [
        ("TYPE", "type"),
        ("STATUS", "status"),
        ("REASON", "reason"),
        ("SINCE", "lastTransitionTime"),
        ("MESSAGE", "message"),
    ];
    let is_condition = |item: &Value| item["type"].is_string() && item["status"].is_string();
    if items.is_empty() || !items.iter().all(is_condition) {
        return None;
    }
    let given: Vec<(&str, &str)> = COLUMNS
        .into_iter()
        .filter(|(_, field)| items.iter().any(|item| !is_empty(&item[*field])))
        .collect();
    let mut table = Table::new(&given.iter().map(|(heading, _)| *heading).collect::<Vec<_>>());
    for item in items {
        let cells = given.iter().map(|(heading, field)| match (*heading, shown(&item[*field])) {
            // Whether True is good depends on the condition.
            (_, text) if text.is_empty() => Cell::toned("<none>", tone::of(heading, "<none>")),
            (_, text) => text.into(),
        });
        table.add(cells.collect());
    }
    Some(table.lines(ui))
}

fn shown(scalar: &Value) -> String {
    match scalar {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(object: &Value, expected: &str) {
        let lines = body(object, &Ui::captured().0);
        assert_eq!(lines.join("\n"), expected.trim_start_matches('\n'));
    }

    #[test]
    fn any_object_is_a_tree_with_what_matters_first() {
        check(
            &json!({
                "apiVersion": "lichen.dev/v1", "kind": "Moss", "metadata": {"name": "star"},
                "status": {"conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-05-01T09:30:00Z"},
                    {"type": "Dry", "status": "False", "message": "it rained"}]},
                "spec": {"zeal": 1, "replicas": 2, "empty": {}, "unset": {"a": null}, "note": "one\ntwo\u{1b}",
                    "containers": [{"name": "main", "image": "hello:1", "args": ["-c", "sleep 1; date"],
                        "env": [{"name": "A", "value": "b"}], "ports": [{"containerPort": 80}]}],
                    "words": ["x", "y"], "matrix": [[1], [2]]},
            }),
            "
Spec:
  replicas: 2
  containers:
    main:
      image: hello:1
      args:
        - -c
        - sleep 1; date
      env:
        A: b
      ports:
        80
  empty: {}
  matrix:
    - [1]
    - [2]
  note:
    one
    two 
  words: x, y
  zeal: 1
Status:
  conditions:
    TYPE    STATUS   SINCE                  MESSAGE
    Ready   True     2026-05-01T09:30:00Z   <none>
    Dry     False    <none>                 it rained",
        );
    }

    #[test]
    fn a_secret_shows_sizes_only() {
        check(
            &json!({"kind": "Secret", "data": {"password": "aHVudGVyMg=="}, "type": "Opaque"}),
            "
Data:
  password: 7 bytes
Type: Opaque",
        );
    }
}
