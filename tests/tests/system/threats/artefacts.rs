//! The devices' port over HTTP, as a device that was taken over uses it.

use lichen_tests::{hub::Hub, samples::hello_module};

use super::card::Card;

#[test]
#[ignore = "needs curl and openssl: run by make test"]
fn the_devices_port_hands_out_artefacts_by_digest_and_no_file_beside_them() {
    let hub = Hub::start();
    let said = hub.cli().push(&hello_module(), "hello:1");
    assert!(said.contains("sha256:"), "{said}");
    let card = Card::joined("mallory", &hub);
    let blobs = std::fs::read_dir(hub.state().join("artefacts")).unwrap().flatten();
    let digest = find(blobs.map(|entry| entry.path()).collect()).expect("what was pushed");
    // Any digest that a device knows is as good as what it names, also if it is for another device.
    let answer = card.ask_as_device(&format!("/artefacts/sha256:{digest}"));
    assert_eq!(answer.status, 200);
    assert_eq!(card.ask(&format!("/artefacts/sha256:{digest}"), &[]).status, 401, "nobody");
    for path in [
        "/artefacts/",
        "/artefacts",
        "/artefacts/*",
        "/artefacts/sha256:",
        "/artefacts/sha256:..",
        "/artefacts/../hub.redb",
        "/artefacts/../../hub.redb",
        "/artefacts/..%2f..%2fhub.redb",
        "/artefacts/sha256:..%2f..%2ftrust%2fca.key",
        "/artefacts/%2e%2e/trust/ca.key",
        "/artefacts/sha256:%00",
        "/artefacts/lock",
        "/artefacts/sha512:00",
        "/trust/ca.key",
        "/",
        "/lichen/v1/enrol/../../../trust/ca.key",
        "/api/v1/secrets",
        "/lichen/v1/backup",
        "/lichen/v1/trust",
        "/v2/",
        "/metrics",
    ] {
        let answer = card.ask_as_device(path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        assert!(!answer.body.contains("PRIVATE KEY"), "{path}");
    }
    let whole = format!("/artefacts/sha256:{digest}");
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        let shown = ["--cert", "card.pem", "--key", "key.pem", "-X", method, "-d", "x"];
        let answer = card.ask(&whole, &shown);
        assert_eq!(answer.status, 405, "{method}: {answer:?}");
    }
    for range in
        ["bytes=0-99999999999999999999", "bytes=-1,-2", "bytes=9-1", "bytes=abc", "lines=1-2"]
    {
        let shown = ["--cert", "card.pem", "--key", "key.pem", "-H", &format!("range: {range}")];
        let answer = card.ask(&whole, &shown);
        assert!(matches!(answer.status, 200 | 206 | 400 | 416), "{range}: {answer:?}");
    }
    assert_eq!(card.ask_as_device(&whole).status, 200, "and it is still there");
}

/// The name of a file that is named by a digest.
fn find(mut paths: Vec<std::path::PathBuf>) -> Option<String> {
    while let Some(path) = paths.pop() {
        let name = path.file_name()?.to_str()?;
        if path.is_dir() {
            paths.extend(std::fs::read_dir(&path).ok()?.flatten().map(|entry| entry.path()));
        } else if name.len() == 64 {
            return Some(name.to_owned());
        }
    }
    None
}
