//! Which connection is a device's session, and every device's newest head.
//!
//! Changes to who is there are told to the engine while the lock is held, with room that was kept in its queue before:
//! so the engine hears of them in the order in which they were made, and nobody waits with the lock in hand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use firmware_compat::frame::Kind;
use tokio::sync::Notify;

use super::{
    mailbox::{Order, Peer},
    session::Down,
};
use crate::{LinkEvent, Newcomer};

/// What became of a device that wants to come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is in.
    Open,
    /// It is in, and its older connection was told to end.
    TookOver(Newcomer),
    /// There are too many.
    Full,
    /// The hub stops.
    Closing,
}

#[derive(Debug, Default)]
struct Tables {
    sessions: HashMap<Arc<str>, Arc<Peer>>,
    heads: HashMap<String, Bytes>,
    /// Connections that were let in and have not said their last words.
    live: usize,
    closing: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    tables: Mutex<Tables>,
    /// Told when the last connection is gone.
    empty: Notify,
}

impl Registry {
    /// Lets a connection in as the session of `device`, in place of any other, if there are fewer than `limit`. The
    /// engine is told with `tell`.
    pub(crate) fn open(
        &self,
        device: &str,
        peer: &Arc<Peer>,
        limit: usize,
        tell: impl FnOnce(LinkEvent),
    ) -> Entry {
        let mut tables = self.lock();
        let older = tables.sessions.get(device).cloned();
        if tables.closing {
            return Entry::Closing;
        }
        if older.is_none() && tables.sessions.len() >= limit {
            return Entry::Full;
        }
        tables.live += 1;
        tables.sessions.insert(device.into(), peer.clone());
        let device = device.to_owned();
        let Some(older) = older else {
            tell(LinkEvent::Connected { device });
            return Entry::Open;
        };
        older.order(Order::TakeOver);
        let newcomer = match (older.agent, peer.agent) {
            (Some(older), Some(newer)) if older == newer => Newcomer::SameAgent,
            (Some(_), Some(_)) => Newcomer::OtherAgent,
            _ => Newcomer::Unknown,
        };
        tell(LinkEvent::TakenOver { device, newcomer });
        Entry::TookOver(newcomer)
    }

    /// Takes the session of `device` out if it still is this connection's; the engine is told with `tell` then.
    pub(crate) fn close(&self, device: &str, peer: &Arc<Peer>, tell: impl FnOnce(LinkEvent)) {
        let mut tables = self.lock();
        if tables.sessions.get(device).is_some_and(|session| Arc::ptr_eq(session, peer)) {
            tables.sessions.remove(device);
            tell(LinkEvent::Disconnected { device: device.to_owned() });
        }
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
mod tests {
    use std::net::SocketAddr;

    use firmware_compat::id::AgentId;

    use super::*;

    fn peer(agent: Option<u8>) -> Arc<Peer> {
        let agent = agent.map(|number| AgentId([number; 16]));
        Arc::new(Peer::new(SocketAddr::from(([127, 0, 0, 1], 9)), agent))
    }

    fn open(registry: &Registry, device: &str, peer: &Arc<Peer>, limit: usize) -> Entry {
        registry.open(device, peer, limit, |_| {})
    }

    #[test]
    fn the_end_of_a_replaced_session_leaves_the_newer_one() {
        let registry = Registry::default();
        let (old, new) = (peer(None), peer(None));
        assert_eq!(open(&registry, "pi", &old, 9), Entry::Open);
        assert_eq!(open(&registry, "pi", &new, 9), Entry::TookOver(Newcomer::Unknown));
        assert_eq!((old.ordered(), new.ordered()), (Some(Order::TakeOver), None));
        registry.close("pi", &old, |event| panic!("{event:?} of a session that was replaced"));
        assert!(registry.is_newest("pi", &new));
        let mut told = None;
        registry.close("pi", &new, |event| told = Some(event));
        assert_eq!(told, Some(LinkEvent::Disconnected { device: "pi".into() }));
        assert_eq!(registry.sessions(), 0);
    }

    #[test]
    fn wills_tell_whether_an_agent_replaced_itself() {
        for (older, newer, expected) in [
            (Some(1), Some(1), Newcomer::SameAgent),
            (Some(1), Some(2), Newcomer::OtherAgent),
            (Some(1), None, Newcomer::Unknown),
            (None, None, Newcomer::Unknown),
        ] {
            let registry = Registry::default();
            open(&registry, "pi", &peer(older), 9);
            assert_eq!(open(&registry, "pi", &peer(newer), 9), Entry::TookOver(expected));
        }
    }

    #[test]
    fn a_full_house_lets_in_only_who_replaces_its_own_older_connection() {
        let registry = Registry::default();
        assert_eq!(open(&registry, "one", &peer(None), 1), Entry::Open);
        assert_eq!(open(&registry, "two", &peer(None), 1), Entry::Full);
        assert_eq!(open(&registry, "one", &peer(None), 1), Entry::TookOver(Newcomer::Unknown));
    }

    #[test]
    fn nobody_comes_in_while_the_hub_stops() {
        let registry = Registry::default();
        let peer = peer(None);
        open(&registry, "pi", &peer, 9);
        registry.shut_down();
        assert_eq!(peer.ordered(), Some(Order::ShutDown));
        assert_eq!(open(&registry, "two", &peer, 9), Entry::Closing);
    }

    #[test]
    fn a_head_is_replaced_sent_to_who_is_there_and_cleared() {
        let registry = Registry::default();
        let peer = peer(None);
        registry.set_head("pi", Bytes::from_static(b"1"));
        open(&registry, "pi", &peer, 9);
        assert_eq!(peer.take(), None);
        registry.set_head("pi", Bytes::from_static(b"2"));
        assert_eq!(peer.take().map(|head| head.frame), Some(Bytes::from_static(b"2")));
        assert_eq!(registry.head("pi"), Some(Bytes::from_static(b"2")));
        registry.clear_head("pi");
        assert_eq!(registry.head("pi"), None);
    }
}
