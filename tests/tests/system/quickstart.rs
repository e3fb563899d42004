//! The first command that a stranger runs.

use std::{fs, os::unix::ffi::OsStrExt, path::Path};

use lichen_tests::cli::Cli;

/// Processes whose command line names this directory.
fn processes_of(state: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let needle = state.as_os_str().as_bytes();
        if line.windows(needle.len()).any(|part| part == needle) {
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

#[test]
#[ignore = "needs root, an OCI runtime and busybox-static: run by make test"]
fn the_quickstart_runs_both_workloads_twice_and_leaves_nothing_running() {
    let scratch = tempfile::tempdir().unwrap();
    let state = scratch.path().join("quickstart");
    let cli = Cli::new(&scratch.path().join("none"), scratch.path());
    let arguments = ["quickstart", "--once", "--state", state.to_str().unwrap()];

    let first = cli.run(&arguments).well();
    for said in ["hello from a WebAssembly module", "hello from a container", "created"] {
        assert!(first.contains(said), "{said} is missing:\n{first}");
    }
    assert_eq!(processes_of(&state), Vec::<String>::new(), "after the first run");

    let second = cli.run(&arguments).well();
    assert!(second.contains("unchanged"), "it continues from its saved state:\n{second}");
    assert_eq!(processes_of(&state), Vec::<String>::new(), "after the second run");
}
