//! Whom the command line believes, who it says is asking, and what it says when one of both is wrong.

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    sync::Arc,
    thread,
};

use lichen_hub::cli::kubeconfig::{Places, admin};
use lichen_trust::{Credentials, Trust};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{
    script::{Asked, Script, status, write},
    support::{Hub, Said, admin_of, alone, lichen},
};

const VERSION: &str = "v1.32.0+lichen-0.1.0";

fn answer(asked: &Asked) -> (u16, Value) {
    match asked.line.as_str() {
        "GET /version" => (200, json!({"gitVersion": VERSION})),
        _ => status(404, "NotFound", "there is no such path"),
    }
}

fn nobody(_: &Asked) -> (u16, Value) {
    status(401, "Unauthorized", "Unauthorized")
}

/// Runs `lichen version` with a kubeconfig.
fn version(dir: &Path, kubeconfig: &str, more: &str) -> Said {
    let path = dir.join("given.kubeconfig");
    write(&path, kubeconfig);
    lichen(&Places::default(), &format!("version --kubeconfig {} {more}", path.display()))
}

/// The kubeconfig of a hub's owner with something changed in it.
fn changed(hub: &Script, from: &str, to: &str) -> String {
    let text = admin_of(&hub.trust, &hub.url());
    assert!(text.contains(from), "{from}: {text}");
    text.replacen(from, to, 1)
}

/// A kubeconfig of a hub for a user, as JSON.
fn config(hub: &Script, user: &Value) -> String {
    let ca = hub.trust.bundle();
    write(&hub.path("ca.pem"), &ca);
    json!({
        "current-context": "c",
        "clusters": [{"name": "h", "cluster": {"server": hub.url(), "certificate-authority": "ca.pem"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "h", "user": "u"}}],
    })
    .to_string()
}

#[test]
fn the_hub_is_believed_for_its_authority_and_knows_who_is_asking() {
    let hub = Script::start(answer);
    let said = hub.lichen("version").well();
    assert!(said.contains(&format!("\nhub    0.1.0 at {}, ", hub.url())), "{said}");
    assert!(said.contains(&hub.fingerprint()), "{said}");
    let asked = hub.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].user.as_deref(), asked[0].authorization.as_deref()),
        (Some("system:admin"), None)
    );
}

#[test]
fn a_token_is_sent_in_place_of_a_certificate() {
    let hub = Script::start(answer);
    hub.lichen("version --token abc.def").well();
    version(hub.dir.path(), &config(&hub, &json!({"token": "abc.def"})), "").well();
    write(&hub.path("token"), "abc.def\n");
    version(hub.dir.path(), &config(&hub, &json!({"tokenFile": "token", "token": "old"})), "")
        .well();
    for asked in hub.asked() {
        assert_eq!((asked.user, asked.authorization.as_deref()), (None, Some("Bearer abc.def")));
    }
    let said = version(hub.dir.path(), &config(&hub, &json!({})), "");
    said.well();
    assert_eq!(hub.asked()[0].authorization, None);
}

#[test]
fn another_hub_is_sent_nothing_and_both_authorities_are_named() {
    let (ours, theirs) = (Script::start(answer), Script::start(answer));
    let kubeconfig = admin_of(&ours.trust, &theirs.url());
    let err = version(ours.dir.path(), &kubeconfig, "").failed();
    let expected = format!(
        "the hub at {} is not believed to be the one of context lichen of {}: its authority has the fingerprint {}, \
         expected is {}; if the hub was set up anew: lichen login {} --token TOKEN",
        theirs.url(),
        ours.path("given.kubeconfig").display(),
        theirs.fingerprint(),
        ours.fingerprint(),
        theirs.address(),
    );
    assert_eq!(err, format!("error: {expected}\n"));
    // One of two authorities does, as while the hub changes from one to the other.
    let both = json!({
        "current-context": "c",
        "clusters": [{"name": "h", "cluster": {"server": theirs.url(), "certificate-authority": "both.pem"}}],
        "contexts": [{"name": "c", "context": {"cluster": "h"}}],
    });
    write(&ours.path("both.pem"), &format!("{}{}", ours.trust.bundle(), theirs.trust.bundle()));
    assert_eq!(theirs.asked(), []);
    version(ours.dir.path(), &both.to_string(), "").well();
}

