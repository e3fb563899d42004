//! `lichen image`: the hub's catalogue, and what goes into it.

mod pack;
pub(super) mod push;

use std::path::Path;

use lichen_images::{Reference, source};
use ureq::http::Method;

use super::{
    Context,
    args::{ImageCommand, Output},
    client::{ClientError, segment},
    error::CliError,
    table::{Cell, Table},
    ui::{Tone, plain},
    yaml::to_yaml,
};
pub(super) use push::push;

/// Runs the command.
///
/// # Errors
/// What is in its way.
pub fn run(context: &mut Context, command: ImageCommand) -> Result<(), CliError> {
    match command {
        ImageCommand::Push { path, name, select } => {
            let name = reference(&name)?;
            push_path(context, &path, &name, select.as_deref())
        }
        ImageCommand::Pack(args) => pack::run(context, &args),
        ImageCommand::List { output } => list(context, output),
        ImageCommand::Rm { names } => remove(context, &names),
    }
}

/// A name that can be pushed to.
fn reference(text: &str) -> Result<Reference, CliError> {
    let reference = Reference::parse(text).map_err(|error| CliError::Usage(error.to_string()))?;
    if reference.digest.is_some() {
        return Err(CliError::Usage(format!(
            "{text} has a digest, which the content decides; write a name and a tag"
        )));
    }
    Ok(reference)
}

fn push_path(
    context: &mut Context,
    path: &Path,
    name: &Reference,
    select: Option<&str>,
) -> Result<(), CliError> {
    let image = source::open(path, select)?;
    for absent in &image.absent {
        let platform = absent.platform.as_ref().map(ToString::to_string).unwrap_or_default();
        context.ui.note(&format!(
            "{} does not hold the build for {platform}; it is left out",
            path.display()
        ));
    }
    push(context, &image, name)
}

fn list(context: &mut Context, output: Option<Output>) -> Result<(), CliError> {
    let answer = context.client.get("/lichen/v1/images")?;
    let images = answer["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    match output {
        Some(Output::Json) => context.ui.line(&format!("{answer:#}"))?,
        Some(Output::Yaml) => context.ui.write(to_yaml(&answer).as_bytes())?,
        Some(Output::Name) => {
            for image in images {
                context.ui.line(&plain(image["reference"].as_str().unwrap_or_default()))?;
            }
        }
        None if images.is_empty() => {
            context.ui.note(
                "the catalogue is empty; push an image with: lichen image push PATH NAME:TAG",
            );
        }
        None | Some(Output::Wide) => {
            let mut table = Table::new(&["NAME", "DIGEST", "USED BY"]);
            for image in images {
                let digest = image["digest"].as_str().unwrap_or_default();
                // Nineteen characters name it well enough among a hub's images.
                let end = if output.is_none() { digest.len().min(19) } else { digest.len() };
                let users: Vec<&str> = image["usedBy"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|user| user.as_str())
                    .collect();
                let users = match users.is_empty() {
                    true => Cell::toned("<none>", Tone::Dim),
                    false => users.join(", ").into(),
                };
                let name = image["reference"].as_str().unwrap_or_default();
                table.add(vec![name.into(), digest.get(..end).unwrap_or(digest).into(), users]);
            }
            for line in table.lines(&context.ui) {
                context.ui.line(&line)?;
            }
        }
    }
    Ok(())
}

fn remove(context: &mut Context, names: &[String]) -> Result<(), CliError> {
    for name in names {
        let reference = reference(name)?;
        let path: Vec<String> = reference.to_string().split('/').map(segment).collect();
        let target = format!("/lichen/v1/images/{}", path.join("/"));
        match context.client.call(Method::DELETE, &target, None) {
            Ok(_) => context.ui.line(&format!("{reference} removed"))?,
            Err(ClientError::Refused(refused)) => {
                return Err(CliError::Failed(format!("could not remove {reference}: {refused}")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
