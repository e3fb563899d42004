//! What the device tells on the spot: `lichen-agent status`, `events` and `logs`.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use firmware_compat::{
    id::{Hash, PodId},
    v1::owned::{Artefacts, Blob},
};
use support::{
    hub::Hub,
    machine::{Device, compile, container, program, wasm},
};

const ID: PodId = PodId([1; 16]);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn the_device_itself_tells_what_runs_and_why_not_without_its_hub() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start("pi").await;
    let mut device = Device::new(&dir.path().join("state"), &hub.http, "pi");
    device.start(&[]);
    let compiled = hub.http.put_artefact(&compile("hello.wat", dir.path()));
    let (good, mut bad) = (wasm(1, compiled), wasm(2, compiled));
    let missing = Artefacts::Wasm {
        module: Hash([9; 32]),
        compiled: Blob { digest: Hash([9; 32]), size: 10 },
    };
    bad.containers = vec![container("main", missing)].try_into().unwrap();
    hub.assign(&[good, bad]);
    hub.until_running(ID).await;
    let nobody = |hub: &Hub| hub.told.iter().any(|line| line.starts_with("NotFound"));
    hub.until("it should look for the module", nobody).await;
    let state = device.state.clone();
    let ask = |words: &[&str]| {
        let mut agent = std::process::Command::new(program("lichen-agent"));
        let done = agent.args(words).arg("--state").arg(&state).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.success(), text(done.stdout), text(done.stderr))
    };
    let (is_ok, status, _) = ask(&["status"]);
    assert!(is_ok && status.contains("device      pi, connected to its hub"), "{status}");
    assert!(status.contains("assignment  generation 1"), "{status}");
    let row = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(row("default/web-1").contains("Running"), "{status}");
    assert!(row("default/web-2").contains("NotFound: 1 artefact"), "{status}");
    let (is_ok, events, _) = ask(&["events"]);
    assert!(
        is_ok && events.contains("  Started  default/web-1  started with process id"),
        "{events}"
    );
    let (is_ok, log, _) = ask(&["logs", "web-1"]);
    assert!(is_ok && log.starts_with("hello from"), "{log}");
    let (is_ok, _, why) = ask(&["logs", "web-9"]);
    assert!(!is_ok && why.contains("has no pod web-9"), "{why}");
    let mode = fs::metadata(state.join("agent.sock")).unwrap().permissions().mode();
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o077, 0, "{mode:o}");
    device.kill();
    let (is_ok, _, why) = ask(&["status"]);
    assert!(!is_ok && why.contains("is it running"), "{why}");
}
