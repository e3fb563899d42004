//! Running a history: its steps, then the end of all faults, convergence, a quiet hour.

use crate::{
    Verdict, World,
    canary::Canary,
    draw::{History, Size, history},
};

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The check that failed, if one did.
    pub verdict: Option<Verdict>,
    /// What happened.
    pub story: String,
    /// Virtual time that passed, in milliseconds.
    pub elapsed_ms: u64,
    /// Boards at the end.
    pub boards: u64,
}

/// Carries out a history and looks at its end.
#[must_use]
pub fn run(history: &History, canary: Option<Canary>) -> Outcome {
    let mut world = World::new(history.seed, history.external);
    if let Some(canary) = canary {
        world.sabotage(canary);
    }
    for step in &history.steps {
        if let Err(error) = world.step(step) {
            world.fail("bounds-hold", &error.to_string());
        }
        if world.verdict().is_some() {
            break;
        }
    }
    for end in [World::recover, World::converge, World::quiet] {
        if world.verdict().is_none() {
            end(&mut world);
        }
    }
    Outcome {
        verdict: world.verdict().cloned(),
        story: world.story.to_string(),
        elapsed_ms: world.now,
        boards: world.boards.len() as u64,
    }
}

/// Runs the history of a seed. On a failure, everything that a person needs to understand it and to see it again.
///
/// # Errors
/// The report: the seed, the shortest history found that fails in the same check, and its story.
pub fn check(seed: u64, size: Size) -> Result<Outcome, String> {
    let drawn = history(seed, size);
    let outcome = run(&drawn, None);
    let Some(verdict) = &outcome.verdict else { return Ok(outcome) };
    let short = crate::shrink::shrink(&drawn, verdict.check, None);
    let again = run(&short, None);
    let what = again.verdict.map_or_else(String::new, |verdict| verdict.what);
    let steps: String = short.steps.iter().map(|step| format!("    {step}\n")).collect();
    let broker = if short.external { "external" } else { "embedded" };
    Err(format!(
        "seed {seed}: {}: {what}\n\nshortest history found ({broker} broker, {} of {} steps):\n{steps}\n\
         what happened:\n{}\nsee it again with: make simulate SEED={seed}\n",
        verdict.check,
        short.steps.len(),
        drawn.steps.len(),
        again.story,
    ))
}
