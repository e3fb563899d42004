//! Runs a spec file as the agent's `wasm-run` command does: `wasm-run SPEC [CLASS]`.
//!
//! The tests of this crate use it to run what they have compiled; it is also the shortest program
//! that uses `lichen_wasm_host`.

use std::path::Path;

use lichen_wasm_host::{Class, Run, RunError, run};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let code = match args.as_slice() {
        [spec] => lichen_wasm_host::run_from_file(Path::new(spec)),
        [spec, class] => run_as(Path::new(spec), class),
        _ => {
            eprintln!("usage: wasm-run SPEC [CLASS]");
            1
        }
    };
    std::process::exit(code);
}

fn run_as(spec: &Path, class: &str) -> i32 {
    let Ok(class) = Class::parse(class) else {
        eprintln!("unknown class {class}");
        return 1;
    };
    let result = Run::from_file(spec).map_err(RunError::from);
    result.and_then(|spec| run::run_as(class, &spec)).unwrap_or_else(|error| {
        eprintln!("{}", error.chain());
        error.exit_code()
    })
}
