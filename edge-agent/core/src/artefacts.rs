//! Brings artefacts: which are there, which are on their way, which wait for another attempt. Each digest is fetched
//! once, however many Pods need it; a few at a time; a change of the assignment never interrupts a fetch that is
//! still needed.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};

use firmware_compat::{
    id::Hash,
    time::Instant,
    v1::owned::{Artefacts, Blob, Container},
};

use crate::{
    backoff::{FETCH, FETCH_AFTER_LINK, FETCH_DAMAGED},
    effect::Effect,
    event::{DIGEST_MISMATCH, DISK_FULL, Failure},
    out::Out,
};

/// Fetches at a time: enough to hide round trips on a bad link, few enough for a small board's memory.
pub const PARALLEL: usize = 3;

/// What must be free beside an artefact that did not fit before it is tried again: more than the shell leaves free.
const ROOM_BESIDE: u64 = 16 << 20;

/// The artefacts of this device.
#[derive(Debug, Default)]
pub struct Fetches {
    present: BTreeSet<Hash>,
    jobs: BTreeMap<Hash, Job>,
    /// What is needed and not there, most urgent first.
    order: Vec<Blob>,
}

#[derive(Debug)]
struct Job {
    state: State,
    failures: u32,
    failure: Option<Failure>,
    /// It may have failed for want of a link.
    hurries: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Waits for its turn.
    Queued,
    /// The shell is at it.
    Running,
    /// The shell is at it and was told that nobody needs it.
    Cancelled,
    /// Failed; waits for another attempt.
    Resting { until: Instant },
}

impl Fetches {
    /// Takes in what the store holds.
    pub fn found(&mut self, artefacts: Vec<Hash>) {
        self.present.extend(artefacts);
    }

    /// Says what is needed now, most urgent first. What is not needed any more is dropped, or cancelled if under way.
    pub fn need(&mut self, blobs: impl Iterator<Item = Blob>, out: &mut Out) {
        let mut needed = BTreeSet::new();
        self.order.clear();
        for blob in blobs {
            if !self.present.contains(&blob.digest) && needed.insert(blob.digest) {
                self.order.push(blob);
                self.jobs.entry(blob.digest).or_insert(Job {
                    state: State::Queued,
                    failures: 0,
                    failure: None,
                    hurries: true,
                });
            }
        }
        self.jobs.retain(|digest, job| {
            let is_needed = needed.contains(digest);
            if !is_needed && job.state == State::Running {
                job.state = State::Cancelled;
                out.push(Effect::CancelFetch { digest: *digest });
            }
            is_needed || job.state == State::Cancelled
        });
    }

    /// Starts what can be started.
    pub fn advance(&mut self, now: Instant, out: &mut Out) {
        for job in self.jobs.values_mut() {
            if matches!(job.state, State::Resting { until } if until <= now) {
                job.state = State::Queued;
            }
        }
        let mut room = PARALLEL.saturating_sub(self.under_way().count());
        for blob in &self.order {
            let Some(job) = self.jobs.get_mut(&blob.digest) else { continue };
            if room > 0 && job.state == State::Queued {
                job.state = State::Running;
                room -= 1;
                out.push(Effect::Fetch(*blob));
            }
        }
    }

    pub fn fetched(&mut self, digest: Hash) {
        if self.is_under_way(&digest) {
            self.jobs.remove(&digest);
            self.present.insert(digest);
        }
    }

    /// Plans another attempt. Events are recorded for the first failure only: the status shows the newest.
    pub fn failed(&mut self, digest: Hash, failure: Failure, now: Instant, out: &mut Out) {
        if !self.is_under_way(&digest) {
            return;
        }
        let Some(job) = self.jobs.get_mut(&digest) else { return };
        if job.state == State::Cancelled {
            // If it became needed again meanwhile, `need` has kept it out of the queue until this answer.
            self.jobs.remove(&digest);
            return;
        }
        job.failures = job.failures.saturating_add(1);
        if job.failures == 1 {
            let message = format!("artefact {digest}: {}", failure.message);
            out.warn(now, None, usual(&failure), &message);
        }
        job.hurries = failure.reason != DIGEST_MISMATCH;
        let delay = match job.hurries {
            true => FETCH.jittered(job.failures, &mut out.rng),
            false => FETCH_DAMAGED.delay(job.failures),
        };
        job.failure = Some(failure);
        job.state = State::Resting { until: now + delay };
    }

