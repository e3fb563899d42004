//! The turn on its own, with an engine and a store in memory.

use std::time::Duration;

use firmware_compat::time;
use lichen_hub_core::{engine, event::Now};

use lichen_trust::{KnownTime, Trust};

use super::*;
use crate::{
    server::{handle::EngineHandle, publish, signing::Signer},
    store::MemoryStore,
};

/// Nothing here takes long; a turn that runs longer does not end.
const DEADLINE: Duration = Duration::from_secs(20);

fn turn(dir: &std::path::Path) -> (Turn, EngineHandle) {
    let (handle, inputs) = EngineHandle::new();
    let counters = Arc::<Counters>::default();
    let images = lichen_images::Store::open(&dir.join("artefacts")).expect("a store");
    let answers = handle.inputs().clone();
    let supplier = Supplier::new(dir, None, images, answers, counters.clone()).expect("a supplier");
    let now = Now { instant: time::Instant::default(), unix_ms: 1 };
    let trust = Trust::open(&dir.join("trust"), Vec::new()).expect("keys");
    let signer = Signer::of(&trust);
    let engine =
        Engine::load(Vec::new(), engine::Config::default(), signer, now).expect("an engine");
    let time = KnownTime::load(dir).expect("time").into();
    let audit = crate::server::audit::open(dir, crate::audit::log::Limits::default())
        .expect("a log")
        .start(time)
        .expect("a thread");
    let turn = Turn {
        engine,
        store: Box::new(MemoryStore::default()),
        clock: Clock::start(KnownTime::load(dir).expect("time").into()),
        publish: None,
        batch: Batch::default(),
        supplier,
        counters,
        audit,
        inputs,
        waiting: HashMap::new(),
        logs: HashMap::new(),
        link: None,
        port: None,
        admissions: Vec::new(),
        link_events: None,
        link_first: false,
        _lock: StateLock::take(dir).expect("the directory"),
    };
    (turn, handle)
}

fn readers(dir: &std::path::Path) -> (Arc<WatchCache>, Arc<Access>) {
    let cache = Arc::new(WatchCache::new());
    let access = Access::open(
        dir,
        cache.clone(),
        KnownTime::load(dir).expect("time").into(),
        Arc::default(),
    )
    .expect("a key");
    (cache, access.into())
}

fn hub() -> Arc<Actor> {
    Actor::hub().into()
}

#[tokio::test]
async fn a_turn_whose_publisher_has_died_ends_and_whoever_asked_is_told_so() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut turn, handle) = turn(dir.path());
    let (cache, access) = readers(dir.path());
    turn.begin(&cache, &access).expect("a store");
    let (publish, publisher) = mpsc::channel(1);
    drop(publisher);
    turn.publish = Some(publish);
    let (_attach, attached) = oneshot::channel();
    let hub = hub();
    let both = async { tokio::join!(turn.run(attached), handle.ask(&hub, Request::Metrics)) };
    let (ended, answer) = tokio::time::timeout(DEADLINE, both).await.expect("it ends");
    assert!(ended.is_ok() && answer.is_err(), "{ended:?} {answer:?}");
}

#[tokio::test]
async fn a_turn_goes_on_while_its_publisher_lives() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut turn, handle) = turn(dir.path());
    let (cache, access) = readers(dir.path());
    turn.begin(&cache, &access).expect("a store");
    let (publish, publisher) = publish::start(cache, access).expect("a thread");
    turn.publish = Some(publish);
    let (_attach, attached) = oneshot::channel();
    let asked = async {
        for _ in 0..3 {
            handle.ask(&hub(), Request::Metrics).await.expect("an answer");
        }
        handle.inputs().send(Input::Stop).await.expect("it runs");
    };
    let (ended, ()) = tokio::join!(turn.run(attached), asked);
    ended.expect("a store");
    publisher.join().expect("it ends with the turn");
}
