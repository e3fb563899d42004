//! Loads a precompiled artefact: maps the file, so that pages come in when they are used.

use std::path::Path;

use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

use crate::error::RunError;
use crate::profile::{self, Class};

/// A loaded artefact.
pub enum Artefact {
    /// A core module: a WASI preview 1 program.
    Module(Module),
    /// A component: a WASI preview 2 program.
    Component(Component),
}

/// Loads the artefact at `path` into an engine of `class`.
#[expect(unsafe_code, reason = "wasmtime maps machine code from a file; see the safety argument")]
pub fn load(engine: &Engine, class: Class, path: &Path) -> Result<Artefact, RunError> {
    // Opened first: wasmtime's own error would not tell a missing file from a wrong one.
    std::fs::File::open(path)
        .map_err(|source| RunError::Unreadable { path: path.to_owned(), source })?;
    let incompatible = |error| refused(path, class, &error);
    match Engine::detect_precompiled_file(path) {
        // SAFETY: the file is what the compiler wrote. The agent names an artefact only after it
        // has compared its SHA-256 with the digest in the hub's assignment, and keeps artefacts in
        // its own directory, which no guest sees and nothing rewrites in place. That it fits this
        // engine is not part of the argument: wasmtime compares class, version and settings.
        Ok(Some(Precompiled::Module)) => unsafe { Module::deserialize_file(engine, path) }
            .map(Artefact::Module)
            .map_err(incompatible),
        // SAFETY: as above.
        Ok(Some(Precompiled::Component)) => unsafe { Component::deserialize_file(engine, path) }
            .map(Artefact::Component)
            .map_err(incompatible),
        Ok(None) | Err(_) => Err(RunError::NotPrecompiled { path: path.to_owned() }),
    }
}

fn refused(path: &Path, class: Class, error: &wasmtime::Error) -> RunError {
    RunError::Incompatible {
        path: path.to_owned(),
        needed: profile::description(class),
        cause: error.root_cause().to_string(),
    }
}
