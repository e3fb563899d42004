//! Every check can fail: with one behaviour broken on purpose, the check behind it notices within a stated number of
//! seeds. `cargo test -p lichen-world --test canaries -- --nocapture` prints the table of `tests/README.md`.

use std::collections::BTreeSet;

use lichen_world::{
    canary::Canary,
    draw::{Size, history},
    run::run,
};

/// The first seed in which a canary's check fails.
fn seeds_to_find(canary: Canary, check: &str, most: u64) -> Option<u64> {
    let size = Size { boards: None, hours: None };
    (0..most).find(|seed| {
        let mut drawn = history(*seed, size);
        drawn.steps.extend(canary.epilogue());
        if !drawn.steps.iter().any(|step| step.words.join(" ").starts_with(canary.needs())) {
            return false;
        }
        let verdict = run(&drawn, Some(canary)).verdict;
        verdict.is_some_and(|verdict| verdict.check == check)
    })
}

#[test]
fn every_broken_behaviour_is_noticed_by_its_check() {
    let mut missed = Vec::new();
    println!("| check | canary | seeds to find | at most |\n|---|---|---|---|");
    for (canary, check, most) in Canary::EVERY {
        match seeds_to_find(canary, check, most) {
            Some(seed) => println!("| `{check}` | `{canary:?}` | {} | {most} |", seed + 1),
            None => missed.push(format!("{canary:?} is not noticed by {check} in {most} seeds")),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn every_check_has_a_canary() {
    let source = include_str!("../src/audit.rs");
    let row = |line: &str| line.strip_prefix("//! | `")?.split('`').next().map(str::to_owned);
    let checks: BTreeSet<String> = source.lines().filter_map(row).collect();
    let watched: BTreeSet<String> =
        Canary::EVERY.iter().map(|(_, check, _)| (*check).to_owned()).collect();
    assert!(checks.len() >= 10, "{checks:?}");
    assert_eq!(checks, watched);
}
