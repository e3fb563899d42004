//! Whoever is not recognised is told why, and nobody is taken for somebody else.

use axum::http::{HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lichen_hub_core::{api::Object, effect, event::Listing};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::server::clock::unix_ms;

const UID: &str = "11111111-2222-3333-4444-555555555555";

struct Gate {
    authenticator: Authenticator,
    cache: Arc<WatchCache>,
    _dir: tempfile::TempDir,
}

fn account(name: &str, uid: &str) -> Arc<Object> {
    let meta = json!({"name": name, "namespace": "shop", "uid": uid, "resourceVersion": "1"});
    Object::from_value(Kind::ServiceAccount, json!({"metadata": meta})).expect("an account").into()
}

/// A hub with the ServiceAccount `shop/ci`.
fn gate() -> Gate {
    let dir = tempfile::tempdir().expect("temporary directory");
    let cache = Arc::new(WatchCache::new());
    let objects = vec![account("ci", UID)];
    cache.seed(Kind::ServiceAccount, Listing { objects, resource_version: 1 });
    let time = KnownTime::load(dir.path()).expect("time").into();
    let authenticator =
        Authenticator::open(dir.path(), cache.clone(), time, Arc::default()).expect("a key");
    Gate { authenticator, cache, _dir: dir }
}

fn peer(certificate: Option<(&str, &[&str])>) -> Peer {
    let certificate = certificate.map(|(name, organizations)| ClientCertificate {
        common_name: name.to_owned(),
        organizations: organizations.iter().map(ToString::to_string).collect(),
        serial: vec![1],
        key: [1; 32],
        not_after: now_s() + 600,
    });
    let certificate = certificate.map(|certificate| (certificate, Verified::new(0, &[])));
    Peer { address: "192.0.2.1:5000".parse().expect("an address"), certificate }
}

fn now_s() -> u64 {
    unix_ms() / 1000
}

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).expect("a header");
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn claims() -> Claims {
    let account = Account { namespace: "shop".into(), name: "ci".into(), uid: UID.into() };
    let now_s = now_s();
    Claims { account, audiences: vec![AUDIENCE.into()], issued_s: now_s, expires_s: now_s + 600 }
}

impl Gate {
    fn token(&self, claims: &Claims) -> String {
        token::write(claims, &self.authenticator.key)
    }

    /// Name and groups, or why not.
    fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<(String, String), String> {
        let found =
            self.authenticator.identify(peer, headers).map_err(|error| error.to_string())?;
        assert_eq!(found.actor.from, Origin::Address(peer.address));
        Ok((found.actor.name.clone(), found.actor.groups.join(" ")))
    }

    /// What is said of a token that is shown over a connection that would be the admin's without one.
    fn refused(&self, token: &str) -> String {
        self.identify(&peer(Some(("ann", &["system:masters"]))), &bearer(token))
            .expect_err("refused")
    }
}

#[test]
fn each_way_to_show_who_one_is_makes_another_actor() {
    let gate = gate();
    let token = gate.token(&claims());
    let none = HeaderMap::new();
    let of = |certificate, headers: &HeaderMap| {
        let (name, groups) = gate.identify(&peer(certificate), headers).expect("recognised");
        format!("{name}: {groups}")
    };
    let ci = "system:serviceaccount:shop:ci: system:serviceaccounts system:serviceaccounts:shop system:authenticated";
    assert_eq!(of(None, &none), "system:anonymous: system:unauthenticated");
    assert_eq!(of(None, &bearer(&token)), ci);
    // A token counts, whatever else there is: whoever shows it wants to be nobody else.
    assert_eq!(of(None, &bearer(&token)), ci);
    assert_eq!(of(Some(("ann", &["system:masters"])), &bearer(&token)), ci);
    assert_eq!(of(Some(("ann", &["crew"])), &none), "ann: crew system:authenticated");
    assert_eq!(of(Some(("ann", &[])), &none), "ann: system:authenticated");
    let device = of(Some(("pi", &["crew", "lichen:device"])), &none);
    assert_eq!(device, "system:node:pi: system:nodes");
}

#[test]
fn a_certificate_that_has_ended_proves_nothing_any_more() {
    let gate = gate();
    let mut ended = peer(Some(("ann", &["system:masters"])));
    if let Some((certificate, _)) = &mut ended.certificate {
        certificate.not_after = now_s() - 600;
    }
    let said = gate.identify(&ended, &HeaderMap::new()).expect_err("refused");
    assert!(said.contains("the certificate of ann has ended, or its CA"), "{said}");
}

