//! The recent changes of objects, for those who watch. A watcher reads from a bounded ring at its own pace, so a slow
//! one costs nothing; one that falls off its end is told to list again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lichen_hub_core::{
    api::{Key, Object},
    effect::{Action, Change},
    event::Listing,
};
use tokio::sync::watch;

/// Changes that are kept. A client that was away for longer lists again; a change is a few KiB.
const RING: usize = 4096;

/// One change, with the object as it was before, so that a selector can tell who comes and who goes.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) change: Change,
    pub(crate) before: Option<Arc<Object>>,
}

/// The asked-for changes are no longer in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired;

/// The recent changes.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    current: BTreeMap<Key, Arc<Object>>,
    news: VecDeque<Arc<News>>,
    /// Changes up to this version are not in the ring.
    floor: u64,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self { ring: Mutex::default(), newest: watch::Sender::new(0) }
    }

    /// Takes in what was there before the first change. Earlier changes can't be watched.
    pub(crate) fn seed(&self, listing: Listing) {
        let mut ring = self.ring();
        ring.floor = ring.floor.max(listing.resource_version);
        ring.current.extend(listing.objects.into_iter().map(|object| (object.key(), object)));
        drop(ring);
        self.reached(listing.resource_version);
    }

    /// Adds a change and wakes the watchers.
    pub(crate) fn push(&self, change: Change) {
        let version = change.resource_version;
        let mut ring = self.ring();
        let key = change.object.key();
        let before = match change.action {
            Action::Added | Action::Modified => ring.current.insert(key, change.object.clone()),
            Action::Deleted => ring.current.remove(&key),
        };
        if ring.news.len() >= RING
            && let Some(oldest) = ring.news.pop_front()
        {
            ring.floor = oldest.change.resource_version;
        }
        ring.news.push_back(Arc::new(News { change, before }));
        drop(ring);
        self.reached(version);
    }

    /// Versions up to this one exist, whether or not they belong to a change.
    pub(crate) fn reached(&self, version: u64) {
        self.newest.send_if_modified(|newest| {
            let higher = version > *newest;
            *newest = version.max(*newest);
            higher
        });
    }

    /// At most `most` changes after a version, oldest first.
    pub(crate) fn since(&self, version: u64, most: usize) -> Result<Vec<Arc<News>>, Expired> {
        let ring = self.ring();
        if version < ring.floor {
            return Err(Expired);
        }
        let first = ring.news.partition_point(|news| news.change.resource_version <= version);
        Ok(ring.news.iter().skip(first).take(most).cloned().collect())
    }

    /// The newest version, as it rises.
    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lichen_hub_core::api::Kind;

    fn change(action: Action, name: &str, version: u64) -> Change {
        let json = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"a"}}}}"#
        );
        let object = Object::from_json(Kind::ConfigMap, json.as_bytes()).expect("object");
        Change { action, object: Arc::new(object), resource_version: version }
    }

    fn versions(feed: &Feed, since: u64) -> Result<Vec<u64>, Expired> {
        let news = feed.since(since, 100)?;
        Ok(news.iter().map(|news| news.change.resource_version).collect())
    }

    #[test]
    fn a_watcher_gets_what_came_after_its_version() {
        let feed = Feed::new();
        feed.seed(Listing { objects: vec![], resource_version: 10 });
        feed.push(change(Action::Added, "x", 11));
        feed.push(change(Action::Modified, "x", 14));
        assert_eq!(versions(&feed, 10), Ok(vec![11, 14]));
        assert_eq!(versions(&feed, 12), Ok(vec![14]));
        assert_eq!(versions(&feed, 14), Ok(vec![]));
        assert_eq!(versions(&feed, 9), Err(Expired));
        assert_eq!(*feed.newest().borrow(), 14);
    }

    #[test]
    fn a_change_carries_what_was_there_before() {
        let feed = Feed::new();
        let seeded = change(Action::Added, "x", 1).object;
        feed.seed(Listing { objects: vec![seeded], resource_version: 1 });
        feed.push(change(Action::Modified, "x", 2));
        feed.push(change(Action::Deleted, "x", 3));
        feed.push(change(Action::Added, "x", 4));
        let news = feed.since(1, 100).expect("in the ring");
        let before: Vec<bool> = news.iter().map(|news| news.before.is_some()).collect();
        assert_eq!(before, [true, true, false]);
    }

    #[test]
    fn the_oldest_change_makes_room_and_its_watcher_must_list_again() {
        let feed = Feed::new();
        for version in 1..=RING as u64 + 2 {
            feed.push(change(Action::Modified, "x", version));
        }
        assert_eq!(versions(&feed, 1), Err(Expired));
        assert_eq!(versions(&feed, 2).map(|versions| versions[0]), Ok(3));
    }
}
