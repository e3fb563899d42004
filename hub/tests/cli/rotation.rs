//! `lichen hub trust`, `rotate-ca` and `rotate-signing-key`: keys change while the hub runs, and who is left behind is told.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::{
    joined::{self, Joined},
    machine::Machine,
};

const DAY: u64 = 24 * 3600;

/// A device's name is kept by nobody else; its requests come over its own certificate.
fn asks(hub: &Machine, device: &Joined, request: &str, body: &str) -> Result<Value, String> {
    let answer = joined::try_ask(hub.devices(), device.shows(), request, body)?;
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    match head.contains(" 200 ") {
        true => Ok(serde_json::from_str(body).expect("JSON")),
        false => Err(answer),
    }
}

fn renew(hub: &Machine, device: &Joined) -> Joined {
    let key = KeyPair::generate().expect("a key");
    let csr = CertificateParams::default().serialize_request(&key).expect("a request");
    let request = json!({
        "csr": csr.pem().expect("PEM"), "agent": "01".repeat(16), "boot": "02".repeat(16),
        "sealingKey": format!("{}=", "A".repeat(43)),
    });
    let facts = asks(hub, device, "POST /lichen/v1/renew", &request.to_string()).expect("renewed");
    let certificate = facts["certificate"].as_str().expect("a certificate").to_owned();
    Joined { certificate, key: key.serialize_pem(), facts }
}

/// The hub was off for so long.
fn pass(state: &Path, seconds: u64) {
    let file = state.join("trust/known-time");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    fs::write(file, format!("{}\n", now + seconds)).expect("written");
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn fingerprints(text: &str) -> usize {
    text.matches("sha256:").count()
}

#[test]
fn a_ca_is_changed_while_devices_and_operators_go_on_and_who_stays_away_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state");
    let hub = Machine::start(&state);
    let [stays, goes] =
        ["pi-1", "pi-2"].map(|name| joined::join(&state, hub.api(), hub.devices(), name));
    let before = hub.lichen("hub trust").well();
    assert!(before.contains("2 of 2 devices have a certificate of this CA"), "{before}");

    let said = hub.lichen("hub rotate-ca --overlap 20d");
    assert!(said.err.contains("lichen login") && said.err.contains("--bundle"), "{said:?}");
    let said = said.well();
    assert_eq!((fingerprints(&before), fingerprints(&said)), (1, 2), "{said}");
    assert!(said.contains("0 of 2 devices have a certificate of this CA"), "{said}");
    let refused = hub.lichen("hub rotate-ca").failed();
    assert!(refused.contains("is being changed already"), "{refused}");

    // Who knows the old one alone is let in, and learns of the new one.
    let facts = asks(&hub, &stays, "GET /lichen/v1/connect", "").expect("welcome");
    let ca = facts["ca"].as_str().expect("certificates");
    assert_eq!(ca.matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(hub.lichen("hub trust --bundle").well(), ca);
    let (unix_ms, by_ms) = (facts["unixMs"].as_u64(), facts["renewal"]["byMs"].as_u64());
    let left_ms = by_ms.zip(unix_ms).map(|(by, now)| by - now).expect("a time");
    assert!((9 * DAY * 1000..=10 * DAY * 1000).contains(&left_ms), "{left_ms}");
    let stays = renew(&hub, &stays);
    asks(&hub, &stays, "GET /lichen/v1/connect", "").expect("welcome");
    let shown = hub.lichen("hub trust").well();
    assert!(shown.contains("1 of 2 devices have a certificate of this CA"), "{shown}");
    drop(hub);

    pass(&state, 21 * DAY);
    let hub = Machine::start(&state);
    until("the old CA is given up", || fingerprints(&hub.lichen("hub trust").well()) == 1);
    asks(&hub, &stays, "GET /lichen/v1/connect", "").expect("welcome");
    asks(&hub, &goes, "GET /lichen/v1/connect", "").expect_err("it stayed away");
    until("it is told", || {
        let listed = hub.lichen("device list").well();
        let line = listed.lines().find(|line| line.starts_with("pi-2")).expect("pi-2");
        line.contains("of an old CA: join again")
    });
    let told = hub.lichen("device list -o yaml").well();
    assert!(told.contains("pi-2 was away"), "{told}");
    assert!(!told.contains("pi-1 was away"), "{told}");

    hub.lichen("device forget pi-2").well();
    let again = joined::join(&state, hub.api(), hub.devices(), "pi-2");
    asks(&hub, &again, "GET /lichen/v1/connect", "").expect("welcome");
    let shown = hub.lichen("hub trust").well();
    assert!(shown.contains("2 of 2 devices have a certificate of this CA"), "{shown}");
}

#[test]
fn a_stolen_ca_is_worth_nothing_at_once_if_there_is_no_overlap() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state");
    let hub = Machine::start(&state);
    let device = joined::join(&state, hub.api(), hub.devices(), "pi-1");
    let said = hub.lichen("hub rotate-ca --overlap 0s");
    assert!(said.err.contains("every device has to join again"), "{said:?}");
    assert_eq!(fingerprints(&said.well()), 1);
    asks(&hub, &device, "GET /lichen/v1/connect", "").expect_err("of the old CA");
    let listed = hub.lichen("device list").well();
    assert!(listed.contains("of an old CA: join again"), "{listed}");
}

#[test]
fn a_signing_key_is_changed_as_soon_as_nobody_needs_the_old_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let hub = Machine::start(&dir.path().join("state"));
    let key = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("signing key")).expect("a key");
        line.split_whitespace().nth(2).expect("a key").to_owned()
    };
    let old = key(&hub.lichen("hub trust").well());
    let said = hub.lichen("hub rotate-signing-key").well();
    let new = key(&said);
    assert_ne!(old, new);
    assert!(said.contains("0 of 0 devices know the newest key"), "{said}");
    until("the new one is alone", || {
        let shown = hub.lichen("hub trust").well();
        assert_eq!(key(&shown), new);
        !shown.contains(&old)
    });
}
