//! Boards that wait for an operator's yes. Anybody who reaches the hub can be one, so there are only so many of them: in all,
//! and of those that ask from one place.

use alloc::{format, vec::Vec};
use core::net::{IpAddr, Ipv6Addr};

use firmware_compat::time::UnixMs;

use super::Enrolment;
use crate::{
    api::{ApiError, Key, Kind, time::unix_ms},
    engine::Engine,
};

/// Boards that may wait for approval. Anybody who reaches the hub can be one.
const MAX_PENDING: usize = 256;
/// The same from one address: boards behind one router come in groups, and others find room all the same.
const MAX_PENDING_OF_ADDRESS: usize = 32;
/// A board that waits for so long makes room for another.
const PENDING_FOR_MS: UnixMs = 24 * 3600 * 1000;

impl Engine {
    fn boards_that_wait(&self) -> impl Iterator<Item = &Enrolment> {
        self.enrolments().filter(|enrolment| enrolment.phase() == "Pending")
    }

    /// Whether one more board may wait that asks from here.
    pub(super) fn check_neighbours(&self, address: &str) -> Result<(), ApiError> {
        let network = network_of(address);
        let is_neighbour =
            |enrolment: &&Enrolment| network_of(&enrolment.status.address) == network;
        if self.boards_that_wait().filter(is_neighbour).count() < MAX_PENDING_OF_ADDRESS {
            return Ok(());
        }
        Err(ApiError::Full(format!(
            "{MAX_PENDING_OF_ADDRESS} boards at {address} wait for approval already; an operator can approve or deny them: lichen \
             device list"
        )))
    }

    /// Room for one more board that waits: the oldest goes if it has waited for long.
    pub(super) fn make_room_to_wait(&mut self) -> Result<(), ApiError> {
        let mut waiting: Vec<_> = self
            .boards_that_wait()
            .map(|enrolment| {
                let asked = enrolment.status.requested_at.as_deref();
                let asked = asked.and_then(unix_ms).unwrap_or(0);
                (asked, Key::new(Kind::Enrolment, "", &enrolment.metadata.name))
            })
            .collect();
        if waiting.len() < MAX_PENDING {
            return Ok(());
        }
        waiting.sort();
        match waiting.first() {
            Some((asked, key)) if self.known_ms().saturating_sub(*asked) >= PENDING_FOR_MS => {
                self.delete_object(key).map(drop)
            }
            _ => Err(ApiError::Full(format!(
                "{MAX_PENDING} boards wait for approval already; an operator can approve or deny them: lichen device list"
            ))),
        }
    }
}

/// What one customer of a network has: an address of IPv4, or 64 bits of IPv6.
fn network_of(address: &str) -> Option<IpAddr> {
    let network = match address.parse().ok()? {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    };
    Some(network)
}
