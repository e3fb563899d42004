//! A hub's authority and the devices that have certificates of it: what a test needs to speak TLS with the endpoint.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use firmware_compat::id::Hash;
use lichen_link::{
    EndpointConfig, PROTOCOLS,
    endpoint::http::{HttpHandler, HttpPeer, HttpServing, HttpStream},
};
use lichen_trust::{ClientCertificate, DEVICES, HUB_NAME, Trust};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub const DAY: u64 = 24 * 3600;

/// A certificate with its key, as a client has it.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
    /// As in the roster.
    pub hash: Hash,
}

/// A device's certificate, and how it connects with it.
type Client = (Arc<Identity>, Arc<ClientConfig>);

/// See the module.
pub struct Fleet {
    _dir: Option<TempDir>,
    pub trust: Trust,
    clients: Mutex<HashMap<String, Client>>,
}

impl Fleet {
    pub fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let fleet = Self::at(&dir.path().join("trust"));
        Arc::new(Self { _dir: Some(dir), ..fleet })
    }

    /// The same hub's, as far as it has been here before.
    pub fn at(trust: &Path) -> Self {
        let trust = Trust::open(trust, Vec::new()).expect("it opens");
        Self { _dir: None, trust, clients: Mutex::default() }
    }

    pub fn config(&self, listen: SocketAddr, devices: usize) -> EndpointConfig {
        EndpointConfig {
            listen,
            devices,
            tls: self.trust.server_config(&PROTOCOLS),
            time: self.trust.time().clone(),
            http: Arc::new(Answers),
        }
    }

    /// A fresh certificate of a group, for a name.
    pub fn issue(&self, name: &str, group: &str, lifetime_s: u64) -> Identity {
        let made = self.trust.client(name, group, lifetime_s).expect("it can be made");
        let certificate =
            CertificateDer::from_pem_slice(made.certificate.as_bytes()).expect("it is one");
        let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).expect("it is one");
        let hash = Hash(ClientCertificate::read(&certificate).expect("it is ours").key);
        Identity { certificate, key, hash }
    }

    /// What a device of this name has, the same each time.
    pub fn device(&self, name: &str) -> Client {
        let mut clients = self.clients.lock().expect("no test panics with it in hand");
        let made = clients.entry(name.to_owned()).or_insert_with(|| {
            let identity = self.issue(name, DEVICES, DAY);
            let config = self.client(Some(&identity), &[b"mqtt"]);
            (Arc::new(identity), config)
        });
        made.clone()
    }

    /// A client of this hub's, with a certificate or without one.
    pub fn client(&self, identity: Option<&Identity>, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let authority = CertificateDer::from_pem_slice(self.trust.bundle().as_bytes());
        let mut roots = RootCertStore::empty();
        roots.add(authority.expect("it is one")).expect("it is an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key, .. }) => builder
                .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
                .expect("they belong together"),
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(2);
        Arc::new(config)
    }
}

/// Connects and shakes hands.
pub async fn dial(
    endpoint: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    shake(TcpStream::connect(endpoint).await?, config).await
}

/// Shakes hands.
pub async fn shake(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(HUB_NAME).expect("it is one");
    TlsConnector::from(config).connect(name, stream).await
}

/// Answers each request with who asks; the second half of `/hold` when it has to end, and `/wait` not at all.
pub struct Answers;

impl HttpHandler for Answers {
    fn serve(&self, mut stream: HttpStream, peer: HttpPeer) -> HttpServing {
        Box::pin(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte).await {
                    Ok(1) if head.len() < 1000 => head.push(byte[0]),
                    _ => return,
                }
            }
            if head.starts_with(b"GET /wait") {
                let _end = stream.read(&mut [0]).await;
                return;
            }
            let body = format!(
                "verdict {:?}, welcome {}, ended {}, session {:?}\n",
                peer.verdict(),
                peer.is_welcome(),
                peer.has_ended(),
                peer.holder(),
            );
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            if head.starts_with(b"GET /hold") {
                let _gone = stream.write_all(answer.split_at(17).0.as_bytes()).await;
                let _gone = stream.flush().await;
                peer.until_closing().await;
                let _gone = stream.write_all(answer.split_at(17).1.as_bytes()).await;
            } else {
                let _gone = stream.write_all(answer.as_bytes()).await;
            }
            let _gone = stream.shutdown().await;
        })
    }
}
