//! From a manifest's text to objects, each with the tree that knows where its fields stand.

use std::{fs, io, path::Path, sync::Arc};

use lichen_hub_core::api::{FieldError, Key, Object};
use serde_json::Value;

use super::{
    decode::decode,
    node::{Content, Node, Position},
    report::{Problem, Problems, Source},
    yaml,
};

/// Largest manifest file. The hub takes objects of at most 3 MiB.
pub const MAX_BYTES: u64 = 32 << 20;

/// One object of a manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file.
    pub source: Arc<Source>,
    /// The document.
    pub node: Node,
    /// What it means.
    pub object: Object,
}

impl Manifest {
    /// What names the object.
    #[must_use]
    pub fn key(&self) -> Key {
        self.object.key()
    }

    /// A problem with one of its fields.
    #[must_use]
    pub fn problem(&self, error: &FieldError) -> Problem {
        Problem::of(&self.source, &self.node, error)
    }
}

/// Reads a file.
///
/// # Errors
/// It can't be read, or is too large.
pub fn load(path: &Path) -> io::Result<Arc<Source>> {
    let size = fs::metadata(path)?.len();
    if size > MAX_BYTES {
        let cause = format!("it has {size} bytes; at most {MAX_BYTES} are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
    }
    let name = path.display().to_string();
    text_of(fs::read(path)?).map(|text| Arc::new(Source { name, text }))
}

/// A manifest's text: UTF-8, with or without the mark that some editors put in front.
///
/// # Errors
/// It is something else.
pub fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    let text = String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads every object of a text: YAML documents, JSON, and `List`s of either.
///
/// # Errors
/// Everything that is wrong with it, not just the first.
pub fn read(source: &Arc<Source>) -> Result<Vec<Manifest>, Problems> {
    let documents = documents(source)?;
    let mut manifests = Vec::new();
    let mut problems = Vec::new();
    for node in documents {
        match decode(&node.to_value()) {
            Ok(object) => manifests.push(Manifest { source: source.clone(), node, object }),
            Err(errors) => {
                let mut found: Vec<Problem> =
                    errors.iter().map(|error| Problem::of(source, &node, error)).collect();
                found.sort_by_key(|problem| problem.at);
                problems.extend(found);
            }
        }
    }
    Problems(problems).into_result().map(|()| manifests)
}

fn documents(source: &Arc<Source>) -> Result<Vec<Node>, Problems> {
    let parsed = yaml::parse(&source.text).or_else(|error| {
        // JSON may hold what YAML's grammar doesn't, such as escaped surrogates. Then only the positions are lost.
        match serde_json::from_str::<Value>(&source.text) {
            Ok(value) => Ok(vec![unplaced(value)]),
            Err(_) => Err(Problems(vec![Problem::at(source, error.at, error.cause)])),
        }
    })?;
    let mut documents = Vec::new();
    for node in parsed {
        flatten(node, &mut documents);
    }
    Ok(documents)
}

/// A `List`, as `kubectl get -o yaml` prints it, stands for its items.
fn flatten(node: Node, documents: &mut Vec<Node>) {
    let word = |name: &str| node.get(name).map(Node::to_value);
    if word("kind") != Some("List".into()) || word("apiVersion") != Some("v1".into()) {
        documents.push(node);
        return;
    }
    let Content::Map(entries) = node.content else { return };
    for entry in entries.into_iter().filter(|entry| entry.key == "items") {
        if let Content::List(items) = entry.value.content {
            documents.extend(items);
        }
    }
}

fn unplaced(value: Value) -> Node {
    let at = Position { line: 1, column: 1, length: 1 };
    let content = match value {
        Value::Array(items) => Content::List(items.into_iter().map(unplaced).collect()),
        Value::Object(fields) => Content::Map(
            fields
                .into_iter()
                .map(|(key, value)| super::node::Entry { key, at, value: unplaced(value) })
                .collect(),
        ),
        scalar => Content::Scalar(scalar),
    };
    Node { at, content }
}
