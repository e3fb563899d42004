//! What the hub notes in its audit log ([`crate::audit`]): every change and every refused attempt. The engine and whoever
//! asks never wait for the disk: entries go through a bounded queue to a thread that writes them in batches.
//!
//! A change is not even begun without a place in that queue ([`Recorder::room`]), and its entry is written however it
//! ends, if whoever asked has gone, too ([`Pending`]). If the log can't be written, changes are refused after a moment,
//! and reads go on. Refusals take no place from changes: those that find none, or are too many ([`refusals`]), are
//! counted, and the log says how many they were.

mod logbooks;
mod pending;
mod refusals;
mod writer;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use lichen_hub_core::actor::{Actor, Origin};
use lichen_trust::KnownTime;
use tokio::sync::{mpsc, oneshot, watch};

use super::api::Refusal;
use crate::audit::{Entry, log};
use logbooks::Logbooks;
pub(crate) use pending::{Pending, Told};
use refusals::Refusals;

/// Entries that may wait for the disk, and changes that may be under way.
const QUEUE: usize = 4096;
/// How long a change waits for a place in the queue, or for the log to be writable again.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a hub that stops waits for the disk.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// Actors' name of whoever was not recognised.
pub(crate) const NOBODY: &str = "?";

/// What the thread is given.
enum Note {
    Entry(Box<Entry>),
    /// Somebody waits until what came before is on the disk.
    Settle(oneshot::Sender<()>),
    /// Nothing more comes.
    Stop(oneshot::Sender<()>),
}

/// Notes things. Clones share the log.
#[derive(Clone)]
pub(crate) struct Recorder {
    notes: mpsc::Sender<Note>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

/// What the thread has a part in.
struct Shared {
    dir: PathBuf,
    time: Arc<KnownTime>,
    started: Instant,
    refusals: Mutex<Refusals>,
    logbooks: tokio::sync::Mutex<Logbooks>,
    counts: Counts,
    /// Whether the log can't be written at the moment.
    failing: watch::Sender<bool>,
    /// The newest entry that is on the disk: wakes those who follow.
    written: watch::Sender<u64>,
}

/// Since the hub's start.
#[derive(Debug, Default)]
struct Counts {
    entries: AtomicU64,
    collapsed: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
    refused_changes: AtomicU64,
}

/// A log that was opened, and may be written when everything else of the hub has been.
pub(crate) struct Opened {
    log: log::Log,
    found: Vec<String>,
    dir: PathBuf,
}

/// Opens the log of a state directory.
pub(crate) fn open(state: &Path, limits: log::Limits) -> Result<Opened, log::LogError> {
    let (log, found) = log::Log::open(state, limits)?;
    Ok(Opened { log, found, dir: state.join(crate::audit::DIR) })
}

impl Opened {
    /// Starts the thread that writes. What was found when the log was opened is noted first.
    pub(crate) fn start(self, time: Arc<KnownTime>) -> io::Result<Recorder> {
        let (notes, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            dir: self.dir,
            time,
            started: Instant::now(),
            refusals: Mutex::default(),
            logbooks: tokio::sync::Mutex::default(),
            counts: Counts::default(),
            failing: watch::Sender::new(false),
            written: watch::Sender::new(self.log.head().newest),
        });
        writer::start(self.log, queue, shared.clone())?;
        let recorder = Recorder { notes, shared };
        for found in self.found {
            tracing::warn!(found, "the audit log is not as it was left; see lichen audit --verify");
            recorder.of_hub("audit", format!("the audit log is not as it was left: {found}"));
        }
        recorder.of_hub("start", format!("lichen {} started", env!("CARGO_PKG_VERSION")));
        Ok(recorder)
    }
}

impl Recorder {
    /// A place for an entry, before anything is changed.
    ///
    /// # Errors
    /// The log can't be written, or not fast enough: nothing may be changed.
    pub(crate) async fn room(&self) -> Result<Room, Refusal> {
        let found = tokio::time::timeout(PATIENCE, async {
            let mut failing = self.shared.failing.subscribe();
            // The sender is in `self`.
            let _ = failing.wait_for(|failing| !failing).await;
            self.notes.clone().reserve_owned().await
        });
        match found.await {
            Ok(Ok(permit)) => Ok(Room { permit, shared: self.shared.clone() }),
            Ok(Err(_closed)) => Err(unavailable("the hub is stopping")),
            Err(_late) => {
                self.shared.counts.refused_changes.fetch_add(1, Relaxed);
                Err(match *self.shared.failing.borrow() {
                    true => unavailable(
                        "nothing can be changed at the moment, because the audit log can't be written: see the hub's own \
                         log, and whether the disk of its state directory is full",
                    ),
                    false => unavailable(
                        "more is being changed than the audit log can take; try again in a few seconds",
                    ),
                })
            }
        }
    }

