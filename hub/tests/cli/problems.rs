//! What is said about manifests that can't be taken: every `.yaml` of `problems/` has a `.txt` with the text.
//! `UPDATE_PROBLEMS=1 cargo test -p lichen-hub --test cli` writes what is said now; read the difference.

use std::{fs, path::Path};

use super::support::alone;

#[test]
fn every_problem_of_a_manifest_is_told_with_its_place_cause_and_fix() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/problems");
    let update = std::env::var_os("UPDATE_PROBLEMS").is_some();
    let mut manifests: Vec<_> = fs::read_dir(&dir)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    manifests.sort();
    assert!(!manifests.is_empty());
    let mut wrong = Vec::new();
    for path in manifests {
        let line = format!("apply --dry-run -f {}", path.display());
        let said = alone(&line).failed();
        let said = said.replace(&format!("{}/", dir.display()), "");
        let recorded = path.with_extension("txt");
        if update {
            fs::write(&recorded, &said).expect("a file");
        }
        let expected = fs::read_to_string(&recorded).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}: now\n{said}\nrecorded\n{expected}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
