//! Work that takes time: each function starts a task and returns; the task answers with exactly one message.
//! Blocking calls run on threads that end soon after. What is done with Pods is in `pods`.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use firmware_compat::{id::Hash, keys::PinnedHub, v1::owned::Blob};
use lichen_agent_core::{
    Event, SavedAssignment,
    event::{DIGEST_MISMATCH, DISK_FULL, Failure},
};
use lichen_oci::runtime::{self, Search};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    content::Content,
    failure::failure,
    hub::{self, HubClient, HubError},
    known_time::KnownTime,
    membership::Membership,
    message::{Message, Sender},
    runtime::chain,
    state::StateDir,
};

/// How long the link waits for the first probe, so that the first Hello says everything.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// Rest of a device without a working runtime before it tries again, doubled each time: an overlay module may come seconds
/// late.
const PROBE_FIRST: Duration = Duration::from_millis(500);
/// A trial writes a few files: not more often than this.
const PROBE_LONGEST: Duration = Duration::from_mins(5);
/// How often it looks meanwhile whether a program was installed.
const PROBE_LOOK: Duration = Duration::from_secs(60);
/// What worked in an earlier boot is tried again only when the boot is over.
const CONFIRM_AFTER: Duration = Duration::from_secs(30);
/// Failed trials after which what worked in an earlier boot is given up.
const GIVE_UP_AFTER: u32 = 5;
/// When the store is looked through: not while everything starts.
const SCRUB_AFTER: Duration = Duration::from_secs(15);
/// And again: flash loses bits over months.
const SCRUB_AGAIN: Duration = Duration::from_hours(7 * 24);
/// Of a card that reads 20 MB/s and a processor that hashes 100 MB/s, a tenth and a fiftieth.
const SCRUB_BYTES_PER_SECOND: u64 = 2 << 20;

/// Runs `work` on a thread and tells the loop what it says.
pub(super) fn answer<F>(messages: Sender, work: F)
where
    F: FnOnce() -> Message + Send + 'static,
{
    tokio::spawn(async move {
        // Not answered only if the runtime is shutting down, or the work panicked: then nobody listens or it is a bug.
        if let Ok(message) = spawn_blocking(work).await {
            let _loop_gone = messages.send(message).await;
        }
    });
}

/// Looks for container runtimes and tries them, again and again until one works: a kernel module may come late, or a program
/// be installed. `trusted`: one that worked in an earlier boot is in use already, so there is no hurry, and it takes several
/// failures to give it up.
pub(super) fn probe(search: Search, trusted: bool, state: Arc<StateDir>, messages: Sender) {
    let slow = messages.clone();
    tokio::spawn(async move {
        let mut failures = 0_u32;
        if trusted {
            tokio::time::sleep(CONFIRM_AFTER).await;
        }
        loop {
            let (tried, kept) = (search.clone(), state.clone());
            let found = spawn_blocking(move || {
                let (programs, findings) = (runtime::installed(&tried), runtime::find(&tried));
                // One that does not work may work the next time: it is forgotten only when it is given up.
                if findings.best().is_some()
                    && let Err(error) = kept.keep_runtime(&tried, &findings)
                {
                    tracing::warn!("the next boot waits for the trial of its runtime: {error}");
                }
                (programs, findings)
            });
            let Ok((programs, containers)) = found.await else { return };
            let is_usable = containers.best().is_some();
            failures = failures.saturating_add(1);
            if (is_usable || !trusted || failures >= GIVE_UP_AFTER)
                && messages.send(Message::Probed(containers)).await.is_err()
            {
                return;
            }
            if is_usable {
                return;
            }
            // Whichever comes first: a longer rest each time, or another program.
            let rest = PROBE_FIRST.saturating_mul(1 << failures.min(16)).min(PROBE_LONGEST);
            let until = tokio::time::Instant::now() + rest;
            while tokio::time::Instant::now() < until && runtime::installed(&search) == programs {
                let next = (tokio::time::Instant::now() + PROBE_LOOK).min(until);
                tokio::time::sleep_until(next).await;
            }
        }
    });
    tokio::spawn(async move {
        tokio::time::sleep(PROBE_PATIENCE).await;
        let _loop_gone = slow.send(Message::ProbeIsSlow).await;
    });
}

