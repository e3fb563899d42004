//! The program `lichen`: the operator's command line and the hub itself. What it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lichen_hub::cli::main()
}
