//! `lichen hub backup`: asks a running hub for a backup, or makes one of a hub that does not run. Either way it is read as
//! a restore would read it, on its way into the file ([`stream`]).

mod stream;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::counted;
use crate::{
    backup::{
        BackupError,
        format::Manifest,
        read::Counts,
        source::{self, Keys, Wanted},
    },
    cli::{
        Context,
        args::BackupArgs,
        error::CliError,
        ui::{Ui, plain},
    },
};
use stream::Origin;

/// The name that stands for stdout.
const STDOUT: &str = "-";

/// Where the keys go.
#[derive(Debug, PartialEq, Eq)]
enum KeysTo {
    Backup,
    Nowhere,
    File(PathBuf),
}

/// Runs the command.
///
/// # Errors
/// The hub can't be reached, or the file can't be written.
pub fn run(context: &mut Context, args: &BackupArgs) -> Result<(), CliError> {
    let keys = keys_to(&args.keys)?;
    let origin = match &args.state {
        None => Origin::Hub(context.client.clone()),
        Some(state) => Origin::Stopped(source::stopped(state).map_err(failed)?),
    };
    let inside = if keys == KeysTo::Backup { Keys::Inside } else { Keys::LeftOut };
    let wanted = Wanted { keys: inside, artefacts: !args.without_artefacts };
    let (saved, file) = match args.output.as_deref() {
        Some(path) if path == Path::new(STDOUT) => {
            if context.ui.terminal {
                let usage = "a backup is no text; name a file with -o FILE, or a pipe";
                return Err(CliError::Usage(usage.to_owned()));
            }
            (stream::save(&origin, wanted, &mut Stdout(&mut context.ui))?, None)
        }
        path => {
            let (saved, file) = into_file(&origin, wanted, path.unwrap_or(Path::new("")))?;
            let path = path.map_or_else(|| usual_name(&saved.0).into(), Path::to_owned);
            (saved, Some((file, path)))
        }
    };
    let (manifest, counts) = saved;
    let keys = match keys {
        KeysTo::Backup => "with its keys".to_owned(),
        KeysTo::Nowhere => "without its keys".to_owned(),
        KeysTo::File(path) => {
            save_keys(&origin, &manifest, &path)?;
            format!("its keys in {}", path.display())
        }
    };
    let Counts { devices, artefacts } = counts;
    let (devices, artefacts) = (counted(devices, "device"), counted(artefacts, "artefact"));
    let what = format!("{devices}, {artefacts}, {keys}");
    let at = plain(&manifest.made_at);
    match file {
        Some((file, path)) => {
            keep(file, &path)?;
            context.ui.line(&format!("the hub of {at} is in {}: {what}", path.display()))?;
        }
        None => context.ui.note(&format!("the hub of {at}: {what}")),
    }
    context.ui.note(
        "who has the keys can be the hub, and read its Secrets: keep them where only you can",
    );
    Ok(())
}

fn keys_to(words: &[String]) -> Result<KeysTo, CliError> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["include"] => Ok(KeysTo::Backup),
        ["none"] => Ok(KeysTo::Nowhere),
        ["apart", file] => Ok(KeysTo::File(file.into())),
        _ => Err(CliError::Usage("write --keys include, --keys none or --keys apart FILE".into())),
    }
}

/// `lichen-backup-20260719T120000Z.tar.gz`.
fn usual_name(manifest: &Manifest) -> String {
    let time: String = manifest.made_at.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("lichen-backup-{time}.tar.gz")
}

fn save_keys(origin: &Origin, of: &Manifest, path: &Path) -> Result<(), CliError> {
    let wanted = Wanted { keys: Keys::Alone, artefacts: false };
    let ((manifest, _), file) = into_file(origin, wanted, path)?;
    if manifest.keys_digest != of.keys_digest {
        let cause = "the hub's keys were changed while its backup was made; make it again";
        return Err(CliError::Failed(cause.to_owned()));
    }
    keep(file, path)
}

/// Into a file beside `path` that has no name of its own yet, and that nobody else can read.
fn into_file(
    origin: &Origin,
    wanted: Wanted,
    path: &Path,
) -> Result<((Manifest, Counts), NamedTempFile), CliError> {
    let directory = path.parent().filter(|directory| *directory != Path::new(""));
    let directory = directory.unwrap_or(Path::new("."));
    let refused = |source| {
        failed(BackupError::Disk { what: "write into", path: directory.to_owned(), source })
    };
    let mut file = tempfile::Builder::new()
        .prefix(".lichen-backup-")
        .tempfile_in(directory)
        .map_err(refused)?;
    let saved = stream::save(origin, wanted, file.as_file_mut())?;
    file.as_file().sync_all().map_err(refused)?;
    Ok((saved, file))
}

/// Gives the file its name. One that had it before is whole until then.
fn keep(file: NamedTempFile, path: &Path) -> Result<(), CliError> {
    let kept = file.persist(path).map_err(|error| error.error);
    kept.map(drop).map_err(|source| {
        failed(BackupError::Disk { what: "write", path: path.to_owned(), source })
    })
}

fn failed(source: BackupError) -> CliError {
    CliError::Backup { what: "could not make a backup".to_owned(), source }
}

/// The output of results.
struct Stdout<'a>(&'a mut Ui);

impl Write for Stdout<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_keys_go_is_said_in_one_of_three_ways() {
        let of =
            |line: &str| keys_to(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        for (line, expected) in [
            ("", KeysTo::Backup),
            ("include", KeysTo::Backup),
            ("none", KeysTo::Nowhere),
            ("apart k.tar.gz", KeysTo::File("k.tar.gz".into())),
        ] {
            assert_eq!(of(line).expect(line), expected, "{line}");
        }
        for line in ["apart", "none x", "include x", "elsewhere", "apart a b"] {
            assert_eq!(of(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
