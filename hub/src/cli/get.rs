//! `lichen get`: objects as tables, JSON, YAML or names, once or as they change.

mod rows;
mod watch;

use lichen_hub_core::api::{Key, Kind};
use serde_json::{Value, json};

use super::{
    Context,
    args::{GetArgs, Output},
    client::object_of,
    error::CliError,
    kinds::{self, DEFAULT_NAMESPACE, Wanted},
    yaml::to_yaml,
};
pub(super) use rows::{View, pod_state, table};

/// Objects of one kind.
struct Group {
    kind: Kind,
    items: Vec<Value>,
}

/// Runs the command.
///
/// # Errors
/// What isn't there, or the hub can't be reached.
pub fn run(context: &mut Context, args: &GetArgs) -> Result<(), CliError> {
    let own = args.namespace.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let wanted = kinds::wanted(&args.words, own)?;
    if args.watch {
        return watch::run(context, args, &wanted, own);
    }
    let (groups, missing) = match &wanted {
        Wanted::Kinds(kinds) => (list(context, args, kinds, own)?, Vec::new()),
        Wanted::Objects(keys) => read(context, args, keys)?,
    };
    match args.output {
        None | Some(Output::Wide) => show_tables(context, args, &groups, &wanted)?,
        Some(Output::Name) => {
            for (kind, item) in each(&groups) {
                context.ui.line(&format!("{}/{}", kinds::singular(kind), name(item)))?;
            }
        }
        Some(Output::Json) => {
            let text = format!("{:#}", whole(&groups, &wanted));
            context.ui.line(&text)?;
        }
        Some(Output::Yaml) => context.ui.write(to_yaml(&whole(&groups, &wanted)).as_bytes())?,
    }
    let mut missing = missing.into_iter();
    let Some(last) = missing.next_back() else { return Ok(()) };
    missing.for_each(|error| error.print(&mut context.ui));
    Err(last)
}

fn list(
    context: &Context,
    args: &GetArgs,
    kinds: &[Kind],
    own: &str,
) -> Result<Vec<Group>, CliError> {
    let namespace = (!args.all_namespaces).then_some(own);
    let mut groups = Vec::new();
    for kind in kinds {
        let mut items = context.client.list(*kind, namespace, args.selector.as_deref())?.items;
        if *kind == Kind::Event {
            items.sort_by_key(|item| item["lastTimestamp"].as_str().unwrap_or_default().to_owned());
        }
        groups.push(Group { kind: *kind, items });
    }
    Ok(groups)
}

/// The objects that are there, grouped by kind, and errors about the others.
fn read(
    context: &Context,
    args: &GetArgs,
    keys: &[Key],
) -> Result<(Vec<Group>, Vec<CliError>), CliError> {
    if args.selector.is_some() || args.all_namespaces {
        let what = if args.selector.is_some() { "-l" } else { "-A" };
        return Err(CliError::Usage(format!(
            "{what} selects among all; leave it or the names out"
        )));
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut missing = Vec::new();
    for key in keys {
        let Some(item) = context.client.read(key)? else {
            missing.push(kinds::not_found(key));
            continue;
        };
        match groups.iter_mut().find(|group| group.kind == key.kind) {
            Some(group) => group.items.push(item),
            None => groups.push(Group { kind: key.kind, items: vec![item] }),
        }
    }
    Ok((groups, missing))
}

fn each(groups: &[Group]) -> impl Iterator<Item = (Kind, &Value)> {
    groups.iter().flat_map(|group| group.items.iter().map(|item| (group.kind, item)))
}

fn name(item: &Value) -> &str {
    item["metadata"]["name"].as_str().unwrap_or_default()
}

/// One object as itself, anything else as a `List`.
fn whole(groups: &[Group], wanted: &Wanted) -> Value {
    let mut items: Vec<Value> = each(groups).map(|(_, item)| item.clone()).collect();
    match wanted {
        Wanted::Objects(keys) if keys.len() == 1 && items.len() == 1 => items.remove(0),
        _ => {
            json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
        }
    }
}

fn show_tables(
    context: &mut Context,
    args: &GetArgs,
    groups: &[Group],
    wanted: &Wanted,
) -> Result<(), CliError> {
    let several = matches!(wanted, Wanted::Kinds(kinds) if kinds.len() > 1) || groups.len() > 1;
    let view = View {
        wide: args.output == Some(Output::Wide),
        namespaces: args.all_namespaces,
        kinds: several,
        now_s: super::age::now_s(),
    };
    let mut first = true;
    for group in groups.iter().filter(|group| !group.items.is_empty()) {
        if !first {
            context.ui.line("")?;
        }
        first = false;
        let objects = group.items.iter().map(|item| object_of(group.kind, item));
        let table = table(group.kind, &objects.collect::<Result<Vec<_>, _>>()?, view);
        for line in table.lines(&context.ui) {
            context.ui.line(&line)?;
        }
    }
    if first && matches!(wanted, Wanted::Kinds(_)) {
        let note = nothing(args, wanted);
        context.ui.note(&note);
    }
    Ok(())
}

fn nothing(args: &GetArgs, wanted: &Wanted) -> String {
    let Wanted::Kinds(kinds) = wanted else { return "nothing found".to_owned() };
    let what: Vec<&str> = kinds.iter().map(|kind| kind.plural()).collect();
    let mut text = format!("no {}", what.join(", "));
    if args.selector.is_some() {
        text.push_str(" with these labels");
    }
    if !args.all_namespaces && kinds.iter().any(|kind| kind.namespaced()) {
        let namespace = args.namespace.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        text.push_str(&format!(" in namespace {namespace} (-A looks in all)"));
    }
    if kinds.as_slice() == [Kind::Node] {
        text.push_str("; start an agent on a device with: lichen-agent --state DIR --hub URL");
    }
    text
}
