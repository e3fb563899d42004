//! Compiles a WebAssembly program for a device class, in a process of its own.
//!
//! ```text
//! lichen-wasmc compile --class CLASS --output FILE [--memory-limit-mb N] [--time-limit-s N] INPUT
//! lichen-wasmc version
//! ```
//!
//! INPUT is a WASI preview 1 module or a WASI preview 2 command component, binary or text. FILE is
//! replaced in one step or not touched. `version` prints one line per class: its name, the
//! compatibility hash of what this program makes for it, and what the hash stands for; a hub that
//! keeps several versions of this program picks by that hash.
//!
//! The hub starts it for bytes that an operator has uploaded. A hostile or unlucky program can
//! cost a compiler any amount of time and memory, or hit a bug in it, so this process limits itself
//! and the hub survives its end, whatever it is.
//!
//! | exit code | meaning | what the hub does |
//! |---|---|---|
//! | 0 | FILE holds the artefact | stores it under (digest of INPUT, class, compatibility hash) |
//! | 1 | wrong usage, unreadable or unwritable file, or a fault of the compiler | reports, may retry |
//! | 2 | the operator's program is invalid, or needs or lacks something | reports, never retries |
//! | 3 | the memory, time or size limit was hit | reports, retries only with a higher limit |
//! | a signal | the backstop of a limit (SIGXCPU, SIGKILL) or a crash | as for 3 |
//!
//! A failure is one line on standard error.
//!
//! The settings of the compiler are in `lichen_wasm_host::profile`, shared with the device.

#![deny(unsafe_code)]

mod allocator;
mod args;
mod check;
mod compile;
mod error;
mod limits;
mod sections;

use std::io::Write;
use std::process::ExitCode;

use lichen_wasm_host::profile::{self, Class};

use crate::args::Command;
use crate::error::Error;

fn main() -> ExitCode {
    report_panics_in_one_line();
    match args::parse(std::env::args_os().skip(1)).and_then(perform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.one_line());
            ExitCode::from(error.exit_code())
        }
    }
}

fn perform(command: Command) -> Result<(), Error> {
    match command {
        Command::Compile(request) => compile::compile(&request),
        Command::Version => print_versions(),
    }
}

fn print_versions() -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    for class in Class::ALL {
        writeln!(out, "{class} {} {}", profile::compatibility(class), profile::description(class))
            .map_err(|error| Error::Fault(format!("could not print the versions: {error}")))?;
    }
    Ok(())
}

/// A bug in the compiler ends as exit code 1 with its place, not as a crash with a backtrace.
fn report_panics_in_one_line() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string().replace('\n', " ");
        eprintln!("the compiler failed on this program, which is a bug in it: {text}");
        std::process::exit(i32::from(error::EXIT_FAULT));
    }));
}
