//! The registry and the artefacts: push in both ways, pull with ranges, and what is refused.

use lichen_images::Digest;
use serde_json::{Value, json};

use crate::support::{Hub, Reply};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Uploads a blob in one piece.
async fn push_blob(hub: &Hub, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let reply =
        hub.send("POST", &format!("/v2/app/blobs/uploads/?digest={digest}"), &[], bytes).await;
    assert_eq!(reply.code, 201, "{}", reply.text());
    assert_eq!(reply.headers["docker-content-digest"], digest.to_string());
    digest
}

/// Uploads a Wasm artefact's parts and gives its manifest.
async fn parts(hub: &Hub) -> Value {
    let (config, module) = (b"{}".as_slice(), b"\0asm\x01\0\0\0".as_slice());
    let (config_digest, module_digest) =
        (push_blob(hub, config).await, push_blob(hub, module).await);
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": config_digest, "size": config.len()},
        "layers": [{"mediaType": "application/wasm", "digest": module_digest, "size": module.len()}],
    })
}

async fn put_manifest(hub: &Hub, wanted: &str, manifest: &Value) -> Reply {
    let headers = [("content-type", MANIFEST)];
    hub.send(
        "PUT",
        &format!("/v2/app/manifests/{wanted}"),
        &headers,
        manifest.to_string().as_bytes(),
    )
    .await
}

