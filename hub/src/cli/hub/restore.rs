//! `lichen hub restore`: makes a hub of a backup, and says what comes next.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use super::{counted, state_dir};
use crate::{
    backup::restore::{Restore, Restored, restore},
    cli::{Context, args::RestoreArgs, error::CliError, ui::plain},
    store::KeySource,
};

/// Artefacts that are named one by one.
const MOST_NAMED: usize = 5;

/// Runs the command.
///
/// # Errors
/// The backup can't be used, or there is a hub already. Nothing has changed then.
pub fn run(context: &mut Context, args: &RestoreArgs) -> Result<(), CliError> {
    let state = state_dir(args.state.as_deref())?;
    let mut backup = open(&args.file)?;
    let mut keys = args.keys.as_deref().map(open).transpose()?;
    let keys = keys.as_mut().map(|keys| keys as &mut dyn Read);
    let secrets_key = &KeySource::find(args.secrets_key.clone(), |name| std::env::var_os(name));
    let restored = restore(Restore {
        backup: &mut backup,
        keys,
        state: &state,
        secrets_key,
        replace: args.replace,
    });
    let restored = restored.map_err(|source| CliError::Backup {
        what: format!("could not restore {}", args.file.display()),
        source,
    })?;
    tell(context, &restored, &state)
}

fn open(path: &Path) -> Result<Box<dyn Read>, CliError> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(BufReader::new(file))),
        Err(source) => Err(CliError::File { path: path.to_owned(), source }),
    }
}

fn tell(context: &mut Context, restored: &Restored, state: &Path) -> Result<(), CliError> {
    let Restored { manifest, devices, artefacts, damaged, replaced } = restored;
    let (at, state) = (plain(&manifest.made_at), state.display());
    let ui = &mut context.ui;
    ui.line(&format!(
        "the hub of {at} is in {state}: {}, {}",
        counted(*devices, "device"),
        counted(*artefacts, "artefact")
    ))?;
    if let Some(kept) = replaced {
        ui.line(&format!("the hub that was there is kept in {}", kept.display()))?;
    }
    for digest in damaged.iter().take(MOST_NAMED) {
        ui.warn(&format!("{digest} was damaged before it was saved; push its image again"));
    }
    if damaged.len() > MOST_NAMED {
        ui.warn(&format!("and {} more", damaged.len() - MOST_NAMED));
    }
    let images = match manifest.artefacts {
        true => "",
        false => "\n   Images are not in this backup: push them again, lichen image push.",
    };
    ui.note(&format!(
        "next:
1. See that the hub that was saved does not run, and never starts again: devices would hear two.
2. lichen hub --state {state}
   Devices look for their hub where it was. If this machine is found elsewhere, let the old name or address lead here,
   and add it: --advertise NAME. A device that can't be reached so joins again, and stays what it is: lichen token create.{images}
3. lichen get nodes
   Devices go on with what they run. Those that were told something after {at} hold newer assignments than this hub knows
   of, and are paused. See that it is to run there what this hub says, then: lichen resume NAME, or lichen resume --all.
4. What happened after {at} is forgotten: devices that joined since wait for approval (lichen device list), those that were
   revoked since have to be revoked again, and tokens that were used since can be used again (lichen token delete)."
    ));
    Ok(())
}
