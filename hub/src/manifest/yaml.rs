//! YAML (and JSON, which is YAML) to trees with positions. Untrusted: documents, depth and what aliases repeat are
//! bounded, and a name that stands twice is refused, since nobody could say which value was meant.

pub mod tree;

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScanError, Span, StrInput, Tag};
#[cfg(test)]
use serde_json::Value;

use self::tree::{Content, Entry, Node, Position};
use super::scalar;

/// Deepest nesting. Kubernetes objects stay under 20.
const MAX_DEPTH: usize = 64;
/// Most values in one file: ten times a thousand large objects.
const MAX_NODES: usize = 1_000_000;

/// Most values that aliases repeat. People repeat a few settings; a few lines that repeat each other could make the
/// largest file out of a kilobyte.
const MAX_REPEATED: usize = 50_000;

/// Why a text is not YAML that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) at: Position,
    pub(super) cause: String,
}

/// Reads every document of a text; empty documents are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let mut builder = Builder::default();
    let mut events = Parser::new_from_str(text);
    while let Some(event) = next(&mut events) {
        let (event, span) = event.map_err(|error| scan_error(&error))?;
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

fn next<'i>(events: &mut Parser<'i, StrInput<'i>>) -> Option<Result<(Event<'i>, Span), ScanError>> {
    events.next_event()
}

fn scan_error(error: &ScanError) -> SyntaxError {
    let marker = error.marker();
    let hint = match error.info() {
        info if info.contains("tab") => "; YAML is indented with spaces, never with tabs",
        info if info.contains("unknown anchor") => "; *NAME repeats what an earlier &NAME marks",
        info if info.contains("mapping values are not allowed") => {
            "; look for a wrong indentation, or a ':' in a text that needs quotes"
        }
        info if info.contains("did not find expected") || info.contains("simple key") => {
            "; look for a wrong indentation or a missing ':' here or on the line above"
        }
        _ => "",
    };
    SyntaxError {
        at: position(*marker, 1),
        cause: format!("not valid YAML: {}{hint}", error.info()),
    }
}

fn position(marker: Marker, length: usize) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1, length: length.max(1) }
}

fn place(span: Span) -> Position {
    let one_line = span.start.line() == span.end.line();
    position(span.start, if one_line { span.len() } else { 1 })
}

/// A list or map that is not closed yet.
struct Open {
    at: Position,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, Position)> },
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    repeated: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let at = place(span);
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar::read(&text, style, tag.as_deref())
                    .map_err(|cause| SyntaxError { at, cause })?;
                // A name is text, whatever it looks like: `1: x` and `true: x`.
                if let Some(Open { items: Items::Map { key: key @ None, .. }, .. }) =
                    self.open.last_mut()
                {
                    *key = Some((text.into_owned(), at));
                    return Ok(());
                }
                self.close(Node { at, content: Content::Scalar(value) }, anchor)
            }
            Event::Alias(anchor) => {
                let repeats = self.anchors.get(&anchor).map(size).ok_or_else(|| SyntaxError {
                    at,
                    cause: "an alias can't repeat what it is part of".to_owned(),
                })?;
                self.repeat(repeats, at)?;
                let node = self.anchors.get(&anchor).cloned();
                node.map_or(Ok(()), |node| self.close(node, 0))
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq", at)?;
                self.begin(at, anchor, Items::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "map", at)?;
                self.begin(at, anchor, Items::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let content = match open.items {
                    Items::List(items) => Content::List(items),
                    Items::Map { entries, .. } => Content::Map(merged(entries)?),
                };
                self.close(Node { at: open.at, content }, open.anchor)
            }
        }
    }

    fn begin(&mut self, at: Position, anchor: usize, items: Items) -> Result<(), SyntaxError> {
        if let Some(Open { items: Items::Map { key: None, .. }, .. }) = self.open.last() {
            let cause = "a list or map can't be a name here".to_owned();
            return Err(SyntaxError { at, cause });
        }
        if self.open.len() >= MAX_DEPTH {
            let cause = format!("more than {MAX_DEPTH} levels are nested here");
            return Err(SyntaxError { at, cause });
        }
        self.open.push(Open { at, anchor, items });
        Ok(())
    }

    /// A value is complete: into what is open, or a document of its own.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        self.count(1, node.at)?;
        if anchor > 0 {
            self.repeat(size(&node), node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None if node.is_null() => {}
            None => self.documents.push(node),
            Some(Items::List(items)) => items.push(node),
            Some(Items::Map { entries, key }) => {
                let Some((key, at)) = key.take() else {
                    let cause = "an alias can't be a name here".to_owned();
                    return Err(SyntaxError { at: node.at, cause });
                };
                entries.push(Entry { key, at, value: node });
            }
        }
        Ok(())
    }

    /// Counts what an anchor keeps and what an alias repeats, before it is copied.
    fn repeat(&mut self, nodes: usize, at: Position) -> Result<(), SyntaxError> {
        self.repeated = self.repeated.saturating_add(nodes);
        if self.repeated <= MAX_REPEATED {
            return Ok(());
        }
        let cause = format!("aliases repeat more than {MAX_REPEATED} values up to here");
        Err(SyntaxError { at, cause })
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(SyntaxError { at, cause: format!("the file has more than {MAX_NODES} values") })
    }
}

