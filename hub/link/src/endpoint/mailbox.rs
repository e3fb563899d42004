//! What waits for one connection: messages of the hub, and the word that it has to end. Whoever puts something in never
//! waits; the connection's task is woken and takes it out.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use firmware_compat::id::Hash;
use tokio::sync::Notify;

use super::{
    limits::{MAILBOX_BYTES, MAILBOX_MESSAGES},
    session::Down,
};
use crate::{Board, Holder};

/// Why the connection has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// A newer connection has the name.
    TakeOver,
    /// Its device is not welcome any more, and why.
    Dismiss(Arc<str>),
    /// The hub stops.
    ShutDown,
}

/// A connection as others see it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) remote: SocketAddr,
    /// SHA-256 of the public key in its certificate.
    pub(crate) key: Hash,
    /// The agent behind it, and the boot, if its will said so.
    pub(crate) holder: Holder,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The newest head: an older one that was not sent yet is of no use.
    head: Option<Down>,
    messages: VecDeque<Down>,
    bytes: usize,
    order: Option<Order>,
}

impl Peer {
    pub(crate) fn new(remote: SocketAddr, key: Hash, holder: Holder) -> Self {
        Self { remote, key, holder, waiting: Mutex::default(), changed: Notify::new() }
    }

    /// The board behind it, if it can be told from others.
    pub(crate) fn board(&self) -> Option<Board> {
        let Holder { agent: Some(agent), boot: Some(boot) } = self.holder else { return None };
        Some(Board { agent, boot, address: self.remote })
    }

    /// Puts a message in. False if there is no room.
    pub(crate) fn put(&self, message: Down) -> bool {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + message.frame.len();
        let fits = waiting.messages.len() < MAILBOX_MESSAGES && bytes <= MAILBOX_BYTES;
        if fits {
            waiting.bytes = bytes;
            waiting.messages.push_back(message);
            self.changed.notify_one();
        }
        fits
    }

    /// Puts the newest head in, in place of one that still waits.
    pub(crate) fn put_head(&self, head: Down) {
        self.lock().head = Some(head);
        self.changed.notify_one();
    }

    /// Takes the next message out: a head before everything else, for bodies follow it.
    pub(crate) fn take(&self) -> Option<Down> {
        let mut waiting = self.lock();
        if let Some(head) = waiting.head.take() {
            return Some(head);
        }
        let message = waiting.messages.pop_front()?;
        waiting.bytes -= message.frame.len();
        if waiting.messages.is_empty() {
            waiting.messages = VecDeque::new();
        }
        Some(message)
    }

    /// Has the connection end. The first order stands.
    pub(crate) fn order(&self, order: Order) {
        self.lock().order.get_or_insert(order);
        self.changed.notify_one();
    }

    pub(crate) fn ordered(&self) -> Option<Order> {
        self.lock().order.clone()
    }

    /// Waits until something was put in since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits for the word to end. Messages that come meanwhile stay where they are.
    pub(crate) async fn until_ordered(&self) {
        while self.ordered().is_none() {
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use firmware_compat::frame::Kind;

    use super::*;

    fn peer() -> Peer {
        let nobody = Holder { agent: None, boot: None };
        Peer::new(SocketAddr::from(([127, 0, 0, 1], 9)), Hash([1; 32]), nobody)
    }

    fn message(bytes: usize) -> Down {
        Down::to_one(Kind::Command, vec![7; bytes].into())
    }

    #[test]
    fn the_newest_head_goes_before_everything_else() {
        let peer = peer();
        assert!(peer.put(message(1)));
        for head in [b"old", b"new"] {
            peer.put_head(Down::to_one(Kind::Head, head.to_vec().into()));
        }
        assert_eq!(peer.take().unwrap().frame, &b"new"[..]);
        assert_eq!(peer.take(), Some(message(1)));
        assert_eq!(peer.take(), None);
    }

    #[test]
    fn messages_and_their_bytes_are_bounded_and_room_comes_back() {
        let peer = peer();
        let accepted = (0..2 * MAILBOX_MESSAGES).filter(|_| peer.put(message(1))).count();
        assert_eq!(accepted, MAILBOX_MESSAGES);
        while peer.take().is_some() {}
        assert!(peer.put(message(MAILBOX_BYTES)));
        assert!(!peer.put(message(1)));
        assert!(peer.take().is_some());
        assert!(peer.put(message(1)));
    }

    #[test]
    fn the_first_order_stands() {
        let peer = peer();
        assert_eq!(peer.ordered(), None);
        peer.order(Order::TakeOver);
        peer.order(Order::ShutDown);
        assert_eq!(peer.ordered(), Some(Order::TakeOver));
    }
}
