//! What every store must do, run against each one.

use std::{collections::BTreeMap, path::Path};

use lichen_hub_core::effect::Record;
use proptest::{collection::vec, option, prelude::*};

use super::{MemoryStore, RedbStore, Store};

fn put(key: &str, value: &[u8]) -> Record {
    Record { key: key.to_owned(), value: Some(value.to_vec()) }
}

fn remove(key: &str) -> Record {
    Record { key: key.to_owned(), value: None }
}

/// Runs a test on each store. `reopen` gives the store as the next process would find it.
fn on_each(test: impl Fn(&dyn Fn() -> Box<dyn Store>)) {
    let memory = MemoryStore::default();
    test(&|| Box::new(memory.clone()));
    let dir = tempfile::tempdir().expect("temporary directory");
    let open = |path: &Path| RedbStore::open(path).expect("open");
    test(&|| Box::new(open(dir.path())));
}

#[test]
fn a_new_store_is_empty() {
    on_each(|open| assert_eq!(open().load().expect("load"), []));
}

#[test]
fn what_was_committed_is_there_after_reopening_in_order_of_key() {
    on_each(|open| {
        open().commit(&[put("b", b"2"), put("a", b""), put("ä", b"3")]).expect("commit");
        open().commit(&[remove("b"), put("c", b"4"), remove("never there")]).expect("commit");
        let expected = [("a", &b""[..]), ("c", b"4"), ("ä", b"3")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_vec()));
        assert_eq!(open().load().expect("load"), expected);
    });
}

#[test]
fn of_several_records_with_one_key_the_last_counts() {
    on_each(|open| {
        let store = open();
        store
            .commit(&[put("a", b"1"), put("a", b"2"), put("b", b"1"), remove("b")])
            .expect("commit");
        assert_eq!(store.load().expect("load"), [("a".to_owned(), b"2".to_vec())]);
    });
}

#[test]
fn a_reader_hands_on_what_load_would_give() {
    on_each(|open| {
        let store = open();
        store.commit(&[put("b", b"2"), put("a", b""), put("ä", b"3")]).expect("commit");
        let mut read = Vec::new();
        let taken = store.reader().read(&mut |key, value| {
            read.push((key.to_owned(), value.to_vec()));
            Ok(())
        });
        taken.expect("read");
        assert_eq!(read, store.load().expect("load"));
    });
}

#[test]
fn an_empty_commit_changes_nothing() {
    on_each(|open| {
        let store = open();
        store.commit(&[put("a", &[7; 100_000])]).expect("commit");
        store.commit(&[]).expect("commit");
        assert_eq!(store.load().expect("load"), [("a".to_owned(), vec![7; 100_000])]);
        assert_eq!(store.sizes().live_bytes, 100_001);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_sequence_of_commits_is_kept(
        commits in vec(vec(("[a-d]{1,2}", option::of(vec(any::<u8>(), 0..8))), 0..6), 0..6)
    ) {
        let mut expected = BTreeMap::new();
        for (key, value) in commits.iter().flatten() {
            match value {
                Some(value) => expected.insert(key.clone(), value.clone()),
                None => expected.remove(key),
            };
        }
        let record = |(key, value): &(String, Option<Vec<u8>>)| Record { key: key.clone(), value: value.clone() };
        on_each(|open| {
            for commit in &commits {
                let records: Vec<Record> = commit.iter().map(record).collect();
                open().commit(&records).expect("commit");
            }
            let loaded: BTreeMap<_, _> = open().load().expect("load").into_iter().collect();
            assert_eq!(loaded, expected);
        });
    }
}