fn refuse_tag(tag: Option<&Tag>, own: &str, at: Position) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == own) => {
            Err(SyntaxError { at, cause: format!("tag {tag} means nothing here; leave it out") })
        }
        _ => Ok(()),
    }
}

fn size(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(_) => 1,
        Content::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Content::Map(entries) => 1 + entries.iter().map(|entry| size(&entry.value)).sum::<usize>(),
    }
}

/// Refuses names that stand twice, and puts what `<<` brings behind the map's own names.
fn merged(entries: Vec<Entry>) -> Result<Vec<Entry>, SyntaxError> {
    let mut first: HashMap<&str, Position> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.key != "<<") {
        if let Some(first) = first.insert(&entry.key, entry.at) {
            let cause =
                format!("{} is there twice; it was given on line {} before", entry.key, first.line);
            return Err(SyntaxError { at: entry.at, cause });
        }
    }
    let (merges, mut own): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.key == "<<");
    if merges.is_empty() {
        return Ok(own);
    }
    let mut known: HashSet<String> = own.iter().map(|entry| entry.key.clone()).collect();
    for merge in merges {
        own.extend(brought(merge)?.into_iter().filter(|entry| known.insert(entry.key.clone())));
    }
    Ok(own)
}

fn brought(merge: Entry) -> Result<Vec<Entry>, SyntaxError> {
    let refused = |at| SyntaxError { at, cause: "<< takes a map or a list of maps".to_owned() };
    match merge.value.content {
        Content::Map(entries) => Ok(entries),
        Content::List(items) => {
            let mut all = Vec::new();
            for item in items {
                let Content::Map(entries) = item.content else { return Err(refused(item.at)) };
                all.extend(entries);
            }
            Ok(all)
        }
        Content::Scalar(_) => Err(refused(merge.at)),
    }
}

/// The values alone, for readers that need no positions.
#[cfg(test)]
pub(crate) fn values(text: &str) -> Option<Vec<Value>> {
    parse(text).ok().map(|nodes| nodes.iter().map(Node::to_value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(text: &str, expected: Value) {
        let documents = parse(text).expect(text);
        let values: Vec<Value> = documents.iter().map(Node::to_value).collect();
        assert_eq!(Value::Array(values), expected, "{text}");
    }

    fn refused(text: &str) -> String {
        let error = parse(text).expect_err(text);
        format!("{}:{} {}", error.at.line, error.at.column, error.cause)
    }

    #[test]
    fn documents_are_read_as_yaml_and_as_json() {
        check("a: 1\nb: [x, 'y', \"z\"]\n", json!([{"a": 1, "b": ["x", "y", "z"]}]));
        check("---\n# nothing\n---\na: 1\n---\n...\n", json!([{"a": 1}]));
        check("{\n\t\"a\": {\"b\": [true, null]}\n}\n", json!([{"a": {"b": [true, null]}}]));
        check(
            "a: |\n  one\n  two\nb: >-\n  one\n  two\n",
            json!([{"a": "one\ntwo\n", "b": "one two"}]),
        );
        check("1: x\ntrue: y\n", json!([{"1": "x", "true": "y"}]));
        check("a: !!str 3\nb: ! 4\n", json!([{"a": "3", "b": "4"}]));
        check("", json!([]));
    }

    #[test]
    fn anchors_and_merges_repeat_what_they_mark() {
        check(
            "base: &base {a: 1, b: 2}\nnext:\n  <<: *base\n  b: 3\nsame: *base\n",
            json!([{"base": {"a": 1, "b": 2}, "next": {"b": 3, "a": 1}, "same": {"a": 1, "b": 2}}]),
        );
    }

    #[test]
    fn what_could_be_meant_in_two_ways_is_refused_with_its_place() {
        assert_eq!(
            refused("a: 1\nb: 2\na: 3\n"),
            "3:1 a is there twice; it was given on line 1 before"
        );
        assert_eq!(refused("? [a]\n: b\n"), "1:3 a list or map can't be a name here");
        assert_eq!(refused("a: !thing b\n"), "1:4 tag !thing means nothing here; leave it out");
        assert_eq!(refused("a:\n  <<: 3\n"), "2:3 << takes a map or a list of maps");
        assert!(refused("a: *b\n").contains("unknown anchor"), "{}", refused("a: *b\n"));
        assert!(refused("a:\n\tb: 1\n").contains("never with tabs"), "{}", refused("a:\n\tb: 1\n"));
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_before_it_grows() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let list = vec![format!("*a{}", level - 1); 9].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        assert!(refused(&text).contains("aliases repeat more than"));
        assert!(refused(&"[".repeat(100)).contains("levels are nested"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([a-c&*<:!|>'\"{}\\[\\],\\- \n\t#?0-9]|---\n){0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn json_reads_as_itself(value in any_json()) {
            let text = serde_json::to_string_pretty(&value).expect("json");
            let expected = if value.is_null() { vec![] } else { vec![value] };
            prop_assert_eq!(values(&text), Some(expected));
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~éß€]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z.]{1,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
