//! A part of a kind's objects, in the order of namespace and name, all as they were at one version. The first page is of
//! now; the next ones are of the same version, by undoing the changes since then, as long as the ring holds them.

use std::{
    collections::BTreeMap,
    iter::Peekable,
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use lichen_hub_core::api::{Key, Kind, Object};

use super::{Content, Expired};

/// Tells whether an object is wanted.
pub(crate) trait Selects {
    fn selects(&self, object: &Object) -> bool;
}

/// Which objects.
pub(crate) struct Ask<'a> {
    pub(crate) kind: Kind,
    /// Everywhere without one.
    pub(crate) namespace: Option<&'a str>,
    /// Only the object of this name.
    pub(crate) name: Option<&'a str>,
    pub(crate) selects: &'a dyn Selects,
    /// Objects on this page.
    pub(crate) limit: Option<usize>,
    /// As of this version, and behind this object; from the start, as of now, without.
    pub(crate) go_on: Option<(u64, &'a Key)>,
}

/// Some objects.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Object>>,
    /// As of which version.
    pub(crate) version: u64,
    /// The last object's key, if more follow.
    pub(crate) more_after: Option<Key>,
}

/// Reads a page. `now` is the version that the content has reached.
pub(super) fn read(content: &Content, now: u64, ask: &Ask<'_>) -> Result<Page, Expired> {
    let (version, undone) = match ask.go_on {
        Some((version, _)) if version > now => return Err(Expired),
        Some((version, _)) => (version, undone(content, version)?),
        None => (now, BTreeMap::new()),
    };
    let mut page = Page { objects: Vec::new(), version, more_after: None };
    for (key, object) in merged(content, &undone, ask) {
        if ask.name.is_some_and(|name| name != key.name) || !ask.selects.selects(object) {
            continue;
        }
        if ask.limit == Some(page.objects.len()) {
            page.more_after = page.objects.last().map(|object| object.key());
            break;
        }
        page.objects.push(object.clone());
    }
    Ok(page)
}

/// What the changed objects were at a version.
fn undone(
    content: &Content,
    version: u64,
) -> Result<BTreeMap<&Key, Option<&Arc<Object>>>, Expired> {
    let changes = content.ring.back_to(version)?;
    Ok(changes.map(|change| (&change.key, change.before.as_ref())).collect())
}

/// The objects of the asked-for range: those of now, where nothing else is known of them.
fn merged<'a>(
    content: &'a Content,
    undone: &'a BTreeMap<&'a Key, Option<&'a Arc<Object>>>,
    ask: &'a Ask<'a>,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Object>)> {
    // A name in a namespace is one object, and a namespace a range.
    let name = ask.name.filter(|_| ask.namespace.is_some() || !ask.kind.namespaced());
    let start = Key::new(ask.kind, ask.namespace.unwrap_or_default(), name.unwrap_or_default());
    let start = match ask.go_on {
        Some((_, after)) if *after >= start => Excluded(after.clone()),
        _ => Included(start),
    };
    let within = move |key: &Key| {
        ask.namespace.is_none_or(|namespace| key.namespace == namespace)
            && name.is_none_or(|name| key.name == name)
    };
    let now = content.objects.range((start.clone(), Unbounded));
    let now = now.map(|(key, kept)| (key, Some(&kept.object))).peekable();
    let then = undone.range::<Key, _>((start, Unbounded));
    let then = then.map(|(key, object)| (*key, *object)).peekable();
    Merged { now, then }
        .take_while(move |(key, _)| within(key))
        .filter_map(|(key, object)| Some((key, object?)))
}

type Entry<'a> = (&'a Key, Option<&'a Arc<Object>>);

/// Two ordered sequences as one; of equal keys, `then` counts.
struct Merged<N: Iterator, T: Iterator> {
    now: Peekable<N>,
    then: Peekable<T>,
}

impl<'a, N: Iterator<Item = Entry<'a>>, T: Iterator<Item = Entry<'a>>> Iterator for Merged<N, T> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let Some((then, _)) = self.then.peek() else { return self.now.next() };
        let then = *then;
        if let Some(earlier) = self.now.next_if(|(now, _)| *now < then) {
            return Some(earlier);
        }
        self.now.next_if(|(now, _)| *now == then);
        self.then.next()
    }
}

#[cfg(test)]
mod tests {
    use lichen_hub_core::effect::Action;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::server::watch_cache::{WatchCache, tests::told};

    struct Every;

    impl Selects for Every {
        fn selects(&self, _: &Object) -> bool {
            true
        }
    }

    fn ask<'a>(limit: Option<usize>, go_on: Option<(u64, &'a Key)>) -> Ask<'a> {
        let kind = Kind::ConfigMap;
        Ask { kind, namespace: None, name: None, selects: &Every, limit, go_on }
    }

    fn names(page: &Page) -> Vec<String> {
        page.objects.iter().map(|object| object.meta().name.clone()).collect()
    }

    #[test]
    fn the_second_page_is_as_old_as_the_first() {
        let cache = WatchCache::new();
        cache.take_in(
            ["a", "b", "c", "d"]
                .into_iter()
                .zip(1..)
                .map(|(n, v)| told(Action::Added, n, v))
                .collect(),
        );
        let first = cache.page(&ask(Some(2), None)).expect("now");
        assert_eq!((names(&first), first.version), (vec!["a".into(), "b".into()], 4));
        cache.take_in(vec![
            told(Action::Deleted, "c", 5),
            told(Action::Added, "bb", 6),
            told(Action::Modified, "d", 7),
        ]);
        let after = first.more_after.expect("more");
        let second = cache.page(&ask(Some(2), Some((4, &after)))).expect("in the ring");
        assert_eq!((names(&second), second.version), (vec!["c".into(), "d".into()], 4));
        assert_eq!(second.objects[1].meta().resource_version, "4");
        assert_eq!(second.more_after, None);
        assert_eq!(cache.page(&ask(None, Some((8, &after)))), Err(Expired));
    }

    proptest! {
        /// Pages of any size, read while anything changes, are the list at the version of the first one.
        #[test]
        fn pages_are_one_list(
            before in vec((0..8_u8, any::<bool>()), 0..12),
            meanwhile in vec(vec((0..8_u8, any::<bool>()), 0..4), 1..9),
            limit in 1..4_usize,
        ) {
            let cache = WatchCache::new();
            let mut version = 0;
            let mut change = |cache: &WatchCache, (name, put): (u8, bool)| {
                let name = format!("n{name}");
                let there = cache.get(&Key::new(Kind::ConfigMap, "a", &name)).is_some();
                let action = match (put, there) {
                    (true, true) => Action::Modified,
                    (true, false) => Action::Added,
                    (false, true) => Action::Deleted,
                    (false, false) => return,
                };
                version += 1;
                cache.take_in(vec![told(action, &name, version)]);
            };
            before.into_iter().for_each(|step| change(&cache, step));
            let whole = cache.page(&ask(None, None)).expect("now");
            let mut page = cache.page(&ask(Some(limit), None)).expect("now");
            let mut objects = page.objects.clone();
            let mut meanwhile = meanwhile.into_iter();
            while let Some(after) = page.more_after.take() {
                meanwhile.next().into_iter().flatten().for_each(|step| change(&cache, step));
                let next = ask(Some(limit), Some((page.version, &after)));
                page = cache.page(&next).expect("in the ring");
                objects.extend(page.objects.iter().cloned());
            }
            prop_assert_eq!(objects, whole.objects);
            prop_assert_eq!(page.version, whole.version);
        }
    }
}
