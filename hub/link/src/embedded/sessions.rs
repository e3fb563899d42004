//! Which connections there are, and which of them is a device's newest.
//!
//! The front registers each connection under the loopback port with which it reaches the broker, before the first byte.
//! The broker's hooks see that port, and so learn what the front knows about the far end. A connection that reaches the
//! broker without having been registered did not come through the front and is refused.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::watch;

use super::identity::Credential;

/// Where a connection's session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The broker has not let it in (yet).
    Knocking,
    /// It is a device's session.
    Open,
    /// The broker has ended the session. `code` is the MQTT 5 reason that the client has not been told.
    Ended { code: u8 },
}

/// One connection, as the front and the hooks both know it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) remote: SocketAddr,
    pub(crate) credential: Credential,
    pub(crate) phase: watch::Sender<Phase>,
    /// Set when it becomes a device's session.
    device: OnceLock<String>,
    pending: AtomicUsize,
}

impl Peer {
    /// Takes one of `limit` places on the way to this device. The broker's own channel to a session has no bound.
    pub(crate) fn take_place(&self, limit: usize) -> bool {
        self.pending
            .fetch_update(Relaxed, Relaxed, |pending| (pending < limit).then_some(pending + 1))
            .is_ok()
    }

    /// Gives a place back: a message was delivered or dropped.
    pub(crate) fn give_place(&self) {
        let _was_zero =
            self.pending.fetch_update(Relaxed, Relaxed, |pending| pending.checked_sub(1));
    }
}

#[derive(Debug, Default)]
struct Tables {
    by_port: HashMap<u16, Arc<Peer>>,
    by_device: HashMap<String, Arc<Peer>>,
}

/// Every connection and session of the broker.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    tables: Mutex<Tables>,
}

impl Sessions {
    /// Notes a connection of the front's. It stays noted until the guard is dropped.
    pub(crate) fn register(
        self: &Arc<Self>,
        port: u16,
        remote: SocketAddr,
        credential: Credential,
    ) -> Registration {
        let phase = watch::Sender::new(Phase::Knocking);
        let peer = Arc::new(Peer {
            remote,
            credential,
            phase,
            device: OnceLock::new(),
            pending: AtomicUsize::new(0),
        });
        self.lock().by_port.insert(port, peer.clone());
        Registration { sessions: self.clone(), port, peer }
    }

    /// The connection that reaches the broker from `address`, if the front made it.
    pub(crate) fn peer(&self, address: Option<SocketAddr>) -> Option<Arc<Peer>> {
        let address = address.filter(|address| address.ip().is_loopback())?;
        self.lock().by_port.get(&address.port()).cloned()
    }

    /// The session of `device`, if it has one.
    pub(crate) fn session(&self, device: &str) -> Option<Arc<Peer>> {
        self.lock().by_device.get(device).cloned()
    }

    /// The names of all devices with a session.
    pub(crate) fn devices(&self) -> Vec<String> {
        self.lock().by_device.keys().cloned().collect()
    }

    /// Makes `peer` the session of `device`, in place of any other.
    pub(crate) fn open(&self, device: &str, peer: &Arc<Peer>) {
        let _set_once = peer.device.set(device.to_owned());
        peer.phase.send_replace(Phase::Open);
        self.lock().by_device.insert(device.to_owned(), peer.clone());
    }

    /// Ends the session of `peer`. True if it was still the session of `device`, false if a newer one had replaced it.
    pub(crate) fn end(&self, device: &str, peer: &Arc<Peer>, code: u8) -> bool {
        let mut tables = self.lock();
        let newest = tables.by_device.get(device).is_some_and(|session| Arc::ptr_eq(session, peer));
        if newest {
            tables.by_device.remove(device);
        }
        drop(tables);
        peer.phase.send_replace(Phase::Ended { code });
        newest
    }

    /// Ends the session of a connection that is gone, if the broker has not: rmqtt drops a session without a word when
    /// it cannot send the CONNACK. Returns the device if this was its newest session.
    pub(crate) fn abandon(&self, peer: &Arc<Peer>) -> Option<String> {
        let device = peer.device.get().filter(|_| *peer.phase.borrow() == Phase::Open)?;
        self.end(device, peer, 0).then(|| device.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // No code panics while it holds the lock; if one did, the tables are still whole after each single insertion.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a connection noted.
#[derive(Debug)]
pub(crate) struct Registration {
    sessions: Arc<Sessions>,
    port: u16,
    pub(crate) peer: Arc<Peer>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.sessions.lock().by_port.remove(&self.port);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn only_registered_loopback_connections_are_known() {
        let sessions = Arc::new(Sessions::default());
        let registration = sessions.register(4000, address(9), Credential::Loopback);
        assert!(sessions.peer(Some(address(4000))).is_some());
        assert!(sessions.peer(Some(SocketAddr::from(([10, 0, 0, 1], 4000)))).is_none());
        assert!(sessions.peer(Some(address(4001))).is_none());
        assert!(sessions.peer(None).is_none());
        drop(registration);
        assert!(sessions.peer(Some(address(4000))).is_none());
    }

    #[test]
    fn the_end_of_a_replaced_session_leaves_the_newer_one() {
        let sessions = Arc::new(Sessions::default());
        let old = sessions.register(4000, address(9), Credential::Loopback);
        let new = sessions.register(4001, address(9), Credential::Loopback);
        sessions.open("pi", &old.peer);
        sessions.open("pi", &new.peer);
        assert!(!sessions.end("pi", &old.peer, 0x8E));
        assert_eq!(*old.peer.phase.borrow(), Phase::Ended { code: 0x8E });
        assert_eq!(sessions.devices(), ["pi"]);
        assert!(sessions.end("pi", &new.peer, 0));
        assert!(sessions.session("pi").is_none());
    }

    #[test]
    fn a_session_that_the_broker_forgot_is_ended_once() {
        let sessions = Arc::new(Sessions::default());
        let registration = sessions.register(4000, address(9), Credential::Loopback);
        assert_eq!(sessions.abandon(&registration.peer), None);
        sessions.open("pi", &registration.peer);
        assert_eq!(sessions.abandon(&registration.peer).as_deref(), Some("pi"));
        assert_eq!(sessions.abandon(&registration.peer), None);
    }

    #[test]
    fn places_on_the_way_to_a_device_are_bounded() {
        let sessions = Arc::new(Sessions::default());
        let registration = sessions.register(4000, address(9), Credential::Loopback);
        assert!(registration.peer.take_place(1));
        assert!(!registration.peer.take_place(1));
        registration.peer.give_place();
        registration.peer.give_place();
        assert!(registration.peer.take_place(1));
    }
}
