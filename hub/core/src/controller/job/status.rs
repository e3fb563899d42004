//! What a Job's status says after its plan was carried out.

use alloc::string::ToString;

use super::{Ending, active, ending, own};
use crate::{
    api::{
        Object,
        batch::{Job, job::JobStatus},
        meta::Condition,
        time::rfc3339,
    },
    controller::{View, condition::condition},
};

/// A Job's status; none if it is as it was.
#[must_use]
pub fn status(job: &Job, view: &View<'_>, unix_ms: u64) -> Option<Object> {
    let mut new = job.clone();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    new.status.active = number(active(job, view).count());
    new.status.ready = number(active(job, view).filter(|pod| pod.runs()).count());
    let leaving = own(job, view).filter(|pod| pod.deleting.is_some() && pod.finished().is_none());
    new.status.terminating = number(leaving.count());
    if job.end().is_none() {
        view.tally.write(job.indexes(), &mut new.status);
        let ending = ending(job, view, view.tally);
        suspend(&mut new, job.is_suspended() && ending.is_none(), unix_ms);
        if let Some(ending) = ending {
            end(&mut new.status, &ending, unix_ms);
        }
    }
    (new.status != job.status).then_some(Object::Job(new))
}

/// Whether the Job is held, since when, and since when it is not.
fn suspend(job: &mut Job, suspended: bool, unix_ms: u64) {
    let was_suspended = job.is("Suspended");
    let status = &mut job.status;
    if suspended {
        status.start_time = None;
    } else {
        status.start_time.get_or_insert_with(|| rfc3339(unix_ms));
    }
    if suspended == was_suspended {
        return;
    }
    let (reason, message) = match suspended {
        true => ("JobSuspended", "Job suspended"),
        false => ("JobResumed", "Job resumed"),
    };
    put(status, "Suspended", suspended, reason, message, unix_ms);
}

fn end(status: &mut JobStatus, ending: &Ending, unix_ms: u64) {
    if ending.condition == "Complete" {
        status.completion_time = Some(rfc3339(unix_ms));
    }
    put(status, ending.condition, true, ending.reason, &ending.message, unix_ms);
}

fn put(status: &mut JobStatus, kind: &str, is_so: bool, reason: &str, message: &str, unix_ms: u64) {
    let new: Condition =
        condition(&status.conditions, kind, is_so, reason, message.to_string(), unix_ms);
    status.conditions.retain(|known| known.kind != kind);
    status.conditions.push(new);
}
