//! `lichen get -w`: what there is, then each change as a line of its own.

use std::collections::BTreeMap;

use lichen_hub_core::{
    api::{Key, Kind, Object},
    effect::Action,
};
use serde_json::Value;

use super::{View, name, table};
use crate::cli::{
    Context,
    age::now_s,
    args::{GetArgs, Output},
    client::{News, object_of},
    error::CliError,
    kinds::{self, Wanted},
    table::Table,
    yaml::to_yaml,
};

/// Room for the usual states of a Pod.
const STATUS_WIDTH: usize = 16;

pub(super) fn run(
    context: &mut Context,
    args: &GetArgs,
    wanted: &Wanted,
    own: &str,
) -> Result<(), CliError> {
    let kind = only_kind(wanted)?;
    let keys = match wanted {
        Wanted::Objects(keys) => keys.as_slice(),
        Wanted::Kinds(_) => &[],
    };
    for key in keys {
        // Better said than waited for in silence: a name may be misspelt.
        context.must_read(key)?;
    }
    let Context { client, ui } = context;
    let namespace = (!args.all_namespaces).then_some(own);
    let mut follow = client.follow(kind, namespace, args.selector.as_deref(), None);
    let mut shown: Option<Table> = None;
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    while let Some(news) = follow.next_news()? {
        let items = match news {
            News::All(items) => items,
            // An object that is gone is shown once more, as it was.
            News::Changed(Action::Deleted, item) if args.output.is_none() => {
                seen.remove(&id(&item));
                continue;
            }
            News::Changed(_, item) => vec![item],
        };
        let named = |item: &Value| keys.is_empty() || keys.iter().any(|key| key.name == name(item));
        let items: Vec<Value> = items
            .into_iter()
            .filter(named)
            // After a break everything is listed again; what has been shown isn't news.
            .filter(|item| seen.insert(id(item), version(item)) != Some(version(item)))
            .collect();
        match args.output {
            None | Some(Output::Wide) => {
                let view = View {
                    wide: args.output.is_some(),
                    namespaces: args.all_namespaces,
                    kinds: false,
                    now_s: now_s(),
                };
                let objects = items.iter().map(|item| object_of(kind, item));
                let objects = objects.collect::<Result<Vec<Object>, _>>()?;
                // Later states are longer words than most that are there at the beginning.
                let new = table(kind, &objects, view).at_least("STATUS", STATUS_WIDTH);
                let lines = match &shown {
                    None if objects.is_empty() => Vec::new(),
                    None => new.lines(ui),
                    Some(above) => new.below(above).rows(ui),
                };
                if !objects.is_empty() {
                    shown =
                        Some(shown.as_ref().map_or_else(|| new.clone(), |above| new.below(above)));
                }
                for line in lines {
                    ui.line(&line)?;
                }
            }
            Some(Output::Name) => {
                for item in &items {
                    ui.line(&format!("{}/{}", kinds::singular(kind), name(item)))?;
                }
            }
            Some(Output::Json) => {
                for item in &items {
                    ui.line(&item.to_string())?;
                }
            }
            Some(Output::Yaml) => {
                for item in &items {
                    ui.write(format!("---\n{}", to_yaml(item)).as_bytes())?;
                }
            }
        }
    }
    Ok(())
}

fn only_kind(wanted: &Wanted) -> Result<Kind, CliError> {
    let mut kinds: Vec<Kind> = match wanted {
        Wanted::Kinds(kinds) => kinds.clone(),
        Wanted::Objects(keys) => keys.iter().map(|Key { kind, .. }| *kind).collect(),
    };
    kinds.dedup();
    match kinds.as_slice() {
        [kind] => Ok(*kind),
        _ => Err(CliError::Usage("-w watches one kind at a time; name one".to_owned())),
    }
}

fn id(item: &Value) -> String {
    let meta = &item["metadata"];
    format!("{}/{}", meta["namespace"].as_str().unwrap_or_default(), name(item))
}

fn version(item: &Value) -> String {
    item["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}
