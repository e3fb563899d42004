//! Which connection is a device's session, who may have one, and every device's newest head.
//!
//! Changes to who is there are told to the engine while the lock is held, with room that was kept in its queue before:
//! so the engine hears of them in the order in which they were made, and nobody waits with the lock in hand. Who is
//! welcome lies under the same lock: between the look and the opening nobody is dismissed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use firmware_compat::{frame::Kind, id::Hash, time::Instant};
use lichen_hub_core::admission::{
    boards::{Boards, Comer},
    roster::{Roster, Verdict},
};
use tokio::sync::Notify;

use super::{
    bucket::Bucket,
    limits::OPENING,
    mailbox::{Order, Peer},
    session::Down,
};
use crate::{Board, Holder, LinkEvent, Newcomer};

/// What became of a device that wants to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is in.
    Open,
    /// It is in, and its older connection was told to end.
    TookOver(Newcomer),
    /// There are too many.
    Full,
    /// It comes too often.
    TooOften,
    /// It is not welcome.
    Unwelcome(Verdict),
    /// It is a second board, and the other one is there.
    Second {
        /// The one that is there.
        other: Board,
    },
    /// The hub stops.
    Closing,
}

#[derive(Debug, Default)]
struct Tables {
    sessions: HashMap<Arc<str>, Arc<Peer>>,
    heads: HashMap<String, Bytes>,
    roster: Roster,
    /// Of devices that are welcome and were here.
    past: HashMap<Box<str>, Past>,
    /// Connections that were let in and have not said their last words.
    live: usize,
    closing: bool,
}

/// What is remembered of a device.
#[derive(Debug, Default)]
struct Past {
    boards: Boards<Board>,
    opened: Bucket,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    tables: Mutex<Tables>,
    /// Told when the last connection is gone.
    empty: Notify,
}

impl Registry {
    /// Lets a connection in as the session of `device`, in place of any other, if it may come in and there are fewer than
    /// `limit`. The engine is told with `tell`. With the entry come both boards, if that there are two is news.
    pub(crate) fn open(
        &self,
        device: &str,
        peer: &Arc<Peer>,
        limit: usize,
        now: Instant,
        tell: impl FnOnce(LinkEvent),
    ) -> (Entry, Option<[Board; 2]>) {
        let mut tables = self.lock();
        let tables = &mut *tables;
        if tables.closing {
            return (Entry::Closing, None);
        }
        let verdict = tables.roster.verdict(device, &peer.key);
        if verdict != Verdict::Welcome {
            return (Entry::Unwelcome(verdict), None);
        }
        let older = tables.sessions.get(device).cloned();
        let past = tables.past.entry(device.into()).or_default();
        if !past.opened.try_take(1, OPENING, now) {
            return (Entry::TooOften, None);
        }
        let mut news = None;
        if let Some(board) = peer.board()
            && let Comer::Second { other, is_news } =
                past.boards.comes(board.boot, board, older.is_some(), now)
        {
            news = is_news.then_some([other, board]);
            if older.is_some() {
                return (Entry::Second { other }, news);
            }
        }
        if older.is_none() && tables.sessions.len() >= limit {
            return (Entry::Full, news);
        }
        tables.live += 1;
        tables.sessions.insert(device.into(), peer.clone());
        let device = device.to_owned();
        let Some(older) = older else {
            tell(LinkEvent::Connected { device });
            return (Entry::Open, news);
        };
        older.order(Order::TakeOver);
        let newcomer = match (older.holder.agent, peer.holder.agent) {
            (Some(older), Some(newer)) if older == newer => Newcomer::SameAgent,
            (Some(_), Some(_)) => Newcomer::OtherAgent,
            _ => Newcomer::Unknown,
        };
        tell(LinkEvent::TakenOver { device, newcomer });
        (Entry::TookOver(newcomer), news)
    }

