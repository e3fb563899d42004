//! What was acknowledged is saved: no answer before the commit, nothing lost with a kill, no going on after a failed
//! commit.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use lichen_hub::{
    server,
    store::{MemoryStore, Reader, RedbStore, Sizes, Store, StoreError},
};
use lichen_hub_core::effect::Record;
use serde_json::json;
use tokio::time::timeout;

use crate::support::{DEADLINE, Hub, MAPS, config, config_map};

/// A store whose commits wait at a gate, or fail.
#[derive(Clone, Default)]
struct Gated {
    records: MemoryStore,
    closed: Arc<(Mutex<bool>, Condvar)>,
    waiting: Arc<tokio::sync::Notify>,
    failing: Arc<AtomicBool>,
}

impl Gated {
    fn set_closed(&self, closed: bool) {
        *self.closed.0.lock().expect("lock") = closed;
        self.closed.1.notify_all();
    }
}

impl Store for Gated {
    fn load(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.records.load()
    }

    fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut closed = self.closed.0.lock().expect("lock");
        while *closed {
            self.waiting.notify_one();
            closed = self.closed.1.wait(closed).expect("wait");
        }
        if self.failing.load(SeqCst) {
            let source = std::io::Error::other("no space left");
            return Err(StoreError::Directory { path: "state".into(), source });
        }
        self.records.commit(records)
    }

    fn sizes(&self) -> Sizes {
        self.records.sizes()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.records.reader()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_and_no_news_leave_before_the_commit() {
    let store = Gated::default();
    let hub = Hub::start_on(store.clone()).await;
    let mut watch = hub.watch(&format!("{MAPS}?watch=true")).await;
    store.set_closed(true);
    let map = config_map("a", json!({}), json!({}));
    let answer = hub.put("POST", MAPS, &map);
    let mut answer = Box::pin(answer);
    tokio::select! {
        reply = &mut answer => panic!("answered before the commit: {reply:?}"),
        change = watch.change() => panic!("told before the commit: {change}"),
        waited = timeout(DEADLINE, store.waiting.notified()) => waited.expect("a commit"),
    }
    assert!(!store.records.load().expect("load").iter().any(|(key, _)| key.ends_with("default/a")));
    store.set_closed(false);
    (&mut answer).await.expect(201);
    drop(answer);
    assert_eq!(watch.change().await, "ADDED a");
    assert!(store.records.load().expect("load").iter().any(|(key, _)| key.ends_with("default/a")));
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_ends_the_hub_and_answers_nothing_good() {
    let store = Gated::default();
    let mut hub = Hub::start_on(store.clone()).await;
    store.failing.store(true, SeqCst);
    let map = config_map("a", json!({}), json!({}));
    let refusal = hub.put("POST", MAPS, &map).await.refusal();
    assert!(refusal.starts_with("503 ServiceUnavailable"), "{refusal}");
    let failed = timeout(DEADLINE, hub.running.failed()).await.expect("an end").to_string();
    assert!(failed.contains("had to end because its store failed"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_hub_has_its_objects_and_its_lineage() {
    let store = MemoryStore::default();
    let hub = Hub::start_on(store.clone()).await;
    let map = config_map("a", json!({}), json!({"x": "1"}));
    let created = hub.put("POST", MAPS, &map).await.expect(201);
    let lineage = hub.join("pi-1").await.facts["lineage"].clone();
    hub.running.stop().await.expect("stop");
    let hub = Hub::start_on(store).await;
    assert_eq!(hub.get(&format!("{MAPS}/a")).await.expect(200), created);
    assert_eq!(hub.join("pi-2").await.facts["lineage"], lineage);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hub_on_the_same_state_is_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let first = server::start(config(dir.path().to_owned())).await.expect("start");
    let error = server::start(config(dir.path().to_owned())).await.expect_err("in use").to_string();
    assert!(error.contains("in use by another hub"), "{error}");
    first.stop().await.expect("stop");
    server::start(config(dir.path().to_owned()))
        .await
        .expect("start again")
        .stop()
        .await
        .expect("stop");
}

/// Where the child of [`a_store_killed_at_any_moment_keeps_whole_commits`] writes.
const CHILD_STATE: &str = "LICHEN_TEST_STORE";
/// Records per commit: all of them or none may be there.
const BATCH: usize = 5;

/// Not a test by itself: commits until it is killed, and says so after each commit.
#[test]
fn committing_child() {
    let Some(state) = std::env::var_os(CHILD_STATE) else { return };
    let store = RedbStore::open(state.as_ref()).expect("open");
    for commit in 0_u32.. {
        let records: Vec<Record> = (0..BATCH)
            .map(|part| Record {
                key: format!("k{part}"),
                value: Some(commit.to_be_bytes().to_vec()),
            })
            .collect();
        store.commit(&records).expect("commit");
        println!("\ncommitted {commit}");
    }
}

#[test]
fn a_store_killed_at_any_moment_keeps_whole_commits() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut last = None;
    for round in 0..6_u32 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "durability::committing_child", "--nocapture", "--test-threads=1"])
            .env(CHILD_STATE, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the child");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let wanted = 3 + round * 7;
        let said = lines.map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("committed ").and_then(|number| number.parse::<u32>().ok())
        });
        let acknowledged = said.take_while(|number| *number <= wanted).last();
        // The child is in the middle of a later commit now, or about to start one.
        child.kill().expect("kill");
        child.wait().expect("wait");
        last = acknowledged.or(last);

        let records = RedbStore::open(dir.path()).expect("open after a kill").load().expect("load");
        let values: Vec<u32> = records
            .iter()
            .map(|(_, value)| u32::from_be_bytes(value.as_slice().try_into().expect("four bytes")))
            .collect();
        assert_eq!(values.len(), BATCH);
        assert!(values.iter().all(|value| *value == values[0]), "a commit came apart: {values:?}");
        assert!(
            values[0] >= last.expect("at least one commit"),
            "{} is lost, {last:?} was acknowledged",
            values[0]
        );
    }
}
