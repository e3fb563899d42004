//! A YAML document as a tree that remembers where everything stands, so that an error about a field can point at it.

use serde_json::{Map, Value};

/// Where something stands in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters, on this line at most.
    pub length: usize,
}

/// One value of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where the value begins.
    pub at: Position,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A text, number, boolean or null.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// Names and values, in the order of the file.
    Map(Vec<Entry>),
}

/// One name and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name.
    pub key: String,
    /// Where the name stands.
    pub at: Position,
    /// The value.
    pub value: Node,
}

/// What a message about a field is about: its name or its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The name: it is unknown, or something is missing below it.
    Name,
    /// The value is wrong.
    Value,
}

impl Node {
    /// The value alone.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Content::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.content == Content::Scalar(Value::Null)
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.content {
            Content::Map(entries) => {
                entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value)
            }
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// Where a field of this form stands: `spec.template.spec.containers[0].image`, `metadata.labels[a.b/c]`. What
    /// isn't there is placed at the nearest field around it.
    #[must_use]
    pub fn locate(&self, path: &str, aim: Aim) -> Position {
        let mut node = self;
        let mut found = self.at;
        let mut rest = path;
        while let Some((at, next, after)) = node.step(rest) {
            // The name of a list's item is the item itself.
            let whole = after.is_empty() && aim == Aim::Value;
            let scalar = matches!(next.content, Content::Scalar(_)) && !next.is_null();
            found = if whole && scalar { next.at } else { at };
            (node, rest) = (next, after);
        }
        found
    }

    /// Whether the value of a field is a number or a boolean that this text stands for.
    #[must_use]
    pub fn is_plain(&self, path: &str, text: &str) -> bool {
        let mut node = self;
        let mut rest = path;
        while let Some((_, next, after)) = node.step(rest) {
            (node, rest) = (next, after);
        }
        let plain = matches!(&node.content, Content::Scalar(Value::Number(_) | Value::Bool(_)));
        rest.is_empty() && plain && !text.is_empty() && !text.contains(char::is_whitespace)
    }

    /// The child that a path leads through first: its name's place, itself, and the rest of the path.
    fn step<'n, 'p>(&'n self, path: &'p str) -> Option<(Position, &'n Self, &'p str)> {
        let path = path.strip_prefix('.').unwrap_or(path);
        match &self.content {
            Content::Scalar(_) => None,
            Content::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item.at, item, rest))
            }
            Content::Map(entries) => {
                let rests =
                    entries.iter().filter_map(|e| after_name(path, &e.key).map(|rest| (e, rest)));
                // A name may hold dots: the longest one that fits is meant.
                let (entry, rest) = rests.max_by_key(|(entry, _)| entry.key.len())?;
                Some((entry.at, &entry.value, rest))
            }
        }
    }
}

/// What follows a name at the beginning of a path, if it is there.
fn after_name<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    if let Some(rest) = path.strip_prefix('[') {
        return rest.strip_prefix(name)?.strip_prefix(']');
    }
    let rest = path.strip_prefix(name).filter(|_| !name.is_empty())?;
    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}