#[test]
fn a_connection_is_not_believed_when_the_authority_of_its_certificate_is_not() {
    let gate = gate();
    let peer = peer(Some(("ann", &["system:masters"])));
    let known = gate.authenticator.identify(&peer, &HeaderMap::new()).expect("believed");
    assert!(gate.authenticator.still_knows(&known));
    gate.authenticator.era.end();
    let said = gate.identify(&peer, &HeaderMap::new()).expect_err("refused");
    assert!(said.contains("the certificate of ann"), "{said}");
    assert!(!gate.authenticator.still_knows(&known), "a watch ends");
}

#[test]
fn a_watch_ends_with_the_certificate_of_its_reader() {
    let gate = gate();
    let known = gate.authenticator.identify(&peer(Some(("ann", &[]))), &HeaderMap::new());
    let known = known.expect("believed");
    assert!(gate.authenticator.still_knows(&known));
    let by = By::Certificate { not_after: now_s() - 1, verified: Verified::new(0, &[]) };
    assert!(!gate.authenticator.still_knows(&Identity { by, ..known }));
}

#[test]
fn a_token_is_good_for_its_time_and_its_account_alone() {
    let gate = gate();
    let now_s = now_s();
    let with = |change: &dyn Fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        gate.refused(&gate.token(&claims))
    };
    let expired = with(&|claims| claims.expires_s = now_s);
    assert!(expired.starts_with("the token has expired at 20"), "{expired}");
    let early = with(&|claims| {
        claims.issued_s = now_s + 3600;
        claims.expires_s = now_s + 7200;
    });
    assert!(early.contains("the hub's clock was set back"), "{early}");
    let gone =
        "the ServiceAccount shop/ci of the token has been deleted; ask for a token of another";
    assert_eq!(with(&|claims| claims.account.uid = "another".into()), gone);
    let elsewhere = with(&|claims| claims.account.namespace = "farm".into());
    assert!(elsewhere.contains("farm/ci"), "{elsewhere}");
    let others = with(&|claims| claims.audiences = vec!["vault".into(), "ci".into()]);
    assert_eq!(others, "the token is for vault, ci, not for this");
}

#[test]
fn a_token_ends_with_its_account() {
    let gate = gate();
    let headers = bearer(&gate.token(&claims()));
    let identity = gate.authenticator.identify(&peer(None), &headers).expect("recognised");
    assert!(gate.authenticator.still_knows(&identity));
    let change =
        |action, object, version| effect::Change { action, object, resource_version: version };
    gate.cache.take_in(vec![change(effect::Action::Deleted, account("ci", UID), 2)]);
    assert!(!gate.authenticator.still_knows(&identity));
    // Another of the same name is another.
    gate.cache.take_in(vec![change(effect::Action::Added, account("ci", "another"), 3)]);
    assert!(!gate.authenticator.still_knows(&identity));
    assert!(gate.identify(&peer(None), &headers).is_err());
}

/// A token in its three parts, decoded.
fn parts(token: &str) -> (Value, Value, Vec<u8>) {
    let parts: Vec<Vec<u8>> =
        token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64")).collect();
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).expect("JSON");
    (json(&parts[0]), json(&parts[1]), parts[2].clone())
}

fn joined(header: &Value, body: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (header, body) = (header.to_string(), body.to_string());
    [part(header.as_bytes()), part(body.as_bytes()), part(signature)].join(".")
}

#[test]
fn a_token_says_what_kubernetes_says() {
    let gate = gate();
    let (header, mut body, _) = parts(&gate.token(&claims()));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("JWT")));
    let id = body["jti"].take();
    assert_eq!(id.as_str().map(str::len), Some(32));
    let now_s = body["iat"].as_u64().expect("a time");
    assert_eq!(
        body,
        json!({
            "aud": ["https://lichen-hub"], "exp": now_s + 600, "iat": now_s, "nbf": now_s, "jti": null,
            "iss": "https://lichen-hub", "sub": "system:serviceaccount:shop:ci",
            "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "ci", "uid": UID}},
        })
    );
}

