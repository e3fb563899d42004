//! Clients with certificates: the admin of a hub, and boards that join it.

#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use lichen_trust::Trust;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};

/// A TLS connection that blocks.
pub type Blocking = StreamOwned<ClientConnection, TcpStream>;

/// What a client shows that is the admin of the hub with this state.
pub fn admin_of(state: &Path) -> ClientConfig {
    let trust = trust(state);
    let admin = trust.client("system:admin", "system:masters", 3600).expect("a certificate");
    shows(&trust.bundle(), Some((&admin.certificate, &admin.key)))
}

/// The same as files, as docker and skopeo want them in a directory: whom to believe, and what to show.
pub fn write_files(state: &Path, dir: &Path) {
    let trust = trust(state);
    let admin = trust.client("system:admin", "system:masters", 3600).expect("a certificate");
    std::fs::create_dir_all(dir).expect("a directory");
    let files =
        [("ca.crt", trust.bundle()), ("client.cert", admin.certificate), ("client.key", admin.key)];
    for (name, text) in files {
        std::fs::write(dir.join(name), text).expect("a file");
    }
}

fn trust(state: &Path) -> Trust {
    Trust::open(&state.join("trust"), Vec::new()).expect("the hub's trust")
}

/// A client that believes authorities, and shows a certificate with its key if it has one. All in PEM.
pub fn shows(authority: &str, own: Option<(&str, &str)>) -> ClientConfig {
    let certificates = |pem: &str| {
        let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        all.expect("PEM")
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(authority) {
        roots.add(authority).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(certificates(chain), key).expect("a pair")
        }
    }
}

/// Connects, for HTTP.
pub fn open(address: SocketAddr, mut config: ClientConfig) -> Blocking {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let name = ServerName::try_from("localhost").expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a client"), stream)
}

/// Asks, and reads the whole answer.
pub fn ask(address: SocketAddr, config: ClientConfig, request: &str, body: &str) -> String {
    try_ask(address, config, request, body).expect("it answers")
}

/// The same of a hub that may not let the client in.
pub fn try_ask(
    address: SocketAddr,
    config: ClientConfig,
    request: &str,
    body: &str,
) -> Result<String, String> {
    let mut stream = open(address, config);
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    Ok(answer)
}

/// A device's certificate with its key, in PEM, and what it was told of its hub.
pub struct Joined {
    pub certificate: String,
    pub key: String,
    pub facts: Value,
}

impl Joined {
    /// What it shows.
    pub fn shows(&self) -> ClientConfig {
        let authority = self.facts["ca"].as_str().expect("an authority");
        shows(authority, Some((&self.certificate, &self.key)))
    }
}

/// A board joins by a fresh token. `state`: of the hub.
pub fn join(state: &Path, api: SocketAddr, devices: SocketAddr, name: &str) -> Joined {
    let made = ask(api, admin_of(state), "POST /lichen/v1/jointokens", "");
    let secret = secret(&body(&made)["token"]);
    let key = KeyPair::generate().expect("a key");
    let csr = CertificateParams::default().serialize_request(&key).expect("a request");
    let request = json!({
        "token": secret, "csr": csr.pem().expect("PEM"), "name": name, "agent": "01".repeat(16),
        "boot": "02".repeat(16), "sealingKey": format!("{}=", "A".repeat(43)),
    });
    let anonymous = shows(&trust(state).bundle(), None);
    let facts = body(&ask(devices, anonymous, "POST /lichen/v1/enrol", &request.to_string()));
    let certificate = facts["certificate"].as_str().expect("a certificate").to_owned();
    Joined { certificate, key: key.serialize_pem(), facts }
}

/// The right to join that a token's word holds.
fn secret(word: &Value) -> Value {
    let word = word.as_str().expect("a token");
    let token =
        firmware_compat::enrolment::JoinToken::parse(word, |json| serde_json::from_slice(json));
    serde_json::to_value(token.expect("a token").secret).expect("JSON")
}

fn body(answer: &str) -> Value {
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}
