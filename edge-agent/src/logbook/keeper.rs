//! The task that keeps the logbook: writes down what the loop tells it, what comes together at once, and calls the hub when
//! [`super::pace`] says so.

use std::{io, path::PathBuf, sync::Arc, time::Duration, time::Instant as StdInstant};

use firmware_compat::{id::BootId, time::Instant};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};

use super::{
    book::{Book, Happened},
    pace::Pace,
    repeats::Repeats,
};
use crate::{hub::HubError, membership::Membership, random, runtime::chain, state::Written};

/// Things on their way to the task. More at once, and the rest is counted and noted as one.
const WAITING: usize = 64;
/// What happens within so long is written together: a power cut takes at most what happened in it.
const GATHER: Duration = Duration::from_secs(1);
/// How long an agent that ends waits for its logbook.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// The reason of a note about a new assignment.
const ASSIGNED: &str = "AssignmentTaken";
/// Handovers in one call: a quarter of what a full logbook holds.
const AT_ONCE: usize = 16;

/// The running task. It ends with this value, when it has written what it was told.
#[derive(Debug)]
pub struct Keeper {
    said: mpsc::Sender<Happened>,
    /// Whether the link stands. The newest word counts, and always finds room.
    link: watch::Sender<bool>,
    task: JoinHandle<()>,
    repeats: Repeats,
    start: StdInstant,
    /// What found no room.
    lost: u64,
}

impl Keeper {
    /// Starts it. `membership`: by which the hub is called; without one nothing is handed over.
    #[must_use]
    pub fn start(
        state: PathBuf,
        boot: BootId,
        written: Written,
        membership: Option<Arc<Membership>>,
    ) -> Self {
        let (said, heard) = mpsc::channel(WAITING);
        let (link, is_up) = watch::channel(false);
        let task = tokio::spawn(async move {
            let opened = spawn_blocking(move || Book::open(&state, boot, written)).await;
            match opened {
                Ok(Ok(book)) => keep(book, membership, heard, is_up).await,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "could not open the logbook; nothing is noted in it")
                }
                Err(_ending) => {}
            }
        });
        Self { said, link, task, repeats: Repeats::default(), start: StdInstant::now(), lost: 0 }
    }

    /// Something happened.
    pub fn note(&mut self, mut happened: Happened) {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Each assignment is one of its own.
        let what = match happened.pod {
            None if happened.reason == ASSIGNED => &happened.message,
            _ => &happened.reason,
        };
        let Some(before) = self.repeats.count(happened.pod, what, Instant(passed)) else {
            return;
        };
        if before > 0 {
            happened.message =
                format!("{before} times since this was noted last; {}", happened.message);
        }
        if self.lost > 0 {
            happened.message =
                format!("{} things before this were not noted; {}", self.lost, happened.message);
        }
        match self.said.try_send(happened) {
            Ok(()) => self.lost = 0,
            Err(_full_or_ended) => self.lost += 1,
        }
    }

    /// Has everything written that was noted; the agent ends.
    pub async fn finish(self) {
        let Self { said, task, .. } = self;
        drop(said);
        // A call that is under way is given up.
        let _late = tokio::time::timeout(LAST_PATIENCE, task).await;
    }

    /// The link stands, or does not.
    pub fn link(&self, up: bool) {
        self.link.send_replace(up);
    }
}

async fn keep(
    mut book: Book,
    membership: Option<Arc<Membership>>,
    mut heard: mpsc::Receiver<Happened>,
    mut is_up: watch::Receiver<bool>,
) {
    let start = StdInstant::now();
    let now = || Instant(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
    let mut pace = Pace::default();
    let mut told = String::new();
    loop {
        let due = pace.due().filter(|_| membership.is_some()).map(|due| due.since(now()));
        let first = tokio::select! {
            happened = heard.recv() => match happened {
                Some(happened) => happened,
                None => return,
            },
            Ok(()) = is_up.changed() => {
                let up = *is_up.borrow_and_update();
                pace.link(up, book.is_pending(), now(), random::number());
                continue;
            }
            () = wait(due) => {
                let Some(membership) = membership.clone() else { continue };
                let called = spawn_blocking(move || {
                    let result = hand_over(&mut book, &membership);
                    (book, result)
                });
                let Ok((returned, result)) = called.await else { return };
                book = returned;
                tell(&result, &mut told);
                match result {
                    Ok(()) => pace.done(book.is_pending(), now()),
                    Err(_) => pace.failed(now()),
                }
                continue;
            }
        };
        let (happened, ended) = gather(first, &mut heard).await;
        let written = spawn_blocking(move || {
            let result = book.note(&happened);
            (book, result)
        });
        let Ok((returned, result)) = written.await else { return };
        book = returned;
        if let Err(error) = result {
            tracing::warn!(%error, "could not write the logbook");
        }
        if ended {
            return;
        }
        if book.is_pending() {
            pace.noted(now(), random::number());
        }
    }
}

/// What happens within a moment, and whether the loop has ended.
async fn gather(first: Happened, heard: &mut mpsc::Receiver<Happened>) -> (Vec<Happened>, bool) {
    let mut happened = vec![first];
    let mut over = std::pin::pin!(sleep(GATHER));
    while happened.len() < WAITING {
        tokio::select! {
            next = heard.recv() => match next {
                Some(next) => happened.push(next),
                None => return (happened, true),
            },
            () = &mut over => break,
        }
    }
    (happened, false)
}

async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Why a handover did not work.
#[derive(Debug, thiserror::Error)]
enum HandoverError {
    #[error("could not hand over the logbook")]
    Hub(#[from] HubError),
    #[error("could not use the logbook")]
    Book(#[from] io::Error),
}

fn hand_over(book: &mut Book, membership: &Membership) -> Result<(), HandoverError> {
    let hub = membership.hub();
    for _ in 0..AT_ONCE {
        if !book.is_pending() {
            break;
        }
        let kept = hub.hand_over(&book.handover()?)?;
        book.is_kept(&kept)?;
    }
    Ok(())
}

/// One line per new trouble, not one per attempt.
fn tell(result: &Result<(), HandoverError>, told: &mut String) {
    let text = result.as_ref().err().map(|error| chain(error)).unwrap_or_default();
    if text != *told && !text.is_empty() {
        tracing::info!(why = text, "the hub does not have the logbook's newest records yet");
    }
    *told = text;
}
