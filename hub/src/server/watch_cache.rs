//! The watch cache, as an API server has one: every object as it was last told, and the recent changes of each kind.
//! Reads, lists and watches are answered from here, on the threads of those who ask; the engine is never asked.
//!
//! [`super::publish`] feeds it, turn by turn, in the order of the resource versions, and lets a turn's answers go only
//! after the turn's changes are in here: whoever wrote reads its own write. A read says up to which version it holds.
//!
//! - [`ring`]: the recent changes of a kind, within a budget of bytes.
//! - [`page`]: a part of a kind's objects, at a version.
//! - [`change`]: one change, and its serialised forms, which all watchers share.

mod change;
mod page;
mod ring;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use lichen_hub_core::{
    api::{KINDS, Key, Kind, Object},
    effect::{self, Action},
    event::Listing,
};
use tokio::sync::watch;

pub(crate) use change::{Change, Encoding};
pub(crate) use page::{Ask, Page, Selects};
use ring::Ring;

/// The asked-for version is no longer in the ring, or none that this hub has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired;

/// The objects and the recent changes of every kind.
#[derive(Debug)]
pub(crate) struct WatchCache {
    kinds: BTreeMap<Kind, Shelf>,
    /// Every change up to this version is in here.
    version: AtomicU64,
}

/// One kind.
#[derive(Debug)]
struct Shelf {
    content: RwLock<Content>,
    /// Wakes the watchers of this kind.
    woken: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Content {
    objects: BTreeMap<Key, Kept>,
    /// Bytes of all objects, as JSON.
    bytes: usize,
    ring: Ring,
    /// Version of the newest change of this kind.
    newest: u64,
}

#[derive(Debug)]
struct Kept {
    object: Arc<Object>,
    bytes: usize,
}

/// How much is in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) objects: usize,
    /// As JSON.
    pub(crate) object_bytes: usize,
    pub(crate) changes: usize,
    /// As JSON.
    pub(crate) change_bytes: usize,
}

impl WatchCache {
    pub(crate) fn new() -> Self {
        let shelf = || Shelf { content: RwLock::default(), woken: watch::Sender::new(()) };
        Self {
            kinds: KINDS.iter().map(|kind| (*kind, shelf())).collect(),
            version: AtomicU64::new(0),
        }
    }

    /// Takes in what there is of a kind before the first change. Earlier changes can't be watched.
    pub(crate) fn seed(&self, kind: Kind, listing: Listing) {
        let mut content = self.write(kind);
        for object in listing.objects {
            let bytes = change::json_bytes(&object);
            content.put(object.key(), Kept { object, bytes });
        }
        content.newest = listing.resource_version;
        content.ring = Ring::after(listing.resource_version);
        drop(content);
        self.version.fetch_max(listing.resource_version, Ordering::Release);
    }

    /// Takes in a turn's changes, in their order. The watchers are woken by [`Self::wake`].
    pub(crate) fn take_in(&self, changes: Vec<effect::Change>) {
        /// Changes of one kind that are taken in while readers wait.
        const AT_ONCE: usize = 256;
        let mut changes = changes.into_iter().map(measured).peekable();
        while let Some((first, _)) = changes.peek() {
            let kind = first.object.kind();
            let same = |(change, _): &(effect::Change, usize)| change.object.kind() == kind;
            let next = std::iter::from_fn(|| changes.next_if(same));
            let next: Vec<_> = next.take(AT_ONCE).collect();
            let reached = next.last().map_or(0, |(change, _)| change.resource_version);
            let mut content = self.write(kind);
            for (change, bytes) in next {
                content.apply(change, bytes);
            }
            drop(content);
            self.version.fetch_max(reached, Ordering::Release);
        }
    }

    /// Wakes those who watch a kind.
    pub(crate) fn wake(&self, kind: Kind) {
        self.shelf(kind).woken.send_replace(());
    }

    /// Tells when a kind may have changed.
    pub(crate) fn woken(&self, kind: Kind) -> watch::Receiver<()> {
        self.shelf(kind).woken.subscribe()
    }

