//! How many connections there may be: in all, and on the doorstep of one address. Whoever has not come in yet is on the
//! doorstep: nobody knows who it is, so it is counted by its address.
//!
//! One address never has more than half of the places that are not let in yet. A fleet behind one address comes in all
//! the same, a part at a time; and an address that holds its places with silence leaves the other half to others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{ADDRESS_HANDSHAKES, ADDRESS_PLACES, HANDSHAKES};

/// Where a connection comes from: an IPv4 address, or the 64 bits of an IPv6 address that one site has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Why a connection finds no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// There are too many.
    Full,
    /// Too many of its address are on the doorstep.
    Crowded,
}

/// Permission to shake hands: one of all, and one of its address.
#[derive(Debug)]
pub(crate) struct Turn {
    _of_address: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Connections at once.
    total: usize,
    tables: Mutex<Tables>,
    handshakes: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Tables {
    /// Let in.
    inside: usize,
    /// On the doorstep, of all addresses together.
    waiting: usize,
    addresses: HashMap<Source, Address>,
}

#[derive(Debug)]
struct Address {
    waiting: usize,
    handshakes: Arc<Semaphore>,
}

impl Doors {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        let (tables, handshakes) = (Mutex::default(), Arc::new(Semaphore::new(HANDSHAKES)));
        Arc::new(Self { total, tables, handshakes })
    }

    /// A connection has come.
    pub(crate) fn knock(self: &Arc<Self>, source: Source) -> Result<Place, NoPlace> {
        let mut tables = self.lock();
        let left = self.total.saturating_sub(tables.inside);
        if tables.waiting >= left {
            return Err(NoPlace::Full);
        }
        let most = (left / 2).max(ADDRESS_PLACES);
        let address = tables.addresses.entry(source).or_insert_with(Address::new);
        if address.waiting >= most {
            return Err(NoPlace::Crowded);
        }
        address.waiting += 1;
        tables.waiting += 1;
        Ok(Place { doors: self.clone(), source, is_inside: false })
    }

    /// Connections that there are now.
    pub(crate) fn connections(&self) -> usize {
        let tables = self.lock();
        tables.inside + tables.waiting
    }

    #[cfg(test)]
    pub(crate) fn handshakes_left(&self) -> usize {
        self.handshakes.available_permits()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // No code panics while it holds the lock.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Address {
    fn new() -> Self {
        Self { waiting: 0, handshakes: Arc::new(Semaphore::new(ADDRESS_HANDSHAKES)) }
    }
}

impl Tables {
    fn leave_doorstep(&mut self, source: Source) {
        self.waiting -= 1;
        if let Some(address) = self.addresses.get_mut(&source) {
            address.waiting -= 1;
            if address.waiting == 0 {
                self.addresses.remove(&source);
            }
        }
    }
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    doors: Arc<Doors>,
    source: Source,
    is_inside: bool,
}

impl Place {
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// Waits for its turn to shake hands: in the order of those of its address, then of all.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let of_address = self.doors.lock().addresses.get(&self.source)?.handshakes.clone();
        let _of_address = of_address.acquire_owned().await.ok()?;
        let _of_all = self.doors.handshakes.clone().acquire_owned().await.ok()?;
        Some(Turn { _of_address, _of_all })
    }

    /// It is known who it is, and it was let in.
    pub(crate) fn come_in(&mut self) {
        if !std::mem::replace(&mut self.is_inside, true) {
            let mut tables = self.doors.lock();
            tables.inside += 1;
            tables.leave_doorstep(self.source);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tables = self.doors.lock();
        if self.is_inside {
            tables.inside -= 1;
        } else {
            tables.leave_doorstep(self.source);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_site_is_one_address_and_a_mapped_ipv4_address_is_itself() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
    }

    #[test]
    fn one_address_never_has_more_than_half_of_the_doorstep() {
        let doors = Doors::new(1000);
        let (many, other) = (source("10.0.0.1"), source("10.0.0.2"));
        let mut held: Vec<Place> = std::iter::from_fn(|| doors.knock(many).ok()).collect();
        assert_eq!(held.len(), 500);
        assert_eq!(doors.knock(many).err(), Some(NoPlace::Crowded));
        assert!(doors.knock(other).is_ok());
        // Those that come in make room for others of their address, until all are in.
        let mut inside = 0;
        while inside + ADDRESS_PLACES < 1000 {
            held.iter_mut().for_each(Place::come_in);
            inside = held.len();
            held.extend(std::iter::from_fn(|| doors.knock(many).ok()));
            assert!(held.len() > inside);
        }
        assert_eq!(held.len(), 1000);
        assert_eq!(doors.knock(other).err(), Some(NoPlace::Full));
        assert_eq!(doors.connections(), 1000);
        drop(held);
        assert_eq!(doors.connections(), 0);
        assert!(doors.lock().addresses.is_empty());
    }

    #[tokio::test]
    async fn one_address_never_has_every_handshake() {
        let doors = Doors::new(4 * HANDSHAKES);
        let many = doors.knock(source("10.0.0.1")).unwrap();
        let mut turns = Vec::new();
        for _ in 0..ADDRESS_HANDSHAKES {
            turns.push(many.turn().await.unwrap());
        }
        let mut next = Box::pin(many.turn());
        assert!(futures_poll(&mut next).is_none(), "its address has no more");
        let other = doors.knock(source("10.0.0.2")).unwrap();
        assert!(other.turn().await.is_some());
        turns.pop();
        assert!(next.await.is_some());
    }

    /// Polls once.
    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