#[test]
fn the_hubs_certificate_must_be_for_the_name_that_is_asked_for() {
    let hub = Script::start(answer);
    let localhost = format!("https://localhost:{}", hub.port());
    version(hub.dir.path(), &admin_of(&hub.trust, &localhost), "").well();
    let named = |name: &str| {
        changed(&hub, "    server:", &format!("    tls-server-name: {name}\n    server:"))
    };
    version(hub.dir.path(), &named("lichen-hub"), "").well();
    hub.asked();
    let err = version(hub.dir.path(), &named("hub.example"), "").failed();
    assert!(
        err.contains("its certificate is not for hub.example but for lichen-hub, localhost, "),
        "{err}"
    );
    assert!(err.contains("start the hub with --advertise hub.example"), "{err}");
    assert_eq!(hub.asked(), []);
}

#[test]
fn a_hub_whose_certificate_has_ended_is_told_with_both_times() {
    let dir = tempfile::tempdir().expect("a directory");
    let trust = Trust::open(&dir.path().join("trust"), Vec::new()).expect("trust");
    let (authority, config) = ended();
    let hub = Script::start_with(dir, trust, config, answer);
    let ca = hub.trust.bundle();
    let kubeconfig = config_with(&hub, &authority);
    assert_ne!(ca, authority);
    let err = version(hub.dir.path(), &kubeconfig, "").failed();
    assert!(
        err.contains("its certificate has ended at 2001-01-01T00:00:00Z, and it is 2"),
        "{err}"
    );
    assert!(err.contains("is this machine's clock right?"), "{err}");
}

fn config_with(hub: &Script, authority: &str) -> String {
    let text = config(hub, &json!({}));
    write(&hub.path("ca.pem"), authority);
    text
}

/// An authority, and a server with a certificate of it that ended long ago.
fn ended() -> (String, Arc<ServerConfig>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    let leaf = params.signed_by(&own, &issuer).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone(), authority.der().clone()], key)
        .expect("a configuration");
    (authority.pem(), Arc::new(config))
}

#[test]
fn credentials_that_are_not_good_are_told_with_what_is_known_of_them() {
    let hub = Script::start(nobody);
    let Credentials { certificate, key } = hub.trust.client("ann", "ops", 0).expect("issued");
    let ended = admin::admin_kubeconfig(&hub.url(), &hub.trust.bundle(), &certificate, &key);
    let good = admin_of(&hub.trust, &hub.url());
    let token = config(&hub, &json!({"token": "t"}));
    let none = config(&hub, &json!({}));
    for (kubeconfig, expected) in [
        (ended.as_str(), "the client certificate of context lichen of "),
        (ended.as_str(), " has ended at 20"),
        (good.as_str(), " is not good, or no longer; log in again: lichen login "),
        (token.as_str(), "the token of context c of "),
        (none.as_str(), "given.kubeconfig has no credentials"),
    ] {
        let err = version(hub.dir.path(), kubeconfig, "").failed();
        assert!(err.contains(expected), "{expected}: {err}");
        assert!(err.contains("does not know who is asking (Unauthorized)"), "{err}");
    }
}

#[test]
fn a_client_certificate_of_another_hub_is_told() {
    let (ours, theirs) = (Script::start(answer), Script::start(answer));
    let foreign = theirs.trust.client("ann", "ops", 3600).expect("issued");
    let kubeconfig = admin::admin_kubeconfig(
        &ours.url(),
        &ours.trust.bundle(),
        &foreign.certificate,
        &foreign.key,
    );
    // What the hub says may come when the request is on its way already, and is told all the same.
    for _ in 0..10 {
        let err = version(ours.dir.path(), &kubeconfig, "").failed();
        assert!(err.contains("does not take the client certificate of context lichen of"), "{err}");
        assert!(err.contains("UnknownCA"), "{err}");
    }
    assert_eq!(ours.asked(), []);
}

#[test]
fn who_is_not_allowed_is_told_in_kubernetes_words() {
    let hub = Script::start(|_| {
        status(403, "Forbidden", "nodes is forbidden: User \"ann\" cannot list resource \"nodes\"")
    });
    let err = hub.lichen("version").failed();
    assert_eq!(err, "error: nodes is forbidden: User \"ann\" cannot list resource \"nodes\"\n");
}

