//! Handshakes with certificates of ours, of others, and of the past.

mod broker;
mod rotation;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use base64::Engine as _;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, Error, HandshakeKind, RootCertStore, ServerConnection,
    StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::*;

const DAY: u64 = 24 * 3600;

fn trust() -> (tempfile::TempDir, Trust) {
    let dir = tempfile::tempdir().unwrap();
    let trust = Trust::open(&dir.path().join("trust"), vec!["hub.example".into()]).unwrap();
    (dir, trust)
}

fn csr() -> (KeyPair, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "system:admin");
    params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    (key, csr)
}

fn pem_of(tag: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {tag}-----\n{text}\n-----END {tag}-----\n")
}

/// Settings of a client that believes these authorities, and shows this certificate and what leads on from it.
fn client_config(roots: &str, client: Option<(&str, &str)>) -> ClientConfig {
    let certificates = |pem: &str| {
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap()
    };
    let mut store = RootCertStore::empty();
    for root in certificates(roots) {
        store.add(root).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(certificates(chain), key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    config
}

/// What a server of `trust` sees of a client with this certificate.
fn handshake(
    trust: &Trust,
    server: &str,
    roots: &str,
    client: Option<(&str, &str)>,
) -> Result<Option<ClientCertificate>, Error> {
    let config = Arc::new(client_config(roots, client));
    meet(&trust.server_config(&[b"mqtt"]), server, &config).map(|met| met.client)
}

/// What two sides saw of each other.
struct Met {
    client: Option<ClientCertificate>,
    server: Vec<CertificateDer<'static>>,
    kind: HandshakeKind,
}

fn meet(
    config: &Arc<rustls::ServerConfig>,
    server: &str,
    client: &Arc<ClientConfig>,
) -> Result<Met, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = config.clone();
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(config).unwrap();
        let mut tls = StreamOwned::new(connection, stream);
        let mut byte = [0];
        let read = tls.read_exact(&mut byte);
        let seen = tls.conn.peer_certificates().and_then(|chain| chain.first().cloned());
        let _ = tls.write_all(b"y").and_then(|()| tls.flush());
        read.ok().map(|()| seen.map(|der| ClientCertificate::read(&der).unwrap()))
    });
    let name = ServerName::try_from(server.to_owned()).unwrap();
    let connection = ClientConnection::new(client.clone(), name).unwrap();
    let mut tls = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    let mut byte = [0];
    // A ticket comes before the answer.
    let met = tls.write_all(b"x").and_then(|()| tls.read_exact(&mut byte));
    let chain = tls.conn.peer_certificates().unwrap_or_default().to_vec();
    let server = chain.into_iter().map(CertificateDer::into_owned).collect();
    let kind = tls.conn.handshake_kind();
    drop(tls);
    match serving.join().unwrap() {
        Some(client) if met.is_ok() => Ok(Met { client, server, kind: kind.unwrap() }),
        _ => Err(Error::General(format!("{met:?}"))),
    }
}

#[test]
fn a_device_gets_a_certificate_for_its_name_whatever_its_request_says() {
    let (_dir, trust) = trust();
    let (key, csr) = csr();
    let issued = trust.device(&csr, "pi-1", 90 * DAY).unwrap();
    assert_eq!(Trust::key_of(&csr).unwrap(), issued.key);
    let key = key.serialize_pem();
    let seen = handshake(&trust, HUB_NAME, &trust.bundle(), Some((&issued.certificate, &key)));
    let seen = seen.unwrap().unwrap();
    assert_eq!(seen.common_name, "pi-1");
    assert_eq!(seen.organizations, [DEVICES]);
    assert!(seen.is_device());
    assert_eq!((&seen.serial, seen.not_after), (&issued.serial, issued.not_after));
    assert_eq!(seen.key, issued.key);
    let asked = trust.time().now() + 90 * DAY;
    assert!((asked - 90 * DAY / 64 - 5..=asked).contains(&issued.not_after));
}

