//! `lichen get -w`: what there is, then each change as a line of its own, as a watch of tables tells it.

use std::{collections::BTreeMap, sync::Arc};

use super::{View, form, selectors};
use crate::cli::{
    Context,
    args::{GetArgs, Output},
    client::{Item, News},
    discovery::{ApiResource, ObjectRef},
    error::CliError,
    kinds::Wanted,
    table::Table,
    ui::{Ui, plain},
    yaml::to_yaml,
};

/// Room for the usual states of a Pod.
const STATUS_WIDTH: usize = 17;

pub(super) fn run(
    context: &mut Context,
    args: &GetArgs,
    wanted: &Wanted,
    own: &str,
) -> Result<(), CliError> {
    let resource = only_kind(wanted)?;
    let objects: &[ObjectRef] = match wanted {
        Wanted::Objects(objects) => objects,
        Wanted::Kinds(_) => &[],
    };
    for object in objects {
        // Better said than waited for in silence: a name may be misspelt.
        context.must_read(object)?;
    }
    let mut selectors = selectors(args);
    if let ([object], "") = (objects, selectors.fields.as_str()) {
        selectors.fields = format!("metadata.name={}", object.name);
    }
    let namespace = (!args.all_namespaces).then_some(own);
    let form = form(args, &resource);
    let Context { client, ui, .. } = context;
    let mut follow = client.follow(&resource, namespace, selectors, form, None);
    let mut printer = Printer::new(args, &resource);
    let named = |item: &Item| objects.is_empty() || objects.iter().any(|o| o.name == item.name());
    while let Some(news) = follow.next_news()? {
        let items = match news {
            News::All(items) => items,
            News::Changed(item) => vec![item],
            News::Deleted(item) => {
                if named(&item) {
                    printer.forget(ui, &item);
                }
                continue;
            }
        };
        let items: Vec<Item> =
            items.into_iter().filter(named).filter(|item| printer.is_news(item)).collect();
        printer.print(ui, follow.columns(), &items)?;
    }
    Ok(())
}

fn only_kind(wanted: &Wanted) -> Result<Arc<ApiResource>, CliError> {
    let mut kinds: Vec<&Arc<ApiResource>> = match wanted {
        Wanted::Kinds(kinds) => kinds.iter().collect(),
        Wanted::Objects(objects) => objects.iter().map(|object| &object.resource).collect(),
    };
    kinds.dedup();
    match kinds.as_slice() {
        [kind] => Ok(Arc::clone(kind)),
        _ => Err(CliError::Usage("-w watches one kind at a time; name one".to_owned())),
    }
}

/// Prints changes below each other.
struct Printer<'a> {
    resource: &'a ApiResource,
    output: Option<Output>,
    view: View,
    /// What the first rows were, whose columns the later ones keep.
    shown: Option<Table>,
    /// Versions that have been shown, by namespace and name.
    seen: BTreeMap<String, String>,
}

impl<'a> Printer<'a> {
    fn new(args: &GetArgs, resource: &'a ApiResource) -> Self {
        let view = View {
            wide: args.output == Some(Output::Wide),
            namespaces: args.all_namespaces,
            kinds: false,
        };
        Self { resource, output: args.output, view, shown: None, seen: BTreeMap::new() }
    }

    /// After a break everything is listed again; what has been shown isn't news.
    fn is_news(&mut self, item: &Item) -> bool {
        let version = item.meta("resourceVersion").to_owned();
        let before = self.seen.insert(id(item), version.clone());
        version.is_empty() || before != Some(version)
    }

    /// A row would look as if the object were still there.
    fn forget(&mut self, ui: &mut Ui, item: &Item) {
        self.seen.remove(&id(item));
        ui.note(&plain(&format!("{}/{} is gone", self.resource.singular, item.name())));
    }

    fn print(
        &mut self,
        ui: &mut Ui,
        columns: &[crate::cli::client::Column],
        items: &[Item],
    ) -> Result<(), CliError> {
        match self.output {
            None | Some(Output::Wide) => {
                if items.is_empty() {
                    return Ok(());
                }
                // Later states are longer words than most that are there at the beginning.
                let new = self.view.table(self.resource, columns, items);
                let new = new.at_least("STATUS", STATUS_WIDTH);
                let (table, lines) = match &self.shown {
                    None => (new.clone(), new.lines(ui)),
                    Some(above) => (new.below(above), new.below(above).rows(ui)),
                };
                self.shown = Some(table);
                for line in lines {
                    ui.line(&line)?;
                }
            }
            Some(Output::Name) => {
                for item in items {
                    ui.line(&plain(&format!("{}/{}", self.resource.singular, item.name())))?;
                }
            }
            Some(Output::Json) => {
                for item in items {
                    ui.line(&item.object.to_string())?;
                }
            }
            Some(Output::Yaml) => {
                for item in items {
                    ui.write(format!("---\n{}", to_yaml(&item.object)).as_bytes())?;
                }
            }
        }
        Ok(())
    }
}

fn id(item: &Item) -> String {
    format!("{}/{}", item.meta("namespace"), item.name())
}
