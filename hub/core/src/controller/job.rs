//! Jobs: Pods that are to end well, so many times.
//!
//! Every Pod is counted once, when it has ended or is to go ([`Tally`]); what else a Job needs follows from what was counted
//! and from the Pods that are there. A Pod on a device that is lost is to go, so it counts as failed, and whatever its device
//! says of it later changes nothing.

mod status;

use alloc::{borrow::ToOwned, collections::BTreeSet, format, string::String, vec::Vec};
use core::time::Duration;

use firmware_compat::{id::PodId, time::Instant, v1::owned::RestartPolicy};

pub use self::status::status;
use super::{Plan, Step, View, Why, draft::Draft, eviction, placement};
use crate::{
    api::{
        batch::{Job, job::KEPT},
        time::unix_ms,
    },
    pod::Pod,
    state::{Class, Tally},
};

/// What is to be done for a Job.
#[must_use]
pub fn plan(job: &Job, view: &View<'_>) -> Plan {
    let mut draft = Draft::new(view);
    if job.end().is_some() {
        for pod in active(job, view) {
            draft.delete(pod.id, Why::Ended);
        }
        drop_outlived(job, &mut draft);
        draft.plan.is_over = expires(job, view).is_some_and(|at| at <= view.now);
        return draft.plan;
    }
    let mut tally = view.tally.clone();
    for (pod, succeeded) in uncounted(job, view) {
        tally.count(pod.index, succeeded, view.now);
        draft.plan.steps.push(Step::Count { pod: pod.id, succeeded });
    }
    drop_outlived(job, &mut draft);
    if ending(job, view, &tally).is_some() {
        for pod in active(job, view) {
            draft.delete(pod.id, Why::Ended);
        }
    } else if job.is_suspended() {
        for pod in active(job, view) {
            draft.delete(pod.id, Why::Suspended);
        }
    } else {
        run(job, &mut draft, &tally);
    }
    draft.plan
}

/// Lets go of Pods that can't stay, and makes those that are missing.
fn run(job: &Job, draft: &mut Draft<'_>, tally: &Tally) {
    let view = draft.view;
    for pod in eviction::evicted(view) {
        draft.delete(pod, Why::Evicted);
    }
    leave_silent_devices(draft);
    for pod in active(job, view) {
        // Its image was found before a device was told of it.
        if pod.revision.hash != view.revision.hash && !pod.assigned {
            draft.delete(pod.id, Why::Unhealthy);
        }
    }
    let mut left: Vec<&Pod> = active(job, view).filter(|pod| !draft.goes(pod.id)).collect();
    let wanted = wanted(job, tally, &left);
    // What has a device stays before what has none, what runs before what does not, and the oldest.
    left.sort_by_key(|pod| (pod.device.is_none(), !pod.runs(), pod.created_ms, pod.id));
    let mut missing = wanted.indexes;
    let (mut kept, mut unplaced) = (0, Vec::new());
    for pod in left {
        let has_a_place = pod.index.is_none_or(|index| missing.remove(&index));
        if kept == wanted.count || !has_a_place {
            draft.delete(pod.id, Why::Excess);
            continue;
        }
        kept += 1;
        if view.state.pods.class(pod.id) == Some(Class::Unplaced) {
            unplaced.push(pod.id);
        }
    }
    let may_make = tally.retry_at().is_none_or(|at| at <= view.now);
    let count = if may_make { wanted.count - kept } else { 0 };
    let new = match job.indexes() {
        None => (0..count).map(|_| None).collect(),
        Some(_) => missing.into_iter().take(count).map(Some).collect(),
    };
    placement::place(draft, unplaced, new);
}

/// Pods that a Job is to have now.
struct Wanted {
    count: usize,
    /// For which numbers, if they have some: those that are not done.
    indexes: BTreeSet<u32>,
}

fn wanted(job: &Job, tally: &Tally, left: &[&Pod]) -> Wanted {
    let at_once = job.parallelism();
    let count = match (job.indexes(), job.spec.completions) {
        (Some(all), _) => {
            let indexes: BTreeSet<u32> =
                (0..all).filter(|index| !tally.indexes.contains(index)).collect();
            return Wanted { count: indexes.len().min(at_once as usize), indexes };
        }
        (None, Some(completions)) => at_once.min(completions.saturating_sub(tally.succeeded)),
        // One has found nothing more to do: the others end by themselves.
        (None, None) if tally.succeeded > 0 => {
            at_once.min(u32::try_from(left.len()).unwrap_or(u32::MAX))
        }
        (None, None) => at_once,
    };
    Wanted { count: count as usize, indexes: BTreeSet::new() }
}

/// As a Deployment does: where no other device has a place, what runs on stays.
fn leave_silent_devices(draft: &mut Draft<'_>) {
    let lost: Vec<PodId> =
        eviction::lost(draft.view).into_iter().filter(|pod| !draft.goes(*pod)).collect();
    if lost.is_empty() {
        return;
    }
    if draft.view.no_room {
        draft.plan.report.no_place += lost.len();
        return;
    }
    let unplaced = draft.left(Class::Unplaced, |_| true);
    let places = draft.places(unplaced + lost.len()).devices.len().saturating_sub(unplaced);
    draft.plan.report.no_place += lost.len().saturating_sub(places);
    for pod in lost.into_iter().take(places) {
        draft.delete(pod, Why::Lost);
    }
}

