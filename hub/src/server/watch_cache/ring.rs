//! The recent changes of one kind, oldest first. A watcher reads at its own pace; one that falls off the end has to list
//! again, alone.
//!
//! The budget follows the objects themselves: a watcher that is further behind than twice all of them gets them faster by a
//! list than by the changes.

use std::{collections::VecDeque, sync::Arc};

use super::{Change, Expired};

/// Bytes of changes that are kept of every kind, as JSON: a small hub's watchers may be a thousand changes behind. In
/// memory a change takes two to three times that.
pub(super) const MIN_BYTES: usize = 1 << 20;
/// Bytes of changes that are kept at most, however many objects there are.
pub(super) const MAX_BYTES: usize = 32 << 20;
/// What a change takes besides its object.
const OVERHEAD: usize = 256;

/// The changes.
#[derive(Debug, Default)]
pub(super) struct Ring {
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// Changes up to this version are not here.
    floor: u64,
}

impl Ring {
    /// An empty ring, for changes after a version.
    pub(super) fn after(floor: u64) -> Self {
        Self { floor, ..Self::default() }
    }

    /// Adds a change. `live` is how many bytes all objects of the kind take. The newest change always stays.
    pub(super) fn push(&mut self, change: Change, live: usize) {
        self.bytes += cost(&change);
        self.changes.push_back(Arc::new(change));
        let budget = (2 * live).clamp(MIN_BYTES, MAX_BYTES);
        while self.bytes > budget && self.changes.len() > 1 {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= cost(&oldest);
            self.floor = oldest.version;
        }
    }

    /// At most `most` changes after a version, oldest first.
    pub(super) fn since(&self, version: u64, most: usize) -> Result<Vec<Arc<Change>>, Expired> {
        self.check(version)?;
        let first = self.changes.partition_point(|change| change.version <= version);
        Ok(self.changes.iter().skip(first).take(most).cloned().collect())
    }

    /// The changes after a version, newest first.
    pub(super) fn back_to(&self, version: u64) -> Result<impl Iterator<Item = &Change>, Expired> {
        self.check(version)?;
        let newer = move |change: &&Arc<Change>| change.version > version;
        Ok(self.changes.iter().rev().take_while(newer).map(AsRef::as_ref))
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn check(&self, version: u64) -> Result<(), Expired> {
        if version < self.floor { Err(Expired) } else { Ok(()) }
    }
}

fn cost(change: &Change) -> usize {
    change.bytes + OVERHEAD
}

#[cfg(test)]
mod tests {
    use lichen_hub_core::effect::Action;

    use super::*;
    use crate::server::watch_cache::tests::config_map;

    fn push(ring: &mut Ring, version: u64, bytes: usize, live: usize) {
        let object = config_map("x", version, "");
        let change = Change::new(Action::Modified, object.key(), object, None, version, bytes);
        ring.push(change, live);
    }

    #[test]
    fn the_oldest_changes_make_room_and_their_watchers_must_list_again() {
        let mut ring = Ring::after(0);
        for version in 1..=100 {
            push(&mut ring, version, MIN_BYTES / 10, 0);
            assert!(ring.bytes() <= MIN_BYTES);
        }
        assert_eq!(ring.since(0, 1), Err(Expired));
        assert_eq!(ring.since(90, 1).map(|changes| changes.len()), Err(Expired));
        assert_eq!(ring.since(91, 100).map(|changes| changes.len()), Ok(9));
    }

    #[test]
    fn many_objects_have_more_changes_and_one_change_always_stays() {
        let mut ring = Ring::after(0);
        for version in 1..=100 {
            push(&mut ring, version, MIN_BYTES / 10, 3 * MIN_BYTES);
        }
        assert_eq!(ring.len(), 59);
        push(&mut ring, 101, MAX_BYTES, 0);
        assert_eq!((ring.len(), ring.since(100, 9).map(|changes| changes.len())), (1, Ok(1)));
        assert_eq!(ring.since(99, 9), Err(Expired));
    }

    impl PartialEq for Change {
        fn eq(&self, other: &Self) -> bool {
            self.version == other.version
        }
    }
}
