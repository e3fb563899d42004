//! What an agent believes, in one process with a hub that is played: the hub of its first contact, and nobody else.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use firmware_compat::{
    frame::Kind,
    id::{Generation, Hash, KeyId, Lineage, PublicKey},
    v1::owned::{Action, AssignmentId, Command, Head, Report, Time},
};
use lichen_agent::{Options, join, options::KEEP_ALIVE, state::StateDir};
use ring::signature::KeyPair;
use support::{
    http::Server,
    hub::{DEADLINE, Heard, Hub, introduce, key},
};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

const NEXT_KEY: u8 = 8;
const FOREIGN_KEY: u8 = 9;

/// An agent in this process.
struct Agent {
    state: PathBuf,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Agent {
    /// It joins the hub, unless it has.
    fn start(state: &Path, http: &Server, adopt_hub: bool) -> Self {
        let open = StateDir::open(state).unwrap();
        join::join(&open, &http.invitation(), Some("pi"), &mut |_| {}, &mut |_| {}).unwrap();
        drop(open);
        let options = Options {
            state: state.to_owned(),
            labels: Vec::new(),
            runtime: Some("no-such-runtime".to_owned()),
            keep_alive: KEEP_ALIVE,
            adopt_hub,
            drain_on_exit: false,
            shim: "/nowhere/lichen-shim".into(),
            wasm_program: "/nowhere/lichen-agent".into(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let run = lichen_agent::run(options, async move { drop(stopped.await) });
        let ended = tokio::spawn(async move { run.await.unwrap() });
        Self { state: state.to_owned(), stop, ended }
    }

    /// Ends it, and waits until its last thread has let the state directory go.
    async fn stop(self) {
        let _ = self.stop.send(());
        timeout(DEADLINE, self.ended).await.unwrap().unwrap();
        let free = async {
            while StateDir::open(&self.state).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, free).await.expect("the state directory should be free");
    }
}

fn public(seed: u8) -> PublicKey {
    PublicKey(key(seed).public_key().as_ref().try_into().unwrap())
}

/// Waits for a Hello that names these keys.
async fn says_it_knows(hub: &mut Hub, seeds: &[u8]) {
    let ids: Vec<KeyId> = seeds.iter().map(|seed| public(*seed).id()).collect();
    let hello = async {
        loop {
            match hub.next().await {
                Heard::Hello(hello) if *hello.keys == ids[..] => return,
                _ => {}
            }
        }
    };
    timeout(DEADLINE, hello).await.unwrap_or_else(|_| panic!("it should know {ids:?}"));
}

async fn tells(hub: &mut Hub, what: &str) {
    let is_told = |hub: &Hub| hub.told.iter().any(|told| told.starts_with(what));
    hub.until(what, is_told).await;
}

fn a_head(lineage: Lineage) -> Head {
    let (generation, hash) = (Generation(5), Hash([5; 32]));
    Head { assignment: AssignmentId { lineage, generation, hash }, length: 33 }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_believes_the_hub_of_its_first_contact_and_says_once_that_it_refuses_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start("pi").await;
    let agent = Agent::start(dir.path(), &hub.http, false);
    says_it_knows(&mut hub, &[7]).await;

    let lineage = hub.lineage();
    let forge = |hub: &Hub| {
        let head = hub.frame(&a_head(lineage), &key(FOREIGN_KEY));
        hub.broker.set_head("pi", head);
        let late = Report { lineage, unix_ms: u64::MAX, spread_ms: 0 };
        hub.broker.send("pi", Kind::Report, hub.frame(&late, &key(FOREIGN_KEY)));
    };
    (0..20).for_each(|_| forge(&hub));
    tells(&mut hub, "ForgedFrame: ").await;
    // What the hub says is heard all the same, and nothing was asked for.
    let unix_ms = 1_800_000_000_000;
    hub.send(&Time { lineage, unix_ms });
    hub.send(&Report { lineage, unix_ms: unix_ms + 1, spread_ms: 0 });
    let report = async {
        loop {
            match hub.next().await {
                Heard::Status(status) if status.full => return,
                Heard::Want(want) => panic!("{want:?} of a forged head"),
                _ => {}
            }
        }
    };
    timeout(DEADLINE, report).await.expect("a report that the hub asked for");
    let refusals = hub.told.iter().filter(|told| told.starts_with("ForgedFrame")).count();
    assert_eq!(refusals, 1, "{:?}", hub.told);
    agent.stop().await;
    let floor = StateDir::open(dir.path()).unwrap().time_floor().unwrap();
    assert!((unix_ms..=unix_ms + 1).contains(&floor), "{floor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_behind_the_hubs_address_is_believed_only_on_the_operators_word() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start("pi").await;
    let agent = Agent::start(dir.path(), &hub.http, false);
    says_it_knows(&mut hub, &[7]).await;
    agent.stop().await;

    introduce(&hub.http, hub.lineage(), &key(FOREIGN_KEY));
    let agent = Agent::start(dir.path(), &hub.http, false);
    says_it_knows(&mut hub, &[7]).await;
    hub.broker.set_head("pi", hub.frame(&a_head(hub.lineage()), &key(FOREIGN_KEY)));
    tells(&mut hub, "ForgedFrame: ").await;
    agent.stop().await;

    let agent = Agent::start(dir.path(), &hub.http, true);
    says_it_knows(&mut hub, &[FOREIGN_KEY]).await;
    // The hub that it follows now answers its hello with a head.
    hub.broker.set_head("pi", hub.frame(&a_head(hub.lineage()), &key(FOREIGN_KEY)));
    let want = async { while !matches!(hub.next().await, Heard::Want(_)) {} };
    timeout(DEADLINE, want).await.expect("it should ask for the body");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_the_hub_hands_over_are_kept_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start("pi").await;
    let agent = Agent::start(dir.path(), &hub.http, false);
    says_it_knows(&mut hub, &[7]).await;
    let keys = vec![public(NEXT_KEY), public(7)].try_into().unwrap();
    hub.command(1, Action::Keys { keys });
    says_it_knows(&mut hub, &[NEXT_KEY, 7]).await;
    agent.stop().await;
    let agent = Agent::start(dir.path(), &hub.http, false);
    says_it_knows(&mut hub, &[NEXT_KEY, 7]).await;
    // The next one alone, handed over by itself.
    let keys = vec![public(NEXT_KEY)].try_into().unwrap();
    let command = Command { lineage: hub.lineage(), id: 2, action: Action::Keys { keys } };
    hub.broker.send("pi", Kind::Command, hub.frame(&command, &key(NEXT_KEY)));
    says_it_knows(&mut hub, &[NEXT_KEY]).await;
    agent.stop().await;
}
