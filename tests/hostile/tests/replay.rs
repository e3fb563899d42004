//! Replays the corpora of the fuzz targets: every file, through its target. What fuzzing once found stays found, without
//! a nightly compiler.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use lichen_hostile::{TARGETS, seeds};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// Names in a folder, in order.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.expect("a folder can be listed").file_name().into_string().expect("a plain name")
    };
    entries.map(name).collect()
}

fn replay(target: &str) {
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target's name");
    let folder = fuzz().join("corpus").join(target);
    let files = names(&folder);
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        let bytes = fs::read(folder.join(&file)).expect("a corpus file can be read");
        // The name is printed only if the test fails.
        println!("{target}/{file}");
        body(&bytes);
    }
}

macro_rules! replayed {
    ($($target:ident),* $(,)?) => {
        /// Every target has its test here.
        const REPLAYED: &[&str] = &[$(stringify!($target)),*];
        $(
            #[test]
            fn $target() {
                replay(stringify!($target));
            }
        )*
    };
}

replayed! {
    agent, backups, endpoint, frames, hub, images, layers, manifests, records, requests, sealed, state
}

#[test]
fn every_target_has_a_program_a_corpus_and_a_test_and_nothing_else_has() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let replayed: BTreeSet<String> = REPLAYED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(replayed, targets, "tests in this file");
    assert_eq!(names(&fuzz().join("corpus")), targets, "folders in tests/fuzz/corpus");
    let programs = targets.iter().map(|name| format!("{name}.rs")).collect::<BTreeSet<_>>();
    assert_eq!(names(&fuzz().join("fuzz_targets")), programs, "files in tests/fuzz/fuzz_targets");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("it is there");
    for name in &targets {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} is not in Cargo.toml");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), targets.len(), "programs in Cargo.toml");
}

/// A fuzzer names a file by the hash of its bytes, in hexadecimal digits; people give it a name that says what it is.
fn is_named(file: &str) -> bool {
    file.len() != 40 || !file.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What is made of messages and records is made of today's: `UPDATE_CORPUS=1` writes it anew after a change of either.
#[test]
fn named_seeds_are_made_of_todays_bytes_and_reach_what_they_are_kept_for() {
    let seeds = seeds::all();
    let updates = std::env::var_os("UPDATE_CORPUS").is_some();
    for target in seeds::TARGETS {
        let folder = fuzz().join("corpus").join(target);
        let made: BTreeSet<String> =
            seeds.iter().filter(|seed| seed.target == target).map(|s| s.name.clone()).collect();
        let kept = names(&folder).into_iter().filter(|file| is_named(file));
        for file in kept.filter(|file| !made.contains(file)) {
            assert!(updates, "{target}/{file} is not made by tests/hostile/src/seeds");
            fs::remove_file(folder.join(&file)).expect("it can be removed");
        }
    }
    let mut misses = Vec::new();
    for seed in &seeds {
        let name = format!("{}/{}", seed.target, seed.name);
        println!("{name}");
        let path = fuzz().join("corpus").join(seed.target).join(&seed.name);
        if updates {
            fs::write(&path, &seed.bytes).expect("it can be written");
        }
        if fs::read(&path).ok().as_ref() != Some(&seed.bytes) {
            misses.push(format!("{name} is of other bytes: UPDATE_CORPUS=1 writes it anew"));
        }
        if !(seed.reaches)(&seed.bytes) {
            misses.push(format!("{name} does not reach what it is kept for"));
        }
    }
    assert!(misses.is_empty(), "{}", misses.join("\n"));
}

/// A corpus is for what is worth keeping: it is in every clone of the repository.
#[test]
fn corpora_stay_small() {
    for (target, _) in TARGETS {
        let folder = fuzz().join("corpus").join(target);
        let sizes: Vec<u64> = names(&folder)
            .iter()
            .map(|name| fs::metadata(folder.join(name)).expect("it is there").len())
            .collect();
        assert!(sizes.len() <= 80, "{target} has {} files; run: cargo fuzz cmin", sizes.len());
        let bytes: u64 = sizes.iter().sum();
        assert!(bytes <= 256 * 1024, "{target} has {bytes} bytes; run: cargo fuzz cmin");
    }
}
