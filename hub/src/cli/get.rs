//! `lichen get`: objects as the hub's own tables, or as JSON, YAML or names, once or as they change. No kind is known here:
//! what a row shows is the hub's to say.

mod view;
mod watch;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Context,
    args::{GetArgs, Output},
    client::{Form, Item, Listing, Selectors},
    discovery::{ApiResource, ObjectRef},
    error::CliError,
    kinds::{self, Wanted},
    yaml::to_yaml,
};
pub(super) use view::{View, text};

/// Objects of one kind.
struct Group {
    resource: Arc<ApiResource>,
    listing: Listing,
}

/// Runs the command.
///
/// # Errors
/// What isn't there, or the hub can't be reached.
pub fn run(context: &mut Context, args: &GetArgs) -> Result<(), CliError> {
    let own = context.namespace(&args.namespace);
    let own = own.as_str();
    let wanted = kinds::wanted(context.discovery()?, &args.words, own)?;
    if args.watch {
        return watch::run(context, args, &wanted, own);
    }
    let (groups, missing) = match &wanted {
        Wanted::Kinds(kinds) => (list(context, args, kinds, own)?, Vec::new()),
        Wanted::Objects(objects) => read(context, args, objects)?,
    };
    match args.output {
        None | Some(Output::Wide) => show_tables(context, args, &groups, &wanted, own)?,
        Some(Output::Name) => {
            for (resource, item) in each(&groups) {
                context.ui.line(&format!("{}/{}", resource.singular, item.name()))?;
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

/// Events are read in the order in which they happened, which their rows don't tell.
fn is_in_time(resource: &ApiResource) -> bool {
    resource.kind == "Event"
}

fn form(args: &GetArgs, resource: &ApiResource) -> Form {
    match args.output {
        Some(Output::Json | Output::Yaml) => Form::Objects,
        _ if is_in_time(resource) => Form::RowsAndObjects,
        _ => Form::Rows,
    }
}

fn selectors(args: &GetArgs) -> Selectors {
    Selectors {
        labels: args.selector.clone().unwrap_or_default(),
        fields: args.field_selector.clone().unwrap_or_default(),
    }
}

fn list(
    context: &Context,
    args: &GetArgs,
    kinds: &[Arc<ApiResource>],
    own: &str,
) -> Result<Vec<Group>, CliError> {
    let namespace = (!args.all_namespaces).then_some(own);
    let mut groups = Vec::new();
    for resource in kinds {
        let form = form(args, resource);
        let mut listing = context.client.list(resource, namespace, &selectors(args), form)?;
        if is_in_time(resource) {
            let last = |item: &Item| item.object["lastTimestamp"].as_str().map(str::to_owned);
            listing.items.sort_by_key(last);
        }
        groups.push(Group { resource: Arc::clone(resource), listing });
    }
    Ok(groups)
}

/// The objects that are there, grouped by kind, and errors about the others.
fn read(
    context: &Context,
    args: &GetArgs,
    objects: &[ObjectRef],
) -> Result<(Vec<Group>, Vec<CliError>), CliError> {
    let given = [
        ("-l", args.selector.is_some()),
        ("--field-selector", args.field_selector.is_some()),
        ("-A", args.all_namespaces),
    ];
    if let Some((what, _)) = given.iter().find(|(_, given)| *given) {
        return Err(CliError::Usage(format!(
            "{what} selects among all; leave it or the names out"
        )));
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut missing = Vec::new();
    for object in objects {
        let found = match form(args, &object.resource) {
            Form::Objects => context.client.read(object)?.map(|object| Listing {
                items: vec![Item { cells: Vec::new(), object }],
                ..Listing::default()
            }),
            form => context.client.read_row(object, form)?,
        };
        let Some(listing) = found else {
            missing.push(object.not_found());
            continue;
        };
        match groups.iter_mut().find(|group| group.resource == object.resource) {
            Some(group) => group.listing.items.extend(listing.items),
            None => groups.push(Group { resource: Arc::clone(&object.resource), listing }),
        }
    }
    Ok((groups, missing))
}

fn each(groups: &[Group]) -> impl Iterator<Item = (&ApiResource, &Item)> {
    groups
        .iter()
        .flat_map(|group| group.listing.items.iter().map(|item| (group.resource.as_ref(), item)))
}

/// One object as itself, anything else as a `List`.
fn whole(groups: &[Group], wanted: &Wanted) -> Value {
    let mut items: Vec<Value> = each(groups).map(|(_, item)| item.object.clone()).collect();
    match wanted {
        Wanted::Objects(objects) if objects.len() == 1 && items.len() == 1 => items.remove(0),
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
    own: &str,
) -> Result<(), CliError> {
    let several = matches!(wanted, Wanted::Kinds(kinds) if kinds.len() > 1) || groups.len() > 1;
    let view = View {
        wide: args.output == Some(Output::Wide),
        namespaces: args.all_namespaces,
        kinds: several,
    };
    let mut first = true;
    for Group { resource, listing } in groups.iter().filter(|group| !group.listing.items.is_empty())
    {
        if !first {
            context.ui.line("")?;
        }
        first = false;
        let table = view.table(resource, &listing.columns, &listing.items);
        for line in table.lines(&context.ui) {
            context.ui.line(&line)?;
        }
    }
    if let (true, Wanted::Kinds(kinds)) = (first, wanted) {
        context.ui.note(&nothing(args, kinds, own));
    }
    Ok(())
}

fn nothing(args: &GetArgs, kinds: &[Arc<ApiResource>], own: &str) -> String {
    let what: Vec<&str> = kinds.iter().map(|kind| kind.plural.as_str()).collect();
    let mut text = format!("no {}", what.join(", "));
    match (&args.selector, &args.field_selector) {
        (None, None) => {}
        (Some(_), None) => text.push_str(" with these labels"),
        _ => text.push_str(" that are selected"),
    }
    if !args.all_namespaces && kinds.iter().any(|kind| kind.namespaced) {
        text.push_str(&format!(" in namespace {own} (-A looks in all)"));
    }
    if what == ["nodes"] {
        text.push_str("; a device joins with the line that `lichen token create` prints");
    }
    text
}