/// Verifies the whole store in the background, slowly, and again every week.
pub(super) fn scrub(content: Content, messages: Sender) {
    tokio::spawn(async move {
        tokio::time::sleep(SCRUB_AFTER).await;
        loop {
            let looked = content.clone();
            let found = spawn_blocking(move || {
                looked.scrub(&mut |bytes| {
                    let nanos =
                        (bytes as u64).saturating_mul(1_000_000_000) / SCRUB_BYTES_PER_SECOND;
                    std::thread::sleep(Duration::from_nanos(nanos));
                })
            });
            let Ok(damaged) = found.await else { return };
            if !damaged.is_empty() {
                let (digests, words): (Vec<Hash>, Vec<String>) = damaged.into_iter().unzip();
                let message = words.join("; ");
                let event = Event::Damaged { digests, message };
                if messages.send(Message::Happened(event)).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(SCRUB_AGAIN).await;
            content.forget_seen();
        }
    });
}

pub(super) fn save_assignment(
    state: Arc<StateDir>,
    assignment: Arc<SavedAssignment>,
    messages: Sender,
) {
    let generation = assignment.id.generation;
    answer(messages, move || {
        Message::Happened(match state.save_assignment(&assignment) {
            Ok(()) => Event::Saved { generation },
            Err(error) => Event::SaveFailed { generation, failure: failure(&error) },
        })
    });
}

/// Keeps the keys that the hub has handed over.
pub(super) fn pin_hub(membership: Arc<Membership>, hub: PinnedHub, messages: Sender) {
    answer(messages, move || {
        Message::Happened(match membership.pin(hub) {
            Ok(()) => Event::HubPinned(hub),
            Err(error) => Event::PinFailed { message: chain(&error) },
        })
    });
}

pub(super) fn save_time_floor(state: Arc<StateDir>, known: KnownTime) {
    spawn_blocking(move || {
        if let Err(error) = known.save(&state) {
            tracing::warn!(error = chain(&error), "could not keep the time floor");
        }
    });
}

/// What a fetch needs.
pub(super) struct Fetch {
    pub(super) hub: HubClient,
    pub(super) blob: Blob,
    pub(super) content: Content,
    pub(super) cancelled: Arc<AtomicBool>,
}

pub(super) fn fetch(job: Fetch, slots: Arc<Semaphore>, messages: Sender) {
    tokio::spawn(async move {
        let digest = job.blob.digest;
        let Ok(_slot) = slots.acquire().await else { return };
        let fetched = spawn_blocking(move || fetch_now(&job)).await;
        let event = match fetched {
            Ok(Ok(())) => Event::Fetched { digest },
            Ok(Err(failure)) => Event::FetchFailed { digest, failure },
            Err(_shutting_down) => return,
        };
        let _loop_gone = messages.send(Message::Happened(event)).await;
    });
}

fn fetch_now(job: &Fetch) -> Result<(), Failure> {
    if job.content.has(&job.blob.digest) {
        return Ok(());
    }
    let partial = job.content.artefacts().join(format!("{}.partial", job.blob.digest));
    let there = std::fs::metadata(partial).map_or(0, |partial| partial.len());
    job.content.admit(job.blob.size.saturating_sub(there)).map_err(|error| failure(&error))?;
    let may_go_on = || !job.cancelled.load(Relaxed);
    let (dir, written) = (job.content.artefacts(), job.content.written());
    match hub::download(&job.hub, job.blob, dir, written, &may_go_on) {
        Ok(_) => {
            tracing::debug!(digest = %job.blob.digest, bytes = job.blob.size, "fetched");
            Ok(())
        }
        Err(error) => {
            Err(Failure { reason: fetch_reason(&error).to_owned(), message: chain(&error) })
        }
    }
}

fn fetch_reason(error: &HubError) -> &'static str {
    match error {
        HubError::Disk { source, .. } => match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DISK_FULL,
            _ => "DiskError",
        },
        HubError::NotFound { .. } => "NotFound",
        HubError::Corrupt { .. } => DIGEST_MISMATCH,
        HubError::Cancelled => "Cancelled",
        HubError::Unreachable { .. }
        | HubError::Impostor { .. }
        | HubError::NotAuthenticated { .. }
        | HubError::Refused { .. }
        | HubError::Busy { .. }
        | HubError::Answer { .. } => "",
    }
}

pub(super) fn retain(content: Content, keep: BTreeSet<Hash>) {
    spawn_blocking(move || {
        if let Err(error) = content.retain(&keep) {
            tracing::warn!(error = chain(&error), "could not remove everything that is not needed");
        }
    });
}
