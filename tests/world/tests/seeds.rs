//! Thousands of drawn histories per change: each must end with every check unbroken. A failure prints its seed, the
//! shortest history found, and what happened; keep that history under `histories/`, with the mend.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use lichen_world::{
    draw::{History, Size},
    run::{check, run},
    step::Step,
};

const SEEDS: u64 = 2000;
const ANY: Size = Size { boards: None, hours: None };

#[test]
fn every_drawn_history_ends_well() {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let worker = || {
        let mut failures = Vec::new();
        loop {
            let seed = next.fetch_add(1, Relaxed);
            // A few failures say as much as all of them, and each takes time to shorten.
            if seed >= SEEDS || failures.len() > 2 {
                return failures;
            }
            failures.extend(check(seed, ANY).err());
        }
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// A kept history: a first line `broker: external` or `broker: embedded`, then steps; `#` begins a remark.
fn read(path: &Path) -> History {
    let text = fs::read_to_string(path).expect("a kept history can be read");
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let (settings, steps): (Vec<&str>, Vec<&str>) =
        lines.partition(|line| line.starts_with("broker:"));
    let external = match settings.as_slice() {
        ["broker: external"] => true,
        ["broker: embedded"] => false,
        other => panic!("{}: one line `broker: …` is needed, not {other:?}", path.display()),
    };
    let steps: Vec<Step> =
        steps.iter().zip(1..).map(|(line, number)| Step::parse(line, number)).collect();
    assert!(!steps.is_empty(), "{} has no steps", path.display());
    History { seed: 1, external, steps }
}

#[test]
fn what_was_found_once_stays_mended() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("histories");
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(&dir).expect("the folder of kept histories") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let outcome = run(&read(&path), None);
            count += 1;
            if let Some(verdict) = outcome.verdict {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                failures.push(format!("{name}: {verdict:?}\n{}", outcome.story));
            }
        }
    }
    assert!(count > 0, "there is no history in {}", dir.display());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    for seed in [3, 14, 15] {
        let story = || run(&lichen_world::draw::history(seed, ANY), None).story;
        assert_eq!(story(), story(), "seed {seed}");
    }
}
