//! Making a failing history short: takes steps out, in runs of halving length, as long as the same check fails.

use crate::{canary::Canary, draw::History, run::run};

/// Runs that are spent on one history.
const BUDGET: usize = 400;

/// The shortest history found in which `check` still fails.
#[must_use]
pub fn shrink(history: &History, check: &str, canary: Option<Canary>) -> History {
    let mut best = history.clone();
    let mut budget = BUDGET;
    let fails = |candidate: &History, budget: &mut usize| {
        *budget = budget.saturating_sub(1);
        run(candidate, canary).verdict.is_some_and(|verdict| verdict.check == check)
    };
    let mut length = best.steps.len() / 2;
    while length > 0 {
        let mut at = 0;
        let before = best.steps.len();
        while at < best.steps.len() && budget > 0 {
            let mut candidate = best.clone();
            let end = (at + length).min(candidate.steps.len());
            candidate.steps.drain(at..end);
            if fails(&candidate, &mut budget) {
                best = candidate;
            } else {
                at += length;
            }
        }
        if budget == 0 {
            break;
        }
        // At single steps, go on for as long as it helps.
        if length > 1 || best.steps.len() == before {
            length /= 2;
        }
    }
    best
}
