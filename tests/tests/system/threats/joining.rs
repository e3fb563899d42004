//! Joining by tokens that are used up, ended, deleted or another hub's, under names that are none or somebody else's.

use std::fs;

use lichen_tests::{clock::Clock, hub::Hub};
use serde_json::{Value, json};

use super::card::{Card, secret_of};
use crate::site::{DEVICE, Site};

/// A token that is made by command line.
fn token(hub: &Hub, words: &[&str]) -> String {
    secret_of(&hub.cli().run(&[&["token", "create"], words].concat()).well())
}

fn names(hub: &Hub) -> Vec<String> {
    let enrolments = hub.api().list("/apis/lichen.dev/v1/enrolments");
    enrolments.iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Asks with a key of its own, and gives the status.
fn try_to_join(card: &Card, name: &str, token: &str) -> u16 {
    card.make_key();
    card.enrol(&card.request(name, Some(token))).status
}

#[test]
#[ignore = "needs curl and openssl: run by make test"]
fn a_token_lets_in_as_many_as_it_says_and_none_when_it_is_deleted_or_made_up() {
    let hub = Hub::start();
    let card = Card::none(&hub);
    let once = token(&hub, &[]);
    assert_eq!(try_to_join(&card, "first", &once), 200);
    assert_eq!(try_to_join(&card, "second", &once), 403, "it was for one");
    let twice = token(&hub, &["--uses", "2"]);
    let tried = ["third", "fourth", "fifth"].map(|name| try_to_join(&card, name, &twice));
    assert_eq!(tried, [200, 200, 403]);

    let deleted = token(&hub, &["--uses", "9"]);
    hub.cli().run(&["token", "delete", deleted.split_once('.').unwrap().0]).well();
    let good = token(&hub, &["--uses", "9"]);
    let (id, secret) = good.split_once('.').unwrap();
    let other_hub = token(&Hub::start(), &["--uses", "9"]);
    let altered = format!("{id}.{}", secret.chars().rev().collect::<String>());
    let (shorter, longer) = (&good[..good.len() - 1], format!("{good}A"));
    for bad in [
        &deleted,
        &other_hub,
        &altered,
        shorter,
        &longer,
        &format!("{id}."),
        &format!(".{secret}"),
        id,
        "",
        ".",
        "*.*",
    ] {
        let status = try_to_join(&card, "sixth", bad);
        assert!(matches!(status, 400 | 403), "{bad:?}: {status}");
    }
    assert_eq!(names(&hub), ["first", "fourth", "third"]);
    assert_eq!(try_to_join(&card, "sixth", &good), 200, "the good one still is");
}

#[test]
#[ignore = "needs curl, openssl and faketime: run by make test"]
fn a_token_that_has_ended_stays_so_when_the_hubs_clock_goes_back() {
    let mut hub = Hub::start();
    let card = Card::none(&hub);
    let short = token(&hub, &["--ttl", "2h", "--uses", "9"]);
    assert_eq!(try_to_join(&card, "in-time", &short), 200);
    for clock in [Clock::fast_by_days(1), Clock::right(), Clock::at(1970)] {
        hub.kill();
        hub.set_clock(&clock);
        hub.start_again();
        assert_eq!(try_to_join(&card, "too-late", &short), 403, "{clock:?}");
    }
    assert_eq!(names(&hub), ["in-time"]);
}

#[test]
#[ignore = "needs curl and openssl: run by make test"]
fn names_that_are_none_make_no_device_and_no_file() {
    let hub = Hub::start();
    let card = Card::none(&hub);
    let good = token(&hub, &["--uses", "99"]);
    card.make_key();
    let long = "a".repeat(300);
    let before = files(&hub);
    for name in [
        "../pi",
        "..",
        ".",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "#",
        "+",
        "a#",
        "lichen/1/+/up",
        "$SYS",
        "all",
        "pi\u{0}",
        "\u{0}",
        "PI",
        "Pi",
        " pi",
        "pi ",
        "pi\n",
        "p\u{ed}",
        "\u{202e}pi",
        "-pi",
        "pi-",
        "a_b",
        "a.b",
        "%2e%2e",
        "system:node:pi",
        "",
        &long,
    ] {
        let answer = card.enrol(&card.request(name, Some(&good)));
        assert_eq!(answer.status, 400, "{name:?}: {answer:?}");
        let status: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(!status["message"].as_str().unwrap().is_empty(), "{name:?}");
    }
    for (field, value) in [
        ("csr", json!("nonsense")),
        ("csr", json!(null)),
        ("sealingKey", json!("AA==")),
        ("agent", json!("../..")),
        ("boot", json!("+")),
        ("name", json!(["pi"])),
        ("token", json!({"$ne": 1})),
    ] {
        let mut request = card.request("pi", Some(&good));
        request[field] = value.clone();
        assert_eq!(card.enrol(&request).status, 400, "{field}: {value}");
    }
    let mut vast = card.request("pi", Some(&good));
    vast["model"] = json!("x".repeat(10 << 20));
    let answer = card.enrol(&vast);
    assert!(matches!(answer.status, 0 | 400 | 413), "{answer:?}");
    assert_eq!(names(&hub), [""; 0]);
    assert_eq!(files(&hub), before);
    assert_eq!(card.enrol(&card.request("pi", Some(&good))).status, 200);
}

fn files(hub: &Hub) -> Vec<String> {
    let mut found = Vec::new();
    for dir in [hub.state(), hub.state().join("trust"), hub.state().join("artefacts")] {
        let entries = fs::read_dir(dir).unwrap().flatten();
        found.extend(entries.map(|entry| entry.path().display().to_string()));
    }
    found.sort();
    found
}

#[test]
#[ignore = "needs curl and openssl: run by make test"]
fn nobody_joins_or_renews_as_another_device() {
    let site = Site::new();
    let web = site.run_hello("web");
    let pid = site.pid_of(&web);
    let bad = Card::joined("mallory", &site.hub);
    // Under the name of one that is there, with a token that is good.
    let answer = bad.enrol(&bad.request(DEVICE, Some(&secret_of(&site.hub.token()))));
    assert_eq!(answer.status, 403, "{answer:?}");
    // With a request for a certificate in the other's name, and with the other's own request, of its key.
    let shown = ["--cert", "card.pem", "--key", "key.pem"];
    let victim = Card::copied(&site.agent, &site.hub);
    for csr in [bad.csr(DEVICE), bad.csr("x,O=system:masters"), victim.csr(DEVICE)] {
        let mut request = bad.request(DEVICE, None);
        request["csr"] = json!(csr);
        request["name"] = json!(DEVICE);
        let answer = bad.post("/lichen/v1/renew", &request, &shown);
        if answer.status == 200 {
            let said: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(said["name"], "mallory");
            fs::write(bad.path("new.pem"), said["certificate"].as_str().unwrap()).unwrap();
            let subject = bad.openssl("x509 -in new.pem -noout -subject");
            assert_eq!(subject.trim(), "subject=CN = mallory, O = lichen:device");
        }
    }
    // A request whose key is not that of who signed it is none.
    let mut altered = victim.csr(DEVICE).into_bytes();
    let at = altered.len() - 60;
    altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
    let mut request = bad.request("eve", Some(&secret_of(&site.hub.token())));
    request["csr"] = json!(String::from_utf8(altered).unwrap());
    assert_eq!(bad.enrol(&request).status, 400);
    // The other is what it was.
    assert_eq!(victim.ask_as_device("/lichen/v1/connect").status, 200);
    assert!(site.api().is_ready(DEVICE));
    assert_eq!(site.agent.log().matches("INFO connected").count(), 1);
    assert_eq!(site.agent.pid_of(&web.uid), Some(pid));
    assert_eq!(names(&site.hub), ["mallory", DEVICE]);
}
