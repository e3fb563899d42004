//! The hub's own endpoint for devices, and the way of the test's server to it: that one speaks TLS with the agent, and with
//! certificates of an authority of its own with the endpoint.

use std::{net::SocketAddr, sync::Arc};

use firmware_compat::id::Hash;
use lichen_link::{
    Endpoint, EndpointConfig, LinkEvent, PROTOCOLS,
    endpoint::http::{HttpHandler, HttpPeer, HttpServing, HttpStream},
};
use lichen_trust::{ClientCertificate, DEVICES, Trust};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::sync::mpsc;

/// Devices that there may be at once.
const DEVICES_AT_ONCE: usize = 100;
/// How long the certificates last, in seconds.
const LIFETIME_S: u64 = 24 * 3600;

/// An endpoint, and how it is reached.
pub struct Door {
    pub endpoint: Endpoint,
    pub events: mpsc::Receiver<LinkEvent>,
    pub address: SocketAddr,
    /// What a client shows that is the one device.
    pub way: Arc<ClientConfig>,
}

/// An endpoint to which one device may connect.
pub async fn open(listen: SocketAddr, device: &str) -> Door {
    let dir = tempfile::tempdir().unwrap();
    let trust = Trust::open(dir.path(), Vec::new()).unwrap();
    let (sender, events) = mpsc::channel(1024);
    let config = EndpointConfig {
        listen,
        devices: DEVICES_AT_ONCE,
        tls: trust.server_config(&PROTOCOLS),
        time: trust.time().clone(),
        http: Arc::new(Nothing),
    };
    let (endpoint, address) = Endpoint::start(config, sender).await.unwrap();
    let own = trust.client(device, DEVICES, LIFETIME_S).unwrap();
    let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
    let key = ClientCertificate::read(&certificate).unwrap().key;
    endpoint.admit(device, &[Hash(key)]);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trust.bundle().as_bytes()).unwrap()).unwrap();
    let private = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let mut way =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], private)
            .unwrap();
    way.alpn_protocols = vec![b"mqtt".to_vec()];
    Door { endpoint, events, address, way: Arc::new(way) }
}

/// Nobody asks anything by HTTP there.
struct Nothing;

impl HttpHandler for Nothing {
    fn serve(&self, _stream: HttpStream, _peer: HttpPeer) -> HttpServing {
        Box::pin(async {})
    }
}
