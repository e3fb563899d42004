//! A backup on its way from a hub into a file: read and checked while it is written.

use std::{
    io::{self, Read, Write, pipe},
    thread,
};

use crate::{
    backup::{
        BackupError,
        format::Manifest,
        read::{Counts, read},
        source::{Keys, Source, Stopped, Wanted},
    },
    cli::{
        client::{Client, query},
        error::CliError,
    },
};

/// Whose backup it is.
pub(super) enum Origin {
    /// A hub that runs makes it.
    Hub(Client),
    /// It is made here, of a hub that does not run and is kept from it.
    Stopped((Source, Stopped)),
}

/// Copies a backup to `out`. It is one only if there is no error.
pub(super) fn save(
    origin: &Origin,
    wanted: Wanted,
    out: &mut dyn Write,
) -> Result<(Manifest, Counts), CliError> {
    let failed = |source| CliError::Backup { what: "could not make a backup".to_owned(), source };
    match origin {
        Origin::Hub(client) => {
            let keys = match wanted.keys {
                Keys::Inside => "include",
                Keys::LeftOut => "none",
                Keys::Alone => "only",
            };
            let artefacts = if wanted.artefacts { "" } else { "false" };
            let parameters = query(&[("keys", keys), ("artefacts", artefacts)]);
            let answer = client.stream(&format!("/lichen/v1/backup{parameters}"))?;
            check(answer, out).map_err(failed)
        }
        Origin::Stopped((source, _)) => {
            let prepared = source.prepare(wanted).map_err(failed)?;
            let (from, to) = pipe().map_err(BackupError::Write).map_err(failed)?;
            let making = thread::spawn(move || prepared.write(to).map(drop));
            let checked = check(from, out);
            match (making.join(), checked) {
                // Whoever reads the pipe has gone with an error of its own.
                (Ok(Err(BackupError::Write(_))), Err(error)) => Err(failed(error)),
                (Ok(Err(error)), _) => Err(failed(error)),
                (_, checked) => checked.map_err(failed),
            }
        }
    }
}

fn check(from: impl Read, out: &mut dyn Write) -> Result<(Manifest, Counts), BackupError> {
    let mut counts = Counts::default();
    let mut copied = Copied { from, out, refused: None };
    let checked = read(&mut copied, &mut counts).and_then(|manifest| {
        match io::copy(&mut copied, &mut io::sink()) {
            Ok(_) => Ok(manifest),
            Err(error) => Err(BackupError::Read(error)),
        }
    });
    match copied.refused {
        Some(error) => Err(BackupError::Write(error)),
        None => checked.map(|manifest| (manifest, counts)),
    }
}

/// Writes what is read.
struct Copied<'a, R> {
    from: R,
    out: &'a mut dyn Write,
    refused: Option<io::Error>,
}

impl<R: Read> Read for Copied<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Told from what is wrong with the bytes.
        let broken = |error: io::Error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => io::Error::new(io::ErrorKind::ConnectionAborted, error),
        };
        let read = self.from.read(buffer).map_err(broken)?;
        if let Err(error) = self.out.write_all(&buffer[..read]) {
            self.refused = Some(error);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(read)
    }
}
