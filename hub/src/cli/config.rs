//! `lichen config`: contexts, in kubectl's own words.

use std::path::{Path, PathBuf};

use super::{
    Context,
    args::{ConfigCommand, ContextsOutput, ViewArgs, ViewOutput},
    error::CliError,
    kubeconfig::{
        Choice, Document, Found, Group, KubeconfigError, Place, Section, file,
        show::{Form, view},
    },
    table::{Cell, Table},
    ui::{Tone, Ui, plain},
};

/// Runs the command.
///
/// # Errors
/// There is no such context, or a kubeconfig can't be used or written.
pub fn run(context: &mut Context, command: &ConfigCommand) -> Result<(), CliError> {
    let choice = context.client.choice().clone();
    let found = Found::look(&choice)?;
    match command {
        ConfigCommand::GetContexts { output } => get_contexts(context, &choice, &found, *output),
        ConfigCommand::UseContext { name } => {
            use_context(&choice, &found, name)?;
            context.ui.line(&format!("Switched to context \"{}\".", plain(name)))?;
            tell_who_decides(&mut context.ui, &choice, name)
        }
        ConfigCommand::CurrentContext => {
            let (_, name) = found.context(choice.context.as_deref())?;
            Ok(context.ui.line(&plain(&name))?)
        }
        ConfigCommand::DeleteContext { name } => delete_context(context, &found, name),
        ConfigCommand::View(args) => show(context, &choice, &found, args),
    }
}

/// Warns if commands do not use a context although it was just chosen.
pub(super) fn tell_who_decides(ui: &mut Ui, choice: &Choice, name: &str) -> Result<(), CliError> {
    let found = Found::look(choice)?;
    if let Some((group, current)) = found.current().filter(|(_, current)| *current != name) {
        let paths: Vec<String> = paths(std::slice::from_ref(group)).collect();
        ui.warn(&format!(
            "{} goes before, and says {}; unset KUBECONFIG, or use --context {}",
            paths.join(", "),
            plain(current),
            plain(name)
        ));
    }
    if let Some(server) = &choice.server {
        ui.warn(&format!("--server or LICHEN_SERVER says {server}, whatever the context"));
    }
    Ok(())
}

fn paths(groups: &[Group]) -> impl Iterator<Item = String> {
    let sources = groups.iter().flat_map(|group| &group.sources);
    sources.map(|source| source.path.display().to_string())
}

fn get_contexts(
    context: &mut Context,
    choice: &Choice,
    found: &Found,
    output: Option<ContextsOutput>,
) -> Result<(), CliError> {
    let current = choice.context.as_deref().or(found.current().map(|(_, name)| name));
    let wide = output == Some(ContextsOutput::Wide);
    let mut headings = vec!["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"];
    if wide {
        headings.extend(["SERVER", "FILE"]);
    }
    let mut table = Table::new(&headings);
    let mut names: Vec<&str> = Vec::new();
    for (group, entry) in
        found.groups.iter().flat_map(|group| group.contexts().map(move |entry| (group, entry)))
    {
        // Another of the same name can't be chosen.
        if names.contains(&entry.name) {
            continue;
        }
        names.push(entry.name);
        let text = |field: &str| entry.value[field].as_str().unwrap_or_default();
        let mark = match current == Some(entry.name) {
            true => Cell::toned("*", Tone::Good),
            false => "".into(),
        };
        let mut row = vec![mark, entry.name.into()];
        row.extend(["cluster", "user", "namespace"].map(|field| text(field).into()));
        if wide {
            let cluster = group.entry(Section::Clusters, text("cluster"));
            let server = cluster.and_then(|cluster| cluster.value["server"].as_str());
            row.extend([
                server.unwrap_or_default().into(),
                entry.path.display().to_string().into(),
            ]);
        }
        table.add(row);
    }
    if names.is_empty() {
        let skipped = found.skipped.clone();
        context.ui.note(&KubeconfigError::NoHub { skipped }.to_string());
        return Ok(());
    }
    if output == Some(ContextsOutput::Name) {
        return names.iter().try_for_each(|name| Ok(context.ui.line(&plain(name))?));
    }
    for line in table.lines(&context.ui) {
        context.ui.line(&line)?;
    }
    Ok(())
}

/// Makes a context the current one, in the file that decides.
fn use_context(choice: &Choice, found: &Found, name: &str) -> Result<(), CliError> {
    let (group, name) = found.context(Some(name))?;
    let is_in_use = group.current().is_some();
    let path = match group.place {
        // As kubectl: where a current context is set already, else where the context is.
        Place::Named => deciding_file(group, &name),
        Place::Kubernetes if is_in_use => deciding_file(group, &name),
        // A hub writes its file anew, and kubectl's own choice is nobody's business.
        _ => choice.own().map(Path::to_owned),
    };
    let Some(path) = path else {
        let cause =
            "there is no home directory; say where to keep the choice with LICHEN_KUBECONFIG=FILE";
        return Err(CliError::Usage(cause.to_owned()));
    };
    file::edit(&path, |document| {
        document.set_current(&name);
        Ok(())
    })?;
    Ok(())
}

fn deciding_file(group: &Group, name: &str) -> Option<PathBuf> {
    let set = group.sources.iter().find(|source| source.document.current().is_some());
    let entry = || group.entry(Section::Contexts, name).map(|entry| entry.path.to_owned());
    set.map(|source| source.path.clone()).or_else(entry)
}

fn delete_context(context: &mut Context, found: &Found, name: &str) -> Result<(), CliError> {
    let (group, name) = found.context(Some(name))?;
    let Some(entry) = group.entry(Section::Contexts, &name) else { return Ok(()) };
    let path = entry.path.to_owned();
    if group.place == Place::Hub {
        return Err(CliError::Failed(format!(
            "context {name} is of the hub on this machine, which writes {} itself; choose another one: lichen config \
             use-context NAME",
            path.display()
        )));
    }
    let was_current = file::edit(&path, |document| Ok(remove(document, &name)))?;
    context.ui.line(&format!("deleted context {} from {}", plain(&name), path.display()))?;
    if was_current {
        context.ui.note("it was the current one; choose another: lichen config use-context NAME");
    }
    Ok(())
}

/// Takes a context out, and what nothing else in the file refers to. True if it was the current one.
fn remove(document: &mut Document, name: &str) -> bool {
    let context = document.get(Section::Contexts, name).cloned().unwrap_or_default();
    document.remove(Section::Contexts, name);
    for section in [Section::Clusters, Section::Users] {
        let of = context[section.one()].as_str().unwrap_or_default();
        let is_needed = {
            let mut others = document.entries(Section::Contexts);
            others.any(|(_, other)| other[section.one()] == of)
        };
        if !is_needed {
            document.remove(section, of);
        }
    }
    let was_current = document.current() == Some(name);
    if was_current {
        document.set_current("");
    }
    was_current
}

fn show(
    context: &mut Context,
    choice: &Choice,
    found: &Found,
    args: &ViewArgs,
) -> Result<(), CliError> {
    let ViewArgs { raw, minify, flatten, output } = *args;
    let document = view(found, choice.context.as_deref(), Form { raw, minify, flatten })?;
    match output {
        ViewOutput::Yaml => context.ui.write(document.to_text().as_bytes())?,
        ViewOutput::Json => context.ui.line(&format!("{:#}", document.to_value()))?,
    }
    let paths: Vec<String> = paths(&found.groups).collect();
    if !paths.is_empty() {
        context.ui.note(&format!("from {}", paths.join(", ")));
    }
    Ok(())
}
