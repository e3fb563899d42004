//! `lichen describe`: everything about an object that a person may want to know. What is looked for first stands first: the
//! hub's own row of it, and why it is as it is; then its fields as a tree, conditions and events as tables. It knows no kind.

mod tree;

use serde_json::Value;

use super::{
    Context,
    args::NamedArgs,
    client::{Column, Form, Item, Listing, Selectors},
    discovery::ObjectRef,
    error::CliError,
    explain,
    get::{View, text},
    tone,
    ui::plain,
};

/// Column of the values at the top.
const VALUES: usize = 16;
/// What `kubectl apply` was given last, all of it: of a Secret, its data.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The newest events that are shown.
const MAX_EVENTS: usize = 20;

/// Runs the command.
///
/// # Errors
/// There is no such object, or the hub can't be reached.
pub fn run(context: &mut Context, args: &NamedArgs) -> Result<(), CliError> {
    let namespace = context.namespace(&args.namespace);
    let objects = context.objects(&args.words, &namespace, "describe")?;
    for (index, object) in objects.iter().enumerate() {
        let row = context.client.read_row(object, Form::RowsAndObjects)?;
        let row = row.ok_or_else(|| object.not_found())?;
        if index > 0 {
            context.ui.line("\n")?;
        }
        let mut lines = summary(context, &row);
        lines.extend(explanation(context, object)?);
        let shown = row.items.into_iter().next().unwrap_or_default().object;
        lines.extend(metadata(&shown["metadata"]));
        lines.extend(tree::body(&shown, &context.ui));
        lines.extend(events(context, object)?);
        for line in lines {
            context.ui.line(&line)?;
        }
    }
    Ok(())
}

/// The hub's row, its state first.
fn summary(context: &Context, row: &Listing) -> Vec<String> {
    let Some(item) = row.items.first() else { return Vec::new() };
    let mut lines = field("Name", item.name());
    lines.extend(field("Namespace", item.meta("namespace")));
    let cells = || row.columns.iter().zip(&item.cells).map(|(column, cell)| (column, text(cell)));
    let is_state = |column: &Column| column.name == "Status";
    let states = cells().filter(|(column, _)| is_state(column));
    let others = cells().filter(|(column, _)| !is_state(column));
    for (column, text) in states.chain(others) {
        // Age and name are told below and above, in full.
        if column.format == "name" || column.name == "Age" || text == "<none>" {
            continue;
        }
        let tone = tone::of(&column.name.to_uppercase(), &text);
        let shown = context.ui.tinted(&plain(&text), tone);
        lines.push(format!("{:VALUES$} {shown}", format!("{}:", plain(&column.name))));
    }
    if let Some((_, age)) = cells().find(|(column, _)| column.name == "Age") {
        let created = item.meta("creationTimestamp");
        if !created.is_empty() {
            lines.extend(field("Created", &format!("{created} ({age} ago)")));
        }
    }
    lines
}

/// What stands at the top, with its values below each other; nothing if it is empty.
fn field(name: &str, value: &str) -> Vec<String> {
    let mut label = format!("{name}:");
    let mut lines = Vec::new();
    for line in value.lines() {
        lines.push(format!("{label:VALUES$} {}", plain(line)));
        label.clear();
    }
    lines
}

/// Why it is as it is; nothing if the hub has no reasons for its kind.
fn explanation(context: &Context, object: &ObjectRef) -> Result<Vec<String>, CliError> {
    match explain::lines(context, object) {
        Ok(said) => {
            let said = said.iter().map(|line| format!("  {}", explain::shown(context, line)));
            Ok(std::iter::once("Explanation:".to_owned()).chain(said).collect())
        }
        Err(error) if error.is_refusal() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn metadata(meta: &Value) -> Vec<String> {
    let pairs = |name: &str| {
        let pairs = meta[name].as_object().into_iter().flatten();
        let pairs = pairs.filter(|(key, _)| *key != LAST_APPLIED);
        let pairs = pairs.map(|(key, value)| format!("{key}={}", text(value).replace('\n', " ")));
        pairs.collect::<Vec<_>>().join("\n")
    };
    let mut lines = field("Labels", &pairs("labels"));
    lines.extend(field("Annotations", &pairs("annotations")));
    if let Some(deleted) = meta["deletionTimestamp"].as_str() {
        lines.extend(field("Deleted", &format!("{deleted}; it goes when its Pods have ended")));
    }
    let owners = meta["ownerReferences"].as_array().into_iter().flatten();
    let owners = owners.map(|owner| {
        format!("{}/{}", text(&owner["kind"]).to_ascii_lowercase(), text(&owner["name"]))
    });
    lines.extend(field("Owner", &owners.collect::<Vec<_>>().join("\n")));
    lines
}

/// What happened to it, the newest last.
fn events(context: &Context, object: &ObjectRef) -> Result<Vec<String>, CliError> {
    let Some(resource) = context.discovery()?.kind("", "Event") else { return Ok(Vec::new()) };
    if *resource == *object.resource {
        return Ok(Vec::new());
    }
    let fields =
        format!("involvedObject.kind={},involvedObject.name={}", object.resource.kind, object.name);
    let namespace = Some(object.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let selectors = Selectors { fields, ..Selectors::default() };
    let mut listing =
        context.client.list(&resource, namespace, &selectors, Form::RowsAndObjects)?;
    if listing.items.is_empty() {
        return Ok(Vec::new());
    }
    listing.items.sort_by_key(|item| item.object["lastTimestamp"].as_str().map(str::to_owned));
    let older = listing.items.len().saturating_sub(MAX_EVENTS);
    let items = listing.items.split_off(older);
    let (columns, items) = without(&["Object", "Name"], listing.columns, items);
    let table = View::default().table(&resource, &columns, &items);
    let mut lines = vec!["Events:".to_owned()];
    if older > 0 {
        lines.push(format!("  and {older} older ones"));
    }
    lines.extend(table.lines(&context.ui).into_iter().map(|line| format!("  {line}")));
    Ok(lines)
}

/// The same rows without some columns.
fn without(names: &[&str], columns: Vec<Column>, mut items: Vec<Item>) -> (Vec<Column>, Vec<Item>) {
    let kept: Vec<bool> =
        columns.iter().map(|column| !names.contains(&column.name.as_str())).collect();
    for item in &mut items {
        let mut keep = kept.iter();
        item.cells.retain(|_| *keep.next().unwrap_or(&true));
    }
    let mut keep = kept.iter();
    let columns = columns.into_iter().filter(|_| *keep.next().unwrap_or(&true)).collect();
    (columns, items)
}
