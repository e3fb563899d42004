//! The files of one log: `log` is the newest, `log.1` the one before it, and so on. Full ones are renamed, never copied.

use std::{fs::File, io, os::unix::fs::MetadataExt, path::Path};

use lichen_shim::{run_dir::LOG, spec::MAX_LOG_FILES};

/// The files of a log that exist, newest first.
pub(super) fn files(dir: &Path) -> impl Iterator<Item = io::Result<File>> {
    let older = (1..MAX_LOG_FILES).map(|number| format!("{LOG}.{number}"));
    let names = std::iter::once(LOG.to_owned()).chain(older);
    let dir = dir.to_owned();
    let opened = names.map(move |name| File::open(dir.join(name)));
    // Numbers have no gaps, but for the moment of a rotation: `log` may be missing while `log.1` is there.
    let mut number = 0;
    opened
        .map_while(move |file| {
            number += 1;
            match file {
                Err(error) if error.kind() == io::ErrorKind::NotFound && number > 1 => None,
                other => Some(other),
            }
        })
        .filter(|file| !matches!(file, Err(error) if error.kind() == io::ErrorKind::NotFound))
}

/// The file with which a log begins.
pub(super) fn oldest(dir: &Path) -> io::Result<Option<File>> {
    files(dir).last().transpose()
}

/// The file that was begun after `current`; the oldest if `current` was rotated away.
pub(super) fn newer(dir: &Path, current: &File) -> io::Result<Option<File>> {
    let inode = current.metadata()?.ino();
    let mut after = None;
    for file in files(dir) {
        let file = file?;
        if file.metadata()?.ino() == inode {
            return Ok(after);
        }
        after = Some(file);
    }
    Ok(after)
}