#[test]
fn nothing_of_a_token_can_be_altered() {
    let gate = gate();
    let (header, body, signature) = parts(&gate.token(&claims()));
    let altered = "the token was not made by this hub, or has been altered";
    let form = "the token is none of a ServiceAccount of this hub: it has another form";
    for (field, value) in [
        ("sub", json!("system:serviceaccount:shop:admin")),
        ("exp", json!(u64::MAX)),
        (
            "kubernetes.io",
            json!({"namespace": "farm", "serviceaccount": {"name": "ci", "uid": UID}}),
        ),
    ] {
        let mut body = body.clone();
        body[field] = value;
        assert_eq!(gate.refused(&joined(&header, &body, &signature)), altered, "{field}");
    }
    for (field, value, expected) in [
        ("alg", json!("none"), form),
        ("alg", json!("HS256"), form),
        ("typ", json!("JOSE"), form),
        ("kid", json!("x"), altered),
        ("jwk", json!({}), form),
    ] {
        let mut header = header.clone();
        header[field] = value;
        assert_eq!(gate.refused(&joined(&header, &body, &signature)), expected, "{field}");
        assert_eq!(gate.refused(&joined(&header, &body, b"")), expected, "{field}");
    }
    assert_eq!(gate.refused(&joined(&header, &body, b"")), altered);
    let whole = joined(&header, &body, &signature);
    assert_eq!(gate.refused(&format!("{whole}=")), form);
    assert_eq!(gate.refused(&format!("{whole}.{whole}")), altered);
    assert_eq!(gate.refused(&"x".repeat(token::MAX_TOKEN_BYTES + 1)), form);
    assert_eq!(gate.refused(""), form);
    let other = self::gate();
    assert_eq!(gate.refused(&other.token(&claims())), altered, "another hub's");
}

#[test]
fn what_this_key_has_signed_and_no_hub_writes_is_refused() {
    let gate = gate();
    let (header, body, _) = parts(&gate.token(&claims()));
    let signed = |body: &Value| {
        let whole = joined(&header, body, b"");
        let text = whole.trim_end_matches('.');
        let signature = URL_SAFE_NO_PAD.encode(gate.authenticator.key.sign(text.as_bytes()));
        format!("{text}.{signature}")
    };
    assert!(gate.identify(&peer(None), &bearer(&signed(&body))).is_ok());
    for (field, value) in [
        ("sub", json!("system:serviceaccount:shop:admin")),
        ("iss", json!("https://elsewhere")),
        ("nbf", json!(0)),
        ("aud", json!("https://lichen-hub")),
        ("exp", json!(-1)),
        ("admin", json!(true)),
        (
            "kubernetes.io",
            json!({"namespace": "shop", "serviceaccount": {"name": "ci", "uid": ""}}),
        ),
    ] {
        let mut body = body.clone();
        body[field] = value;
        let said = gate.refused(&signed(&body));
        assert!(said.contains("it has another form"), "{field}: {said}");
    }
}

#[test]
fn a_review_tells_whose_a_token_is_and_for_whom() {
    let gate = gate();
    let mut claims = claims();
    claims.audiences = vec!["vault".into(), "git".into()];
    let token = gate.token(&claims);
    let asked = |audiences: &[&str]| {
        let audiences: Vec<String> = audiences.iter().map(ToString::to_string).collect();
        gate.authenticator.recognise(&token, &audiences)
    };
    let (actor, both) = asked(&["git", "mail"]).expect("good");
    assert_eq!((actor.uid.as_str(), both), (UID, vec!["git".to_owned()]));
    assert_eq!(asked(&["mail"]), Err("the token is for vault, git, not for this".to_owned()));
    assert!(asked(&[]).is_err(), "not for the hub");
}

#[test]
fn a_token_is_made_as_it_is_asked_for() {
    let gate = gate();
    let account = gate.cache.get(&Key::new(Kind::ServiceAccount, "shop", "ci")).expect("there");
    let mut request = TokenRequest::default();
    request.default_fields();
    request.spec.expiration_seconds = Some(7200);
    let (token, expires_ms) = gate.authenticator.issue(account.meta(), &request);
    let (_, body, _) = parts(&token);
    assert_eq!(body["exp"].as_u64().map(|s| s * 1000), Some(expires_ms));
    assert_eq!(body["exp"].as_u64(), body["iat"].as_u64().map(|s| s + 7200));
    assert!(gate.identify(&peer(None), &bearer(&token)).is_ok());
    // The longest that may be asked for is one that is read.
    request.spec.audiences = vec!["x".repeat(256); 8];
    request.spec.audiences[0] = AUDIENCE.to_owned();
    let longest =
        ObjectMeta { name: "n".repeat(253), namespace: "s".repeat(63), ..account.meta().clone() };
    assert!(request.check().0.is_empty());
    let (token, _) = gate.authenticator.issue(&longest, &request);
    assert!(token::read(&token, &gate.authenticator.key).is_ok(), "{} bytes", token.len());
}

proptest! {
    #[test]
    fn any_text_is_a_token_or_refused(text in "[a-zA-Z0-9_.=-]{0,200}|.{0,60}") {
        let dir = tempfile::tempdir().expect("temporary directory");
        let key = SigningKey::open(dir.path()).expect("a key");
        prop_assert!(token::read(&text, &key).is_err());
    }
}
