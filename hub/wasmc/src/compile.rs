//! One compilation: read, check, compile, replace the output.
//!
//! It uses one thread. The hub runs as many of these processes as it has cores to spare, which
//! serves several classes at once better than one wide compilation, and keeps the limits exact.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use lichen_wasm_host::profile;
use wasmtime::Engine;

use crate::args::Request;
use crate::check;
use crate::error::Error;
use crate::limits::MAX_INPUT_BYTES;
use crate::sections::{self, Program};

/// Compiles the request's input into its output.
///
/// # Errors
/// See [`Error`]; the output is then as it was before.
pub fn compile(request: &Request) -> Result<(), Error> {
    request.limits.enforce()?;
    let source = read(&request.input)?;
    let binary = wat::parse_bytes(&source).map_err(|error| text_error(error, &request.input))?;
    let program = sections::outline(&binary).map_err(|error| Error::Invalid(error.to_string()))?;
    check::check(&program)?;

    let config = profile::config_to_compile(request.class);
    let engine = config.and_then(|config| Engine::new(&config));
    let engine = engine.map_err(|error| Error::Fault(format!("no compiler: {error:#}")))?;
    let artefact = match program {
        Program::Module(_) => engine.precompile_module(&binary),
        Program::Component(_) => engine.precompile_component(&binary),
    };
    let artefact = artefact.map_err(|error| Error::Invalid(format!("{error:#}")))?;
    replace(&request.output, &artefact)
}

/// What is wrong with a program in text form, and where; without the quoted source.
fn text_error(mut error: wat::Error, path: &Path) -> Error {
    error.set_path(path);
    let full = error.to_string();
    let mut lines = full.lines().map(str::trim);
    let what = lines.next().unwrap_or_default();
    let place = lines.find_map(|line| line.strip_prefix("--> "));
    Error::Invalid(place.map_or_else(|| what.to_owned(), |place| format!("{place}: {what}")))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |cause| Error::File { action: "read", path: path.to_owned(), cause };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        return Err(Error::TooLarge { limit_bytes: MAX_INPUT_BYTES });
    }
    Ok(bytes)
}

/// Not synced: an artefact that power loss takes away is compiled again.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |cause| Error::File { action: "write", path: path.to_owned(), cause };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