    /// Takes the session of `device` out if it still is this connection's; the engine is told with `tell` then.
    pub(crate) fn close(&self, device: &str, peer: &Arc<Peer>, tell: impl FnOnce(LinkEvent)) {
        let mut tables = self.lock();
        if tables.sessions.get(device).is_some_and(|session| Arc::ptr_eq(session, peer)) {
            tables.sessions.remove(device);
            tell(LinkEvent::Disconnected { device: device.to_owned() });
        }
    }

    /// Lets a device in with these keys, and ends its session if it has another.
    pub(crate) fn admit(&self, device: &str, keys: &[Hash]) {
        self.change(device, |roster| roster.admit(device, keys));
    }

    /// Keeps a device out, and ends its session.
    pub(crate) fn dismiss(&self, device: &str, why: &str) {
        self.change(device, |roster| roster.dismiss(device, why));
    }

    /// Forgets a device, and ends its session.
    pub(crate) fn forget(&self, device: &str) {
        self.change(device, |roster| roster.forget(device));
    }

    fn change(&self, device: &str, change: impl FnOnce(&mut Roster)) {
        let mut tables = self.lock();
        change(&mut tables.roster);
        let Some(peer) = tables.sessions.get(device).cloned() else {
            if !tables.roster.is_welcome(device) {
                tables.past.remove(device);
            }
            return;
        };
        let verdict = tables.roster.verdict(device, &peer.key);
        if verdict != Verdict::Welcome {
            peer.order(Order::Dismiss(verdict.why(device).into()));
            tables.past.remove(device);
        }
    }

    /// Whether a device may come in with a key.
    pub(crate) fn verdict(&self, device: &str, key: &Hash) -> Verdict {
        self.lock().roster.verdict(device, key)
    }

    /// Who has the session of `device`.
    pub(crate) fn holder(&self, device: &str) -> Option<Holder> {
        self.lock().sessions.get(device).map(|peer| peer.holder)
    }

    /// Whether this connection is the session of `device`.
    pub(crate) fn is_newest(&self, device: &str, peer: &Arc<Peer>) -> bool {
        self.session(device).is_some_and(|session| Arc::ptr_eq(&session, peer))
    }

    /// A connection that was let in has said its last words.
    pub(crate) fn gone(&self) {
        let mut tables = self.lock();
        tables.live -= 1;
        if tables.live == 0 {
            self.empty.notify_one();
        }
    }

    /// The session of `device`, if it has one.
    pub(crate) fn session(&self, device: &str) -> Option<Arc<Peer>> {
        self.lock().sessions.get(device).cloned()
    }

    /// How many devices have a session.
    pub(crate) fn sessions(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Does something with every session. It must not wait.
    pub(crate) fn each(&self, mut with: impl FnMut(&Peer)) {
        for peer in self.lock().sessions.values() {
            with(peer);
        }
    }

    pub(crate) fn head(&self, device: &str) -> Option<Bytes> {
        self.lock().heads.get(device).cloned()
    }

    /// Sets the newest head, and sends it if the device is there. One lock for both: a device that comes in between
    /// would miss it.
    pub(crate) fn set_head(&self, device: &str, frame: Bytes) {
        let mut tables = self.lock();
        if let Some(peer) = tables.sessions.get(device) {
            peer.put_head(Down::to_one(Kind::Head, frame.clone()));
        }
        tables.heads.insert(device.to_owned(), frame);
    }

    pub(crate) fn clear_head(&self, device: &str) {
        self.lock().heads.remove(device);
    }

    /// Lets nobody in any more and has every session end.
    pub(crate) fn shut_down(&self) {
        let mut tables = self.lock();
        tables.closing = true;
        for peer in tables.sessions.values() {
            peer.order(Order::ShutDown);
        }
    }

    /// Waits until every connection that was let in has said its last words.
    pub(crate) async fn until_empty(&self) {
        while self.lock().live > 0 {
            self.empty.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // No code panics while it holds the lock; if one did, the tables are still whole after each single change.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
