//! The client over TLS: to the endpoint behind an acceptor of the test, and to servers that are not what they should be.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

#[allow(dead_code, reason = "each test program uses its part")]
#[path = "conformance/mosquitto.rs"]
mod broker;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use lichen_link::{
    Endpoint, EndpointConfig, External, ExternalConfig, LinkEvent, TlsSource,
    client::{Client, ClientConfig, Down, Handler, Place, RetryPolicy, Route, Tls, Way},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixListener},
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

const DEADLINE: Duration = Duration::from_secs(30);
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const NAME: &str = "lichen-hub";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &Authority, name: &str) -> (rcgen::Certificate, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.as_ref().der().clone()).unwrap();
    Arc::new(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What the server shows, and that it wants clients of `clients`.
fn server(authority: &Authority, clients: &Authority) -> Arc<ServerConfig> {
    let (certificate, key) = issue(authority, NAME);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(clients), provider());
    let builder = ServerConfig::builder_with_provider(provider());
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    Arc::new(config)
}

/// What the client `pi` shows, and that it believes `authority`.
fn client(authority: &Authority, issuer: &Authority) -> Arc<rustls::ClientConfig> {
    let (certificate, key) = issue(issuer, "pi");
    let builder = rustls::ClientConfig::builder_with_provider(provider());
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(authority))
        .with_client_auth_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    Arc::new(config)
}

fn tls(config: Arc<rustls::ClientConfig>) -> Option<Tls> {
    Some(Tls { config, name: Some(ServerName::try_from(NAME).unwrap()) })
}

/// TLS in front of an endpoint.
struct Front {
    address: SocketAddr,
    /// Handshakes that were good.
    handshakes: Arc<AtomicUsize>,
    /// Breaks the connections that stand.
    cut: Arc<Notify>,
}

