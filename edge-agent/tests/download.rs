//! Artefacts over HTTP, from a server that breaks off, lies and starts over.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::fs;

use firmware_compat::{
    enrolment::Holder,
    id::{AgentId, BootId, Hash},
    v1::owned::Blob,
};
use lichen_agent::{
    hub::{HubClient, HubError, download},
    identity::IdentityDir,
    join,
    known_time::KnownTime,
    membership::{Membership, keeper::Board},
    state::{StateDir, Written},
};
use support::http::{Fault, Server};

/// Which board asks.
const BOARD: Board = Board { agent: AgentId([1; 16]), boot: BootId([2; 16]) };

fn bytes() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// The hub's HTTP side as a device sees it that has joined.
fn member(server: &Server) -> HubClient {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let mut never = |_| panic!("it waits");
    let identity = join::join(&state, &server.invitation(), Some("pi"), &mut |_| {}, &mut never);
    let time = KnownTime::load(&state).unwrap();
    Membership::new(identity.unwrap(), IdentityDir::of(&state), time, false).unwrap().hub()
}

struct Fetch {
    server: Server,
    hub: HubClient,
    dir: tempfile::TempDir,
    written: Written,
    blob: Blob,
}

impl Fetch {
    fn of(bytes: &[u8]) -> Self {
        let server = Server::start();
        let hub = member(&server);
        let blob = server.put_artefact(bytes);
        Self { server, hub, dir: tempfile::tempdir().unwrap(), written: Written::default(), blob }
    }

    fn attempt(&self) -> Result<(), HubError> {
        download(&self.hub, self.blob, self.dir.path(), &self.written, &|| true).map(drop)
    }

    fn stored(&self) -> Option<Vec<u8>> {
        fs::read(self.dir.path().join(self.blob.digest.to_string())).ok()
    }

    fn ranges(&self) -> Vec<Option<u64>> {
        let asked = self.server.asked().into_iter();
        asked
            .filter(|asked| asked.path.starts_with("/artefacts"))
            .map(|asked| asked.range)
            .collect()
    }
}

#[test]
fn an_artefact_is_stored_under_its_digest_and_fetched_once() {
    let fetch = Fetch::of(&bytes());
    fetch.attempt().unwrap();
    fetch.attempt().unwrap();
    assert_eq!(fetch.stored().unwrap(), bytes());
    assert_eq!(fetch.ranges(), [None]);
    assert_eq!(fetch.written.bytes(), bytes().len() as u64);
}

#[test]
fn an_interrupted_fetch_goes_on_where_it_ended() {
    let fetch = Fetch::of(&bytes());
    fetch.server.misbehave(&[Fault::CutAfter(1000), Fault::CutAfter(2000)]);
    for _ in 0..2 {
        assert!(matches!(fetch.attempt(), Err(HubError::Unreachable { .. })));
        assert_eq!(fetch.stored(), None);
    }
    fetch.attempt().unwrap();
    assert_eq!(fetch.stored().unwrap(), bytes());
    assert_eq!(fetch.ranges(), [None, Some(1000), Some(3000)]);
    assert_eq!(fetch.written.bytes(), bytes().len() as u64);
}

#[test]
fn a_server_without_ranges_or_with_wrong_ones_is_read_from_the_start() {
    for fault in [Fault::IgnoresRange, Fault::WrongRange] {
        let fetch = Fetch::of(&bytes());
        fetch.server.misbehave(&[Fault::CutAfter(1000), fault]);
        assert!(fetch.attempt().is_err());
        fetch.attempt().unwrap();
        assert_eq!(fetch.stored().unwrap(), bytes(), "{fault:?}");
    }
}

#[test]
fn bytes_with_another_digest_are_never_stored() {
    let fetch = Fetch::of(&bytes());
    fetch.server.misbehave(&[Fault::Corrupts]);
    assert!(matches!(fetch.attempt(), Err(HubError::Corrupt { .. })));
    assert_eq!(fs::read_dir(fetch.dir.path()).unwrap().count(), 0);
    fetch.attempt().unwrap();
}

