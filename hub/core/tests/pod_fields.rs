//! The page of all fields of a Pod, which is written from the tables: `UPDATE_POD_FIELDS=1 cargo test -p lichen-hub-core --test
//! pod_fields` writes it. And the tables themselves against Kubernetes' own list of fields.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use lichen_hub_core::api::{
    core::pod::POD_SPEC,
    field::{Field, Message, Shape},
};

/// What stands above this in the page is written by hand.
const MARK: &str = "<!-- below: written from the tables of fields by the test pod_fields -->\n";

/// Where one message of ours stands for several of Kubernetes' with the same fields, or is not of `core/v1`.
const OTHER_NAMES: &[(&str, &[&str])] = &[
    ("KeySelector", &["ConfigMapKeySelector", "SecretKeySelector"]),
    ("EnvSource", &["ConfigMapEnvSource", "SecretEnvSource"]),
    ("ObjectProjection", &["ConfigMapProjection", "SecretProjection"]),
    ("VolumeSource", &[]),
    ("LabelSelector", &[]),
    ("LabelSelectorRequirement", &[]),
];

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pod-fields.md")
}

/// Every message below the spec, each once, in the order in which fields lead to them.
fn messages() -> Vec<&'static Message> {
    let mut found: Vec<&'static Message> = vec![&POD_SPEC];
    let mut next = 0;
    while let Some(message) = found.get(next) {
        next += 1;
        let mut below = Vec::new();
        message.each(&mut |field| below.extend(message_of(field)));
        for message in below {
            if found.iter().all(|known| known.name != message.name) {
                found.push(message);
            }
        }
    }
    found
}

fn message_of(field: &Field) -> Option<&'static Message> {
    match field.shape {
        Shape::Object(message) => Some(message),
        Shape::Map(Shape::Object(message)) => Some(message),
        _ => None,
    }
}

fn what(field: &Field) -> String {
    let one = match field.shape {
        Shape::Text => "text".to_owned(),
        Shape::Data => "base64".to_owned(),
        Shape::Count => "number".to_owned(),
        Shape::Flag => "true or false".to_owned(),
        Shape::Quantity => "quantity".to_owned(),
        Shape::CountOrPercent => "number or percentage".to_owned(),
        Shape::Map(Shape::Quantity) => "quantities by name".to_owned(),
        Shape::Map(_) => "texts by name".to_owned(),
        Shape::Object(message) => format!("[{0}](#{1})", message.name, message.name.to_lowercase()),
        _ => String::new(),
    };
    if field.list { format!("list of {one}") } else { one }
}

fn line(field: &Field) -> String {
    let advice = |advice: &str| match advice {
        "" => String::new(),
        advice => format!(": {advice}"),
    };
    let (verdict, why) = match (field.shape, field.no_effect) {
        (Shape::Unsupported(text), _) => ("refused", advice(text)),
        (Shape::UnsupportedUnlessEmpty(text), _) => ("refused unless it is `{}`", advice(text)),
        (Shape::Written, _) => ("left out", ": only a server writes it".to_owned()),
        (_, Some(why)) => ("accepted without effect", advice(why)),
        (_, None) => ("supported", String::new()),
    };
    format!("| `{}` | {} | {verdict}{why} |\n", field.name, what(field))
}

fn tables() -> String {
    let mut text = String::new();
    for message in messages() {
        write!(text, "\n## {}\n\n| field | what | |\n|---|---|---|\n", message.name).expect("text");
        let mut fields: Vec<&Field> = Vec::new();
        message.each(&mut |field| fields.push(field));
        fields.sort_by_key(|field| field.name);
        fields.iter().for_each(|field| text.push_str(&line(field)));
    }
    text
}

#[test]
fn the_page_of_fields_says_what_the_tables_say() {
    let page = page();
    let text = fs::read_to_string(&page).expect("docs/pod-fields.md");
    let (by_hand, written) = text.split_once(MARK).expect("a mark, below which it is written");
    let expected = tables();
    if std::env::var_os("UPDATE_POD_FIELDS").is_some() {
        fs::write(&page, format!("{by_hand}{MARK}{expected}")).expect("writable");
        return;
    }
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        lines(written),
        lines(&expected),
        "write it anew: UPDATE_POD_FIELDS=1 cargo test -p lichen-hub-core --test pod_fields"
    );
}

#[test]
fn the_tables_have_every_field_that_kubernetes_has() {
    let list = include_str!("pod_fields/core-v1.txt");
    let known: BTreeMap<&str, BTreeSet<&str>> = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, fields) = line.split_once(": ").expect("a message and its fields");
            (name, fields.split(' ').collect())
        })
        .collect();
    let mut lacking = Vec::new();
    for message in messages() {
        let others = OTHER_NAMES.iter().find(|(name, _)| *name == message.name);
        let own = [message.name];
        let names = others.map_or(&own[..], |(_, names)| names);
        for name in names {
            let Some(fields) = known.get(name) else {
                lacking.push(format!("{name} is none of Kubernetes' messages"));
                continue;
            };
            let missing = fields.iter().filter(|field| message.field(field).is_none());
            lacking.extend(missing.map(|field| format!("{name}.{field}")));
        }
    }
    assert_eq!(lacking, Vec::<String>::new());
}
