//! `lichen login`: the first contact with a hub, and what is left of it in a kubeconfig.

use std::{fs, os::unix::fs::PermissionsExt};

use lichen_hub::cli::kubeconfig::Places;
use serde_json::{Value, json};

use super::{
    script::{Asked, Script, status, write},
    support::{admin_of, lichen},
};

const REVIEW: &str = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews";

fn answer(asked: &Asked) -> (u16, Value) {
    let is_known = asked.user.is_some() || asked.authorization.as_deref() == Some("Bearer good");
    match asked.line.as_str() {
        _ if !is_known => status(401, "Unauthorized", "Unauthorized"),
        REVIEW => (201, json!({"status": {"userInfo": {"username": "ann", "groups": ["ops"]}}})),
        "GET /version" => (200, json!({"gitVersion": "v1.32.0+lichen-0.1.0"})),
        _ => status(404, "NotFound", "there is no such path"),
    }
}

/// What the kubeconfig that `login` writes holds.
fn kubeconfig(hub: &Script) -> Value {
    let text = lichen(&hub.places(), "config view --raw -o json").well();
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_login_makes_a_context_that_works_and_that_nobody_else_reads() {
    let hub = Script::start(answer);
    let line = format!("login {} --token good --fingerprint {}", hub.address(), hub.fingerprint());
    let path = hub.path("own/kubeconfig");
    let name = hub.address();
    assert_eq!(
        lichen(&hub.places(), &line).well(),
        format!("logged in to {} as ann; context {name} is in {}\n", hub.url(), path.display())
    );
    assert_eq!(hub.asked()[0].body["kind"], "SelfSubjectReview");
    let mode =
        |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&hub.path("own"))), (0o600, 0o700));
    lichen(&hub.places(), "version").well();
    assert_eq!(hub.asked()[0].authorization.as_deref(), Some("Bearer good"));
    let written = kubeconfig(&hub);
    assert_eq!(written["current-context"], name);
    assert_eq!(written["users"], json!([{"name": name, "user": {"token": "good"}}]));
    let cluster = &written["clusters"][0]["cluster"];
    assert_eq!(
        (&cluster["server"], &cluster["tls-server-name"]),
        (&json!(hub.url()), &Value::Null)
    );
    assert_eq!(cluster["extensions"][0]["name"], "lichen.dev/hub");
}

#[test]
fn a_name_and_a_namespace_can_be_given_and_a_second_hub_beside_the_first() {
    let (one, two) = (Script::start(answer), Script::start(answer));
    let login = |hub: &Script, more: &str| {
        let (at, is) = (hub.address(), hub.fingerprint());
        lichen(&one.places(), &format!("login {at} --token good --fingerprint {is} {more}"))
    };
    login(&one, "--context barn -n shop").well();
    login(&two, "--context field").well();
    let said = lichen(&one.places(), "config get-contexts").well();
    let expected = "\
CURRENT   NAME    CLUSTER   AUTHINFO   NAMESPACE
          barn    barn      barn       shop
*         field   field     field\n";
    assert_eq!(said, expected);
    // A name stands for one hub.
    let err = login(&two, "--context barn").failed();
    assert!(err.contains("contexts[barn]: is there already, for something else"), "{err}");
    assert!(err.contains("lichen config delete-context barn"), "{err}");
    // To the same hub it is done as often as one likes, and keeps the namespace.
    login(&one, "--context barn").well();
    assert_eq!(lichen(&one.places(), "config get-contexts").well().matches("shop").count(), 1);
}

#[test]
fn whoever_is_not_the_hub_that_is_meant_is_sent_nothing() {
    let hub = Script::start(answer);
    let zeros = "0".repeat(64);
    let said = lichen(
        &hub.places(),
        &format!("login {} --token good --fingerprint {zeros}", hub.address()),
    );
    let err = said.failed();
    assert!(
        err.contains(&format!("has the fingerprint {}, not sha256:{zeros}", hub.fingerprint())),
        "{err}"
    );
    assert!(err.contains("nothing was sent to it"), "{err}");
    // Nobody can be asked here.
    let said = lichen(&hub.places(), &format!("login {} --token good", hub.address()));
    assert_eq!(said.code, 2);
    assert!(said.err.contains(&format!("--fingerprint {}", hub.fingerprint())), "{}", said.err);
    assert_eq!(hub.asked(), []);
    assert!(!hub.path("own").exists());
}

#[test]
fn credentials_that_are_not_good_are_not_kept() {
    let hub = Script::start(answer);
    let line = format!("login {} --token bad --fingerprint {}", hub.address(), hub.fingerprint());
    let err = lichen(&hub.places(), &line).failed();
    assert!(
        err.contains("does not know who is asking (Unauthorized): the token of the command line"),
        "{err}"
    );
    assert!(!hub.path("own").exists());
}

#[test]
fn a_hub_that_does_not_say_who_is_asking_is_asked_for_its_version() {
    let hub = Script::start(|asked| match asked.line.as_str() {
        "GET /version" => (200, json!({"gitVersion": "v1"})),
        _ => status(404, "NotFound", "there is no such path"),
    });
    let line = format!("login {} --token t --fingerprint {}", hub.address(), hub.fingerprint());
    let said = lichen(&hub.places(), &line).well();
    assert!(said.starts_with(&format!("logged in to {}; context ", hub.url())), "{said}");
    assert_eq!(hub.lines().last().map(String::as_str), Some("GET /version"));
}