/// Of the Pods that have ended and were counted, the newest are kept.
fn drop_outlived(job: &Job, draft: &mut Draft<'_>) {
    let ended = own(job, draft.view).filter(|pod| pod.deleting.is_none() && pod.counted);
    let mut ended: Vec<_> = ended.map(|pod| (pod.created_ms, pod.id)).collect();
    ended.sort_unstable();
    let over = ended.len().saturating_sub(KEPT as usize);
    for (_, pod) in ended.into_iter().take(over) {
        draft.delete(pod, Why::Outlived);
    }
}

/// The Job's Pods: one of the same name before it may have left some.
fn own<'a>(job: &Job, view: &View<'a>) -> impl Iterator<Item = &'a Pod> {
    let uid = job.metadata.uid.clone();
    view.state.pods.of(view.key).filter(move |pod| pod.owner_uid == uid)
}

/// Those that have not ended and are not on their way out.
fn active<'a>(job: &Job, view: &View<'a>) -> impl Iterator<Item = &'a Pod> {
    own(job, view).filter(|pod| pod.deleting.is_none() && pod.finished().is_none())
}

/// Those that are to be counted, and whether as ended well.
fn uncounted<'a>(job: &Job, view: &View<'a>) -> Vec<(&'a Pod, bool)> {
    let all = own(job, view).filter(|pod| !pod.counted);
    all.filter_map(|pod| outcome(pod).map(|succeeded| (pod, succeeded))).collect()
}

/// How a Pod counts, once it does: Kubernetes' rule, by which one that is to go before its end has failed.
#[must_use]
pub fn outcome(pod: &Pod) -> Option<bool> {
    pod.finished().or_else(|| pod.deleting.map(|_| false))
}

/// How a Job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// `Complete` or `Failed`.
    pub condition: &'static str,
    /// CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// How a Job ends that has counted this; none if it goes on.
fn ending(job: &Job, view: &View<'_>, tally: &Tally) -> Option<Ending> {
    let failed = |reason, message: String| Some(Ending { condition: "Failed", reason, message });
    let limit = job.backoff_limit();
    if tally.failed > limit {
        return failed(
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit".into(),
        );
    }
    if view.revision.resolved.restart == RestartPolicy::OnFailure {
        let restarts = active(job, view).map(Pod::restarts).fold(0, u32::saturating_add);
        if restarts > 0 && restarts >= limit {
            let message = "Job has reached the specified backoff limit".into();
            return failed("BackoffLimitExceeded", message);
        }
    }
    if !job.is_suspended() && past_deadline(job, view).is_some_and(|at| at <= view.now) {
        let message = "Job was active longer than specified deadline".into();
        return failed("DeadlineExceeded", message);
    }
    let is_complete = match (job.indexes(), job.spec.completions) {
        (Some(all), _) => tally.indexes.range(..all).count() == all as usize,
        (None, Some(completions)) => tally.succeeded >= completions,
        (None, None) => tally.succeeded > 0 && active(job, view).next().is_none(),
    };
    is_complete.then(|| Ending {
        condition: "Complete",
        reason: "CompletionsReached",
        message: "Reached expected number of succeeded pods".to_owned(),
    })
}

/// When something is due that is counted from a time of day.
fn due(view: &View<'_>, since: Option<&str>, seconds: Option<u32>) -> Option<Instant> {
    let at_ms = unix_ms(since?)?.saturating_add(u64::from(seconds?) * 1000);
    Some(view.now + Duration::from_millis(at_ms.saturating_sub(view.unix_ms)))
}

fn past_deadline(job: &Job, view: &View<'_>) -> Option<Instant> {
    due(view, job.status.start_time.as_deref(), job.spec.active_deadline_seconds)
}

/// When a Job that has ended is deleted.
fn expires(job: &Job, view: &View<'_>) -> Option<Instant> {
    let end = job.end()?.last_transition_time.as_deref();
    due(view, end, job.spec.ttl_seconds_after_finished)
}

/// When a Job is to be looked at again, whatever happens to its Pods.
#[must_use]
pub fn deadline(job: &Job, view: &View<'_>) -> Option<Instant> {
    if job.end().is_some() {
        return expires(job, view);
    }
    let of_deadline = past_deadline(job, view).filter(|_| !job.is_suspended());
    let of_retry = view.tally.retry_at().filter(|at| *at > view.now);
    of_deadline.into_iter().chain(of_retry).min()
}

/// The numbers of a plan's new Pods, for its lint: one that is done, or has a Pod that stays, needs none.
#[must_use]
pub fn needless(job: &Job, view: &View<'_>, plan: &Plan) -> Option<String> {
    let mut tally = view.tally.clone();
    let mut gone = BTreeSet::new();
    for step in &plan.steps {
        match step {
            Step::Count { pod, succeeded } => {
                let index = view.state.pods.get(*pod).and_then(|pod| pod.index);
                tally.count(index, *succeeded, view.now);
            }
            Step::Delete { pod, .. } => _ = gone.insert(*pod),
            _ => {}
        }
    }
    let stays: BTreeSet<u32> = active(job, view)
        .filter(|pod| !gone.contains(&pod.id))
        .filter_map(|pod| pod.index)
        .collect();
    let mut made = BTreeSet::new();
    plan.steps.iter().find_map(|step| {
        let Step::Create { index: Some(index), .. } = step else { return None };
        let is_needless =
            tally.indexes.contains(index) || stays.contains(index) || !made.insert(*index);
        is_needless.then(|| format!("{index}"))
    })
}
