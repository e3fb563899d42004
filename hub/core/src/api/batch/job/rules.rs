//! What a Job may say, and what of it may change.

use alloc::format;

use super::{Job, MAX_INDEXES, own_template};
use crate::api::validate::Errors;

/// Pods of one Job at once. All of them are looked at when one of them changes.
const MAX_PARALLELISM: u32 = 10_000;

/// Finds what is wrong with a Job beside its template.
pub(super) fn validate(job: &Job, old: Option<&Job>, errors: &mut Errors) {
    let spec = &job.spec;
    match spec.completion_mode.as_deref() {
        None | Some("NonIndexed") => {}
        Some("Indexed") if spec.completions.is_none() => {
            errors.add("spec.completions", "an Indexed Job says how many completions it has");
        }
        Some("Indexed") if spec.completions > Some(MAX_INDEXES) => {
            errors.add("spec.completions", format!("at most {MAX_INDEXES} have a number"));
        }
        Some("Indexed") => {}
        Some(other) => errors
            .add("spec.completionMode", format!("{other:?} must be \"NonIndexed\" or \"Indexed\"")),
    }
    match spec.pod_replacement_policy.as_deref() {
            None | Some("TerminatingOrFailed") => {}
            Some("Failed") => errors.add(
                "spec.podReplacementPolicy",
                "Lichen does not support \"Failed\": a Pod on a device that is away would never be replaced; leave it out",
            ),
            Some(other) => errors.add(
                "spec.podReplacementPolicy",
                format!("{other:?} must be \"TerminatingOrFailed\""),
            ),
        }
    if spec.manual_selector == Some(true) {
        errors.add(
                "spec.manualSelector",
                "Lichen does not support a selector of your own: a Job knows its Pods by its uid; leave both out",
            );
    }
    if job.parallelism() > MAX_PARALLELISM {
        errors.add("spec.parallelism", format!("at most {MAX_PARALLELISM} run at once"));
    }
    if let Some(old) = old {
        check_immutable(job, old, errors);
    }
}

fn check_immutable(job: &Job, old: &Job, errors: &mut Errors) {
    let (new, known) = (&job.spec, &old.spec);
    if own_template(&new.template).normal() != own_template(&known.template).normal() {
        errors.add(
            "spec.template",
            "field is immutable: a Job runs what it was made with; delete it and create it again",
        );
    }
    if new.completion_mode != known.completion_mode {
        errors.add("spec.completionMode", "field is immutable");
    }
    // An Indexed Job may be made longer and shorter with its parallelism.
    let is_elastic = job.is_indexed() && new.completions == new.parallelism;
    if new.completions != known.completions && old.end().is_some() {
        errors.add("spec.completions", "field is immutable: the Job has ended");
    } else if new.completions != known.completions && !is_elastic {
        errors.add(
                "spec.completions",
                "field is immutable, but for an Indexed Job whose parallelism changes to the same number",
            );
    }
}
