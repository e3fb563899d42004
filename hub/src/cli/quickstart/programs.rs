//! The other programs of Lichen, which a quickstart needs: beside this one, or in PATH. Nothing else is needed, and nothing is
//! started before all are found.

use std::path::{Path, PathBuf};

use crate::cli::error::CliError;

/// Where the programs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// Runs a device.
    pub agent: PathBuf,
    /// Supervises what the agent runs.
    pub shim: PathBuf,
    /// Compiles Wasm for the device.
    pub compiler: PathBuf,
}

impl Programs {
    /// Looks for all of them.
    ///
    /// # Errors
    /// Some are missing; it names them and where they were looked for.
    pub fn find() -> Result<Self, CliError> {
        let own = std::env::current_exe().ok();
        let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places: Vec<PathBuf> = beside.into_iter().chain(std::env::split_paths(&path)).collect();
        Self::find_in(&places)
    }

    fn find_in(places: &[PathBuf]) -> Result<Self, CliError> {
        let mut missing = Vec::new();
        let mut find = |name: &'static str| {
            let found = places.iter().map(|place| place.join(name)).find(|path| path.is_file());
            if found.is_none() {
                missing.push(name);
            }
            found.unwrap_or_default()
        };
        let programs = Self {
            agent: find("lichen-agent"),
            shim: find("lichen-shim"),
            compiler: find("lichen-wasmc"),
        };
        if missing.is_empty() {
            return Ok(programs);
        }
        let beside = places.first().map_or_else(String::new, |dir| dir.display().to_string());
        Err(CliError::Failed(format!(
            "could not find {}: put {} beside lichen, into {beside}, or into PATH (in the source: make build)",
            missing.join(", "),
            if missing.len() == 1 { "it" } else { "them" },
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let (first, second) =
            (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another"));
        let places = [first.path().to_owned(), second.path().to_owned()];
        fs::write(second.path().join("lichen-agent"), "").expect("a file");
        let error = Programs::find_in(&places).expect_err("two are missing").to_string();
        assert!(
            error.starts_with("could not find lichen-shim, lichen-wasmc: put them beside lichen"),
            "{error}"
        );
        assert!(error.contains(&first.path().display().to_string()), "{error}");
        for name in ["lichen-shim", "lichen-wasmc"] {
            fs::write(first.path().join(name), "").expect("a file");
        }
        let found = Programs::find_in(&places).expect("all are there");
        assert_eq!(found.agent, second.path().join("lichen-agent"));
        assert_eq!(found.compiler, first.path().join("lichen-wasmc"));
    }
}