    /// One object as it is now.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.read(key.kind).objects.get(key).map(|kept| kept.object.clone())
    }

    /// A part of a kind's objects, all at one version.
    pub(crate) fn page(&self, ask: &Ask<'_>) -> Result<Page, Expired> {
        let content = self.read(ask.kind);
        page::read(&content, self.version().max(content.newest), ask)
    }

    /// At most `most` changes of a kind after a version, oldest first.
    pub(crate) fn since(
        &self,
        kind: Kind,
        version: u64,
        most: usize,
    ) -> Result<Vec<Arc<Change>>, Expired> {
        let content = self.read(kind);
        if version > self.version().max(content.newest) {
            return Err(Expired);
        }
        content.ring.since(version, most)
    }

    /// Every change up to this version is in here.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Of all kinds.
    pub(crate) fn sizes(&self) -> Sizes {
        let mut sizes = Sizes::default();
        for kind in self.kinds.keys() {
            let content = self.read(*kind);
            sizes.objects += content.objects.len();
            sizes.object_bytes += content.bytes;
            sizes.changes += content.ring.len();
            sizes.change_bytes += content.ring.bytes();
        }
        sizes
    }

    /// How many watch.
    pub(crate) fn watchers(&self) -> usize {
        self.kinds.values().map(|shelf| shelf.woken.receiver_count()).sum()
    }

    fn shelf(&self, kind: Kind) -> &Shelf {
        self.kinds.get(&kind).expect("there is one of every kind")
    }

    fn read(&self, kind: Kind) -> RwLockReadGuard<'_, Content> {
        self.shelf(kind).content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, kind: Kind) -> std::sync::RwLockWriteGuard<'_, Content> {
        self.shelf(kind).content.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn apply(&mut self, change: effect::Change, bytes: usize) {
        let effect::Change { action, object, resource_version: version } = change;
        // What the cache was filled with holds it.
        if version <= self.newest {
            return;
        }
        let key = object.key();
        let before = match action {
            Action::Added | Action::Modified => {
                self.put(key.clone(), Kept { object: object.clone(), bytes })
            }
            Action::Deleted => self.remove(&key),
        };
        self.newest = version;
        let change = Change::new(action, key, object, before, version, bytes);
        self.ring.push(change, self.bytes);
    }

    fn put(&mut self, key: Key, kept: Kept) -> Option<Arc<Object>> {
        self.bytes += kept.bytes;
        let before = self.objects.insert(key, kept)?;
        self.bytes -= before.bytes;
        Some(before.object)
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<Object>> {
        let before = self.objects.remove(key)?;
        self.bytes -= before.bytes;
        Some(before.object)
    }
}

/// A change with its size, which is found out before anybody has to wait for it.
fn measured(change: effect::Change) -> (effect::Change, usize) {
    let bytes = change::json_bytes(&change.object);
    (change, bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn config_map(name: &str, version: u64, label: &str) -> Arc<Object> {
        let json = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"a",
                "resourceVersion":"{version}","labels":{{"l":"{label}"}}}}}}"#
        );
        Arc::new(Object::from_json(Kind::ConfigMap, json.as_bytes()).expect("object"))
    }

    pub(crate) fn told(action: Action, name: &str, version: u64) -> effect::Change {
        let object = config_map(name, version, "");
        effect::Change { action, object, resource_version: version }
    }

    fn versions(cache: &WatchCache, since: u64) -> Result<Vec<u64>, Expired> {
        let changes = cache.since(Kind::ConfigMap, since, 100)?;
        Ok(changes.iter().map(|change| change.version).collect())
    }

    #[test]
    fn a_watcher_gets_what_came_after_its_version() {
        let cache = WatchCache::new();
        for kind in KINDS.iter().copied() {
            cache.seed(kind, Listing { objects: vec![], resource_version: 10 });
        }
        cache.take_in(vec![told(Action::Added, "x", 11), told(Action::Modified, "x", 14)]);
        assert_eq!(versions(&cache, 10), Ok(vec![11, 14]));
        assert_eq!(versions(&cache, 12), Ok(vec![14]));
        assert_eq!(versions(&cache, 14), Ok(vec![]));
        assert_eq!(versions(&cache, 9), Err(Expired));
        assert_eq!(versions(&cache, 15), Err(Expired), "a version of another past");
        assert_eq!(cache.version(), 14);
        assert_eq!(cache.since(Kind::Node, 14, 1).map(|changes| changes.len()), Ok(0));
    }

    #[test]
    fn changes_that_the_first_list_holds_are_left_out() {
        let cache = WatchCache::new();
        let objects = vec![config_map("x", 12, "")];
        cache.seed(Kind::ConfigMap, Listing { objects, resource_version: 12 });
        cache.take_in(vec![told(Action::Deleted, "x", 11), told(Action::Added, "y", 13)]);
        assert_eq!(versions(&cache, 12), Ok(vec![13]));
        let sizes = cache.sizes();
        assert_eq!((sizes.objects, sizes.changes), (2, 1));
    }

    #[test]
    fn a_change_carries_what_was_there_before() {
        let cache = WatchCache::new();
        let objects = vec![config_map("x", 1, "")];
        cache.seed(Kind::ConfigMap, Listing { objects, resource_version: 1 });
        cache.take_in(vec![
            told(Action::Modified, "x", 2),
            told(Action::Deleted, "x", 3),
            told(Action::Added, "x", 4),
        ]);
        let changes = cache.since(Kind::ConfigMap, 1, 100).expect("in the ring");
        let before: Vec<bool> = changes.iter().map(|change| change.before.is_some()).collect();
        assert_eq!(before, [true, true, false]);
    }

    #[test]
    fn what_is_counted_is_what_is_there() {
        let cache = WatchCache::new();
        cache.take_in((1..=9).map(|i| told(Action::Added, &format!("x{i}"), i)).collect());
        cache.take_in((1..=9).map(|i| told(Action::Deleted, &format!("x{i}"), 9 + i)).collect());
        let sizes = cache.sizes();
        assert_eq!((sizes.objects, sizes.object_bytes, sizes.changes), (0, 0, 18));
    }
}
