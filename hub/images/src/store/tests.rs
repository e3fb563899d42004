//! The store's behaviour, on a real directory.

use std::io::Seek;

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = Store::open(dir.path()).expect("open");
    (dir, store)
}

fn leftovers(dir: &tempfile::TempDir) -> usize {
    fs::read_dir(dir.path().join("uploads")).expect("uploads").count()
}

#[test]
fn a_finished_upload_is_found_by_its_digest() {
    let (dir, store) = store();
    let mut upload = store.begin().expect("begin");
    upload.append(b"hello ").expect("append");
    assert_eq!(upload.offset(), 6);
    upload.append_at(6, b"world").expect("append");
    let digest = upload.finish(Some(Digest::of(b"hello world"))).expect("finish");
    let mut opened = store.get(&digest).expect("get").expect("there");
    let mut text = String::new();
    opened.file.read_to_string(&mut text).expect("read");
    assert_eq!((text.as_str(), opened.len), ("hello world", 11));
    assert_eq!(opened.file.stream_position().expect("position"), 11);
    assert_eq!(store.has(&digest).expect("has"), Some(11));
    assert_eq!(store.list().expect("list"), [(digest, 11)]);
    store.verify(&digest).expect("verify");
    assert_eq!(leftovers(&dir), 0);
    let hex = digest.hex();
    assert!(dir.path().join("sha256").join(&hex[..2]).join(&hex).is_file());
}

#[test]
fn a_mismatch_is_refused_and_dropped() {
    let (dir, store) = store();
    let error = store.put(b"one", Some(Digest::of(b"two"))).expect_err("mismatch");
    assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
    assert_eq!(store.list().expect("list"), []);
    assert_eq!(leftovers(&dir), 0);
}

#[test]
fn an_upload_beyond_its_bound_is_refused_for_good() {
    let (dir, store) = store();
    let mut upload = store.begin_bounded(4).expect("begin");
    upload.append(b"1234").expect("as much as allowed");
    assert!(matches!(upload.append(b"5"), Err(StoreError::TooLarge { limit: 4 })));
    assert!(matches!(upload.append(b""), Err(StoreError::Broken)));
    assert!(matches!(upload.finish(None), Err(StoreError::Broken)));
    assert_eq!((store.list().expect("list").len(), leftovers(&dir)), (0, 0));
}

#[test]
fn a_chunk_at_the_wrong_offset_changes_nothing() {
    let (_dir, store) = store();
    let mut upload = store.begin().expect("begin");
    upload.append(b"ab").expect("append");
    let error = upload.append_at(3, b"d").expect_err("gap").to_string();
    assert_eq!(error, "the chunk starts at byte 3, but the upload stands at byte 2");
    upload.append_at(2, b"c").expect("the right offset");
    assert_eq!(upload.finish(None).expect("finish"), Digest::of(b"abc"));
}

#[test]
fn an_upload_that_a_crash_left_is_swept_when_the_store_opens() {
    let (dir, store) = store();
    let mut upload = store.begin().expect("begin");
    upload.append(b"half").expect("append");
    // A crash deletes nothing: leak the upload with its store, but let go of the lock as the end of a process does.
    let lock = &store.0._lock;
    lock.unlock().expect("unlock");
    std::mem::forget(upload);
    assert_eq!(leftovers(&dir), 1);
    let reopened = Store::open(dir.path()).expect("open again");
    assert_eq!(leftovers(&dir), 0);
    assert_eq!(reopened.list().expect("list"), []);
}

#[test]
fn a_second_process_is_kept_out_and_told_why() {
    let (dir, store) = store();
    let error = Store::open(dir.path()).expect_err("in use").to_string();
    assert!(error.contains("in use by another process"), "{error}");
    drop(store);
    Store::open(dir.path()).expect("free again");
}

#[test]
fn corruption_is_noticed_and_a_new_upload_repairs_it() {
    let (_dir, store) = store();
    let digest = store.put(b"content", None).expect("put");
    fs::write(store.path(&digest), b"rotten!").expect("damage");
    let error = store.verify(&digest).expect_err("corrupt");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(store.read(&digest).is_err());
    store.put(b"content", Some(digest)).expect("put again");
    store.verify(&digest).expect("repaired");
}

#[test]
fn collecting_deletes_only_what_is_old_and_unreferenced() {
    let (_dir, store) = store();
    let kept = store.put(b"kept", None).expect("put");
    let old = store.put(b"old", None).expect("put");
    let touched = store.put(b"touched", None).expect("put");
    let day = Duration::from_secs(86_400);
    let tomorrow = SystemTime::now() + day;
    assert_eq!(store.touch(&touched, tomorrow).expect("touch"), Some(7));
    let keep = BTreeSet::from([kept]);
    let hour = Duration::from_secs(3_600);

    let nothing = store.collect(&keep, day * 2, tomorrow).expect("collect");
    assert_eq!(nothing, Collected { removed: vec![], bytes: 0, too_young: 2 });
    let backwards = store.collect(&keep, hour, SystemTime::UNIX_EPOCH).expect("collect");
    assert_eq!(backwards.removed, []);
    let collected = store.collect(&keep, hour, tomorrow).expect("collect");
    assert_eq!(collected, Collected { removed: vec![old], bytes: 3, too_young: 1 });
    assert_eq!(store.has(&old).expect("has"), None);
    assert!(!store.delete(&old).expect("delete"));
    assert!(store.delete(&kept).expect("delete"));
}

#[test]
fn files_with_foreign_names_are_not_ours() {
    let (dir, store) = store();
    fs::write(dir.path().join("sha256/notes.txt"), b"x").expect("write");
    let hex = Digest::of(b"").hex();
    let wrong = dir.path().join("sha256/zz");
    fs::create_dir(&wrong).expect("create");
    fs::write(wrong.join(hex), b"").expect("write");
    assert_eq!(store.list().expect("list"), []);
    assert!(store.get(&Digest::of(b"")).expect("get").is_none());
}
