//! Lets out what a turn has saved: its changes go into the rules and the watch cache, then its answers go to those who asked, then
//! the watchers are woken. In this order, whoever got an answer reads its own write, and no answer waits for watchers.
//!
//! It has a thread of its own, so that a turn waits neither for readers of the cache nor for the waking of watchers.

use std::{collections::BTreeSet, io, sync::Arc, thread};

use lichen_hub_core::{
    api::ApiError,
    effect::{Change, Response},
};
use tokio::sync::{mpsc, oneshot};

use super::{access::Access, watch_cache::WatchCache};

/// Turns that may wait to be let out. If that is not enough the turn waits, and with it those who ask for changes.
const QUEUE: usize = 64;

/// An answer for whoever waits for it.
pub(crate) type Answer = (oneshot::Sender<Result<Response, ApiError>>, Result<Response, ApiError>);

/// What one turn lets out.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In the order of their versions.
    pub(crate) changes: Vec<Change>,
    pub(crate) answers: Vec<Answer>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.answers.is_empty()
    }
}

/// Starts the thread. It ends when the sender is dropped.
pub(crate) fn start(
    cache: Arc<WatchCache>,
    access: Arc<Access>,
) -> io::Result<(mpsc::Sender<Batch>, thread::JoinHandle<()>)> {
    let (batches, mut queue) = mpsc::channel(QUEUE);
    let thread = thread::Builder::new().name("publish".to_owned()).spawn(move || {
        while let Some(batch) = queue.blocking_recv() {
            publish(&cache, &access, batch);
        }
    })?;
    Ok((batches, thread))
}

fn publish(cache: &WatchCache, access: &Access, batch: Batch) {
    let kinds: BTreeSet<_> = batch.changes.iter().map(|change| change.object.kind()).collect();
    let rights = access.take_in(&batch.changes);
    if rights {
        // Before there is anything new to read: whoever has lost a right to it looks first.
        access.wake();
    }
    cache.take_in(batch.changes);
    for (asker, answer) in batch.answers {
        // Whoever asked may have left; what was asked is done all the same.
        let _left = asker.send(answer);
    }
    if rights {
        // Again, for accounts that are gone from the cache only now.
        access.wake();
    }
    for kind in kinds {
        cache.wake(kind);
    }
}
