//! Runs a spec: engine, artefact, guest, exit code. Everything happens on the thread that calls.
//!
//! The process ends by the default action of a signal: nothing here handles SIGTERM.

use std::path::Path;

use wasmtime::{Engine, Error, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::artefact::{self, Artefact};
use crate::error::RunError;
use crate::limits::Refusal;
use crate::profile::{self, Class};
use crate::spec::Run;
use crate::{component, module};

/// The most functions that a trap's message names.
const MAX_FRAMES: usize = 8;

/// Runs the spec in the file at `path` and returns the exit code for this process. Errors are
/// printed to standard error, one line each.
pub fn run_from_file(path: &Path) -> i32 {
    let result = Run::from_file(path).map_err(RunError::from).and_then(|spec| run(&spec));
    result.unwrap_or_else(|error| {
        eprintln!("{}", error.chain());
        error.exit_code()
    })
}

/// Runs the guest to its end and returns the exit code that it chose.
///
/// # Errors
/// When it could not be started, trapped, or ran out of memory; see [`RunError::exit_code`].
pub fn run(spec: &Run) -> Result<i32, RunError> {
    run_as(Class::of_this_machine(), spec)
}

/// Like [`run()`], as a device of `class`. The interpreter of this machine's pointer width works
/// everywhere; another machine's native class is refused.
///
/// # Errors
/// As [`run()`].
pub fn run_as(class: Class, spec: &Run) -> Result<i32, RunError> {
    let engine = profile::config_to_run(class)
        .and_then(|config| Engine::new(&config))
        .map_err(|error| RunError::Host(format!("{error:#}")))?;
    let artefact = artefact::load(&engine, class, &spec.artefact)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::Host(error.to_string()))?;
    let ending = runtime.block_on(async {
        match &artefact {
            Artefact::Module(code) => module::run(&engine, code, spec).await,
            Artefact::Component(code) => component::run(&engine, code, spec).await,
        }
    });
    // A thread that still reads standard input must not hold up the exit.
    runtime.shutdown_background();
    ending?.exit_code()
}

/// How a guest ended.
pub(crate) struct Ending {
    /// The exit code, or what stopped the guest.
    pub code: Result<i32, Error>,
    /// The first memory that it was refused.
    pub refused: Option<Refusal>,
}

impl Ending {
    fn exit_code(self) -> Result<i32, RunError> {
        let error = match self.code {
            Ok(code) => return Ok(code),
            Err(error) => error,
        };
        if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
            return Ok(*code);
        }
        let trap = error.downcast_ref::<Trap>().copied();
        match (self.refused, trap) {
            (Some(refusal), None | Some(Trap::UnreachableCodeReached)) => {
                Err(out_of_memory(refusal, trap, &error))
            }
            (_, Some(trap)) => Err(RunError::Trap { trap: trap.to_string(), at: frames(&error) }),
            (None, None) => Err(unstartable(error)),
        }
    }
}

/// Languages abort when memory is refused, and an abort is an `unreachable`. Any other trap has
/// another reason, however long ago memory was refused.
fn out_of_memory(refusal: Refusal, trap: Option<Trap>, error: &Error) -> RunError {
    let ending = trap.map(|trap| format!("; it ended with {trap}{}", frames(error)));
    RunError::OutOfMemory {
        wanted_bytes: refusal.wanted_bytes,
        limit_bytes: refusal.limit_bytes,
        ending: ending.unwrap_or_default(),
    }
}

/// The guest could not be linked, or a host function failed in a way that has no exit code.
pub(crate) fn unstartable(error: Error) -> RunError {
    RunError::Unstartable(format!("{error:#}"))
}

fn frames(error: &Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let names: Vec<String> = backtrace
        .frames()
        .iter()
        .take(MAX_FRAMES)
        .map(|frame| match frame.func_name() {
            Some(name) => name.to_owned(),
            None => format!("function {}", frame.func_index()),
        })
        .collect();
    if names.is_empty() { String::new() } else { format!(" in {}", names.join(", called by ")) }
}
