//! The manifests that users start from: each is read, checked and planned by a hub.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::support::{Hub, alone};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests")
}

#[test]
fn every_manifest_is_understood_without_a_hub() {
    let said = alone(&format!("apply --dry-run -R -f {}", dir().display())).well();
    assert!(said.lines().count() >= 9, "{said}");
}

#[test]
fn every_manifest_is_taken_and_planned_by_a_hub() {
    let hub = Hub::start();
    let said = hub.lichen(&format!("apply -R -f {}", dir().display())).well();
    assert!(said.lines().all(|line| line.ends_with(" created")), "{said}");
    let again = hub.lichen(&format!("apply -R -f {}", dir().display())).well();
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    for line in said.lines().filter(|line| line.starts_with("d")) {
        let object = line.split(' ').next().expect("a name");
        let namespace = if object.ends_with("/till") { "shop" } else { "default" };
        let why = hub.lichen(&format!("explain -n {namespace} {object}")).well();
        assert!(why.starts_with("- D") || why.starts_with("+ D"), "{why}");
    }
}

#[test]
fn every_manifest_is_listed_with_what_it_shows() {
    let readme = fs::read_to_string(dir().join("README.md")).expect("a list");
    let mut pending = vec![dir()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let name = path.strip_prefix(self::dir()).expect("below it").display().to_string();
                assert!(
                    readme.contains(&format!("({name})")),
                    "{name} is missing in manifests/README.md"
                );
            }
        }
    }
}