    /// Artefacts turned out to be missing or damaged.
    pub fn lost(&mut self, digests: &[Hash]) {
        for digest in digests {
            self.present.remove(digest);
        }
    }

    /// The hub can perhaps be reached again: whoever waits, waits no longer than a moment.
    pub fn link_up(&mut self, now: Instant, out: &mut Out) {
        for job in self.jobs.values_mut() {
            if let State::Resting { until } = &mut job.state
                && job.hurries
            {
                *until = (*until).min(now + out.rng.up_to(FETCH_AFTER_LINK));
            }
        }
    }

    /// So much of the disk is free: what did not fit is tried again if it would.
    pub fn measured(&mut self, free: u64, now: Instant) {
        for blob in &self.order {
            let Some(job) = self.jobs.get_mut(&blob.digest) else { continue };
            let did_not_fit =
                job.failure.as_ref().is_some_and(|failure| failure.reason == DISK_FULL);
            let fits = blob.size.saturating_add(ROOM_BESIDE) <= free;
            if let State::Resting { until } = &mut job.state
                && did_not_fit
                && fits
            {
                *until = (*until).min(now);
            }
        }
    }

    /// The store was told to keep only these.
    pub fn retained(&mut self, keep: &BTreeSet<Hash>) {
        self.present.retain(|digest| keep.contains(digest));
    }

    /// What the shell is at.
    pub fn under_way(&self) -> impl Iterator<Item = Hash> + '_ {
        self.jobs
            .iter()
            .filter(|(_, job)| matches!(job.state, State::Running | State::Cancelled))
            .map(|(digest, _)| *digest)
    }

    /// Why these artefacts are not all there: reason and message. `None` if they are.
    pub fn lacking<'a>(
        &self,
        containers: impl Iterator<Item = &'a Container>,
    ) -> Option<Lacking<'_>> {
        let mut lacking = Lacking { missing: 0, failure: None };
        for blob in containers.flat_map(blobs) {
            if !self.present.contains(&blob.digest) {
                lacking.missing += 1;
                let failure = self.jobs.get(&blob.digest).and_then(|job| job.failure.as_ref());
                lacking.failure = lacking.failure.or(failure);
            }
        }
        (lacking.missing > 0).then_some(lacking)
    }

    /// When a fetch is due.
    pub fn timer(&self) -> Option<Instant> {
        let due = |job: &Job| match job.state {
            State::Resting { until } => Some(until),
            State::Queued | State::Running | State::Cancelled => None,
        };
        self.jobs.values().filter_map(due).min()
    }

    fn is_under_way(&self, digest: &Hash) -> bool {
        matches!(self.jobs.get(digest), Some(Job { state: State::Running | State::Cancelled, .. }))
    }
}

/// What containers lack.
#[derive(Clone, Copy, Debug)]
pub struct Lacking<'a> {
    /// How many artefacts.
    pub missing: usize,
    /// Why the first that failed did.
    pub failure: Option<&'a Failure>,
}

/// The usual reason of a failed fetch, or its own.
pub fn usual(failure: &Failure) -> &str {
    if failure.reason.is_empty() { "FetchFailed" } else { &failure.reason }
}

/// Every artefact of a container, in the order in which they are needed.
pub fn blobs(container: &Container) -> impl Iterator<Item = Blob> + '_ {
    let (first, layers) = match &container.artefacts {
        Artefacts::Image { config, layers } => (*config, &layers[..]),
        Artefacts::Wasm { compiled, .. } => (*compiled, &[][..]),
        Artefacts::Firmware { image } => (*image, &[][..]),
    };
    core::iter::once(first).chain(layers.iter().map(|layer| layer.blob))
}
