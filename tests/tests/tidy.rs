//! Rules of this repository, as tests: what belongs where, what every file says of itself, which licences come in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the workspace")
        .to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files of the project with one of these endings, without what builds leave behind.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no file ends with {endings:?}");
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn metadata(arguments: &[&str]) -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "run setup/test.sh, as `make test` does: {errors}");
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[test]
fn cores_and_the_wire_are_pure() {
    for folder in ["firmware-compat", "hub/core", "edge-agent/core"] {
        let lib = read(&root().join(folder).join("src/lib.rs"));
        for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            assert!(lib.contains(attribute), "{folder}/src/lib.rs lacks {attribute}");
        }
    }
    for path in files(&[".rs"]) {
        let name = shown(&path);
        let core = ["firmware-compat/src", "hub/core/src", "edge-agent/core/src"];
        if core.iter().any(|folder| name.starts_with(folder)) {
            let content = read(&path);
            let production = content.split("#[cfg(test)]").next().unwrap_or_default();
            assert!(!production.contains("std::"), "{name} reaches for std");
        }
    }
}

#[test]
fn every_source_file_opens_by_saying_what_it_owns() {
    for path in files(&[".rs"]) {
        let content = read(&path);
        let first = content.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        assert!(first.starts_with("//!"), "{} does not start with //!", shown(&path));
    }
}

#[test]
fn every_dependency_has_its_reason_beside_it() {
    let manifest = read(&root().join("Cargo.toml"));
    let section = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("\n[").next())
        .expect("the workspace declares its dependencies");
    let mut reason = false;
    for line in section.lines() {
        let declares = line.contains(" = ") && !line.starts_with('#');
        if declares && !line.contains("path = ") {
            assert!(reason, "no reason above: {line}");
        }
        reason = line.starts_with('#') || (reason && !line.is_empty() && !declares);
    }
    for path in files(&["Cargo.toml"]) {
        if path == root().join("Cargo.toml") {
            continue;
        }
        for line in read(&path).lines() {
            let own_version = line.contains("version = \"") && line.contains('{');
            assert!(!own_version, "{}: declare it in the workspace: {line}", shown(&path));
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("firmware-compat", &[] as &[&str]),
        ("lichen-sealing", &["firmware-compat"]),
        ("lichen-hub-core", &["firmware-compat"]),
        ("lichen-agent-core", &["firmware-compat"]),
        ("lichen-link", &["firmware-compat", "lichen-hub-core", "lichen-trust"]),
        ("lichen-images", &[]),
        ("lichen-trust", &[]),
        ("lichen-shim", &[]),
        ("lichen-oci", &["lichen-shim"]),
        ("lichen-wasm-host", &["lichen-shim"]),
        ("lichen-wasmc", &["lichen-wasm-host"]),
        (
            "lichen-hub",
            &[
                "firmware-compat",
                "lichen-sealing",
                "lichen-hub-core",
                "lichen-link",
                "lichen-images",
                "lichen-trust",
            ],
        ),
        (
            "lichen-agent",
            &[
                "firmware-compat",
                "lichen-sealing",
                "lichen-agent-core",
                "lichen-link",
                "lichen-shim",
                "lichen-oci",
                "lichen-wasm-host",
            ],
        ),
    ]);
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<&str> = packages.iter().map(|package| text(package, "name")).collect();
    for package in packages {
        let name = text(package, "name");
        let Some(allowed) = allowed.get(name) else {
            let for_tests =
                ["lichen-tests", "lichen-fleet", "lichen-world", "lichen-hostile"].contains(&name);
            assert!(for_tests, "say in this test what {name} may depend on");
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = text(dependency, "name");
            let normal = dependency["kind"].is_null();
            assert!(
                !normal || !ours.contains(other) || allowed.contains(&other),
                "{name} must not depend on {other}"
            );
        }
    }
}