#[test]
fn a_hub_that_moved_to_a_name_it_does_not_know_is_asked_for_the_name_of_all_hubs() {
    let hub = Script::start(answer);
    let server = relay(&hub.address());
    let line =
        format!("login {server} --token good --fingerprint {} --context moved", hub.fingerprint());
    lichen(&hub.places(), &line).well();
    assert_eq!(kubeconfig(&hub)["clusters"][0]["cluster"]["tls-server-name"], "lichen-hub");
    lichen(&hub.places(), "version").well();
}

/// Listens for a hub on a loopback address that is in no certificate; gives where.
fn relay(hub: &str) -> String {
    use std::{
        io,
        net::{TcpListener, TcpStream},
        thread,
    };
    let listener = TcpListener::bind("127.0.0.2:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let hub = hub.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(near), Ok(far)) = (stream, TcpStream::connect(&hub)) else { return };
            let pipe = |from: &TcpStream, to: &TcpStream| {
                let (mut from, mut to) =
                    (from.try_clone().expect("a copy"), to.try_clone().expect("a copy"));
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                })
            };
            pipe(&near, &far);
            pipe(&far, &near);
        }
    });
    address
}

#[test]
fn what_shows_no_authority_or_is_no_hub_is_told() {
    use tokio_rustls::rustls::{
        ServerConfig, crypto::ring::default_provider, pki_types::PrivatePkcs8KeyDer,
    };
    let dir = tempfile::tempdir().expect("a directory");
    let trust = lichen_trust::Trust::open(&dir.path().join("trust"), Vec::new()).expect("trust");
    let key = rcgen::KeyPair::generate().expect("a key");
    let own = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let own = own.self_signed(&key).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(std::sync::Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key.into())
        .expect("a configuration");
    let other = Script::start_with(dir, trust, config.into(), answer);
    let err = lichen(&other.places(), &format!("login {} --token t", other.address())).failed();
    assert!(
        err.contains("it shows no authority beside its certificate; is it a Lichen hub?"),
        "{err}"
    );
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let err = lichen(&other.places(), &format!("login {free} --token t")).failed();
    assert!(err.contains(&format!("no hub answers at https://{free} (the command line)")), "{err}");
}

#[test]
fn a_kubeconfig_that_was_handed_over_is_taken_in_with_the_files_that_it_names() {
    let hub = Script::start(answer);
    fs::create_dir(hub.path("handed")).expect("a directory");
    write(&hub.path("handed/ca.pem"), &hub.trust.bundle());
    let ann = hub.trust.client("ann", "ops", 3600).expect("issued");
    write(&hub.path("handed/ann.pem"), &ann.certificate);
    write(&hub.path("handed/ann.key"), &ann.key);
    let given = json!({
        "clusters": [{"name": "h", "cluster": {"server": hub.url(), "certificate-authority": "ca.pem"}}],
        "users": [{"name": "u", "user": {"client-certificate": "ann.pem", "client-key": "ann.key"}}],
        "contexts": [{"name": "c", "context": {"cluster": "h", "user": "u", "namespace": "shop"}}],
    });
    write(&hub.path("handed/kubeconfig"), &given.to_string());
    let line =
        format!("login --kubeconfig {} --context barn", hub.path("handed/kubeconfig").display());
    let said = lichen(&hub.places(), &line).well();
    assert!(said.contains(" as ann; context barn is in "), "{said}");
    fs::remove_dir_all(hub.path("handed")).expect("removed");
    lichen(&hub.places(), "version").well();
    assert_eq!(hub.asked().last().and_then(|asked| asked.user.clone()).as_deref(), Some("ann"));
    let written = kubeconfig(&hub);
    assert_eq!(written["contexts"][0]["context"]["namespace"], "shop");
    assert_eq!(written["clusters"][0]["cluster"]["extensions"][0]["name"], "lichen.dev/hub");
}

#[test]
fn what_is_there_already_is_kept_and_what_goes_before_is_told() {
    let hub = Script::start(answer);
    let shared = hub.path("shared");
    write(
        &shared,
        "{clusters: [{name: prod, cluster: {server: 'https://prod'}}], users: [{name: me, user: {exec: {command: aws}}}], current-context: prod, contexts: [{name: prod, context: {cluster: prod, user: me}}]}",
    );
    let places = Places { lichen: vec![shared.clone()], ..Places::default() };
    let line = format!(
        "login {} --token good --fingerprint {} --context barn",
        hub.address(),
        hub.fingerprint()
    );
    lichen(&places, &line).well();
    let text = fs::read_to_string(&shared).expect("there");
    for kept in ["name: prod", "server: https://prod", "command: aws", "current-context: barn"] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    // kubectl's list goes before what `login` writes.
    write(&hub.path("kube"), &admin_of(&hub.trust, &hub.url()));
    let places = Places { kubernetes: vec![hub.path("kube")], ..hub.places() };
    let said = lichen(&places, &line);
    assert!(
        said.err
            .contains("kube goes before, and says lichen; unset KUBECONFIG, or use --context barn"),
        "{said:?}"
    );
    said.well();
}

#[test]
fn a_login_wants_a_hub_and_a_token() {
    let hub = Script::start(answer);
    for (line, expected) in [
        ("login", "name the hub: lichen login HUB --token TOKEN"),
        ("login hub", "say who you are with --token TOKEN"),
        ("login hub --kubeconfig x --token t", "name a hub or a kubeconfig, not both"),
        ("login http://hub --token t", "http:// is not encrypted"),
        ("login hub --token t --fingerprint 12", "write the 64 hex digits"),
    ] {
        let said = lichen(&hub.places(), line);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(expected), "{line}: {}", said.err);
    }
}