impl Front {
    async fn of(endpoint: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind(ANYWHERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (handshakes, cut) = <(Arc<AtomicUsize>, Arc<Notify>)>::default();
        let front = Self { address, handshakes: handshakes.clone(), cut: cut.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(config.clone());
                let (handshakes, cut) = (handshakes.clone(), cut.clone());
                tokio::spawn(async move {
                    let Ok(mut outer) = acceptor.accept(stream).await else { return };
                    assert_eq!(outer.get_ref().1.alpn_protocol(), Some(&b"mqtt"[..]));
                    handshakes.fetch_add(1, Relaxed);
                    let mut inner = TcpStream::connect(endpoint).await.unwrap();
                    tokio::select! {
                        _closed = copy_bidirectional(&mut outer, &mut inner) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        front
    }
}

#[derive(Debug, PartialEq)]
enum Told {
    Up,
    Down(Down),
    Message(Vec<u8>),
}

struct Ears(mpsc::UnboundedSender<Told>);

impl Handler for Ears {
    async fn up(&mut self) {
        self.0.send(Told::Up).unwrap();
    }
    async fn down(&mut self, why: &Down) {
        self.0.send(Told::Down(why.clone())).unwrap();
    }
    async fn message(&mut self, _topic: &str, bytes: &[u8]) {
        self.0.send(Told::Message(bytes.to_vec())).unwrap();
    }
}

struct Device {
    client: Client,
    told: mpsc::UnboundedReceiver<Told>,
}

impl Device {
    fn start(route: Route) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let config = ClientConfig {
            route,
            client_id: "pi".into(),
            keep_alive: Duration::from_secs(60),
            subscriptions: vec!["lichen/1/pi/down/#".into()],
            retry: RetryPolicy {
                first: Duration::from_millis(10),
                longest: Duration::from_millis(50),
                unwelcome: Duration::from_secs(3600),
            },
            outbox_bytes: 64 * 1024,
        };
        Self { client: Client::start(config, Ears(tell)), told }
    }

    async fn next(&mut self) -> Told {
        timeout(DEADLINE, self.told.recv()).await.expect("the client tells something").unwrap()
    }
}

async fn endpoint() -> (Endpoint, mpsc::Receiver<LinkEvent>, SocketAddr) {
    let (sender, events) = mpsc::channel(1024);
    let config = EndpointConfig { listen: ANYWHERE, devices: 100 };
    let (endpoint, address) = Endpoint::start(config, sender).await.unwrap();
    (endpoint, events, address)
}

#[tokio::test]
async fn frames_travel_over_tls_and_a_hub_that_stops_says_so() {
    let ca = authority();
    let (link, _events, address) = endpoint().await;
    link.set_head("pi", b"head".to_vec());
    let outside = Front::of(address, server(&ca, &ca)).await;
    let way = Way { places: vec![outside.address.into()], tls: tls(client(&ca, &ca)) };
    let mut pi = Device::start(Route::fixed(way));
    assert_eq!(pi.next().await, Told::Up);
    assert_eq!(pi.next().await, Told::Message(b"head".to_vec()));
    link.shutdown().await;
    assert_eq!(pi.next().await, Told::Down(Down::Closed { code: "ServerShuttingDown".into() }));
}

#[tokio::test]
async fn a_server_of_another_authority_is_an_impostor() {
    let (ours, other) = (authority(), authority());
    let (_link, _events, address) = endpoint().await;
    let outside = Front::of(address, server(&other, &ours)).await;
    let way = Way { places: vec![outside.address.into()], tls: tls(client(&ours, &ours)) };
    let mut pi = Device::start(Route::fixed(way));
    let Told::Down(Down::Impostor { why }) = pi.next().await else { panic!("it was believed") };
    assert!(why.starts_with("invalid peer certificate"), "{why}");
    assert_eq!(outside.handshakes.load(Relaxed), 0);
}

#[tokio::test]
async fn a_server_that_refuses_the_certificate_is_told_apart_from_one_that_is_away() {
    let (ours, other) = (authority(), authority());
    let (_link, _events, address) = endpoint().await;
    let outside = Front::of(address, server(&ours, &ours)).await;
    let way = Way { places: vec![outside.address.into()], tls: tls(client(&ours, &other)) };
    let mut pi = Device::start(Route::fixed(way));
    let Told::Down(Down::CertificateRefused { why }) = pi.next().await else {
        panic!("it was let in")
    };
    // Both words are right: which one comes is the server's to say.
    assert!(["UnknownCA", "CertificateUnknown", "DecryptError"].contains(&&*why), "{why}");
}

#[tokio::test]
async fn each_connection_asks_for_its_certificate_anew_and_need_not_wait_for_it() {
    let (ours, other) = (authority(), authority());
    let (_link, _events, address) = endpoint().await;
    let outside = Front::of(address, server(&ours, &ours)).await;
    let config = Arc::new(Mutex::new(client(&ours, &other)));
    let current = config.clone();
    let mut pi = Device::start(Route::new(move || {
        let config = current.lock().unwrap().clone();
        Way { places: vec![outside.address.into()], tls: tls(config) }
    }));
    assert!(matches!(pi.next().await, Told::Down(Down::CertificateRefused { .. })));
    *config.lock().unwrap() = client(&ours, &ours);
    // It would wait an hour otherwise.
    pi.client.hurry();
    assert_eq!(pi.next().await, Told::Up);
}

/// Takes connections and closes them. Counts them.
async fn closed_door() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(ANYWHERE).await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Relaxed);
        }
    });
    (address, count)
}

#[tokio::test]
async fn places_are_tried_in_turn_and_the_one_that_worked_is_the_first_from_then_on() {
    let ca = authority();
    let (link, _events, address) = endpoint().await;
    let outside = Front::of(address, server(&ca, &ca)).await;
    let (closed, count) = closed_door().await;
    let wrong = Front::of(address, server(&authority(), &ca)).await;
    let places = vec![closed.into(), wrong.address.into(), outside.address.into()];
    let way = Way { places, tls: tls(client(&ca, &ca)) };
    let mut pi = Device::start(Route::fixed(way));
    // One attempt goes through all of them.
    assert_eq!(pi.next().await, Told::Up);
    assert_eq!(count.load(Relaxed), 1);
    outside.cut.notify_waiters();
    assert!(matches!(pi.next().await, Told::Down(Down::Lost(_))));
    assert_eq!(pi.next().await, Told::Up);
    assert_eq!(count.load(Relaxed), 1);
    drop(link);
}