fn denied(reply: &Reply) -> String {
    let error = &reply.json()["errors"][0];
    format!("{} {}", reply.code, error["code"].as_str().expect("a code"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pushed_named_and_pulled() {
    let hub = Hub::start().await;
    assert_eq!(hub.get("/v2/").await.headers["docker-distribution-api-version"], "registry/2.0");
    let manifest = parts(&hub).await;
    let pushed = put_manifest(&hub, "1.0", &manifest).await;
    assert_eq!(pushed.code, 201, "{}", pushed.text());
    let digest = Digest::of(manifest.to_string().as_bytes());
    assert_eq!(pushed.headers["docker-content-digest"], digest.to_string());

    for wanted in ["1.0", &digest.to_string()] {
        let pulled = hub.get(&format!("/v2/app/manifests/{wanted}")).await;
        assert_eq!((pulled.code, pulled.headers["content-type"].as_str()), (200, MANIFEST));
        assert_eq!(pulled.text(), manifest.to_string());
        let head = hub.call("HEAD", &format!("/v2/app/manifests/{wanted}")).await;
        assert_eq!((head.code, head.body.len()), (200, 0));
        assert_eq!(head.headers["content-length"], pulled.body.len().to_string());
    }
    assert_eq!(
        hub.get("/v2/app/tags/list").await.expect(200),
        json!({"name": "app", "tags": ["1.0"]})
    );
    assert_eq!(hub.get("/v2/_catalog").await.expect(200), json!({"repositories": ["app"]}));
    let images = hub.get("/lichen/v1/images").await.expect(200);
    assert_eq!(images["images"][0]["reference"], "app:1.0");
    assert_eq!(images["images"][0]["digest"], digest.to_string());

    hub.call("DELETE", "/lichen/v1/images/app:1.0").await.expect(200);
    assert_eq!(hub.get("/lichen/v1/images").await.expect(200)["images"], json!([]));
    assert_eq!(denied(&hub.get("/v2/app/manifests/1.0").await), "404 MANIFEST_UNKNOWN");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_pushed_in_chunks_and_goes_on_where_it_broke_off() {
    let hub = Hub::start().await;
    let started = hub.call("POST", "/v2/app/blobs/uploads/").await;
    assert_eq!(started.code, 202);
    let upload = started.headers["location"].clone();
    let first = hub.send("PATCH", &upload, &[("content-range", "0-4")], b"hello").await;
    assert_eq!((first.code, first.headers["range"].as_str()), (202, "0-4"));
    let gap = hub.send("PATCH", &upload, &[("content-range", "9-10")], b"xx").await;
    assert_eq!(denied(&gap), "416 BLOB_UPLOAD_INVALID");
    let stands = hub.get(&upload).await;
    assert_eq!((stands.code, stands.headers["range"].as_str()), (204, "0-4"));
    hub.send("PATCH", &upload, &[], b" wor").await;
    let digest = Digest::of(b"hello world");
    let done = hub.send("PUT", &format!("{upload}?digest={digest}"), &[], b"ld").await;
    assert_eq!(done.code, 201, "{}", done.text());
    assert_eq!(hub.get(&format!("/v2/app/blobs/{digest}")).await.text(), "hello world");
    assert_eq!(denied(&hub.get(&upload).await), "404 BLOB_UPLOAD_UNKNOWN");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_whole_or_not_right_is_refused_and_named_nothing() {
    let hub = Hub::start().await;
    let mut manifest = parts(&hub).await;
    manifest["layers"][0]["digest"] = Digest::of(b"absent").to_string().into();
    assert_eq!(denied(&put_manifest(&hub, "1.0", &manifest).await), "400 MANIFEST_BLOB_UNKNOWN");
    assert_eq!(denied(&put_manifest(&hub, "1.0", &json!({"x": 1})).await), "400 MANIFEST_INVALID");
    let wrong = Digest::of(b"other");
    let reply =
        hub.send("POST", &format!("/v2/app/blobs/uploads/?digest={wrong}"), &[], b"this").await;
    assert_eq!(denied(&reply), "400 DIGEST_INVALID");
    assert_eq!(denied(&hub.get(&format!("/v2/app/blobs/{wrong}")).await), "404 BLOB_UNKNOWN");
    assert_eq!(denied(&hub.get("/v2/App/tags/list").await), "400 NAME_INVALID");
    assert_eq!(denied(&hub.call("DELETE", "/v2/app/manifests/1.0").await), "405 UNSUPPORTED");
    assert_eq!(hub.get("/lichen/v1/images").await.expect(200)["images"], json!([]));
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artefact_is_served_whole_in_parts_and_not_at_all_if_it_is_there() {
    let hub = Hub::start().await;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    let digest = push_blob(&hub, &bytes).await;
    let path = format!("/artefacts/{digest}");
    let device = hub.join("pi").await;
    let whole = hub.ask_as(&device, "GET", &path, &[]).await;
    assert_eq!((whole.code, &whole.body), (200, &bytes));
    let tag = whole.headers["etag"].clone();

    let part = hub.ask_as(&device, "GET", &path, &[("range", "bytes=199990-")]).await;
    assert_eq!((part.code, part.body.as_slice()), (206, &bytes[199_990..]));
    assert_eq!(part.headers["content-range"], "bytes 199990-199999/200000");
    let beyond = hub.ask_as(&device, "GET", &path, &[("range", "bytes=200000-")]).await;
    assert_eq!((beyond.code, beyond.headers["content-range"].as_str()), (416, "bytes */200000"));
    let same = hub.ask_as(&device, "GET", &path, &[("if-none-match", &tag)]).await;
    assert_eq!((same.code, same.body.len()), (304, 0));
    let head = hub.ask_as(&device, "HEAD", &path, &[]).await;
    assert_eq!((head.code, head.headers["content-length"].as_str()), (200, "200000"));
    let absent = format!("/artefacts/{}", Digest::of(b"absent"));
    assert_eq!(hub.ask_as(&device, "GET", &absent, &[]).await.code, 404);
    assert_eq!(hub.ask_as(&device, "GET", "/artefacts/x", &[]).await.code, 400);
    // Operators have the registry for that.
    assert_eq!(hub.get(&path).await.code, 404);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs skopeo: run by make test"]
async fn skopeo_pushes_and_pulls() {
    use std::process::Command;
    let hub = Hub::start().await;
    let layout = hub.dir.path().join("layout");
    let root = hub.dir.path().join("root.tar");
    std::fs::write(&root, [0; 1024]).expect("an empty tar file");
    // A docker archive of one layer is the simplest image that skopeo reads.
    let run = |arguments: Vec<String>| async move {
        let output = tokio::task::spawn_blocking(move || {
            Command::new("skopeo").args(&arguments).output().expect("skopeo")
        });
        let output = output.await.expect("skopeo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    write_layout(&layout);
    let remote = format!("docker://{}/team/app:1", hub.running.api());
    let from = format!("oci:{}:1", layout.display());
    let trust = hub.dir.path().join("certificates");
    crate::joined::write_files(hub.dir.path(), &trust);
    let insecure = ["--insecure-policy".to_owned(), "copy".to_owned()];
    let mut push = insecure.to_vec();
    push.extend([format!("--dest-cert-dir={}", trust.display()), from, remote.clone()]);
    run(push).await;
    let images = hub.get("/lichen/v1/images").await.expect(200);
    assert_eq!(images["images"][0]["reference"], "team/app:1");
    let mut pull = insecure.to_vec();
    let to = format!("oci:{}:1", hub.dir.path().join("pulled").display());
    pull.extend([format!("--src-cert-dir={}", trust.display()), remote, to]);
    run(pull).await;
    hub.running.stop().await.expect("stop");
}

/// An OCI layout with one empty layer.
fn write_layout(dir: &std::path::Path) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("create");
    let add = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).expect("write");
        digest
    };
    let layer = [0; 1024];
    let layer_digest = add(&layer);
    let config = json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]}})
    .to_string();
    let config_digest = add(config.as_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": layer.len()}]})
    .to_string();
    let manifest_digest = add(manifest.as_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "digest": manifest_digest,
        "size": manifest.len(), "annotations": {"org.opencontainers.image.ref.name": "1"}}]});
    std::fs::write(dir.join("index.json"), index.to_string()).expect("write");
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("write");
}
