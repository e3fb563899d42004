//! Artefacts over HTTP, from a server that breaks off, lies and starts over.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

#[path = "support/http.rs"]
mod http;

use std::fs;

use firmware_compat::{id::Hash, v1::owned::Blob};
use http::{Fault, Server};
use lichen_agent::{
    address::Address,
    hub::{HubError, connect, download, session},
    state::Written,
};

fn bytes() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

struct Fetch {
    server: Server,
    dir: tempfile::TempDir,
    written: Written,
    blob: Blob,
}

impl Fetch {
    fn of(bytes: &[u8]) -> Self {
        let server = Server::start();
        let blob = server.put_artefact(bytes);
        Self { server, dir: tempfile::tempdir().unwrap(), written: Written::default(), blob }
    }

    fn hub(&self) -> Address {
        Address::parse_hub(&self.server.url()).unwrap()
    }

    fn attempt(&self) -> Result<(), HubError> {
        download(&self.hub(), self.blob, self.dir.path(), &self.written, &|| true).map(drop)
    }

    fn stored(&self) -> Option<Vec<u8>> {
        fs::read(self.dir.path().join(self.blob.digest.to_string())).ok()
    }

    fn ranges(&self) -> Vec<Option<u64>> {
        self.server.requests().into_iter().map(|(_, range)| range).collect()
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
    let result = download(&fetch.hub(), fetch.blob, fetch.dir.path(), &fetch.written, &may_go_on);
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
fn the_hub_says_how_to_connect_and_who_has_a_name() {
    let server = Server::start();
    let hub = Address::parse_hub(&server.url()).unwrap();
    assert!(matches!(connect(&hub), Err(HubError::NotFound { .. })));
    let text = format!(
        r#"{{"broker":"mqtt://127.0.0.1:99","lineage":"{}","signingKeys":["{}"]}}"#,
        "ab".repeat(16),
        "cd".repeat(32)
    );
    server.put("/lichen/v1/connect", text);
    assert_eq!(connect(&hub).unwrap().broker.port(), 99);
    server.put("/lichen/v1/connect", vec![b'x'; 100_000]);
    assert!(matches!(connect(&hub), Err(HubError::Answer { .. })));
    server.put("/lichen/v1/devices/pi/session", r#"{"agent":null}"#);
    assert_eq!(session(&hub, "pi").unwrap(), None);
    server.put("/lichen/v1/devices/pi/session", format!(r#"{{"agent":"{}"}}"#, "01".repeat(16)));
    assert_eq!(session(&hub, "pi").unwrap().unwrap().to_string(), "01".repeat(16));
    server.put("/lichen/v1/devices/pi/session", r#"{"agent":"x"}"#);
    assert!(matches!(session(&hub, "pi"), Err(HubError::Answer { .. })));
}

#[test]
fn a_hub_that_is_away_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = connect(&Address::parse_hub(&url).unwrap()).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&url), "{error}");
}
