//! The thread that writes the audit log. It takes what waits, writes it, syncs it, and takes again: the busier the hub is,
//! the more entries share a sync. What it can't write it keeps and tries again, while nothing new is begun.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{Note, Shared};
use crate::audit::{Entry, log::Log};

/// Entries that are written at once.
const BATCH: usize = 256;
/// How often it is looked whether refusals were only counted.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How soon a disk is tried again that refused.
const RETRY: Duration = Duration::from_millis(500);
/// How often it is said that it still refuses, in attempts: once a minute.
const SAY_EVERY: u64 = 120;
/// Attempts that a hub which stops makes.
const LAST_ATTEMPTS: u64 = 3;

/// Starts it.
pub(super) fn start(log: Log, queue: mpsc::Receiver<Note>, shared: Arc<Shared>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut writer =
        Writer { log, queue, shared, batch: Vec::new(), waiting: Vec::new(), stop: None };
    std::thread::Builder::new()
        .name("audit".to_owned())
        .spawn(move || runtime.block_on(writer.run()))
        .map(drop)
}

struct Writer {
    log: Log,
    queue: mpsc::Receiver<Note>,
    shared: Arc<Shared>,
    batch: Vec<Entry>,
    /// Those who wait until the batch is written.
    waiting: Vec<oneshot::Sender<()>>,
    /// Whoever waits for the end, once it has been asked for.
    stop: Option<oneshot::Sender<()>>,
}

impl Writer {
    async fn run(&mut self) {
        loop {
            if !self.collect().await {
                return self.write().await;
            }
            let now_ms = self.shared.now_ms();
            let stops = self.stop.is_some();
            let counted = self.shared.refusals().summary(now_ms, stops);
            if let Some(note) = counted {
                self.batch.push(self.shared.stamped(Entry::of_hub("refuse", note)));
            }
            if stops {
                let note = Entry::of_hub("stop", "the hub stopped".to_owned());
                self.batch.push(self.shared.stamped(note));
            }
            self.write().await;
            if let Some(stop) = self.stop.take() {
                self.queue.close();
                // Nobody may be waiting for it any more.
                let _ = stop.send(());
                return;
            }
        }
    }

    /// Takes what waits; after a while without anything, nothing. Whether there can be more.
    async fn collect(&mut self) -> bool {
        match tokio::time::timeout(LOOK_EVERY, self.queue.recv()).await {
            Ok(Some(note)) => self.take(note),
            Ok(None) => return false,
            Err(_nothing) => {}
        }
        while self.batch.len() < BATCH && self.stop.is_none() {
            match self.queue.try_recv() {
                Ok(note) => self.take(note),
                Err(_none) => break,
            }
        }
        true
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Entry(entry) => self.batch.push(*entry),
            Note::Settle(written) => self.waiting.push(written),
            Note::Stop(ended) => self.stop = Some(ended),
        }
    }

    /// Writes the batch, however long that takes.
    async fn write(&mut self) {
        let shared = self.shared.clone();
        let mut attempt = 0;
        while let Err(error) = self.log.append(&mut self.batch) {
            shared.counts.failures.fetch_add(1, Relaxed);
            shared.failing.send_replace(true);
            let entries = self.batch.len();
            if attempt % SAY_EVERY == 0 {
                tracing::warn!(
                    %error, entries, dir = %shared.dir.display(),
                    "could not write the audit log; nothing can be changed until that works: is the disk full?"
                );
            }
            attempt += 1;
            if self.stop.is_some() && attempt >= LAST_ATTEMPTS {
                tracing::error!(%error, entries, "the hub stops, and these entries of the audit log are lost");
                return;
            }
            tokio::time::sleep(RETRY).await;
            self.waiting.retain(|waiting| !waiting.is_closed());
            // A stop comes through the same queue.
            while self.stop.is_none() && self.batch.len() < 2 * BATCH {
                match self.queue.try_recv() {
                    Ok(note) => self.take(note),
                    Err(_none) => break,
                }
            }
        }
        if attempt > 0 {
            tracing::info!("the audit log can be written again");
        }
        let written = self.batch.len() as u64;
        shared.counts.entries.fetch_add(written, Relaxed);
        shared.failing.send_if_modified(std::mem::take);
        if written > 0 {
            shared.written.send_replace(self.log.head().newest);
        }
        self.batch.clear();
        // They may have gone.
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(());
        }
    }
}