#[tokio::test]
async fn when_no_place_takes_the_connection_each_is_named_with_its_reason() {
    let ca = authority();
    let nobody = TcpListener::bind(ANYWHERE).await.unwrap().local_addr().unwrap();
    let places = vec![nobody.into(), Place::Unix("/nowhere/socket".into())];
    let mut pi = Device::start(Route::fixed(Way { places, tls: tls(client(&ca, &ca)) }));
    let Told::Down(Down::Lost(why)) = pi.next().await else { panic!("something was reached") };
    assert!(why.contains(&nobody.to_string()), "{why}");
    assert!(why.contains("nor at unix:///nowhere/socket"), "{why}");
    let mut lost = Device::start(Route::fixed(Way { places: Vec::new(), tls: None }));
    let Told::Down(Down::Lost(why)) = lost.next().await else { panic!("nothing is there") };
    assert_eq!(why, "no address of the broker is known");
}

#[tokio::test]
async fn a_broker_on_a_socket_of_this_machine_needs_no_tls() {
    let (_link, _events, address) = endpoint().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mqtt.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut outer, _) = listener.accept().await.unwrap();
        let mut inner = TcpStream::connect(address).await.unwrap();
        let _closed = copy_bidirectional(&mut outer, &mut inner).await;
    });
    let mut pi = Device::start(Route::plain(Place::Unix(path)));
    assert_eq!(pi.next().await, Told::Up);
}

/// A server that takes the connection and says nothing: the handshake has its time, as the network has.
#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let ca = authority();
    let listener = TcpListener::bind(ANYWHERE).await.unwrap();
    let silent = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move { listener.accept().await.unwrap() });
    let way = Way { places: vec![silent.into()], tls: tls(client(&ca, &ca)) };
    let mut pi = Device::start(Route::fixed(way));
    let _held = accepting.await.unwrap();
    tokio::time::pause();
    let told = tokio::time::timeout(Duration::from_secs(60), pi.told.recv()).await;
    let Ok(Some(Told::Down(Down::Lost(why)))) = told else { panic!("{told:?}") };
    assert!(why.contains("timed out"), "{why}");
}

/// The hub's own connection to a broker of the operator's: by TLS with the hub's certificate, or on a socket of the machine.
#[tokio::test]
#[ignore = "needs mosquitto: run by make test"]
async fn the_hub_reaches_a_mosquitto_over_tls_and_on_a_socket() {
    let ca = authority();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (certificate, key) = issue(&ca, NAME);
    fs::write(path("ca"), ca.as_ref().pem()).unwrap();
    fs::write(path("certificate"), certificate.pem()).unwrap();
    let key = KeyPair::try_from(key.secret_der()).unwrap().serialize_pem();
    fs::write(path("key"), key).unwrap();
    // `user`: started by root, it would change to one who can't read these files.
    let port = TcpListener::bind(ANYWHERE).await.unwrap().local_addr().unwrap().port();
    let more = format!(
        "user root\nlistener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\n\
         require_certificate true\nuse_identity_as_username true\nlistener 0 {}\n",
        path("ca"),
        path("certificate"),
        path("key"),
        path("socket")
    );
    let _broker = broker::Mosquitto::start_with(&more);
    let config = client(&ca, &ca);
    let source = TlsSource(Arc::new(move || tls(config.clone()).unwrap()));
    for url in [format!("mqtts://127.0.0.1:{port}"), format!("unix://{}", path("socket"))] {
        let (sender, mut events) = mpsc::channel(16);
        let (tls, client_id) = (Some(source.clone()), "lichen-hub-test".into());
        let hub = External::start(ExternalConfig { url, tls, client_id }, sender).unwrap();
        let event = timeout(DEADLINE, events.recv()).await.expect("the broker is there");
        assert_eq!(event, Some(LinkEvent::Up));
        hub.shutdown().await;
    }
}
