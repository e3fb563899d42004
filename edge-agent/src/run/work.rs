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
    event::{DISK_FULL, Failure},
};
use lichen_oci::runtime::{self, Search};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    content::Content,
    hub::{self, HubClient, HubError},
    known_time::KnownTime,
    membership::Membership,
    message::{Message, Sender},
    runtime::chain,
    state::StateDir,
};

/// How long the link waits for the first probe, so that the first Hello says everything.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// How often a device without a working runtime looks whether one was installed.
const PROBE_AGAIN: Duration = Duration::from_secs(60);

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

/// Looks for container runtimes and tries them. As long as none works, looks again when another program is there.
pub(super) fn probe(search: Search, messages: Sender) {
    let slow = messages.clone();
    tokio::spawn(async move {
        loop {
            let tried = search.clone();
            let found = spawn_blocking(move || (runtime::installed(&tried), runtime::find(&tried)));
            let Ok((programs, containers)) = found.await else { return };
            let is_usable = containers.best().is_some();
            let told = messages.send(Message::Probed(containers)).await;
            if is_usable || told.is_err() {
                return;
            }
            while runtime::installed(&search) == programs {
                tokio::time::sleep(PROBE_AGAIN).await;
            }
        }
    });
    tokio::spawn(async move {
        tokio::time::sleep(PROBE_PATIENCE).await;
        let _loop_gone = slow.send(Message::ProbeIsSlow).await;
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
            Err(error) => Event::SaveFailed { generation, message: chain(&error) },
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
        HubError::Corrupt { .. } => "DigestMismatch",
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