#[test]
fn licences_go_with_ours() {
    const FINE: [&str; 14] = [
        "MIT",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "0BSD",
        "Unlicense",
        "Unicode-3.0",
        "CC0-1.0",
        "BSL-1.0",
        "MIT-0",
        "CDLA-Permissive-2.0",
    ];
    // `setup/test.sh` has fetched their crates; those of other systems are nobody's business.
    let platforms = read(&root().join("setup/platforms"));
    let filters = platforms.lines().flat_map(|platform| ["--filter-platform", platform]);
    let metadata = metadata(&filters.collect::<Vec<_>>());
    for package in metadata["packages"].as_array().expect("packages") {
        let name = text(package, "name");
        let licence = text(package, "license").replace('/', " OR ");
        let plain = licence.replace(['(', ')'], "");
        // An expression in which every AND part has one fine choice.
        let fine = plain
            .split(" AND ")
            .all(|part| part.split(" OR ").any(|choice| FINE.contains(&choice.trim())));
        assert!(fine, "{name} has the licence \"{licence}\"; is it compatible with Apache-2.0?");
    }
}

#[test]
fn every_message_of_the_wire_has_golden_bytes() {
    let messages = read(&root().join("firmware-compat/src/v1.rs"));
    let carried = messages.split("carried_by! {").nth(1).expect("the list of messages");
    let folder = root().join("firmware-compat/tests/golden");
    let golden: Vec<String> = fs::read_dir(folder)
        .expect("the golden files are there")
        .map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned())
        .collect();
    let mut count = 0;
    for line in carried.lines() {
        let Some((message, _)) = line.trim().split_once(" => ") else { continue };
        let name = message.to_lowercase();
        let (whole, part) = (format!("{name}.hex"), format!("{name}-"));
        assert!(
            golden.iter().any(|file| *file == whole || file.starts_with(&part)),
            "{message} has no golden bytes"
        );
        count += 1;
    }
    assert!(count >= 11, "the list of messages was read");
}

/// THREATS.md says what attackers can't do, and each time by which tests that is known.
#[test]
fn what_attackers_can_not_do_is_tried_by_tests_that_are_there() {
    let page = read(&root().join("THREATS.md"));
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let (claim, tests) = line[2..].split_once(" |").expect("two columns");
        let named: Vec<&str> = tests.split('`').filter(|word| word.contains("::")).collect();
        if matches!(claim, "can't") || claim.starts_with("do what a compromised device can't") {
            continue;
        }
        assert!(!named.is_empty(), "no test tries it: {claim}");
        for test in named {
            let (file, function) = test.split_once("::").expect("file::function");
            let content = read(&root().join(file));
            let is_there = content.contains(&format!("fn {function}("));
            assert!(
                is_there,
                "{file} has no test {function}, by which it is known that nobody can {claim}"
            );
        }
        rows += 1;
    }
    assert!(rows > 40, "the tables were read: {rows}");
}

#[test]
fn a_test_is_set_aside_only_with_what_it_needs() {
    for path in files(&[".rs"]) {
        for (number, line) in read(&path).lines().enumerate() {
            let line = line.trim();
            assert!(
                !line.starts_with("#[ignore") || line.contains("needs "),
                "{}:{}: say what the test needs; `make test` installs it and runs it",
                shown(&path),
                number + 1
            );
        }
    }
}

#[test]
fn nothing_names_this_machine_and_nothing_is_left_to_do_unnamed() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let places = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("bash", "_jobs")];
    for path in files(&[".rs", ".md", ".toml", ".sh", ".yaml", "Makefile", "run"]) {
        let content = fs::read(&path).unwrap_or_default();
        for (number, line) in String::from_utf8_lossy(&content).lines().enumerate() {
            let at = format!("{}:{}", shown(&path), number + 1);
            for mark in marks {
                assert!(
                    !line.contains(mark) || line.contains('#'),
                    "{at}: {mark} without an issue's number"
                );
            }
            for place in places {
                assert!(!line.contains(place), "{at}: names a place on one machine");
            }
        }
    }
}
