//! Finds the programs under test. Nothing is built here: `cargo build --workspace --bins` comes before, and `make test`
//! does both.

use std::path::{Path, PathBuf};

/// The path of a program of this workspace, in the target directory that the running test was built into.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn workspace_program(name: &str) -> PathBuf {
    let path = target_dir().join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace --bins` first (`make test` does both)",
        path.display()
    );
    path
}

/// The path of a file of this repository, named from its root.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// `target/debug` or `target/release`: the running program is there, or in its `deps`.
fn target_dir() -> PathBuf {
    let own = std::env::current_exe().expect("a program has a path");
    let dir = own.parent().expect("a program is in a directory");
    match dir.file_name() {
        Some(name) if name == "deps" => dir.parent().expect("deps is in a directory").to_owned(),
        _ => dir.to_owned(),
    }
}
