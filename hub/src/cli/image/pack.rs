//! `lichen image pack`: makes an image, and pushes it or writes it to a file.

use lichen_images::{
    pack::{Options, Source, pack},
    write::{Output, write},
};

use super::{push, reference};
use crate::cli::{Context, args::PackArgs, error::CliError};

pub(super) fn run(context: &mut Context, args: &PackArgs) -> Result<(), CliError> {
    let name = args.tag.as_deref().map(reference).transpose()?;
    // A missing path should be said as such, and not as a program that can't be read.
    std::fs::metadata(&args.path)
        .map_err(|source| CliError::File { path: args.path.clone(), source })?;
    let options = Options {
        entrypoint: args.entrypoint.clone(),
        args: args.args.clone(),
        env: args.env.clone(),
        workdir: args.workdir.clone(),
        user: args.user.clone(),
        platform: args.platform.clone(),
        labels: args.label.iter().cloned().collect(),
    };
    let packed = pack(&Source::at(&args.path), &options)?;
    let platform = packed.platform.to_string();
    if let Some(path) = &args.output {
        let shown = name.as_ref().map(ToString::to_string);
        write(&packed, &Output::at(path), shown.as_deref())?;
        context.ui.line(&format!("{} written, for {platform}", path.display()))?;
        return Ok(());
    }
    let Some(name) = name else {
        return Err(CliError::Usage("name the image with -t, or a file with -o".to_owned()));
    };
    context.ui.note(&format!("packed {} for {platform}", args.path.display()));
    let image = packed.into_pushable().map_err(|error| {
        CliError::Failed(format!("could not pack {}: {error}", args.path.display()))
    })?;
    push(context, &image, &name)
}
