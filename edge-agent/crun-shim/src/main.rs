//! The binary `lichen-shim`; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lichen_shim::run(std::env::args_os())
}
