//! How many connections one address has, so that no address can have all of them. A site's IPv6 prefix counts as one
//! address: whoever has one has all of it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections by address.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    addresses: Arc<Addresses>,
    network: IpAddr,
}

impl Addresses {
    /// Counts one more connection of an address; `None` if it has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Counted> {
        let network = network(address);
        let mut counts = self.lock();
        let count = counts.entry(network).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Counted { addresses: self.clone(), network })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.addresses.lock();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_only_so_many_and_gives_them_back() {
        let addresses = Arc::new(Addresses::default());
        let of = |text: &str| text.parse::<IpAddr>().expect("an address");
        let first = addresses.enter(of("192.0.2.1"), 2).expect("room");
        let _second = addresses.enter(of("::ffff:192.0.2.1"), 2).expect("room");
        assert!(addresses.enter(of("192.0.2.1"), 2).is_none());
        assert!(addresses.enter(of("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(addresses.enter(of("192.0.2.1"), 2).is_some());
        let _site = addresses.enter(of("2001:db8::1"), 1).expect("room");
        assert!(addresses.enter(of("2001:db8::ffff"), 1).is_none());
        assert!(addresses.enter(of("2001:db8:0:1::1"), 1).is_some());
    }
}