#[test]
fn an_operator_has_the_group_that_was_given_and_is_no_device() {
    let (_dir, trust) = trust();
    let admin = trust.client("system:admin", "system:masters", DAY).unwrap();
    let client = Some((admin.certificate.as_str(), admin.key.as_str()));
    let seen = handshake(&trust, "localhost", &trust.bundle(), client).unwrap().unwrap();
    assert_eq!(seen.common_name, "system:admin");
    assert_eq!(seen.organizations, ["system:masters"]);
    assert!(!seen.is_device());
}

#[test]
fn the_hub_is_known_by_every_name_that_it_advertises_and_no_other() {
    let (_dir, trust) = trust();
    for name in [HUB_NAME, "localhost", "127.0.0.1", "::1", "hub.example"] {
        assert_eq!(handshake(&trust, name, &trust.bundle(), None).unwrap(), None, "{name}");
    }
    assert!(handshake(&trust, "other.example", &trust.bundle(), None).is_err());
}

#[test]
fn a_certificate_that_has_ended_is_let_through_and_says_so() {
    let (_dir, trust) = trust();
    let (key, csr) = csr();
    let long_ago = trust.authority().device(&csr, "pi-1", 0, 1_000_000_000).unwrap();
    let client = (long_ago.certificate.as_str(), key.serialize_pem());
    let seen = handshake(&trust, HUB_NAME, &trust.bundle(), Some((client.0, &client.1)));
    assert_eq!(seen.unwrap().unwrap().not_after, 1_000_000_000);
}

#[test]
fn the_certificates_of_another_hub_are_refused_by_both_sides() {
    let (_dir, ours) = trust();
    let (_other_dir, theirs) = trust();
    assert_ne!(ours.fingerprint(), theirs.fingerprint());
    let foreign = theirs.client("pi-1", DEVICES, DAY).unwrap();
    let client = Some((foreign.certificate.as_str(), foreign.key.as_str()));
    assert!(handshake(&ours, HUB_NAME, &ours.bundle(), client).is_err());
    assert!(handshake(&ours, HUB_NAME, &theirs.bundle(), None).is_err());
}

#[test]
fn a_server_certificate_is_no_client_certificate() {
    let (_dir, trust) = trust();
    let (own, key) = trust.authority().server(Vec::new(), trust.time().now() + DAY).unwrap();
    let (certificate, key) = (pem_of("CERTIFICATE", &own), pem_of("PRIVATE KEY", key.secret_der()));
    let client = Some((certificate.as_str(), key.as_str()));
    assert!(handshake(&trust, HUB_NAME, &trust.bundle(), client).is_err());
}

#[test]
fn the_same_directory_is_the_same_hub() {
    let (dir, trust) = trust();
    let again = Trust::open(&dir.path().join("trust"), Vec::new()).unwrap();
    assert_eq!(trust.fingerprint(), again.fingerprint());
    let (key, csr) = csr();
    let issued = trust.device(&csr, "pi-1", DAY).unwrap();
    let client = (issued.certificate.as_str(), key.serialize_pem());
    let seen = handshake(&again, HUB_NAME, &trust.bundle(), Some((client.0, &client.1)));
    assert_eq!(seen.unwrap().unwrap().common_name, "pi-1");
}

#[test]
fn a_damaged_or_missing_key_is_told_and_nothing_is_made_anew() {
    let (dir, trust) = trust();
    let path = dir.path().join("trust").join("ca.key");
    drop(trust);
    for (content, expected) in [(Some("rubbish"), "damaged"), (None, "missing")] {
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = Trust::open(&dir.path().join("trust"), Vec::new()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("restore"), "{error}");
    }
}

#[test]
fn requests_and_names_that_are_none_are_refused() {
    let (dir, trust) = trust();
    let (_, sound) = csr();
    let altered = sound.replacen('A', "B", 40);
    let long = format!("{sound}{}", "x".repeat(10_000));
    for bad in ["", "rubbish", altered.as_str(), long.as_str(), trust.bundle().as_str()] {
        assert!(matches!(trust.device(bad, "pi-1", DAY), Err(TrustError::Csr(_))), "{bad}");
    }
    for name in ["", "a b", "hub:6180", "-", "é"] {
        let opened = Trust::open(&dir.path().join("trust"), vec![name.to_owned()]);
        assert!(matches!(opened, Err(TrustError::Name(_))), "{name:?}");
    }
}