#[test]
fn what_is_no_hub_is_told() {
    let hub = Script::start(answer);
    let plain = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = plain.local_addr().expect("an address");
    let serving = thread::spawn(move || {
        let (mut stream, _) = plain.accept().expect("a client");
        let mut hello = [0; 16];
        stream.read_exact(&mut hello).expect("a hello");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("an answer");
        // Until the client has read it and goes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let err = hub.lichen(&format!("version --server {address}")).failed();
    assert!(
        err.contains(&format!("what answers at https://{address} does not speak TLS")),
        "{err}"
    );
    serving.join().expect("it ends");
    // Nobody listens there any more.
    let err = hub.lichen(&format!("version --server {address}")).failed();
    assert!(
        err.contains(&format!("no hub answers at https://{address} (context lichen of ")),
        "{err}"
    );
    assert!(err.contains("start one with `lichen hub`, or name another with --context"), "{err}");
    // A hub of which nothing is known is not asked either.
    let err = alone(&format!("version --server {}", hub.address())).failed();
    assert!(err.contains(&format!("nothing is known of the hub at {}", hub.url())), "{err}");
    assert_eq!(hub.asked(), []);
    let refused = hub.lichen("version --server http://127.0.0.1:6180");
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("write https://127.0.0.1:6180"), "{}", refused.err);
}

#[test]
fn what_can_not_be_honoured_is_refused_with_its_place() {
    let hub = Script::start(answer);
    let user = |user: Value| config(&hub, &user);
    let cluster = |line: &str| changed(&hub, "    server:", &format!("    {line}\n    server:"));
    for (kubeconfig, expected) in [
        (
            user(json!({"exec": {"command": "aws"}})),
            "users[u].user.exec: is not supported; a hub takes",
        ),
        (
            user(json!({"auth-provider": {"name": "x"}})),
            "users[u].user.auth-provider: is not supported",
        ),
        (
            user(json!({"username": "a", "password": "geheim"})),
            "users[u].user.password: is not supported",
        ),
        (user(json!({"as": "root"})), "users[u].user.as: acting as somebody else"),
        (user(json!({"later": "geheim"})), "users[u].user.later: is not known here"),
        (user(json!({"token": 7})), "users[u].user.token: must be a text"),
        (user(json!({"token": "ge heim"})), "users[u].user.token: a token has no spaces"),
        (user(json!({"tokenFile": "absent"})), "users[u].user.tokenFile: there is no file "),
        (
            user(json!({"client-key-data": "geheim"})),
            "users[u].user.client-key-data: is not base64",
        ),
        (
            user(json!({"client-key": "ca.pem"})),
            "users[u].user.client-certificate-data: is missing",
        ),
        (
            user(json!({"client-key": "ca.pem", "client-certificate": "ca.pem"})),
            "users[u].user.client-key: it holds no PRIVATE KEY",
        ),
        (
            cluster("insecure-skip-tls-verify: true"),
            "cluster.insecure-skip-tls-verify: a hub that isn't verified",
        ),
        (cluster("proxy-url: socks5://x"), "cluster.proxy-url: proxies are not supported"),
        (cluster("tls-server-name: a b"), "cluster.tls-server-name: is neither a DNS name"),
        (
            changed(&hub, "server: https", "server: http"),
            "clusters[lichen].cluster.server: http:// is not encrypted",
        ),
        (
            changed(&hub, "    certificate-authority-data", "    x"),
            "clusters[lichen].cluster.x: is not known here",
        ),
        (
            changed(&hub, "    cluster: lichen", "    cluster: other"),
            "there is no cluster \"other\"",
        ),
        (changed(&hub, "user: lichen-admin", "user: other"), "there is no user \"other\""),
    ] {
        let err = version(hub.dir.path(), &kubeconfig, "").failed();
        assert!(err.contains(expected) && !err.contains("geheim"), "{expected}: {err}");
        assert!(err.contains("given.kubeconfig: "), "{err}");
    }
    // What has no effect is no obstacle.
    version(hub.dir.path(), &cluster("insecure-skip-tls-verify: false"), "").well();
    version(hub.dir.path(), &cluster("proxy-url: \"\""), "").well();
}

#[test]
fn what_is_followed_comes_over_tls_as_it_happens() {
    use lichen_hub::cli::{
        client::{Client, Form, News, Selectors},
        discovery::ApiResource,
        kubeconfig::Choice,
    };
    use lichen_hub_core::api::Kind;
    let hub = Hub::start();
    let choice = Choice { kubeconfig: Some(hub.kubeconfig()), ..Choice::default() };
    let client = Client::new(choice, false);
    let mut follow = client.follow(
        &ApiResource::known(Kind::ConfigMap),
        Some("default"),
        Selectors::default(),
        Form::Objects,
        None,
    );
    let first = follow.next_news().expect("news");
    assert!(matches!(first, Some(News::All(_))), "{first:?}");
    let file = hub.file("a.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}");
    hub.lichen(&format!("apply -f {file}")).well();
    match follow.next_news().expect("news") {
        Some(News::Changed(item)) => assert_eq!(item.name(), "a"),
        other => panic!("{other:?}"),
    }
}