    /// Notes something that was refused, unless there are too many of the kind.
    /// `from`: the address, if nobody was recognised; else the actor's name.
    pub(crate) fn refused(&self, from: &str, entry: Entry) {
        let now_ms = self.shared.now_ms();
        if !self.shared.refusals().admit(from, now_ms) {
            self.shared.counts.collapsed.fetch_add(1, Relaxed);
            return;
        }
        self.note(entry);
    }

    /// Whether the log can't be written at the moment.
    fn is_failing(&self) -> bool {
        *self.shared.failing.borrow()
    }

    /// Whether this was not noted within the last hour: for what is asked again every few seconds.
    pub(crate) fn is_news(&self, what: &str) -> bool {
        let now_ms = self.shared.now_ms();
        self.shared.refusals().is_news(what, now_ms)
    }

    /// Notes what the hub itself has to say.
    pub(crate) fn of_hub(&self, verb: &str, note: String) {
        self.note(Entry::of_hub(verb, note));
    }

    /// Notes something that waits for nobody.
    fn note(&self, entry: Entry) {
        let note = Note::Entry(Box::new(self.shared.stamped(entry)));
        if self.notes.try_send(note).is_err() {
            self.shared.counts.dropped.fetch_add(1, Relaxed);
            self.shared.refusals().drop_one();
        }
    }

    /// Where the log is.
    pub(crate) fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Wakes when there are new entries.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.shared.written.subscribe()
    }

    /// Waits until what was noted before is on the disk, so that whoever did something finds it; but not for long.
    /// Whether it is there.
    pub(crate) async fn settle(&self) -> bool {
        let (written, wait) = oneshot::channel();
        let settled =
            async { self.notes.send(Note::Settle(written)).await.is_ok() && wait.await.is_ok() };
        tokio::time::timeout(PATIENCE, settled).await.unwrap_or(false)
    }

    /// Writes what is waiting, and ends the thread. It takes no entries after that.
    pub(crate) async fn stop(&self) {
        let (ended, end) = oneshot::channel();
        let stopped = async {
            if self.notes.send(Note::Stop(ended)).await.is_ok() {
                let _thread_gone = end.await;
            }
        };
        if tokio::time::timeout(LAST_PATIENCE, stopped).await.is_err() {
            tracing::error!("the audit log could not be written to its end before the hub stopped");
        }
    }

    /// The log's figures.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 6] {
        let counts = &self.shared.counts;
        [
            ("lichen_audit_entries_total", counts.entries.load(Relaxed)),
            ("lichen_audit_refusals_collapsed_total", counts.collapsed.load(Relaxed)),
            ("lichen_audit_dropped_total", counts.dropped.load(Relaxed)),
            ("lichen_audit_write_failures_total", counts.failures.load(Relaxed)),
            ("lichen_audit_changes_refused_total", counts.refused_changes.load(Relaxed)),
            ("lichen_audit_writable", u64::from(!*self.shared.failing.borrow())),
        ]
    }
}

impl Shared {
    fn stamped(&self, entry: Entry) -> Entry {
        entry.at(self.time.written_ms())
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A place in the queue.
pub(crate) struct Room {
    permit: mpsc::OwnedPermit<Note>,
    shared: Arc<Shared>,
}

impl Room {
    fn note(self, entry: Entry) {
        self.permit.send(Note::Entry(Box::new(self.shared.stamped(entry))));
    }
}

/// An entry with its actor, and from where.
pub(crate) fn entry_of(actor: Option<&Actor>, from: Option<SocketAddr>) -> Entry {
    let from = from.or_else(|| match actor?.from {
        Origin::Address(address) => Some(address),
        Origin::Hub => None,
    });
    Entry {
        actor: actor.map_or(NOBODY, |actor| actor.name.as_str()).to_owned(),
        groups: actor.map(|actor| actor.groups.clone()).unwrap_or_default(),
        from: from.map(|from| from.to_string()).unwrap_or_default(),
        ..Entry::default()
    }
}

fn unavailable(message: &str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
}
