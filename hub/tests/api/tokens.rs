//! Tokens of ServiceAccounts: who gets one, how long it is good, and everything that makes it good for nothing. The forged
//! ones are made here from the key in the hub's directory, by another hand than the hub's own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use lichen_hub::store::RedbStore;
use ring::{
    digest,
    signature::{Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{DEADLINE, Hub, RBAC};

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";
const TOKENS: &str = "/api/v1/namespaces/shop/serviceaccounts/ci/token";

/// A hub where the ServiceAccount `shop/ci` may view `shop`, and a token of it.
async fn start() -> (Hub, String) {
    let hub = Hub::start().await;
    let token = hub.token_of("shop", "ci").await;
    hub.bind("shop", "ci", "ClusterRole view", "ci").await;
    (hub, token)
}

fn claims(token: &str) -> Value {
    let body = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).expect("base64")).expect("JSON")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token with these claims, signed with the hub's own key.
fn forged(hub: &Hub, claims: &Value) -> String {
    let seed = fs::read_to_string(hub.dir.path().join("trust/tokens.key")).expect("the key");
    let seed: Vec<u8> = (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&seed[at..at + 2], 16).expect("hexadecimal"))
        .collect();
    let key = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
    let id = digest::digest(&digest::SHA256, key.public_key().as_ref());
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": hex(&id.as_ref()[..8])});
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_nobodys_even_on_this_machine() {
    let (hub, token) = start().await;
    hub.with_token(&token).get(MAPS).await.expect(200);
    let (other, foreign) = start().await;
    let mut altered = claims(&token);
    altered["sub"] = "system:serviceaccount:shop:admin".into();
    let parts: Vec<&str> = token.split('.').collect();
    let altered = [parts[0], &URL_SAFE_NO_PAD.encode(altered.to_string()), parts[2]].join(".");
    let unsigned =
        URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": "JWT", "kid": ""}).to_string());
    let unsigned = [&unsigned, parts[1], ""].join(".");
    for (bad, why) in [
        (foreign.as_str(), "was not made by this hub, or has been altered"),
        (&altered, "was not made by this hub, or has been altered"),
        (&unsigned, "it has another form"),
        ("x", "it has another form"),
    ] {
        for path in [MAPS, "/version", "/metrics", "/lichen/v1/images"] {
            let reply = hub.with_token(bad).get(path).await;
            assert_eq!(
                reply.headers.get("www-authenticate").map(String::as_str),
                Some("Bearer realm=\"lichen\"")
            );
            let refusal = reply.refusal();
            assert!(
                refusal.starts_with("401 Unauthorized: Unauthorized: ") && refusal.contains(why),
                "{path}: {refusal}"
            );
        }
    }
    let twice = [("authorization", "Bearer x"), ("authorization", "Bearer y")];
    for headers in [&[("authorization", "Negotiate x")][..], &twice] {
        let refusal = hub.send("GET", MAPS, headers, b"").await.refusal();
        assert!(refusal.contains("the Authorization header is not \"Bearer TOKEN\""), "{refusal}");
    }
    other.running.stop().await.expect("stop");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_over_when_it_says() {
    let (hub, token) = start().await;
    let with = |field: &str, value: Value| {
        let mut claims = claims(&token);
        claims[field] = value;
        forged(&hub, &claims)
    };
    hub.with_token(&with("exp", (now_s() + 600).into())).get(MAPS).await.expect(200);
    let refusal = hub.with_token(&with("exp", (now_s() - 1).into())).get(MAPS).await.refusal();
    assert!(refusal.contains("the token has expired at "), "{refusal}");
    // A stream that is open then ends too.
    let ending = with("exp", (now_s() + 3).into());
    let mut watch = hub.with_token(&ending).watch(&format!("{MAPS}?watch=true")).await;
    let end = async { while watch.next().await.is_some() {} };
    timeout(DEADLINE, end).await.expect("it ends in time");
    assert_eq!(hub.with_token(&ending).get(MAPS).await.code, 401);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_of_one_account_for_its_life() {
    let (hub, token) = start().await;
    hub.call("DELETE", "/api/v1/namespaces/shop/serviceaccounts/ci").await.expect(200);
    let deleted = "the ServiceAccount shop/ci of the token has been deleted";
    let refusal = hub.with_token(&token).get(MAPS).await.refusal();
    assert!(refusal.starts_with("401 Unauthorized") && refusal.contains(deleted), "{refusal}");
    // Another of the same name has the role, and another token.
    let new = hub.token_of("shop", "ci").await;
    hub.with_token(&new).get(MAPS).await.expect(200);
    let refusal = hub.with_token(&token).get(MAPS).await.refusal();
    assert!(refusal.contains(deleted), "{refusal}");
    // It goes with its namespace.
    hub.call("DELETE", "/api/v1/namespaces/shop").await.expect(200);
    assert_eq!(hub.with_token(&new).get(MAPS).await.code, 401);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_as_it_is_asked_for_or_refused_by_name() {
    let (hub, _) = start().await;
    let asked = |spec: Value| {
        let hub = &hub;
        async move {
            let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
            hub.put("POST", TOKENS, &body).await
        }
    };
    let made = asked(json!({"expirationSeconds": 7200})).await.expect(201);
    assert_eq!(
        (&made["kind"], &made["spec"]["expirationSeconds"]),
        (&json!("TokenRequest"), &json!(7200))
    );
    let token = made["status"]["token"].as_str().expect("a token");
    let claims = claims(token);
    assert_eq!(claims["exp"].as_u64(), claims["iat"].as_u64().map(|s| s + 7200));
    assert!(
        made["status"]["expirationTimestamp"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{made}"
    );
    let usual = asked(json!({})).await.expect(201);
    assert_eq!(usual["spec"]["expirationSeconds"], 3600);
    assert_eq!(usual["spec"]["audiences"], json!(["https://lichen-hub"]));

    for (spec, why) in [
        (json!({"expirationSeconds": 599}), "spec.expirationSeconds: must be from 600"),
        (
            json!({"expirationSeconds": 366 * 86_400 + 1}),
            "spec.expirationSeconds: must be from 600",
        ),
        (json!({"expirationSeconds": -1}), "spec.expirationSeconds: must be a whole number"),
        (
            json!({"boundObjectRef": {"kind": "Pod", "name": "x"}}),
            "spec.boundObjectRef: Lichen does not support this field",
        ),
        (json!({"audiences": vec!["x"; 9]}), "spec.audiences: at most 8"),
        (
            json!({"audience": "x"}),
            "spec.audience: Lichen does not support this field; did you mean audiences?",
        ),
    ] {
        let refusal = asked(spec).await.refusal();
        assert!(
            refusal.starts_with("422 Invalid: TokenRequest is invalid: ") && refusal.contains(why),
            "{refusal}"
        );
    }
    let refusal = hub.put("POST", TOKENS, &json!({"kind": "Pod"})).await.refusal();
    assert!(refusal.starts_with("400 BadRequest: the body is a Pod"), "{refusal}");
    let other =
        hub.put("POST", "/api/v1/namespaces/shop/serviceaccounts/x/token", &json!({})).await;
    assert_eq!(other.refusal(), "404 NotFound: serviceaccounts \"x\" not found");
    assert_eq!(hub.get(TOKENS).await.code, 404);

    // One for others is not for the hub.
    let made = asked(json!({"audiences": ["vault"]})).await.expect(201);
    let token = made["status"]["token"].as_str().expect("a token");
    let refusal = hub.with_token(token).get(MAPS).await.refusal();
    assert!(refusal.contains("the token is for vault, not for this"), "{refusal}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_makes_tokens() {
    let (hub, token) = start().await;
    let viewer = hub.with_token(&token);
    assert_eq!(viewer.put("POST", TOKENS, &json!({})).await.code, 403);
    hub.bind("shop", "ci-2", "ClusterRole edit", "ci").await;
    viewer.put("POST", TOKENS, &json!({})).await.expect(201);
    hub.token_of("farm", "ci").await;
    let elsewhere = "/api/v1/namespaces/farm/serviceaccounts/ci/token";
    assert_eq!(viewer.put("POST", elsewhere, &json!({})).await.code, 403);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_outlives_the_hubs_process_and_its_key_is_the_owners() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().to_owned();
    let start = || async {
        let store = RedbStore::open(&path).expect("a store");
        let config = crate::support::config(path.clone());
        lichen_hub::server::start_on(config, Box::new(store)).await.expect("start")
    };
    let hub = Hub { running: start().await, dir };
    let token = hub.token_of("shop", "ci").await;
    hub.bind("shop", "ci", "ClusterRole view", "ci").await;
    let Hub { running, dir } = hub;
    running.stop().await.expect("stop");
    let mode = |path: &str| {
        fs::metadata(dir.path().join(path)).expect("there").permissions().mode() & 0o777
    };
    assert_eq!((mode("trust"), mode("trust/tokens.key")), (0o700, 0o600));
    let hub = Hub { running: start().await, dir };
    hub.with_token(&token).get(MAPS).await.expect(200);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_pushed_and_pulled_by_who_may() {
    let (hub, token) = start().await;
    let ci = hub.with_token(&token);
    let denied = |reply: &crate::support::Reply| {
        assert_eq!(
            reply.headers.get("docker-distribution-api-version").map(String::as_str),
            Some("registry/2.0")
        );
        reply.json()["errors"][0]["code"].as_str().expect("a code").to_owned()
    };
    // Registries' clients show a token as a password.
    let basic = format!("Basic {}", STANDARD.encode(format!("ci:{token}")));
    let ping = hub.send("GET", "/v2/", &[("authorization", &basic)], b"").await;
    assert_eq!(ping.code, 200);
    let bad = hub.send("GET", "/v2/", &[("authorization", "Basic eDp5")], b"").await;
    assert_eq!((bad.code, denied(&bad).as_str()), (401, "UNAUTHORIZED"));
    assert_eq!(
        bad.headers.get("www-authenticate").map(String::as_str),
        Some("Basic realm=\"lichen\"")
    );

    let upload = "/v2/team/web/blobs/uploads/";
    let reply = ci.call("POST", upload).await;
    assert_eq!((reply.code, denied(&reply).as_str()), (403, "DENIED"));
    assert!(reply.text().contains("cannot create resource \\\"images\\\""), "{}", reply.text());
    let rule = json!({
        "verbs": ["get", "create", "update"], "apiGroups": ["lichen.dev"], "resources": ["images"],
        "resourceNames": ["team/web"],
    });
    hub.create(
        &format!("{RBAC}/clusterroles"),
        json!({"metadata": {"name": "pusher"}, "rules": [rule]}),
    )
    .await;
    hub.create(
        &format!("{RBAC}/clusterrolebindings"),
        json!({
            "metadata": {"name": "pusher"}, "roleRef": {"kind": "ClusterRole", "name": "pusher"},
            "subjects": [{"kind": "ServiceAccount", "name": "ci", "namespace": "shop"}],
        }),
    )
    .await;
    let begun = ci.call("POST", upload).await;
    assert_eq!(begun.code, 202);
    let id = begun.headers["location"].rsplit('/').next().expect("an id").to_owned();
    // An upload is of one image: nobody breaks into it by way of another.
    for method in ["PATCH", "PUT", "GET", "DELETE"] {
        let path = format!("/v2/team/other/blobs/uploads/{id}?digest=sha256:{}", "0".repeat(64));
        let reply = hub.call(method, &path).await;
        assert_eq!((reply.code, denied(&reply).as_str()), (404, "BLOB_UPLOAD_UNKNOWN"), "{method}");
    }
    assert_eq!(ci.get(&format!("{upload}{id}")).await.code, 204);
    assert_eq!(ci.get("/v2/team/web/manifests/1").await.code, 404);
    for (method, path) in [
        ("POST", "/v2/team/other/blobs/uploads/"),
        ("PUT", "/v2/team/other/manifests/1"),
        ("GET", "/v2/team/other/manifests/1"),
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/team/web/tags/list"),
        ("DELETE", "/v2/team/web/manifests/1"),
        ("DELETE", "/lichen/v1/images/team/web:1"),
        ("GET", "/lichen/v1/images"),
    ] {
        assert_eq!(ci.call(method, path).await.code, 403, "{method} {path}");
    }
    hub.running.stop().await.expect("stop");
}