#[test]
fn no_more_is_stored_than_the_assignment_says() {
    let mut fetch = Fetch::of(&bytes());
    fetch.blob.size = 5000;
    assert!(matches!(fetch.attempt(), Err(HubError::Corrupt { .. })));
    assert_eq!(fs::read_dir(fetch.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_damaged_partial_file_is_noticed_and_started_over() {
    let fetch = Fetch::of(&bytes());
    let partial = fetch.dir.path().join(format!("{}.partial", fetch.blob.digest));
    fs::write(&partial, vec![7; 1000]).unwrap();
    assert!(matches!(fetch.attempt(), Err(HubError::Corrupt { .. })));
    fetch.attempt().unwrap();
    fs::remove_file(fetch.dir.path().join(fetch.blob.digest.to_string())).unwrap();
    fs::write(&partial, vec![7; bytes().len() + 1]).unwrap();
    fetch.attempt().unwrap();
    assert_eq!(fetch.stored().unwrap(), bytes());
}

#[test]
fn a_cancelled_fetch_keeps_what_it_has() {
    let fetch = Fetch::of(&bytes());
    let blocks = std::cell::Cell::new(0);
    let may_go_on = || blocks.replace(blocks.get() + 1) < 2;
    let result = download(&fetch.hub, fetch.blob, fetch.dir.path(), &fetch.written, &may_go_on);
    assert!(matches!(result, Err(HubError::Cancelled)));
    fetch.attempt().unwrap();
    assert!(fetch.ranges()[1].is_some_and(|from| from > 0));
    assert_eq!(fetch.stored().unwrap(), bytes());
}

#[test]
fn what_the_hub_does_not_have_is_not_found() {
    let mut fetch = Fetch::of(&bytes());
    fetch.blob.digest = Hash([9; 32]);
    assert!(matches!(fetch.attempt(), Err(HubError::NotFound { .. })));
}

#[test]
fn the_hub_says_who_has_the_name_and_nonsense_is_refused() {
    let server = Server::start();
    let hub = member(&server);
    let path = "/lichen/v1/session";
    assert!(matches!(hub.session(BOARD), Err(HubError::NotFound { .. })));
    server.put(path, r#"{"agent":null}"#);
    assert_eq!(hub.session(BOARD).unwrap(), Holder::default());
    let (agent, boot) = ("01".repeat(16), "02".repeat(16));
    server.put(path, format!(r#"{{"agent":"{agent}","boot":"{boot}"}}"#));
    let holder = hub.session(BOARD).unwrap();
    assert_eq!(
        (holder.agent.unwrap().to_string(), holder.boot.unwrap().to_string()),
        (agent, boot)
    );
    for nonsense in [r#"{"agent":"x"}"#.to_owned(), "x".repeat(100_000)] {
        server.put(path, nonsense);
        assert!(matches!(hub.session(BOARD), Err(HubError::Answer { .. })));
    }
    // A device shows its certificate, and the second connection goes on with the session of the first.
    let asked = server.asked();
    let (agent, boot) = (BOARD.agent, BOARD.boot);
    assert_eq!(asked.last().unwrap().query, format!("agent={agent}&boot={boot}"));
    assert!(asked.last().unwrap().shown.is_some() && asked.last().unwrap().resumed);
}

#[test]
fn a_hub_that_says_no_is_told_apart_from_one_that_is_away() {
    let server = Server::start();
    let hub = member(&server);
    for (status, expected) in [
        (401, "the hub does not accept this device's certificate: so it is"),
        (403, "the hub refuses: so it is"),
        (
            503,
            "the hub answered /lichen/v1/session?agent=01010101010101010101010101010101&boot=02020202020202020202020202020202 \
             with status 503: so it is",
        ),
    ] {
        let body = r#"{"kind":"Status","message":"so it is"}"#;
        server.answer_once("/lichen/v1/session", status, body);
        assert_eq!(hub.session(BOARD).unwrap_err().to_string(), expected);
    }
    let address = server.hub().to_string();
    drop(server);
    let error = hub.session(BOARD).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
}
