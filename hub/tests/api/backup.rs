//! A backup over the API: one at a time, given up when its reader goes, broken off when the hub stops.

use lichen_hub::server;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use tokio::{io::AsyncReadExt, time::timeout};

use crate::support::{DEADLINE, Hub, MAPS, config, config_map};

const PATH: &str = "/lichen/v1/backup";
/// More than a connection holds on its way.
const LARGE: usize = 24 << 20;

/// A hub of which a backup takes as long as its reader does.
async fn large() -> Hub {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut content = vec![0; LARGE];
    SystemRandom::new().fill(&mut content).expect("random numbers");
    let images = lichen_images::Store::open(&dir.path().join("artefacts")).expect("a store");
    images.put(&content, None).expect("stored");
    drop(images);
    let running = server::start(config(dir.path().to_owned())).await.expect("start");
    Hub { running, dir }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_backup_is_made_at_a_time_and_a_reader_who_has_gone_is_in_nobodys_way() {
    let hub = large().await;
    let first = hub.open("GET", PATH, &[], b"").await;
    assert_eq!((first.code, first.headers["cache-control"].as_str()), (200, "no-store"));
    assert!(!first.headers.contains_key("content-encoding"));
    let refusal = hub.get(PATH).await.refusal();
    assert!(
        refusal.starts_with("429 TooManyRequests: a backup of this hub is being made"),
        "{refusal}"
    );
    // What the hub is for goes on.
    hub.put("POST", MAPS, &config_map("a", json!({}), json!({}))).await.expect(201);
    drop(first);
    let again = async {
        while hub.get(&format!("{PATH}?artefacts=false")).await.code != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, again).await.expect("the first one is given up");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_a_stopping_hub_breaks_off_has_no_end() {
    let hub = large().await;
    let mut stream = hub.open("GET", PATH, &[], b"").await;
    let Hub { running, dir: _dir } = hub;
    let (stopped, read) = tokio::join!(timeout(DEADLINE, running.stop()), async {
        let mut bytes = Vec::new();
        let end = stream.reader.read_to_end(&mut bytes).await;
        (bytes, end)
    });
    stopped.expect("in time").expect("stop");
    let (bytes, end) = read;
    // The last chunk of a whole answer is empty.
    assert!(end.is_err() || !bytes.ends_with(b"0\r\n\r\n"), "it seems whole");
    assert!(bytes.len() < LARGE, "it was broken off");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let hub = Hub::start().await;
    let refusal = hub.get(&format!("{PATH}?keys=elsewhere")).await.refusal();
    assert!(refusal.starts_with("400 BadRequest: keys must be include, none or only"), "{refusal}");
    let refusal = hub.call("POST", PATH).await.refusal();
    assert!(refusal.starts_with("405 MethodNotAllowed"), "{refusal}");
    for body in [
        "",
        "{}",
        "{\"overlapS\": -1}",
        "{\"overlapS\": 1, \"x\": 1}",
        "{\"overlapS\": 99999999999999}",
    ] {
        let reply = hub.send("POST", "/lichen/v1/trust/rotate-ca", &[], body.as_bytes()).await;
        assert_eq!(reply.code, 400, "{body}: {}", reply.text());
    }
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_remembers_a_version_of_the_lost_hub_is_told_to_look_anew() {
    let hub = Hub::start().await;
    let listed = hub.get(MAPS).await.expect(200);
    let version = listed["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    let backup = hub.get(PATH).await;
    // It gives out some more, which the backup knows nothing of.
    let map = hub.put("POST", MAPS, &config_map("a", json!({}), json!({}))).await.expect(201);
    let later = map["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    hub.running.stop().await.expect("stop");

    let dir = tempfile::tempdir().expect("temporary directory");
    let mut bytes = backup.body.as_slice();
    let restore = lichen_hub::backup::restore::Restore {
        backup: &mut bytes,
        keys: None,
        state: dir.path(),
        secrets_key: &lichen_hub::store::KeySource::Own,
        replace: false,
    };
    lichen_hub::backup::restore::restore(restore).expect("restored");
    let running = server::start(config(dir.path().to_owned())).await.expect("start");
    let hub = Hub { running, dir };
    hub.put("POST", MAPS, &config_map("b", json!({}), json!({}))).await.expect(201);
    for version in [version, later] {
        let path = format!("{MAPS}?watch=true&resourceVersion={version}");
        let refusal = hub.get(&path).await.text();
        assert!(refusal.contains("list again and watch from there"), "{version}: {refusal}");
    }
    hub.running.stop().await.expect("stop");
}
